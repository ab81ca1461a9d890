"""A GPU that is not there: tensors say they are on it, mixing them with others fails as it would, and every time the
host waits for a value is counted. Arithmetic is the CPU's.
"""

from collections import Counter

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CARD, HOST = torch.device("cuda", 0), torch.device("cpu")
WAITS = {
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.cpu,
    torch.Tensor.numpy,
    torch.Tensor.__bool__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__index__,
    torch.Tensor.nonzero,
    torch.Tensor.unique,
    torch.nonzero,
    torch.equal,
    torch.unique,
}
COPIES = {torch.Tensor.copy_, torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.double, torch.Tensor.float}
INDEXES = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
GETS_DEVICE = torch.Tensor.device.__get__


class OnCard(torch.Tensor):
    """A tensor that is said to be on the card."""


def bare(value):
    return value.as_subclass(torch.Tensor) if isinstance(value, OnCard) else value


def on_card(value):
    return value.as_subclass(OnCard) if isinstance(value, torch.Tensor) else value


class SimulatedCard(TorchFunctionMode):
    """While it is entered, "cuda" is a device; `waits` counts what makes the host wait for it."""

    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        with torch._C.DisableTorchFunctionSubclass():
            if func == GETS_DEVICE:
                return CARD if isinstance(args[0], OnCard) else HOST
            from_card = any(isinstance(tensor, OnCard) for tensor in tensors)
            target = wanted_device(func, args, kwargs)
            if from_card:
                self._check(func, args, tensors)
                self._count(func, args, target)
            to_card = from_card if target is None else target.type == "cuda"
            result = func(*without_device(args), **without_device(kwargs))
        if func in (torch.Tensor.cpu, torch.Tensor.numpy) or (func.__name__ == "__get__" and not from_card):
            to_card = False
        return tree_map(on_card, result) if to_card else tree_map(bare, result)

    def _check(self, func, args, tensors):
        """Raise where the card's tensors meet the host's, scalars excepted."""
        if func in COPIES:
            return
        if func in INDEXES:
            if isinstance(args[1], OnCard) and not isinstance(args[0], OnCard):
                raise RuntimeError(f"{func.__name__}: an index on {CARD} for a tensor on {HOST}")
            return
        strangers = [tensor for tensor in tensors if not isinstance(tensor, OnCard) and tensor.ndim > 0]
        if strangers:
            raise RuntimeError(f"{func.__name__}: tensors on {CARD} and on {HOST}")

    def _count(self, func, args, target):
        leaves_card = target is not None and target.type == "cpu" and isinstance(args[0], OnCard)
        masks = func in INDEXES and any(
            isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool for leaf in tree_flatten(args[1])[0]
        )
        if func in WAITS or leaves_card or masks:
            self.waits[func.__name__] += 1


def wanted_device(func, args, kwargs):
    """The device that a call asks for, if any."""
    if func is torch.Tensor.to and len(args) > 1 and isinstance(args[1], torch.Tensor):
        return CARD if isinstance(args[1], OnCard) else HOST
    wanted = [kwargs.get("device"), *(args[1:] if func is torch.Tensor.to else ())]
    for value in wanted:
        if isinstance(value, (str, torch.device)):
            return torch.device(value)
    return None


def without_device(values):
    """Arguments with the host in the place of the card, and tensors as what they are."""

    def replaced(value):
        is_card = isinstance(value, (str, torch.device)) and str(value).startswith("cuda")
        return HOST if is_card else bare(value)

    return tree_map(replaced, values)
