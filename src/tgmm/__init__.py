"""Gaussian mixture models on PyTorch."""

from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.outliers import MixtureOutlierDetector
from tgmm.files.store import ModelFileError
from tgmm.mixture.conditional import ConditionalMixture
from tgmm.mixture.mixture import Mixture
from tgmm.selection import Cell, Selection, select

__version__ = "0.5.0"

__all__ = [
    "GaussianMixture",
    "Mixture",
    "ConditionalMixture",
    "MixtureOutlierDetector",
    "ModelFileError",
    "Cell",
    "Selection",
    "select",
    "__version__",
]
