"""The conditioning guard: whether a kernel's sums can carry a mixture's variances."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.kernels.base import Kernel
from tgmm.mixture import Mixture

# Rounding relative to the variances above which statistics are not to be used, by float type.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-8}
# Sums whose rounding is this close to the best that any centre can give have nothing to gain from another.
NEARLY_CENTRED = 4.0


def resolution(kernel: Kernel) -> float:
    """Return the smallest share of a second moment that the kernel's sums give precisely as a variance."""
    return torch.finfo(kernel.dtype).eps / TOLERANCE[kernel.dtype]


def is_precise(kernel: Kernel, mixture: Mixture, centre: Tensor | None, widest: torch.dtype) -> bool:
    """Whether the kernel's sums about centre (K, d), or the origin, give the mixture's variances precisely.

    In the widest float type, sums that no other centre would improve are as precise as can be.
    """
    if mixture.smallest_variance < torch.finfo(kernel.dtype).tiny / torch.finfo(kernel.dtype).eps:
        return False  # squares underflow
    if centre is None or centre.shape[0] == 1:
        amplification = mixture.amplification_about_origin
    else:
        amplification = float(mixture.amplification(centre).amax())
    if resolution(kernel) * amplification <= 1:
        return True
    best = float(mixture.amplification(mixture.parameters.means).amax())
    return kernel.dtype == widest and amplification <= NEARLY_CENTRED * best


def first_precise(kernels: list[Kernel], mixture: Mixture) -> int:
    """Return the index of the first kernel whose joint log-densities are precise; the last always serves."""
    last = len(kernels) - 1
    return next((i for i in range(last) if is_precise(kernels[i], mixture, None, kernels[last].dtype)), last)
