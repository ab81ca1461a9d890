"""
Finding outliers
================

A mixture models where the data are dense. A row in a region of low density is an outlier. This also finds outliers
*between* clusters, which rules for single features, or for the distance from the mean, miss.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import chi2

from tgmm import MixtureOutlierDetector

rng = np.random.default_rng(0)
clusters = np.concatenate(
    [
        rng.multivariate_normal([0, 0], [[1.0, 0.9], [0.9, 1.0]], 300),
        rng.multivariate_normal([6, 0], [[1.0, -0.9], [-0.9, 1.0]], 300),
    ]
)
strangers = np.array([[3.0, 0.0], [-1.5, 1.5], [7.5, 1.5], [3.0, 3.0], [2.0, -2.5], [4.5, -1.5]])
X = np.concatenate([clusters, strangers])

# %%
# Here one per cent of the training rows count as outliers. The detector accepts all settings of `GaussianMixture` and
# is a scikit-learn outlier detector: `predict` returns 1 for normal rows and -1 for outliers.

detector = MixtureOutlierDetector(contamination=0.01, n_components=2, random_state=0).fit(X)
found = detector.predict(X) == -1
print(f"{found.sum()} outliers, among them {found[-6:].sum()} of the 6 strangers")
print(f"threshold: log-density {detector.offset_:.2f}")

# %%
# The sixth stranger, at (3, 3), is not found. It lies where the tails of both clusters meet, and the density is higher
# there than at the threshold. The boundary is the contour of the density at the threshold.

x, y = np.meshgrid(np.linspace(-4, 10, 200), np.linspace(-5, 5, 200))
margin = detector.decision_function(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
ax.contour(x, y, margin, levels=[0], colors="black", linewidths=1)
ax.scatter(*X[~found].T, s=9, color="#0072B2", alpha=0.6, linewidths=0, label="normal")
ax.scatter(*X[found].T, s=45, color="#D55E00", marker="X", label="outlier")
ax.legend(frameon=False, loc="lower center", ncols=2)

# %%
# A known share, or a known distance
# ----------------------------------
#
# `contamination` sets the share of outliers among the training rows. If you prefer a rule in standard deviations, use
# the Mahalanobis distance from the nearest component. For rows of this component, its square has a chi-square
# distribution with d degrees of freedom, so a threshold corresponds to a probability:

distance = detector.estimator_.mahalanobis(X).min(axis=1)
limit = chi2.ppf(0.9999, df=2) ** 0.5
print(f"beyond {limit:.2f} standard deviations of every component: rows {np.flatnonzero(distance > limit).tolist()}")
print("the strangers are rows 600 to 605")

# %%
# Many outliers distort the fit
# -----------------------------
#
# The mixture is fitted to all rows, including the outliers. If it has as many components as there are clusters, the
# best fit can use one component for many outliers and another for two clusters (:doc:`/guide/starts`). If there are
# many outliers, give them a broad component of their own, as below, or add noise to the model (:doc:`plot_12_noise`).
# The weight of the broad component shows how many there are:

noise = rng.uniform([-4, -5], [10, 5], size=(60, 2))
polluted = np.concatenate([clusters, noise])
three = MixtureOutlierDetector(contamination=0.05, n_components=3, n_init=5, random_state=0).fit(polluted)
spread = np.linalg.det(three.estimator_.covariances_) ** 0.25
for weight, size in sorted(zip(three.estimator_.weights_.tolist(), spread.tolist(), strict=True)):
    print(f"weight {weight:.3f}, typical standard deviation {size:.2f}")
