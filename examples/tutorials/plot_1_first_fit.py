"""
A first fit
===========

An eruption of the Old Faithful geyser lasts between a minute and a half and five minutes, and the next one follows
after 43 to 96 minutes. These 272 pairs are the classic example of a mixture: a short eruption is followed by a short
wait.
"""

# sphinx_gallery_thumbnail_number = 2
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tgmm import GaussianMixture
from tgmm.plotting import plot_components, plot_density, plot_history, plot_uncertainty

DATA = Path("../data/faithful.csv")

faithful = pd.read_csv(DATA)
faithful.describe().round(2)

# %%
# The fit
# -------
#
# The model has two components with their own covariance matrices. `random_state` makes the start reproducible. A data
# frame passes its column names on to the model.

gmm = GaussianMixture(n_components=2, covariance_type="full", tol=1e-6, random_state=0)
gmm.fit(faithful)
print("weights", gmm.weights_.round(3))
print("means", gmm.means_.round(2).tolist())
print("covariances", gmm.covariances_.round(3).tolist(), sep="\n")

# %%
# Attributes show how the fit went. Few steps are left to do, because trials of several starts precede them
# (:doc:`/guide/starts`). `runs_` lists the runs that were followed to the end. There is only one, because all starts
# led to the same solution.

print(f"converged: {gmm.converged_}, steps: {gmm.n_iter_}, log-likelihood per row: {gmm.lower_bound_:.4f}")
print("runs:", [f"{run.objective:.4f} from {run.start}" for run in gmm.runs_])

# %%
# For comparison, the next fit starts from two random rows, without acceleration. The average log-likelihood rises with
# every step. The run has converged when both the last change and the predicted remaining gain are less than `tol`.

plain = GaussianMixture(2, init_means="random", accelerate=None, tol=1e-6, random_state=0).fit(faithful)
ax = plot_history(plain)

# %%
# Clusters
# --------
#
# The picture shows each row in the colour of its most probable component, and the ellipses that hold 50 % and 95 % of
# each component:

ax = plot_components(gmm, faithful)

# %%
# `predict` returns this component, and `predict_proba` how certain it is. Between the clusters, the model is uncertain:

between = pd.DataFrame({"eruptions": [2.0, 2.9, 3.1, 4.5], "waiting": [55.0, 65.0, 68.0, 80.0]})
between.columns = faithful.columns
for row, probabilities in zip(between.to_numpy(), gmm.predict_proba(between), strict=True):
    print(row, probabilities.round(3))

# %%
# `plot_uncertainty` draws uncertain rows larger:

ax = plot_uncertainty(gmm, faithful)

# %%
# Density
# -------
#
# A mixture is also a density. `score_samples` returns its logarithm at each row. The picture shows the regions of
# highest density that hold a given share of the probability.

print("least probable row:", faithful.to_numpy()[np.argmin(gmm.score_samples(faithful))])
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
plot_density(gmm, faithful, ax=left)
ax = plot_density(gmm, kind="shading", ax=right)

# %%
# You can also sample from the model. If the samples look like the data, the model has passed the simplest check there
# is:

rows, components = gmm.sample(272, random_state=0)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained", sharex=True, sharey=True)
for ax, points, title in zip(axes, (faithful.to_numpy(), rows), ("data", "draws"), strict=True):
    ax.scatter(*points.T, s=10, color="0.3")
    ax.set(title=title, xlabel=faithful.columns[0], ylabel=faithful.columns[1])
