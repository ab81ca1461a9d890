"""Describe what is in a file, a mixture or an estimator that is composed of mixtures: `tgmm info`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tgmm.cli import report
from tgmm.cli.models import model_in
from tgmm.data.columns import listed
from tgmm.estimators.classifier import MixtureClassifier
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.mixtures import Mixtures
from tgmm.estimators.outliers import MixtureOutlierDetector
from tgmm.estimators.regressor import MixtureRegressor


def run(options: Namespace) -> None:
    """Describe a model."""
    model: Any = model_in(options.model, "cpu")
    if options.json:
        print(report.as_json(_described(model)))
    elif isinstance(model, Mixtures):
        failed = [f"{key!r} failed: {reason}" for key, reason in model.failures_.items()]
        print("\n".join([repr(model), f"Problems: {listed(model.keys())}", *failed]))
    elif isinstance(model, GaussianMixture):
        print(report.info_text(model))
    else:
        print(model.summary())


def _described(model: Any) -> dict[str, Any]:
    """Return an estimator as plain values: its kind, what it has besides mixtures, and these."""
    kind: dict[str, Any] = {"kind": type(model).__name__}
    if isinstance(model, MixtureClassifier):
        each = zip(model.classes_.tolist(), model.class_prior_.tolist(), model.estimators_, strict=True)
        return {**kind, "classes": [{"class": name, "prior": prior, **report.describe(m)} for name, prior, m in each]}
    if isinstance(model, Mixtures):
        fitted = {key: mixture for key, mixture in model.items() if key not in model.failures_}
        each = [{"problem": key, **report.describe(mixture)} for key, mixture in fitted.items()]
        failed = [{"problem": key, "reason": reason} for key, reason in model.failures_.items()]
        return {**kind, "problems": each, "failures": failed}
    if isinstance(model, MixtureOutlierDetector):
        kind |= {"contamination": model.contamination, "threshold": model.offset_}
    if isinstance(model, MixtureRegressor):  # whose mixture is of features and targets
        kind["n_features_in"] = model.n_features_in_
    mixture: Any = getattr(model, "estimator_", model)
    return {**kind, **report.describe(mixture)}
