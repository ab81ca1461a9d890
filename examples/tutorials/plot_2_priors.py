"""
Priors: what each number does
=============================

With little data, maximum likelihood puts a component on two or three rows and shrinks it without limit. Priors prevent
this. They have five parameters, and this tutorial varies one at a time. The mathematics is in :doc:`/guide/priors`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from tgmm import GaussianMixture
from tgmm.plotting import plot_components

# %%
# Maximum likelihood collapses, the posterior mode does not
# ---------------------------------------------------------
#
# The data are 25 rows from two clusters, and the model has six components. The maximum likelihood fit has components on
# lines and on single points. Its log-likelihood is excellent for the training data and poor for new data from the same
# clusters.

rng = np.random.default_rng(3)


def clusters(n):
    """Rows from two overlapping clusters."""
    return np.where(rng.random((n, 1)) < 0.5, rng.normal([0, 0], [1, 1], (n, 2)), rng.normal([4, 2], [1, 0.5], (n, 2)))


X, new = clusters(25), clusters(5000)

K, d = 6, 2
weak = {
    "mean_prior": X.mean(axis=0),
    "mean_precision_prior": 0.01,
    "covariance_prior": np.cov(X.T) / K ** (2 / d),
    "degrees_of_freedom_prior": d + 2,
}
settings = {"n_components": K, "n_init": 10, "max_iter": 2000, "random_state": 0}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    likely = GaussianMixture(**settings).fit(X)
    mode = GaussianMixture(**settings, **weak).fit(X)


def show(ax, gmm, rows, title):
    """Draw a fit without its legend."""
    plot_components(gmm, rows, ax=ax)
    ax.get_legend().remove()
    ax.set(title=title, xlabel="", ylabel="")


figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained", sharex=True, sharey=True)
for ax, gmm, name in zip(axes, (likely, mode), ("maximum likelihood", "posterior mode"), strict=True):
    show(ax, gmm, X, f"{name}\nper row: these {gmm.score(X):.2f}, new ones {gmm.score(new):.2f}")
    smallest = np.linalg.eigvalsh(gmm.covariances_).min(axis=1) ** 0.5
    print(f"{name}: smallest standard deviation of each component: {np.sort(smallest).round(4)}")

# %%
# The prior is mclust's default, which is weak: its covariance is that of all rows, scaled down for K components.
#
# `covariance_prior`: the size and shape of a component
# -----------------------------------------------------
#
# :math:`\Psi` is the scatter that each component has before it sees any data, worth `degrees_of_freedom_prior` rows.
# Its shape matters as much as its size. The picture shows small, medium and large round shapes, and a tilted one.


def fit(**priors):
    """Fit three components, by default under the weak prior."""
    return GaussianMixture(3, n_init=5, max_iter=2000, random_state=0, **{**weak, **priors}).fit(X)


shapes = {
    "0.1 I": 0.1 * np.eye(2),
    "I": np.eye(2),
    "10 I": 10 * np.eye(2),
    "tilted": np.array([[5.0, 4.5], [4.5, 5.0]]),
}
figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained", sharex=True, sharey=True)
for ax, (name, shape) in zip(axes, shapes.items(), strict=True):
    show(ax, fit(covariance_prior=shape), X, rf"$\Psi$ = {name}")

# %%
# `degrees_of_freedom_prior`: how many rows the prior is worth
# ------------------------------------------------------------
#
# With :math:`\Psi = \nu S`, components are pulled towards the covariance S, and more strongly for a larger :math:`\nu`.
# Here S is small and round. (If you increase :math:`\nu` alone, the same scatter :math:`\Psi` is divided by more rows,
# and components shrink.)

small = 0.2 * np.eye(2)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained", sharex=True, sharey=True)
for ax, nu in zip(axes, (2, 10, 50, 1000), strict=True):
    show(ax, fit(covariance_prior=nu * small, degrees_of_freedom_prior=nu), X, rf"$\nu$ = {nu}, $\Psi = \nu S$")

# %%
# `mean_prior` and `mean_precision_prior`: where the means are, and how certain that is
# -------------------------------------------------------------------------------------
#
# The prior acts like :math:`\kappa` additional rows at :math:`m`. At 0.01 they hardly matter. At 100 every mean stays
# near :math:`m`, and the covariances grow to reach the rows. From 1 on, the prior keeps some components where no row
# needs them, and the fit warns about them. If you know where each component is, give one :math:`m` for each, as a
# (K, d) array.

figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained", sharex=True, sharey=True)
for ax, kappa in zip(axes, (0.01, 1, 10, 100), strict=True):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show(ax, fit(mean_precision_prior=kappa), X, rf"$\kappa$ = {kappa}")
    for warning in caught:
        print(f"kappa = {kappa}: {str(warning.message).partition(':')[0]}")

# %%
# `weight_concentration_prior`: how even the weights are
# ------------------------------------------------------
#
# The prior adds :math:`\alpha - 1` rows to each component. At 1 it has no effect. Far above 1, the weights become
# equal. Below 1, it takes up to one row away from each component: a component that explains fewer than :math:`1 -
# \alpha` rows disappears, and one that explains hardly more is left with a tiny weight, like the smallest of these six.

concentrations = (0.01, 1.0, 3.0, 100.0)
bottom = np.zeros(len(concentrations))
weights = []
for alpha in concentrations:
    gmm = GaussianMixture(**settings, **weak, weight_concentration_prior=alpha).fit(X)
    weights.append(np.sort(gmm.weights_)[::-1])
    print(f"alpha = {alpha:>6}: weights {weights[-1].round(3)}")
figure, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
for share in np.transpose(weights):
    ax.bar([f"{alpha:g}" for alpha in concentrations], share, bottom=bottom, edgecolor="white", color="#56B4E9")
    bottom += share
ax.set(xlabel=r"concentration $\alpha$", ylabel="weights of the components")

# %%
# With enough data, priors do not matter
# --------------------------------------
#
# The prior is worth a fixed number of rows. With 20,000 rows, the posterior mode equals the maximum likelihood estimate
# to about three digits:

many = clusters(20_000)
settings = {"n_components": 2, "tol": 1e-7, "max_iter": 2000, "random_state": 0}
for name, priors in (("maximum likelihood", {}), ("posterior mode", weak)):
    gmm = GaussianMixture(**settings, **priors).fit(many)
    order = gmm.means_[:, 0].argsort()
    print(f"{name:<20}", gmm.means_[order].round(3).tolist(), gmm.weights_[order].round(3))
