"""
Regression by a mixture
=======================

A mixture of the joint distribution of inputs and outputs answers every question of the form "what is y, given x?".
Each component contributes a line, and the curve bends where one component takes over from another. The result includes
the uncertainty, and you need not decide before the fit which feature is the output.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV

from tgmm import MixtureRegressor, select
from tgmm.plotting import plot_components

rng = np.random.default_rng(0)
x = rng.uniform(0, 10, 600)
y = np.sin(x) + 0.4 * x + rng.normal(0, 0.1 + 0.05 * x)
X = np.column_stack([x, y])

# %%
# First, fit the joint distribution, with the number of components chosen by BIC:

selection = select(X, range(2, 12), "full", random_state=0)
gmm = selection.best_
print(f"{gmm.n_components} components")
ax = plot_components(gmm, X)
ax.set(xlabel="x", ylabel="y")

# %%
# Given x (feature 0), `regress` predicts the other features: the mean and the standard deviation of their conditional
# distribution. The noise in the data grows with x, and so does the band.

grid = np.linspace(0, 10, 200)
mean, deviation = gmm.regress(grid[:, None], dims=[0])
mean, deviation = mean[:, 0], deviation[:, 0]
figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
ax.scatter(x, y, s=6, color="0.6", linewidths=0)
ax.fill_between(grid, mean - 2 * deviation, mean + 2 * deviation, color="#0072B2", alpha=0.2, linewidth=0)
ax.plot(grid, mean, color="#0072B2", label="mixture, ± 2 standard deviations")
ax.plot(grid, np.sin(grid) + 0.4 * grid, color="black", linestyle=":", label="truth")
ax.legend(frameon=False)
ax.set(xlabel="x", ylabel="y")

predicted, spread = gmm.regress(X[:, :1], dims=[0])
print(f"rows within two standard deviations: {np.mean(abs(y - predicted[:, 0]) < 2 * spread[:, 0]):.1%}")

# %%
# The other way round
# -------------------
#
# The same model also predicts x from y. For y = 2 there are two answers, x near 2 and x near 6, and their mean is
# neither. `condition` returns the whole distribution, which is again a mixture.

given = gmm.condition([2.0], dims=[1])
candidates = np.linspace(0, 10, 500)
density = np.exp(given.log_prob(candidates[:, None]))
figure, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
ax.plot(candidates, density, color="#D55E00")
ax.axvline(given.mean().item(), color="black", linestyle=":", label="mean")
ax.set(xlabel="x, given y = 2", ylabel="density", ylim=(0, None))
ax.legend(frameon=False)

# %%
# As a scikit-learn estimator
# ---------------------------
#
# If you know in advance what to predict, `MixtureRegressor` provides the same regression through `fit(X, y)`, for
# pipelines and searches. The settings of its mixture are available as `estimator__...`. Here cross-validation chooses
# the number of components that minimises the prediction error.

search = GridSearchCV(MixtureRegressor(), {"estimator__n_components": [1, 2, 4, 6, 8]}).fit(X[:, :1], y)
print(search.best_params_)
mean, deviation = search.best_estimator_.predict([[2.0], [8.0]], return_std=True)
print(f"at x = 2: {mean[0]:.2f} ± {deviation[0]:.2f}; at x = 8: {mean[1]:.2f} ± {deviation[1]:.2f}")
