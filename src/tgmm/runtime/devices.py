"""Devices and float types: where tensors live, what they are computed in, and what surrounds a computation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass
from functools import cache
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor

from tgmm.runtime.frozen import field_names, replace

# Every branch on a value that an accelerator holds waits for the work queued there, some 20 us, and an M-step has a
# dozen of them. A megabyte crosses a PCIe bus in less; the M-step on a few numbers takes no longer on the host.
HOST_NUMBERS = 1 << 17

Record = TypeVar("Record")


def check_device(device: Any, rows: Tensor | None = None) -> torch.device:
    """Return the device to compute on: the one asked for, that of a user's tensor of rows, else CUDA or the CPU."""
    if device is None:
        return default_device() if rows is None else rows.device
    try:
        return _usable(torch.device(device))
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]  # PyTorch goes on with a list of all its operators
        raise ValueError(f"device={device!r} cannot be used: {reason}") from error


@cache
def _usable(device: torch.device) -> torch.device:
    """Return a device that has values; one that only describes tensors has none."""
    torch.zeros(1, device=device).item()
    return device


def default_device() -> torch.device:
    """Return CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def float64_device(device: torch.device) -> torch.device:
    """Return the device, or the CPU where it has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def widen(tensor: Tensor) -> Tensor:
    """Return the tensor in float64, on the CPU where its device has none."""
    if tensor.dtype == torch.float64:
        return tensor
    return tensor.to(float64_device(tensor.device)).double()


def working_type(dtype: torch.dtype) -> torch.dtype:
    """Return the float type that data of this type is computed in.

    Half types are computed in float32; integers and bool in float64.
    """
    if dtype in (torch.float32, torch.float16, torch.bfloat16):
        return torch.float32
    return torch.float64


def home(n_numbers: int, device: torch.device) -> torch.device:
    """Return where the parameters and statistics of a fit on this device live, given how many numbers they are.

    Few live on the host, so that an iteration needs one transfer from an accelerator, that of the statistics. For many
    (full covariances in many dimensions) the M-step's own arithmetic is worth more than its waits.
    """
    return torch.device("cpu") if n_numbers <= HOST_NUMBERS else float64_device(device)


def moved(record: Record, device: torch.device) -> Record:
    """Return a dataclass with its tensors on the device, those in dataclasses among its fields too."""
    changes: dict[str, Any] = {}
    for name in field_names(type(record)):
        value = getattr(record, name)
        if isinstance(value, Tensor):
            there = value.to(device)
        elif is_dataclass(value):
            move = getattr(value, "to", None)
            there = moved(value, device) if move is None else move(device)
        else:
            continue
        if there is not value:
            changes[name] = there
    return replace(record, **changes) if changes else record


def fields_of(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name: what it consists of, without what follows from that."""
    return {name: getattr(record, name) for name in field_names(type(record))}


def transferred(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors of one float type on the device, by one transfer."""
    for tensor in tensors:
        if tensor.device != device:
            break
    else:
        return tensors
    packed = torch.cat([tensor.flatten() for tensor in tensors]).to(device)
    parts = packed.split([tensor.numel() for tensor in tensors])
    return tuple(part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True))


@contextmanager
def standalone() -> Iterator[None]:
    """Compute without a graph, and on the CPU where no device is named, whatever the user's default device is.

    Nor in the user's inference mode: what is kept of its tensors could not be differentiated through later.
    """
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False), standalone():
            yield
        return
    with torch.no_grad():
        if torch.empty(0).device.type == "cpu":  # the context slows every operation down
            yield
        else:
            with torch.device("cpu"):
                yield


class FullPrecision:
    """Keeps the process's switches at full precision from when a first thread enters until the last has left.

    The switches belong to the process: put back by one thread, they would shorten what others are multiplying.
    """

    def __init__(self) -> None:
        self._lock, self._n_inside = Lock(), 0
        self._chosen: dict[Any, Any] = {}  # by the user, for each switch

    def __enter__(self) -> None:
        with self._lock:
            mkldnn = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
            for switch in (torch.backends.cuda.matmul, mkldnn):
                chosen = switch.fp32_precision
                if chosen not in ("none", "ieee"):
                    self._chosen[switch] = chosen
                    switch.fp32_precision = "ieee"
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                for switch, chosen in self._chosen.items():
                    switch.fp32_precision = chosen
                self._chosen.clear()


_FULL_PRECISION = FullPrecision()
if hasattr(os, "register_at_fork"):  # threads that hold the lock are not in the child
    os.register_at_fork(after_in_child=_FULL_PRECISION.__init__)


@contextmanager
def float32_products() -> Iterator[None]:
    """Multiply float32 matrices in float32, whatever shorter type the user's switches or autocast allow.

    TF32 has 11 bits, bfloat16 8: statistics of that precision cannot carry variances.
    """
    shortened = [device_type for device_type in ("cpu", "cuda") if torch.is_autocast_enabled(device_type)]
    with _FULL_PRECISION:
        if not shortened:  # a stack of contexts takes longer than a product of one row
            yield
            return
        with ExitStack() as restored:
            for device_type in shortened:
                restored.enter_context(torch.autocast(device_type, enabled=False))
            yield
