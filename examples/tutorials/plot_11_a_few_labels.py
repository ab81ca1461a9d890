"""
A few labels
============

Rows are cheap, but somebody has to look at each of them to label it. A mixture also learns from the rows without
labels, so a few labels are often enough.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from tgmm import GaussianMixture
from tgmm.plotting import plot_components

X, cultivar = load_wine(return_X_y=True)
rng = np.random.default_rng(0)
labels = np.full(len(X), -1)
for k in range(3):
    labels[rng.choice(np.flatnonzero(cultivar == k), 2, replace=False)] = k
known = labels >= 0
print(f"{X.shape[0]} wines, {X.shape[1]} measurements, {known.sum()} labels")

# %%
# Two wines of each of three cultivars have a label; -1 means that nothing is known. Component k is the one with label
# k.

gmm = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X, labels=labels)
print(f"{np.mean(gmm.predict(X)[~known] == cultivar[~known]):.1%} of the other wines are right")

# %%
# Without labels, the fit finds the same clusters, but their numbers are arbitrary:

without = GaussianMixture(3, covariance_type="diag", random_state=0).fit(X)
print(np.array([np.bincount(without.predict(X)[cultivar == k], minlength=3) for k in range(3)]))

# %%
# The picture shows the 13 features in the two directions that separate the components best.

ax = plot_components(gmm, X)

# %%
# How many labels?
# ----------------
#
# If classes are clusters, one label each is enough. If they overlap, labels help to find them, and unlabelled rows make
# a few labels go further. The example has two classes in five dimensions whose means are two standard deviations apart,
# and compares fits with and without the unlabelled rows:


def right(n_labels, seed, *, use_others):
    """Return the share of unlabelled rows that are told right."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat([0, 1], 300)
    rows = rng.normal(size=(600, 5))
    rows[:, 0] += 2 * kinds
    labels = np.full(600, -1)
    for k in range(2):
        labels[rng.choice(np.flatnonzero(kinds == k), n_labels, replace=False)] = k
    used = np.full(600, True) if use_others else labels >= 0
    gmm = GaussianMixture(2, covariance_type="tied_full", random_state=0).fit(rows[used], labels=labels[used])
    return np.mean((gmm.predict(rows) == kinds)[labels < 0])


numbers = [5, 10, 20, 50, 100]
figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for use_others, style in ((True, "o-"), (False, "s--")):
    shares = [np.mean([right(number, seed, use_others=use_others) for seed in range(5)]) for number in numbers]
    ax.semilogx(numbers, shares, style, label="all rows" if use_others else "labelled rows alone")
    print("all rows" if use_others else "labelled ", np.round(shares, 3))
ax.axhline(0.841, color="0.6", linewidth=0.8)
ax.set(xlabel="labels per class", ylabel="right", xticks=numbers, xticklabels=numbers)
ax.legend(frameon=False)

# %%
# The grey line is the best possible rate.
#
# Uncertain labels
# ----------------
#
# A label holds until the end, whether it is right or wrong. If it is only an opinion, give odds instead: `labels` of
# shape (n, K) multiply the weights of the components in a row. Here an expert who is right nine times out of ten has
# looked at half of the wines.

looked = rng.random(len(X)) < 0.5
mistaken = looked & (rng.random(len(X)) < 0.1)
opinion = np.where(mistaken, (cultivar + rng.integers(1, 3, len(X))) % 3, cultivar)
hard = np.where(looked, opinion, -1)
odds = np.where(looked[:, None], np.where(np.arange(3) == opinion[:, None], 0.9, 0.05), 1.0)
begin = [X[hard == k].mean(axis=0) for k in range(3)]
for name, given in [("labels", hard), ("odds", odds)]:
    model = GaussianMixture(3, covariance_type="diag", init_means=begin).fit(X, labels=given)
    found = model.predict(X) == cultivar
    print(
        f"{name:<7} {found.mean():.1%} of all wines, {found[mistaken].mean():.0%} of the {mistaken.sum()} mistaken ones"
    )

# %%
# `predict` does not use the labels, so it can correct mistakes. :doc:`/guide/labels` explains when labels do harm.
