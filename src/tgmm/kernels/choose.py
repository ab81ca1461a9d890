"""Which kernels serve a fit, fastest first."""

from __future__ import annotations

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
    ladder: list[Kernel] = [Products(structure, frame, n_components, dtype, device)]
    if dtype != widest:
        ladder.append(Products(structure, frame, n_components, widest, device))
    ladder.append(Centred(structure, frame, n_components, widest, device))
    return ladder
