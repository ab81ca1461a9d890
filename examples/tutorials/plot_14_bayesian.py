"""
Variational Bayes: as many components as the data support
=========================================================

`BayesianGaussianMixture` finds a distribution of every parameter, and its `n_components` is only an upper limit. This
tutorial shows how the number of components in use depends on the data and on the concentration, and how it differs from
the choice of BIC. :doc:`/guide/bayesian` has the mathematics.
"""

import matplotlib.pyplot as plt
import numpy as np

from tgmm import BayesianGaussianMixture, GaussianMixture, select
from tgmm.plotting import plot_components

# %%
# The number of components follows from the data
# ----------------------------------------------
#
# The data come from three clusters. The limit is ten components, and the fits see 20, 60 and 600 rows.

centres = np.array([[0, 0], [5, 0], [2, 4]])


def clusters(n, seed=0):
    """Return rows from three clusters."""
    rng = np.random.default_rng(seed)
    return centres[rng.integers(3, size=n)] + rng.normal(0, 1, (n, 2))


figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained", sharex=True, sharey=True)
for ax, n in zip(axes, (20, 60, 600), strict=True):
    rows = clusters(n)
    bgm = BayesianGaussianMixture(10, max_iter=1000, random_state=0).fit(rows)
    plot_components(bgm.mixture_, rows, ax=ax)
    ax.get_legend().remove()
    ax.set(title=f"{n} rows: {bgm.n_components_} in use", xlabel="", ylabel="")

# %%
# `mixture_` holds the components in use. The other components stay at the prior and have almost no weight:

print(np.sort(bgm.weights_)[::-1].round(4))

# %%
# What the concentration does
# ---------------------------
#
# `weight_concentration_prior` says how even the weights are expected to be before any row is seen. A small value
# expects few large components, and a large value expects many. In a Dirichlet process, the first components take most
# of the weight. In a Dirichlet distribution, all ten components are treated alike, and a large concentration keeps all
# of them.

rows = clusters(150)
for kind in ("dirichlet_process", "dirichlet_distribution"):
    for concentration in (1e-3, 0.1, 10, 1000):
        settings = {"weight_concentration_prior_type": kind, "weight_concentration_prior": concentration}
        bgm = BayesianGaussianMixture(10, **settings, max_iter=1000, random_state=0).fit(rows)
        print(f"{kind:22} {concentration:7g}: {bgm.n_components_:2} in use, bound {bgm.lower_bound_:.3f}")

# %%
# The bound includes all constants, so it can compare priors: the prior with the highest bound predicted these rows
# best.
#
# Comparison with BIC
# -------------------
#
# BIC needs a fit for each number of components, and charges each parameter half the logarithm of n. The bound needs one
# fit, and the prior takes the place of the charge. With many rows, both find three clusters. With few rows, BIC is only
# a rough approximation of the evidence, and the two differ.

for n in (15, 30, 100, 1000):
    counts = []
    for seed in range(3):
        rows = clusters(n, seed)
        chosen = select(rows, range(1, 6), "full", random_state=0).best_.n_components
        bgm = BayesianGaussianMixture(6, max_iter=1000, random_state=0).fit(rows)
        counts.append((chosen, bgm.n_components_))
    by_bic, by_bound = zip(*counts, strict=True)
    print(f"{n:5} rows: BIC chooses {by_bic}, variational Bayes uses {by_bound}")

# %%
# Predictions from few rows
# -------------------------
#
# Fitted to twelve rows, the mixture with the best parameters is too confident. `score_samples` of the Bayesian mixture
# averages over all parameters (the posterior predictive density). Its tails are heavier, and it describes new rows
# better.

few, new = clusters(12), clusters(5000, seed=1)
likely = GaussianMixture(3, covariance_type="diag", covariance_prior=[0.1, 0.1], degrees_of_freedom_prior=4.0)
likely.set_params(random_state=0, max_iter=1000).fit(few)
bgm = BayesianGaussianMixture(3, covariance_type="diag", max_iter=1000, random_state=0).fit(few)
print(f"log-density of new rows: best parameters {likely.score(new):.2f}, posterior predictive {bgm.score(new):.2f}")

# %%
# Samples show the same: those with ``posterior=True`` reach farther.

plain, _ = bgm.sample(2000, random_state=0)
drawn, _ = bgm.sample(2000, posterior=True, random_state=0)
figure, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
ax.scatter(*drawn.T, s=4, alpha=0.4, label="posterior predictive")
ax.scatter(*plain.T, s=4, alpha=0.4, label="expected parameters")
ax.scatter(*few.T, s=30, color="black", label="rows")
ax.set(xlim=(-15, 20), ylim=(-15, 20))
ax.legend()
plt.show()
