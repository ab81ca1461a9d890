"""
Missing values
==============

A third of all values in three clusters are missing. This tutorial compares dropping rows and filling in means with a
mixture that is fitted to the observed values.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer

from tgmm import GaussianMixture
from tgmm.plotting import plot_components

rng = np.random.default_rng(0)
n = 240
clusters = rng.integers(3, size=n)
spread = np.linalg.cholesky([[1.0, 0.8], [0.8, 1.0]])
X = np.array([[0, 0], [5, 1], [1, 6]])[clusters] + rng.normal(size=(n, 2)) @ spread.T
gaps = np.where(rng.random(X.shape) < 1 / 3, np.nan, X)
pd.DataFrame(gaps[:6], columns=["first", "second"]).round(2)

# %%
# Common workarounds
# ------------------
#
# You can drop the rows that lack a value, or fill the gaps with the mean of each feature.

whole = gaps[~np.isnan(gaps).any(axis=1)]
filled = SimpleImputer(strategy="mean").fit_transform(gaps)
print(f"{len(whole)} of {n} rows are whole, {np.isnan(gaps).all(axis=1).sum()} lack both values")

# %%
# The mean of a feature belongs to no cluster. Filling it in creates straight lines of rows, and components follow these
# lines. Dropping rows discards half of the data, which costs precision. With ``missing="em"``, all observed values
# count, although only rows with both values can be drawn.

fits = {}
for name, rows in [("no gaps", X), ("rows left out", whole), ("means filled in", filled)]:
    fits[name] = GaussianMixture(3, random_state=0).fit(rows), rows
fits["missing='em'"] = GaussianMixture(3, missing="em", n_init=5, random_state=0).fit(gaps), whole
figure, axes = plt.subplots(2, 2, figsize=(9.5, 8), layout="constrained", sharex=True, sharey=True)
for ax, (name, (gmm, rows)) in zip(axes.ravel(), fits.items(), strict=True):
    plot_components(gmm, rows, ax=ax)
    ax.get_legend().remove()
    ax.set(title=f"{name}: {len(rows)} rows drawn", xlabel="", ylabel="")

# %%
# The next table gives the distance of the fitted density from the true one for new rows, in nats per row (0 is
# perfect):

truth = GaussianMixture.from_parameters([1 / 3] * 3, [[0, 0], [5, 1], [1, 6]], [spread @ spread.T] * 3)
fresh = truth.sample(20_000, random_state=0)[0]
for name, (gmm, _) in fits.items():
    print(f"{name:<16}{truth.score(fresh) - gmm.score(fresh):8.3f}")

# %%
# Predictions for rows with gaps
# ------------------------------
#
# The model predicts rows with gaps directly, from the values that they have. How certain the probabilities are depends
# on these values. Here the first feature alone is enough to tell the cluster, the second is not, and without any value
# the probabilities are the weights of the components:

gmm = fits["missing='em'"][0]
for row in ([5.0, 1.0], [5.0, np.nan], [np.nan, 1.0], [np.nan, np.nan]):
    print(row, gmm.predict_proba([row])[0].round(2))

# %%
# Filling in values
# -----------------
#
# `impute` returns the expected value given the others of the row. This is the best single guess, but it has no spread.
# With a `random_state` it samples from the possible values instead. Use samples if you need a variance, a correlation
# or a picture of the result.

expected, drawn = gmm.impute(gaps), gmm.impute(gaps, random_state=0)
was_gap = np.isnan(gaps)
figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.8), layout="constrained", sharex=True, sharey=True)
for ax, rows, title in zip(
    axes, (filled, expected, drawn), ("means filled in", "expected values", "draws"), strict=True
):
    touched = was_gap.any(axis=1)
    ax.scatter(*rows[~touched].T, s=9, color="0.75", linewidths=0)
    ax.scatter(*rows[touched].T, s=12, color="#D55E00", linewidths=0)
    ax.set_title(title)
for name, rows in [("means", filled), ("expected", expected), ("drawn", drawn), ("true", X)]:
    error = np.sqrt(np.mean((rows - X)[was_gap] ** 2))
    print(f"{name:<9} error {error:.2f}, standard deviations {rows.std(axis=0).round(2)}")

# %%
# When this is not valid
# ----------------------
#
# The reason for a gap may depend on other values of the row, but not on the missing value itself
# (:doc:`/guide/missing_values`). In this example large values of the first feature are missing. Nothing in the data
# shows this, and the fit is wrong without a warning:

lost = X.copy()
lost[X[:, 0] > 4.5, 0] = np.nan
biased = GaussianMixture(3, missing="em", n_init=5, random_state=0).fit(lost)
for name, model in [("no gaps", fits["no gaps"][0]), ("large values lost", biased)]:
    print(f"{name:<18} largest mean of the first feature: {model.means_[:, 0].max():.2f}")
