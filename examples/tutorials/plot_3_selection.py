"""
Choosing a mixture
==================

How many components does a mixture need, and which covariance structure? `select` fits every combination and compares
them.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tgmm import select
from tgmm.plotting import plot_components, plot_selection

faithful = pd.read_csv(Path("../data/faithful.csv"))

# %%
# By BIC
# ------
#
# The search covers the common structures with one to six components. `select` looks for the best optimum of each
# combination, so that none loses because of a bad start.

selection = select(faithful, n_components=range(1, 7), random_state=0)
selection

# %%
# BIC chooses three components with a common covariance matrix, like mclust (Scrucca et al. 2016), whose BIC of -2314.3
# has the opposite sign. The next best models are within ten units, a difference that is not decisive. Spherical
# structures fit much worse, because durations and waits have very different spreads.

ax = plot_selection(selection)

# %%
# `table` lists every cell, with the reason if a cell failed.

selection.table().sort_values("bic").head(8)[
    ["covariance_type", "n_components", "bic", "icl", "log_likelihood", "status"]
]

# %%
# Clusters or density?
# --------------------
#
# BIC chooses the density that explains the data best. It needs a third component because the large cluster is not quite
# Gaussian. ICL chooses separated *clusters* and penalises every ambiguous row. It chooses two:

clusters = select(faithful, n_components=range(1, 5), criterion="icl", n_init=2, random_state=0)
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained", sharey=True)
for ax, found in zip(axes, (selection, clusters), strict=True):
    plot_components(found.best_, faithful, ax=ax)
    ax.get_legend().remove()
    ax.set_title(f"{found.criterion.upper()}: {found.best_.covariance_type}, {found.best_.n_components}")

# %%
# By prediction
# -------------
#
# Held-out likelihood assumes only that rows are independent: each fold is scored by a model that was not fitted to it.
# As usual, the curve is flat near its maximum, because an additional component costs little in prediction.

held_out = select(faithful, range(1, 6), ["full", "tied_full"], criterion="held_out", n_init=1, random_state=0)
ax = plot_selection(held_out)

# %%
# With priors
# -----------
#
# With only 40 rows and up to eight components, some cells owe their likelihood to a component on a few rows. These
# cells are marked as degenerate (hollow points) and are not chosen. `select` passes settings on to `GaussianMixture`.
# With a weak prior, the curve is smooth and no cell is degenerate.

few = faithful.sample(40, random_state=1)
prior = {
    "mean_prior": few.mean(),
    "mean_precision_prior": 0.01,
    "covariance_prior": np.cov(few.T) / 4,
    "degrees_of_freedom_prior": 4,
}
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
for ax, settings, title in zip(axes, ({}, prior), ("maximum likelihood", "weak prior"), strict=True):
    plot_selection(select(few, range(1, 9), "full", n_init=2, random_state=0, **settings), ax=ax)
    ax.set_title(title)
