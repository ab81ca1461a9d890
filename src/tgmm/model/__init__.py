"""The mathematics of a mixture: parameters, statistics, priors, the M-step, and the frame they live in."""
