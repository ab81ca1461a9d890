"""Gaussian mixture models on PyTorch."""

from tgmm.gaussian_mixture import GaussianMixture
from tgmm.persistence import ModelFileError
from tgmm.selection import Cell, Selection, select

__version__ = "0.5.0"

__all__ = ["GaussianMixture", "ModelFileError", "Cell", "Selection", "select", "__version__"]
