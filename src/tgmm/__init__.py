"""Gaussian mixture models on PyTorch."""

from tgmm.conditional import ConditionalMixture
from tgmm.gaussian_mixture import GaussianMixture
from tgmm.outliers import MixtureOutlierDetector
from tgmm.persistence import ModelFileError
from tgmm.selection import Cell, Selection, select

__version__ = "0.5.0"

__all__ = [
    "GaussianMixture",
    "ConditionalMixture",
    "MixtureOutlierDetector",
    "ModelFileError",
    "Cell",
    "Selection",
    "select",
    "__version__",
]
