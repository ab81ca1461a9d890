"""Gaussian mixture models on PyTorch."""

from tgmm.gaussian_mixture import GaussianMixture

__version__ = "0.5.0"

__all__ = ["GaussianMixture", "__version__"]
