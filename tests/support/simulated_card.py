"""A device that is not there: tensors say they are on it, mixing them with others fails as it would, and every time the
host waits for a value is counted. Arithmetic is the CPU's.
"""

from collections import Counter
from contextlib import ExitStack
from threading import Thread
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

from tgmm.runtime import devices

CARD, HOST = torch.device("cuda", 0), torch.device("cpu")
TELLS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__contains__", "is_nonzero"}  # values
WAITS = TELLS | {
    "nonzero", "argwhere", "masked_select", "equal", "allclose", "unique", "unique_consecutive", "bincount",
    "linalg_cholesky", "linalg_eigh", "linalg_eigvalsh", "linalg_svd", "linalg_svdvals", "linalg_inv", "linalg_solve",
}  # fmt: skip
ARITHMETIC = {
    "add", "sub", "mul", "div", "truediv", "true_divide", "floordiv", "floor_divide", "mod", "remainder", "fmod", "pow",
    "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "logical_and", "logical_or", "logical_xor", "maximum",
    "minimum", "fmax", "fmin", "atan2", "xlogy", "copysign", "logaddexp", "hypot", "nextafter", "ldexp",
}  # fmt: skip
# One scalar of the host may meet the card's tensors in arithmetic of two, and these take any.
TAKE_SCALARS = ARITHMETIC | {prefix + name for prefix in "ri" for name in ARITHMETIC} | {"where", "masked_fill"}
COPIES = {"copy", "deepcopy", "to", "cpu", "double", "float", "type_as"}
MAKES = {"tensor", "as_tensor", "asarray"}
GENERATOR = torch.Generator


class OnCard(torch.Tensor):
    """A tensor that is said to be on the card."""


class Kind(type(GENERATOR)):
    """Of the card's generators; the host's are instances too."""

    def __instancecheck__(cls, value):
        return isinstance(value, GENERATOR)


class Generator(GENERATOR, metaclass=Kind):
    """A generator of random numbers of a device."""

    def __new__(cls, device=HOST):
        return GENERATOR.__new__(cls)

    def __init__(self, device=HOST):
        self.place = numbered(device)

    @property
    def device(self):
        return self.place


def numbered(device):
    """The device that is meant by one without a number."""
    device = torch.device(device)
    return device if device.type == "cpu" else torch.device(device.type, 0)


def bare(value):
    return value.as_subclass(torch.Tensor) if isinstance(value, OnCard) else value


def mapped(function, value):
    """The results of a function of all that lists, tuples and dicts hold, in a tenth of the time of tree_map."""
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(function, each) for each in value])
    if isinstance(value, dict):
        return {name: mapped(function, each) for name, each in value.items()}
    return function(value)


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, slice):
        value = value.start, value.stop, value.step
    elif isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [tensor for each in value for tensor in tensors_in(each)]


class SimulatedCard(TorchFunctionMode):
    """While it is entered there is a device; `waits` counts what makes the host wait for it.

    Parameters
    ----------
    kind : str
        "cuda", or "mps", which has no float64.
    """

    def __init__(self, kind="cuda"):
        super().__init__()
        self.device, self.waits = torch.device(kind, 0), Counter()
        self._replaced = ExitStack()

    def __enter__(self):
        run = Thread.run

        def run_with_card(thread):  # modes are of one thread
            TorchFunctionMode.__enter__(self)
            try:
                run(thread)
            finally:
                TorchFunctionMode.__exit__(self, None, None, None)

        self._replaced.enter_context(patch.object(torch, "Generator", Generator))
        self._replaced.enter_context(patch.object(torch.version, "cuda", None))  # Triton's kernels need a card
        self._replaced.enter_context(patch.object(Thread, "run", run_with_card))
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._replaced.close()
        devices._usable.cache_clear()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.device, torch._C._nn._parse_to):
            return func(*args, **kwargs)
        name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
        with torch._C.DisableTorchFunctionSubclass():
            if name == "pin_memory":
                return args[0]
            tensors = tensors_in((args, kwargs))
            from_card = any(isinstance(tensor, OnCard) for tensor in tensors)
            if not (from_card or name == "to" or "device" in kwargs or "generator" in kwargs):
                return func(*args, **kwargs)
            if from_card and name in ("device", "is_cuda", "is_cpu", "__iter__", "numpy", "__array__"):
                return self._told(name, args[0])
            target = wanted_device(name, args, kwargs)
            if from_card:
                self._check(name, args, kwargs, tensors)
                self._count(name, args, target)
            place = target or self._place_of_result(name, args, from_card)
            self._check_generator(name, kwargs.get("generator"), place)
            result = func(*without_device(args), **without_device(kwargs))
        return mapped(self._taken if place != HOST else bare, result)

    def _told(self, name, tensor):
        if name in ("numpy", "__array__"):
            raise TypeError(f"can't convert {self.device} device type tensor to numpy.")
        if name == "__iter__":
            return map(self._taken, bare(tensor).unbind())
        return {"device": self.device, "is_cuda": self.device.type == "cuda", "is_cpu": False}[name]

    def _taken(self, value):
        """Return a result as the card has it."""
        if not isinstance(value, torch.Tensor):
            return value
        if self.device.type == "mps" and value.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        return value.as_subclass(OnCard)

    def _place_of_result(self, name, args, from_card):
        follows_first = name in MAKES or name in ("__getitem__", "copy_")
        is_on_card = isinstance(args[0], OnCard) if follows_first else from_card
        return self.device if is_on_card and name != "cpu" else HOST

    def _check(self, name, args, kwargs, tensors):
        """Raise where the card's tensors meet the host's, except where PyTorch copies a scalar or an index."""
        if name.strip("_") in COPIES | MAKES:
            return
        if name in ("__getitem__", "__setitem__"):
            self._check_index(name, *args)
            return
        strangers = [tensor for tensor in tensors if not isinstance(tensor, OnCard)]
        in_place = name.endswith("_") and (not name.endswith("__") or name.startswith("__i"))
        scalars_pass = name.strip("_") in TAKE_SCALARS and not (in_place and not isinstance(args[0], OnCard))
        if any(tensor.ndim or not scalars_pass for tensor in strangers):
            raise RuntimeError(
                f"{name}: Expected all tensors to be on the same device, but they are on {self.device} and {HOST}"
            )

    def _check_index(self, name, tensor, index, value=None):
        """Raise where an index is on the card and the tensor is not, or where values cannot be written.

        Values that a slice takes may come from anywhere.
        """
        arrays = [part for part in tensors_in(index) if part.ndim or part.dtype == torch.bool]
        if not isinstance(tensor, OnCard) and any(isinstance(part, OnCard) for part in arrays):
            raise RuntimeError(f"{name}: indices should be on {HOST}, where the indexed tensor is")
        is_stranger = isinstance(value, torch.Tensor) and isinstance(value, OnCard) != isinstance(tensor, OnCard)
        if arrays and is_stranger and (value.ndim or isinstance(value, OnCard)):
            raise RuntimeError(f"{name}: Expected values on the device of the tensor")

    def _check_generator(self, name, generator, place):
        if generator is not None and generator.device != place:
            raise RuntimeError(f"{name}: Expected a {place.type!r} generator, but found {generator.device.type!r}")

    def _count(self, name, args, target):
        leaves_card = (name == "cpu" or target == HOST) and isinstance(args[0], OnCard)
        written = name in ("copy_", "__setitem__") and not isinstance(args[0], OnCard)
        if name in WAITS or leaves_card or written:
            self.waits[name] += 1
        elif name in MAKES:
            self.waits[name] += len(tensors_in(args)) if not isinstance(args[0], torch.Tensor) else 0
        elif name in ("__getitem__", "__setitem__"):
            self.waits["index"] += sum(isinstance(part, OnCard) for part in waited_for(*args))


def waited_for(tensor, index, value=None):
    """The parts of an index that the host must know: how many are true in a mask, and single places."""
    parts = tensors_in(index)
    filled = value is not None and len(parts) == 1 and (not isinstance(value, torch.Tensor) or value.ndim == 0)
    masks = [part for part in parts if part.dtype == torch.bool and not filled]
    return masks + [part for part in parts if part.dtype != torch.bool and not part.ndim]


def wanted_device(name, args, kwargs):
    """The device that a call asks for, if any."""
    if name == "to" and len(args) > 1 and isinstance(args[1], torch.Tensor):
        return args[1].device if not isinstance(args[1], OnCard) else None
    for value in (kwargs.get("device"), *(args[1:] if name == "to" else ())):
        if isinstance(value, (str, torch.device)):
            return numbered(value)
    return None


def without_device(values):
    """Arguments with the host in the place of the card, and tensors as what they are."""

    def replaced(value):
        is_card = isinstance(value, torch.device) or (isinstance(value, str) and value.startswith(("cuda", "mps")))
        return HOST if is_card else bare(value)

    return mapped(replaced, values)
