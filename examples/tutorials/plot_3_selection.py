"""
Choosing a mixture
==================

How many components, and with which covariances? `select` fits every combination and compares them.
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
# The six common structures with one to six components. `select` looks for the best optimum of each combination, so that
# none loses for want of a good start.

selection = select(faithful, n_components=range(1, 7), random_state=0)
selection

# %%
# Three components with one common covariance matrix: the answer of mclust (Scrucca et al. 2016), whose BIC of -2314.3
# is minus this one. The runners-up are within ten units, where evidence is not decisive; the spherical structures are
# out of the question, as eruptions and rests have different spreads.

ax = plot_selection(selection)

# %%
# The table has every cell, and for a cell that failed the reason.

selection.table().sort_values("bic").head(8)[
    ["covariance_type", "n_components", "bic", "icl", "log_likelihood", "status"]
]

# %%
# Clusters or density?
# --------------------
#
# BIC asks which density explains the data. Its third component is there because the large cluster is not quite
# Gaussian. ICL asks which *clusters* are apart, and charges for every ambiguous row. It says two:

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
# Held-out likelihood assumes nothing but that rows are independent: each fold is scored by a model that has not seen
# it. Its curve is flat near the top, as is usual, since another component costs little in prediction.

held_out = select(faithful, range(1, 6), ["full", "tied_full"], criterion="held_out", n_init=1, random_state=0)
ax = plot_selection(held_out)

# %%
# With priors
# -----------
#
# 40 rows, up to eight components: cells whose likelihood comes from a component that sits on a few rows are marked as
# degenerate (hollow points), and are not chosen. Settings of `GaussianMixture` go through `select`; with a weak prior
# the curve is smooth and nothing is degenerate.

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
