"""Where tensors live: rows on the device that computes with them, parameters and statistics where deciding is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from tgmm.precision import float64_device

# Every branch on a value that an accelerator holds waits for the work queued there, some 20 us, and an M-step has a
# dozen of them. A megabyte crosses a PCIe bus in less; the M-step on a few numbers takes no longer on the host.
HOST_NUMBERS = 1 << 17

Record = TypeVar("Record")


def home(n_numbers: int, device: torch.device) -> torch.device:
    """Return where the parameters and statistics of a fit on this device live, given how many numbers they are.

    Few live on the host, so that an iteration needs one transfer from an accelerator, that of the statistics. For many
    (full covariances in many dimensions) the M-step's own arithmetic is worth more than its waits.
    """
    return torch.device("cpu") if n_numbers <= HOST_NUMBERS else float64_device(device)


def moved(record: Record, device: torch.device) -> Record:
    """Return a dataclass with its tensors on the device."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}  # pyright: ignore[reportArgumentType]
    changes: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
    return replace(record, **changes)  # pyright: ignore[reportArgumentType]


def transferred(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors of one float type on the device, by one transfer."""
    if all(tensor.device == device for tensor in tensors):
        return tensors
    packed = torch.cat([tensor.flatten() for tensor in tensors]).to(device)
    parts = packed.split([tensor.numel() for tensor in tensors])
    return tuple(part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


@contextmanager
def standalone() -> Iterator[None]:
    """Compute without a graph, and on the CPU where no device is named, whatever the user's default device is."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if torch.get_default_device().type != "cpu":  # the context slows every operation down
            stack.enter_context(torch.device("cpu"))
        yield
