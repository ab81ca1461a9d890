"""Gaussian mixture models on PyTorch."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tgmm.estimators.bayesian import BayesianGaussianMixture
    from tgmm.estimators.classifier import MixtureClassifier
    from tgmm.estimators.gaussian_mixture import GaussianMixture
    from tgmm.estimators.imputer import MixtureImputer
    from tgmm.estimators.many import fit_many
    from tgmm.estimators.mixtures import Mixtures
    from tgmm.estimators.outliers import MixtureOutlierDetector
    from tgmm.estimators.regressor import MixtureRegressor
    from tgmm.files.store import ModelFileError
    from tgmm.mixture.conditional import ConditionalMixture
    from tgmm.mixture.mixture import Mixture
    from tgmm.mixture.summary import Summary
    from tgmm.selection import Cell, Selection, select

__version__ = "0.5.0"

__all__ = [
    "GaussianMixture",
    "BayesianGaussianMixture",
    "Mixture",
    "ConditionalMixture",
    "MixtureClassifier",
    "MixtureRegressor",
    "MixtureImputer",
    "MixtureOutlierDetector",
    "ModelFileError",
    "Mixtures",
    "fit_many",
    "Cell",
    "Selection",
    "select",
    "Summary",
    "__version__",
]

HOMES = {
    "GaussianMixture": "tgmm.estimators.gaussian_mixture",
    "BayesianGaussianMixture": "tgmm.estimators.bayesian",
    "Mixture": "tgmm.mixture.mixture",
    "ConditionalMixture": "tgmm.mixture.conditional",
    "MixtureClassifier": "tgmm.estimators.classifier",
    "MixtureRegressor": "tgmm.estimators.regressor",
    "MixtureImputer": "tgmm.estimators.imputer",
    "MixtureOutlierDetector": "tgmm.estimators.outliers",
    "ModelFileError": "tgmm.files.store",
    "Mixtures": "tgmm.estimators.mixtures",
    "fit_many": "tgmm.estimators.many",
    "Cell": "tgmm.selection",
    "Selection": "tgmm.selection",
    "select": "tgmm.selection",
    "Summary": "tgmm.mixture.summary",
}


def __getattr__(name: str) -> Any:
    """Return what this package exports, or a part of it, imported when it is first asked for.

    torch takes seconds to import, which the help of a command line must not wait for.
    """
    if name in HOMES:
        value = globals()[name] = getattr(import_module(HOMES[name]), name)
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "data", "plotting"])
