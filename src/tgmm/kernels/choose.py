"""Which kernels serve a fit, fastest first."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from tgmm.covariance import CovarianceStructure
from tgmm.data.frame import Frame
from tgmm.kernels.base import Kernel
from tgmm.kernels.centred import Centred
from tgmm.kernels.products import Products


def kernels_for(
    structure: CovarianceStructure, frame: Frame, n_components: int, dtype: torch.dtype, device: torch.device
) -> list[Kernel]:
    """Return kernels in the order of falling speed and rising precision.

    The conditioning guard moves along this list: products in the working float type, in float64, then
    the centred form. A device without float64 goes to the centred form at once.
    """
    widest = dtype if device.type == "mps" else torch.float64
    ladder: list[Kernel] = [products_for(dtype, device)(structure, frame, n_components, dtype, device)]
    if dtype != widest:
        ladder.append(Products(structure, frame, n_components, widest, device))
    ladder.append(Centred(structure, frame, n_components, widest, device))
    return ladder


def products_for(dtype: torch.dtype, device: torch.device) -> type[Kernel]:
    """Return the fastest form of the products: fused, where there is Triton and a GPU that it compiles them for."""
    if dtype == torch.float32 and has_fused_kernels(device):
        from tgmm.kernels.fused import Fused

        return Fused
    return Products


def has_fused_kernels(device: torch.device) -> bool:
    """Whether there is Triton, and the device is an Nvidia GPU with TF32 units."""
    if device.type != "cuda" or torch.version.cuda is None or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)
