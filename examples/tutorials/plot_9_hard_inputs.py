"""
Accuracy and failure modes
==========================

This page shows what happens where the textbook formulas fail: which inputs are refused, which give a valid model and a
warning, and which are computed correctly all the same. All output comes from the build of this page.
"""

import textwrap
import traceback
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.mixture import GaussianMixture as ScikitLearn

from tgmm import GaussianMixture


def attempt(name, action):
    """Print what an action gives: its warnings and result, or its error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = action()
        except Exception as error:
            result = traceback.format_exception_only(error)[-1].strip()
    print(name)
    for text in [*(f"{w.category.__name__}: {w.message}" for w in caught), str(result)]:
        print(textwrap.fill(" ".join(text.split()), 92, initial_indent="    ", subsequent_indent="      "))


def summary(gmm):
    """What a fit found, in a line."""
    means = ", ".join("(" + ", ".join(f"{value:.4g}" for value in mean) + ")" for mean in gmm.means_.tolist())
    return f"weights {gmm.weights_.round(3)}, means {means}"


rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(0, 1, (100, 2)), rng.normal(6, 1, (100, 2))])

# %%
# Refused: input without a valid answer
# -------------------------------------
#
# The error message says what is wrong and where.

with_nan = X.copy()
with_nan[17, 1] = np.nan
attempt("NaN", lambda: GaussianMixture(2).fit(with_nan))
attempt("infinity", lambda: GaussianMixture(2).fit(np.where(X > 8, np.inf, X)))
attempt("complex", lambda: GaussianMixture(2).fit(X[:2] + 1j))
attempt("strings", lambda: GaussianMixture(2).fit([["a", "b"], ["c", "d"]]))
attempt("sparse", lambda: GaussianMixture(2).fit(sparse.csr_array(X)))
attempt("one dimension", lambda: GaussianMixture(2).fit(X[:3, 0]))
attempt("three dimensions", lambda: GaussianMixture(2).fit(X[None]))
attempt("no rows", lambda: GaussianMixture(2).fit(X[:0]))
attempt("no features", lambda: GaussianMixture(2).fit(X[:, :0]))

# %%

attempt("more components than rows", lambda: GaussianMixture(10).fit(X[:5]))
attempt("wrong number of features", lambda: GaussianMixture(2, n_features=3).fit(X))
attempt("the same at prediction", lambda: GaussianMixture(2).fit(X).predict(X[:, :1]))
attempt("negative weight", lambda: GaussianMixture(2).fit(X, sample_weight=np.linspace(-1, 1, 200)))
attempt("no weight", lambda: GaussianMixture(2).fit(X, sample_weight=np.zeros(200)))
attempt("prior without its partner", lambda: GaussianMixture(2, mean_prior=[0, 0]).fit(X))
attempt("not fitted", lambda: GaussianMixture(2).predict(X))
frame = pd.DataFrame(X, columns=["length", "width"])
attempt("columns in another order", lambda: GaussianMixture(2).fit(frame).predict(frame[["width", "length"]]))

# %%
# A warning: data with too little information
# -------------------------------------------
#
# These fits give a finite, valid model and one warning. Variances that the data do not determine depend on `reg_covar`.

attempt("identical rows", lambda: summary(GaussianMixture(2, random_state=0).fit(np.ones((10, 2)))))
attempt("one row", lambda: summary(GaussianMixture(1).fit([[1.0, 2.0]])))
constant = X.copy()
constant[:, 1] = 3
attempt("constant feature", lambda: summary(GaussianMixture(2, random_state=0).fit(constant)))
attempt("fewer different rows than components", lambda: summary(GaussianMixture(3).fit([[0.0], [0.0], [1.0], [1.0]])))
attempt("more features than rows", lambda: GaussianMixture(1).fit(rng.normal(size=(5, 8))).covariances_.shape)
hasty = GaussianMixture(6, init_means="random", max_iter=2, random_state=0)
attempt("not converged", lambda: hasty.fit(X).converged_)

# %%
# A component that loses its rows is moved to the rows that the mixture explains worst. In this example its initial mean
# is far from all rows. It ends on two rows, and the same warning says that its variance does not come from them:

far_start = np.array([[0.0, 0.0], [6.0, 6.0], [1000.0, 1000.0]])
attempt("lost component", lambda: summary(GaussianMixture(3, init_means=far_start).fit(X)))

# %%
# If the mode under a Dirichlet prior sets a weight to 0, it stays 0. This is the effect of the prior, so there is no
# warning.

sparse_prior = {"weight_concentration_prior": 0.01, "covariance_type": "spherical", "tol": 1e-6, "random_state": 0}
attempt("weight 0 by the prior", lambda: GaussianMixture(4, **sparse_prior).fit(X[::10]).weights_)

# %%
# Without regularisation (`reg_covar=0`), a singular covariance is an error that names the component and the remedy:

line = np.column_stack([X[:, 0], 2 * X[:, 0]])
attempt("singular covariance", lambda: GaussianMixture(2, reg_covar=0, random_state=0).fit(line))

# %%
# Computed correctly: any float type
# ----------------------------------

typed = {
    "int64": (10 * X).astype(np.int64),
    "bool": X > 3,
    "float16": X.astype(np.float16),
    "bfloat16": torch.from_numpy(X).bfloat16(),
    "float32": X.astype(np.float32),
    "float64": X,
}
for name, rows in typed.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # booleans have no variance within their clusters
        fit = GaussianMixture(2, covariance_type="diag", random_state=0).fit(rows)
    print(f"{name:<9}is computed in {str(fit.mixture_.dtype).removeprefix('torch.')}")

# %%
# Non-contiguous and read-only arrays work, and so do tensors that require a gradient. They are never modified, and the
# results carry no graph.

read_only = np.asfortranarray(X)[::-1]
read_only.flags.writeable = False
tracked = torch.from_numpy(X).requires_grad_()
fit = GaussianMixture(2, random_state=0).fit(read_only)
print(summary(fit), fit.score_samples(tracked).requires_grad)

# %%
# Computed correctly: float32 far from the origin
# -----------------------------------------------
#
# Two clusters with standard deviation 1 are moved away from the origin in float32. The reference is the fit to the same
# stored numbers in float64.

print("offset    error of the standard deviations (tgmm, scikit-learn)")
for offset in (0, 1e2, 1e3, 1e4):
    stored = (X + offset).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = (X[:, 0] > 3).astype(int)
        settings = {"covariance_type": "diag", "tol": 1e-6, "max_iter": 500}
        truth = GaussianMixture(2, **settings).fit(stored.astype(np.float64), init_responsibilities=labels)
        ours = GaussianMixture(2, **settings).fit(stored, init_responsibilities=labels)
        try:
            centres = np.array([stored[labels == k].mean(axis=0) for k in (0, 1)])
            theirs = ScikitLearn(2, **settings, means_init=centres).fit(stored).covariances_
        except ValueError:
            theirs = np.full((2, 2), np.nan)
    exact = truth.covariances_**0.5
    errors = [abs(np.sqrt(c) / exact - 1).max() for c in (ours.covariances_, theirs)]
    print(f"{offset:<10g}{errors[0]:.1e}  {errors[1]:.1e}")

# %%
# Computed correctly: tight clusters far apart, and unusual units
# ---------------------------------------------------------------
#
# The next two clusters are a million standard deviations apart. One feature is in units of 1e-9, and the other in units
# of 1e9:

tight = np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(1e6, 1, (200, 2))]) * [1e-9, 1e9]
fit = GaussianMixture(2, random_state=0).fit(tight)
deviations = np.sqrt(fit.covariances_.diagonal(axis1=1, axis2=2)) / [1e-9, 1e9]
print("standard deviations in those units:", deviations.round(3).tolist(), "converged:", fit.converged_)

# %%
# Rows far away
# -------------
#
# For rows that are far from everything, the log-density is very low or minus infinity, and the probabilities are finite
# and sum to 1.

fit = GaussianMixture(2, random_state=0).fit(X)
for distance in (1e2, 1e8, 1e200):
    row = [[distance, distance]]
    print(f"{distance:g}: log-density {fit.score_samples(row)[0]:g}, probabilities {fit.predict_proba(row)[0]}")

# %%
# Overflow
# --------
#
# Values whose squares exceed the float type are scaled internally. If there is still no valid answer, they are refused.

attempt("1e30 in float32", lambda: summary(GaussianMixture(2).fit((X * 1e30).astype(np.float32))))
attempt("1e150 in float64", lambda: summary(GaussianMixture(2, random_state=0).fit(X * 1e150)))
attempt("1e300 in float64", lambda: summary(GaussianMixture(2).fit(X * 1e300)))

# %%
# Where the likelihood is misleading
# ----------------------------------
#
# Arithmetic cannot help if the *model* is wrong. With few rows and many components, the likelihood grows as components
# shrink onto rows, and only `reg_covar` keeps it finite. The picture shows the standard deviations of a fit against
# `reg_covar`. Those that rise in parallel with the dotted line consist of the regularisation alone, so their components
# say nothing about the data. The remedy is a prior on the covariances (:doc:`plot_2_priors`).

few = X[::8]
levels = 10.0 ** np.arange(-10, -1)
smallest, added = [], []
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for level in levels:
        fit = GaussianMixture(8, reg_covar=level, n_init=3, random_state=0, max_iter=1000).fit(few)
        smallest.append(np.sort(np.linalg.eigvalsh(fit.covariances_)[:, 0] ** 0.5))
        added.append(fit.reg_covar_.mean() ** 0.5)
figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
ax.loglog(levels, smallest, "o", color="#0072B2", markersize=4)
ax.loglog(levels, added, color="0.5", linestyle=":", label="the regularisation alone")
ax.set(xlabel="reg_covar", ylabel="smallest standard deviation\nof each of 8 components")
ax.legend(frameon=False)
