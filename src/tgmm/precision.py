"""Float types: what to compute in, and where float64 is to be had."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """Return the tensor in float64, on the CPU where its device has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def working_type(dtype: torch.dtype) -> torch.dtype:
    """Return the float type that data of this type is computed in.

    Half types are computed in float32; integers and bool in float64.
    """
    if dtype in (torch.float32, torch.float16, torch.bfloat16):
        return torch.float32
    return torch.float64
