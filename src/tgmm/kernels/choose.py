"""Which kernels serve a fit, fastest first."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from tgmm.covariance import CovarianceStructure
from tgmm.data.frame import Frame
from tgmm.kernels.base import Kernel
from tgmm.kernels.centred import Centred
from tgmm.kernels.products import Products

FEATURES = 64  # from which on moments can outweigh
# Features a component, and features whatever the components, from which on they do.
FEATURES_PER_COMPONENT = {torch.float32: 64, torch.float64: 16}
MANY_FEATURES = {torch.float32: 384, torch.float64: 256}


def kernels_for(
    structure: CovarianceStructure, frame: Frame, n_components: int, dtype: torch.dtype, device: torch.device
) -> list[Kernel]:
    """Return kernels in the order of falling speed and rising precision.

    The conditioning guard moves along this list: products in the working float type, in float64, then
    the centred form. A device without float64 goes to the centred form at once. So does a CPU where features would
    cost more to write and read again than the products of few components save.
    """
    widest = dtype if device.type == "mps" else torch.float64
    with_products = [
        float_type
        for float_type in dict.fromkeys((dtype, widest))
        if device.type != "cpu" or not moments_outweigh(structure, frame.shift.shape[0], n_components, float_type)
    ]
    return [
        *(products_for(each, device)(structure, frame, n_components, each, device) for each in with_products),
        Centred(structure, frame, n_components, widest, device),
    ]


def moments_outweigh(structure: CovarianceStructure, n_features: int, n_components: int, dtype: torch.dtype) -> bool:
    """Whether the moments of a row, q numbers, are too many for what K components do with them.

    A moment costs a write and two reads, and 2 operations a component in each product; the centred form, always in
    float64, does twice the operations on rows alone. Measured from 1 to 64 components and 64 to 384 features: the
    memory weighs more from some ratio of features to components on, and for any K where even few rows of moments leave
    the caches. Pooled structures leave their moments out.
    """
    if structure.pooled or structure.moment.size(n_features) <= n_features or n_features < FEATURES:
        return False
    return n_features > MANY_FEATURES[dtype] or n_features >= FEATURES_PER_COMPONENT[dtype] * n_components


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
