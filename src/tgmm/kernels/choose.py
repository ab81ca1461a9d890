"""Which kernels serve a fit, fastest first; and the conditioning guard that tells when the next must take over."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment, Sums
from tgmm.kernels.base import TOLERANCE, Kernel
from tgmm.kernels.centred import Centred
from tgmm.kernels.factors import Deviating, Scored
from tgmm.kernels.gaps import Gaps
from tgmm.kernels.products import Products
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters

# Features a component, pairs of features a component, and features whatever the components, from which on moments
# outweigh. In float32 products of few rows reach a smaller part of a processor's rate.
FEATURES_PER_COMPONENT, PAIRS_PER_COMPONENT, MANY_FEATURES = {torch.float32: 8, torch.float64: 9}, 24**2, 320
# Components below which bfloat16 parts do not pay, and from which on they do however many columns there are.
FEW_COMPONENTS, MANY_COMPONENTS = 128, 256
# Sums whose rounding is this close to the best that any centre can give have nothing to gain from another.
NEARLY_CENTRED = 4.0


def kernels_for(
    moment: Sums, frame: Frame, n_components: int, dtype: torch.dtype, device: torch.device, *, gaps: bool = False
) -> list[Kernel]:
    """Return kernels in the order of falling speed and rising precision, for rows that may lack values or do not.

    The conditioning guard moves along this list: products in the working float type, in float64, then
    the centred form; sums over rows and factors have forms of their own. A device without float64 goes to the centred
    form at once. On a CPU the centred form takes the place of products whose features would cost more to write and read
    again than so few components save.
    """
    widest = torch.float32 if device.type == "mps" else torch.float64
    if not isinstance(moment, Moment):
        scored = [Scored(moment, frame, n_components, each, device) for each in dict.fromkeys((dtype, widest))]
        return [*scored, Deviating(moment, frame, n_components, widest, device)]
    kinds = [
        (fastest_for(moment, frame, n_components, float_type, device), float_type)
        for float_type in dict.fromkeys((dtype, widest))
    ]
    kernels = [
        kind(moment, frame, n_components, float_type, device)
        for kind, float_type in dict.fromkeys([*kinds, (Centred, widest)])
    ]
    return [Gaps(kernel) for kernel in kernels] if gaps else kernels


def fastest_for(
    moment: Moment, frame: Frame, n_components: int, dtype: torch.dtype, device: torch.device
) -> type[Kernel]:
    """Return the fastest form there is in a float type."""
    if device.type == "cpu" and moments_outweigh(moment, frame.shift.shape[0], n_components, dtype):
        return Centred
    return products_for(moment, frame, n_components, dtype, device)


def centred_for(moment: Moment, frame: Frame, n_components: int, device: torch.device) -> Kernel:
    """Return the most precise kernel, in the widest float type that the device has."""
    widest = torch.float32 if device.type == "mps" else torch.float64
    return Centred(moment, frame, n_components, widest, device)


def moments_outweigh(moment: Moment, n_features: int, n_components: int, dtype: torch.dtype) -> bool:
    """Whether the moments of a row, q numbers, are too many for what K components do with them in a float type.

    A moment costs a write and two reads, and 2 operations a component in each product; the centred form does up to
    twice the operations on rows alone. Measured from 1 to 64 components and 4 to 512 features in both float types: the
    memory weighs more from some ratio of features to components on, which is higher for few features, and for any K
    where even few rows of moments leave the caches. Shared moments are left out of the products.
    """
    if moment.shared or moment.size(n_features) <= n_features:
        return False
    per_component = n_features / n_components
    is_ratio_high = per_component >= FEATURES_PER_COMPONENT[dtype] and n_features * per_component >= PAIRS_PER_COMPONENT
    return is_ratio_high or n_features >= MANY_FEATURES


def products_for(
    moment: Moment, frame: Frame, n_components: int, dtype: torch.dtype, device: torch.device
) -> type[Kernel]:
    """Return the fastest form of the products: all in one kernel, or of bfloat16 parts where there is much to multiply.

    One kernel is for few columns of features and few components: on an H100 it takes a fifth to half of the time of
    plain products. Parts of the features are three times as many bytes to write and to read as the features, which
    fewer components than columns of these do not make up for: at 64 components nothing is gained, at 1024 a factor of 2
    to 3.
    """
    if dtype != torch.float32 or not has_matrix_units(device):
        return Products
    n_features = frame.shift.shape[0]
    from tgmm.kernels.fused import Fused, fits

    if fits(moment, n_features, n_components):
        return Fused
    columns = n_features if moment.shared else n_features + moment.size(n_features)
    if n_components < min(max(columns, FEW_COMPONENTS), MANY_COMPONENTS):
        return Products
    from tgmm.kernels.split import Split

    return Split


def has_matrix_units(device: torch.device) -> bool:
    """Whether there is Triton, and the device is an Nvidia GPU whose matrix units take bfloat16."""
    if device.type != "cuda" or torch.version.cuda is None or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def is_precise(kernel: Kernel, parameters: Parameters, centre: Tensor | None, widest: torch.dtype) -> bool:
    """Whether the kernel's sums about centre (K, d), or the origin, give the variances of parameters precisely.

    In the widest float type, sums that no other centre would improve are as precise as can be.
    """
    if parameters.smallest_variance < kernel.least_variance:
        return False
    about_one = centre is None or centre.shape[0] == 1  # point for all components, near the origin
    if about_one and kernel.resolution * kernel.amplified_at_most(parameters) <= 1:
        return True
    amplification = kernel.amplification(parameters, None if about_one else centre)
    if kernel.resolution * amplification <= 1:
        return True
    best = kernel.amplification(parameters, parameters.means)
    return kernel.dtype == widest and amplification <= NEARLY_CENTRED * best


def are_precise(parameters: Parameters) -> Tensor:
    """Return of which mixtures of a batch float64 sums about the origin give the variances precisely, (P,)."""
    limits = torch.finfo(torch.float64)
    about_origin = parameters.amplification().amax(-1)
    precise = limits.eps / TOLERANCE[torch.float64] * about_origin <= 1
    if not precise.all():
        precise = precise | (about_origin <= NEARLY_CENTRED * parameters.amplification(parameters.means).amax(-1))
    return precise & (parameters.covariances.variances.amin((-2, -1)) >= limits.tiny / limits.eps)


def first_precise(kernels: Sequence[Kernel], parameters: Parameters) -> int:
    """Return the index of the first kernel whose joint log-densities are precise; the last always serves."""
    last = len(kernels) - 1
    for index, kernel in enumerate(kernels[:last]):
        if is_precise(kernel, parameters, None, kernels[last].dtype):
            return index
    return last
