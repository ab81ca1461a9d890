"""
Segments of customers in mixed units
====================================

A table has one row for each customer and one column for each measurement: age in years, income in thousands, visits per
month. Which kinds of customers are there, what sets each kind apart, and to which one does a new customer belong?

The chemical analysis of 178 wines that comes with scikit-learn stands in for such a table. It has the same difficulty,
13 measurements in units that have nothing to do with each other, and one advantage: the grape variety of each wine is
known, so that we can check the answer at the end.
"""

# sphinx_gallery_thumbnail_number = 2
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.datasets import load_wine
from sklearn.metrics import adjusted_rand_score

from tgmm import GaussianMixture, select
from tgmm.plotting import plot_profiles, plot_selection

wine = load_wine(as_frame=True)
X, variety = wine.data, wine.target
X.describe().loc[["min", "max", "std"]].T.round(2)

# %%
# Do the units matter?
# --------------------
#
# For k-means they do. It measures distances, and proline, with values up to 1680, decides nearly all of them. The
# labels change when every column is divided by its standard deviation. A mixture estimates the spread of every feature
# in every cluster, so its labels stay the same.

scaled = X / X.std()


def kmeans(rows):
    """Return the labels of three clusters by k-means."""
    return KMeans(3, n_init=10, random_state=0).fit_predict(rows)


def mixture(rows):
    """Return the labels of three clusters by a mixture."""
    return GaussianMixture(3, covariance_type="diag", random_state=0).fit_predict(rows)


for name, labelled in [("k-means", kmeans), ("mixture", mixture)]:
    agreement = adjusted_rand_score(labelled(X), labelled(scaled))
    print(f"{name}: agreement of the labels before and after scaling {agreement:.2f}")

# %%
# How many segments?
# ------------------
#
# We compare three structures with one to eight components by BIC. The two spherical structures are left out: they give
# all features the same variance, and so they do depend on units (:doc:`/guide/covariances`).

selection = select(X, range(1, 9), ["full", "diag", "tied_full"], n_init=1, random_state=0)
ax = plot_selection(selection)

# %%
# The points that are drawn hollow are degenerate: with 13 features a full covariance has 91 parameters, too many for
# the rows of a small cluster. They are not candidates. The winner describes each segment by one mean and one standard
# deviation per measurement, which also makes it easy to explain.

gmm = selection.best_
segment = gmm.predict(X)
print(f"{gmm.n_components} segments, structure {gmm.covariance_type!r}")
print("wines in each:", np.bincount(segment).tolist())

# %%
# What sets each segment apart?
# -----------------------------
#
# `plot_profiles` shows the mean and the standard deviation of each measurement in each segment. The unit is the
# standard deviation of all wines, so that measurements in different units can be compared.

ax = plot_profiles(gmm, X)

# %%
# `summary` gives the same in numbers. Its last table names the measurements that set each segment apart from the rest,
# which is a description that people can read:

gmm.summary(X)

# %%
# Who is between two segments?
# ----------------------------
#
# Every row has a probability for each segment. Most are close to 0 or 1, which is usual with 13 features
# (:doc:`/guide/troubleshooting` says why). The exceptions are the customers for whom a campaign should not rely on the
# segment:

probabilities = gmm.predict_proba(X)
unsure = probabilities.max(axis=1) < 0.9
print(f"{unsure.sum()} of {len(X)} wines have no segment with a probability of 0.9 or more")
pd.DataFrame(probabilities[unsure], index=X.index[unsure]).round(2).head()

# %%
# A new customer
# --------------
#
# A new row gets its segment from the same probabilities. Its log-density says whether it looks like anything that the
# model was fitted to. The second row below has the alcohol of a spirit:

new = X.iloc[[0, 0]].copy()
new.iloc[1, 0] = 40.0
print("segments:", gmm.predict(new).tolist())
print(
    "log-densities:",
    gmm.score_samples(new).round(1).tolist(),
    "lowest of all wines:",
    gmm.score_samples(X).min().round(1),
)

# %%
# The probabilities of both rows are near 1, because they only compare segments with each other. Check the density
# before trusting a segment; :doc:`plot_21_anomalies` shows how to choose the threshold.
#
# The check
# ---------
#
# Rows are the three grape varieties and columns are our segments. The mixture did not know the varieties.

print(f"adjusted Rand index {adjusted_rand_score(variety, segment):.2f}")
pd.crosstab(variety, segment, rownames=["variety"], colnames=["segment"])

# %%
# Three segments are nearly one variety each. The fourth, segment 2, has a third of the wines of variety 1 and a few of
# variety 0. That is not an error. BIC asks how many Gaussians describe the data, and the values of one variety need not
# be Gaussian. Where segments are too fine for their purpose, give those that should be treated alike the same name, or
# fit with the number that the purpose wants:

three = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
print(f"three segments: adjusted Rand index {adjusted_rand_score(variety, three.predict(X)):.2f}")

# %%
# :doc:`/guide/preparing` compares this fit with one to the logarithms of the measurements, and :doc:`/guide/choosing`
# says which criterion suits which purpose.
