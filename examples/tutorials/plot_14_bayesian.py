"""
Variational Bayes: as many components as the data asks for
==========================================================

`BayesianGaussianMixture` has a distribution of every parameter, and `n_components` is an upper limit. This tutorial
shows how the number of components in use follows from the data and from the concentration, and where that differs from
what BIC chooses. The mathematics is in :doc:`/guide/bayesian`.
"""

import matplotlib.pyplot as plt
import numpy as np

from tgmm import BayesianGaussianMixture, GaussianMixture, select
from tgmm.plotting import plot_components

# %%
# The number of components follows from the data
# ----------------------------------------------
#
# Three clusters, of which 20, 60 and 600 rows are seen, and a limit of ten components.

centres = np.array([[0, 0], [5, 0], [2, 4]])


def clusters(n, seed=0):
    """Rows from three clusters."""
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
# `mixture_` holds the components in use. The others are where the prior is, and have next to no weight:

print(np.sort(bgm.weights_)[::-1].round(4))

# %%
# What the concentration does
# ---------------------------
#
# `weight_concentration_prior` says how the weights are shared out before any row is seen: a small one expects a few
# large components, a large one many. With a Dirichlet process the first sticks take what there is; with a Dirichlet
# distribution all ten components are alike, and a large concentration keeps all of them.

rows = clusters(150)
for kind in ("dirichlet_process", "dirichlet_distribution"):
    for concentration in (1e-3, 0.1, 10, 1000):
        settings = {"weight_concentration_prior_type": kind, "weight_concentration_prior": concentration}
        bgm = BayesianGaussianMixture(10, **settings, max_iter=1000, random_state=0).fit(rows)
        print(f"{kind:22} {concentration:7g}: {bgm.n_components_:2} in use, bound {bgm.lower_bound_:.3f}")

# %%
# The bound with all its constants compares priors: those under which it is highest foresaw the rows best.
#
# The difference to BIC
# ---------------------
#
# BIC fits each number of components and charges every parameter half a log n. The bound has a price too, that of the
# prior, in one fit. Of many rows both find three clusters; of few rows BIC's approximation of the evidence is rough.

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
# What is not known is said
# -------------------------
#
# With twelve rows the best parameters of two components are sure of themselves. The posterior predictive density of
# `score_samples` integrates over all parameters: its tails are heavier, and it loses less on rows that were not seen.

few, new = clusters(12), clusters(5000, seed=1)
likely = GaussianMixture(3, covariance_type="diag", covariance_prior=[0.1, 0.1], degrees_of_freedom_prior=4.0)
likely.set_params(random_state=0, max_iter=1000).fit(few)
bgm = BayesianGaussianMixture(3, covariance_type="diag", max_iter=1000, random_state=0).fit(few)
print(f"log-density of new rows: best parameters {likely.score(new):.2f}, posterior predictive {bgm.score(new):.2f}")

# %%
# The same shows in draws: those with ``posterior=True`` reach farther.

plain, _ = bgm.sample(2000, random_state=0)
drawn, _ = bgm.sample(2000, posterior=True, random_state=0)
figure, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
ax.scatter(*drawn.T, s=4, alpha=0.4, label="posterior predictive")
ax.scatter(*plain.T, s=4, alpha=0.4, label="expected parameters")
ax.scatter(*few.T, s=30, color="black", label="rows")
ax.set(xlim=(-15, 20), ylim=(-15, 20))
ax.legend()
plt.show()
