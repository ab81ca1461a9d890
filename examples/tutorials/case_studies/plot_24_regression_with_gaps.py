"""
Predicting from whatever is known
=================================

How far will a patient's diabetes progress within a year? The data of scikit-learn have ten measurements of 442 patients
and the progression after a year. In practice some measurements are not there: one patient has no blood test, another no
blood pressure. A linear regression needs all of its inputs. A mixture of inputs and outcome answers from whatever is
known, and its standard deviation grows where less is.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from tgmm import GaussianMixture, MixtureRegressor

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X.head()

# %%
# With everything known
# ---------------------
#
# With one component, the mixture is linear regression, exactly. More components bend the line. Cross-validation tells
# whether that pays:

folds = KFold(5, shuffle=True, random_state=0)
print(f"linear regression: R² {cross_val_score(LinearRegression(), X, y, cv=folds).mean():.3f}")
for n_components in (1, 2, 3):
    model = MixtureRegressor(GaussianMixture(n_components, covariance_type="tied_full", random_state=0))
    print(f"n_components={n_components}: R² {cross_val_score(model, X, y, cv=folds).mean():.3f}")

# %%
# It does not: here a straight line is as good as anything, and a mixture with more components only has more to
# estimate. We keep one component. What the mixture adds is the rest of this page.
#
# With gaps
# ---------
#
# A third of all measurements is lost at random, in the training rows and in the test rows. The usual remedy fills in
# the mean of each column. With ``missing="em"`` the mixture is fitted to the values that are there, and predicts from
# them.

rng = np.random.default_rng(0)
gappy = X.where(rng.random(X.shape) > 1 / 3)
training, test = train_test_split(X.index, test_size=0.3, random_state=0)
usual = make_pipeline(SimpleImputer(), LinearRegression()).fit(gappy.loc[training], y[training])
model = MixtureRegressor(GaussianMixture(1, missing="em")).fit(gappy.loc[training], y[training])
print(f"{gappy.loc[training].notna().all(axis=1).mean():.0%} of the training rows are complete")
print(f"mean filled in, linear regression: R² {usual.score(gappy.loc[test], y[test]):.3f}")
print(f"mixture: R² {model.score(gappy.loc[test], y[test]):.3f}")

# %%
# One split of a small data set says little, so we repeat it:


def scores(seed):
    """Return R² of both ways with other gaps and another split."""
    rng = np.random.default_rng(seed)
    gappy = X.where(rng.random(X.shape) > 1 / 3)
    training, test = train_test_split(X.index, test_size=0.3, random_state=seed)
    models = make_pipeline(SimpleImputer(), LinearRegression()), MixtureRegressor(GaussianMixture(1, missing="em"))
    return [model.fit(gappy.loc[training], y[training]).score(gappy.loc[test], y[test]) for model in models]


repeated = np.array([scores(seed) for seed in range(20)])
print("mean R²:", repeated.mean(axis=0).round(3).tolist())
print(f"the mixture is better in {np.mean(repeated[:, 1] > repeated[:, 0]):.0%} of 20 splits")

# %%
# How sure is it?
# ---------------
#
# The regressor holds a mixture of all features and the outcome, `estimator_`. Its method `regress` takes any of the
# features as given, and answers with a mean and a standard deviation that are those of exactly this knowledge. We take
# one patient and reveal the measurements one after another.

mixture = MixtureRegressor(GaussianMixture(1)).fit(X.loc[training], y[training]).estimator_


def prediction(mixture, patient):
    """Return the mean and the standard deviation of the outcome, given the values that are there."""
    known = np.flatnonzero(patient.notna())
    if len(known) == 0:
        return mixture.mean()[-1], np.sqrt(mixture.covariance()[-1, -1])
    mean, deviation = mixture.regress(patient.to_numpy()[None, known], dims=known)
    return mean[0, -1], deviation[0, -1]  # the outcome is the last feature of the mixture


patient = X.loc[test].iloc[0]
order = ["age", "sex", "s1", "s2", "s3", "s4", "s6", "bp", "bmi", "s5"]
answers = [prediction(mixture, patient.where(patient.index.isin(order[:known]))) for known in range(len(order) + 1)]
means, deviations = np.array(answers).T
figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
ax.errorbar(range(len(means)), means, 2 * deviations, fmt="o", capsize=3, color="#0072B2")
ax.axhline(y[test].iloc[0], color="black", linestyle=":", label="what happened")
ax.set_xticks(range(len(means)), ["nothing", *(f"+ {name}" for name in order)], rotation=45, ha="right")
ax.set(ylabel="progression, ± 2 standard deviations")
ax.legend(frameon=False)

# %%
# Are these standard deviations honest? About 95 % of the outcomes should be within two of them, with few gaps and with
# many.

answers = np.array([prediction(model.estimator_, patient) for _, patient in gappy.loc[test].iterrows()])
inside = np.abs(y[test] - answers[:, 0]) < 2 * answers[:, 1]
gaps = gappy.loc[test].isna().sum(axis=1)
groups = {"up to 3 gaps": gaps <= 3, "more gaps": gaps > 3}
pd.DataFrame(
    {
        name: [rows.sum(), f"{inside[rows].mean():.0%}", answers[rows, 1].mean().round(1)]
        for name, rows in groups.items()
    },
    index=["patients", "within two standard deviations", "average standard deviation"],
).T

# %%
# :doc:`/guide/regression` has the mathematics and :doc:`/guide/missing_values` the assumption that gaps have to meet:
# whether a value is missing may depend on other values that are known, and not on the value itself.
