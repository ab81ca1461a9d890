"""Float types: what to compute in, and where float64 is to be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor


def float64_device(device: torch.device) -> torch.device:
    """Return the device, or the CPU where it has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def widen(tensor: Tensor) -> Tensor:
    """Return the tensor in float64, on the CPU where its device has none."""
    return tensor.to(float64_device(tensor.device)).double()


def working_type(dtype: torch.dtype) -> torch.dtype:
    """Return the float type that data of this type is computed in.

    Half types are computed in float32; integers and bool in float64.
    """
    if dtype in (torch.float32, torch.float16, torch.bfloat16):
        return torch.float32
    return torch.float64


@contextmanager
def float32_products() -> Iterator[None]:
    """Multiply float32 matrices in float32, whatever shorter type the user's switches or autocast allow.

    TF32 has 11 bits, bfloat16 8: statistics of that precision cannot carry variances.
    """
    with ExitStack() as restored:
        mkldnn = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
        for backend in (torch.backends.cuda.matmul, mkldnn):
            chosen = backend.fp32_precision
            if chosen not in ("none", "ieee"):
                restored.callback(setattr, backend, "fp32_precision", chosen)
                backend.fp32_precision = "ieee"
        for device_type in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device_type):
                restored.enter_context(torch.autocast(device_type, enabled=False))
        yield
