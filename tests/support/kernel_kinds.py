"""Every kernel there is: what makes each in every float type that it is for.

A new kernel is a line here, and is then held against the dense formulas for every structure that it can tell apart.
"""

import os
from importlib.util import find_spec

import pytest
import torch

from tgmm.covariance import COMMON, FACTORS
from tgmm.kernels.centred import Centred
from tgmm.kernels.factors import Scored
from tgmm.kernels.products import Products

HOST = torch.device("cpu")

# The structures that kernels can tell apart: all they know of one is its form and its moments, and the parsimonious
# ones have those of "full" or "diag".
TOLD_APART = (*COMMON, *(structure.name for structure in FACTORS))
# One of each way through a kernel: every form and moment, and covariances that all components share. The others are
# these ways put together.
EVERY_WAY = ("full", "diag", "spherical", "tied_full", "low_rank")


def made(form, dtype, device=HOST):
    """What makes a kernel of a form from moment, frame and K."""
    return lambda moment, frame, n_components: form(moment, frame, n_components, dtype, device)


KERNELS = {
    "products, float64": made(Products, torch.float64),
    "products, float32": made(Products, torch.float32),
    "centred, float64": made(Centred, torch.float64),
    "centred, float32": made(Centred, torch.float32),  # of a device without float64
}
FORMS = {Products, Centred, Scored}  # the last is for sums of its own: test_factors

if find_spec("triton") is not None:
    from tgmm.kernels.fused import Fused, fits
    from tgmm.kernels.split import Split

    # In Triton's interpreter where there is no GPU, see `conftest.py`.
    WHERE = HOST if os.environ.get("TRITON_INTERPRET") == "1" else torch.device("cuda")
    KERNELS["bfloat16 parts, float32"] = made(Split, torch.float32, WHERE)

    def fused(moment, frame, n_components):
        """The fused kernel of what stays on a GPU's chip."""
        if not fits(moment, frame.shift.shape[0], n_components):
            pytest.skip("more columns and components than the kernel is for")
        return Fused(moment, frame, n_components, torch.float32, WHERE)

    KERNELS["fused, float32"] = fused
    FORMS |= {Fused, Split}
