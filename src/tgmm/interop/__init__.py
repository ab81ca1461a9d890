"""The fitted mixture as an object of other libraries: scikit-learn's, torch's distributions, torch's modules."""
