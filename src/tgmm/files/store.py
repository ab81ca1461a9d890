"""State dicts in files: written whole or not at all, read without running code, and refused with one kind of error."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from tgmm.files.formats import Format, format_of
from tgmm.files.plain import PLAIN, State
from tgmm.runtime.atomic import replacing
from tgmm.runtime.paths import expanded

T = TypeVar("T")


class ModelFileError(ValueError):
    """A file or state dict that is not a model: damaged, forged, of another kind, or of a newer version."""


def write_state(path: str | os.PathLike[str], state: State) -> None:
    """Put a state dict in place of a file, in the format that its suffix names."""
    content = format_of(path).encode(state)
    with replacing(Path(path)) as file:
        file.write(content)


def format_to_load(path: str | os.PathLike[str]) -> Format:
    """Return the format of a file to load, or raise a ModelFileError where its name is not that of a model."""
    try:
        return format_of(path)
    except ValueError as error:
        raise ModelFileError(
            f"{os.fspath(path)!r} is not a model that save wrote: {error} To read rows from a file, pass its path as "
            "X, for example to fit or predict."
        ) from None


def read_state(path: str | os.PathLike[str], become: Callable[[Any], T]) -> T:
    """Return what a function makes of what is in a model file; whatever is wrong with it is a ModelFileError."""
    encoding, data = format_to_load(path), read_file(path)
    with model_file_errors(f"{os.fspath(path)!r}"):
        return become(encoding.decode(data))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a regular file: a pipe or a device might never end."""
    path = expanded(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise ModelFileError(f"{str(path)!r} cannot be loaded: it is not a file.")
    return path.read_bytes()


@contextmanager
def model_file_errors(source: str) -> Iterator[None]:
    """Turn whatever goes wrong into a ModelFileError: damaged data can make any part of its reader fail."""
    try:
        yield
    except ImportError:  # of an optional dependency
        raise
    except Exception as error:
        raise ModelFileError(f"{source} cannot be loaded: {str(error) or type(error).__name__}") from error


def signed(state: State) -> State:
    """Return a state dict with its checksum."""
    return state | {"checksum": checksum(state)}


def checksum(state: State) -> str:
    """Return the SHA-256 of every name and value but the checksum itself, the same on every machine."""
    digest = hashlib.sha256()
    for name in sorted(state.keys() - {"checksum"}):
        value = state[name]
        if isinstance(value, Tensor):
            array = value.cpu().numpy().astype("<f8", copy=False)
            digest.update(json.dumps([name, list(array.shape)]).encode() + b"\n" + array.tobytes())
        else:
            digest.update(json.dumps([name, value, type(value).__name__]).encode() + b"\n")
    return digest.hexdigest()


def check_checksum(state: State) -> None:
    """Raise a ValueError where a state dict is not as it was written."""
    if checksum(state) != state.get("checksum"):
        raise ValueError("its checksum does not match: it was damaged or changed.")


def check_version(state: Any, newest: int) -> None:
    """Raise where this is no state dict with a version, or one that is too new."""
    if not isinstance(state, dict):
        raise TypeError(f"a model is a dict; this is a {type(state).__name__}.")
    version = state.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError("it has no format_version.")
    if version > newest:
        raise ValueError(f"its format_version is {version}, but this tgmm reads up to {newest}: upgrade tgmm.")


def check_parts(state: Any, kind: str, kinds: Mapping[str, type], newest: int) -> None:
    """Raise unless a state dict of parts, whose names have a dot, is of this kind and has these entries, unchanged."""
    check_version(state, newest)
    if (found := state.get("kind", "mixture")) != kind:
        raise ValueError(f"it contains a {found}, which {kind}.load does not read.")
    require_entries(state, kinds)
    if unknown := sorted(name for name in state.keys() - kinds.keys() if "." not in name):
        raise ValueError(f"it has the unknown entry {unknown[0]!r}.")
    check_kinds(state, kinds)
    check_checksum(state)


def require_entries(state: State, names: Iterable[str]) -> None:
    """Raise a ValueError where a state dict lacks entries."""
    if missing := sorted(set(names) - state.keys()):
        raise ValueError(f"it lacks {', '.join(missing)}.")


def check_kinds(state: State, kinds: Mapping[str, type]) -> None:
    """Raise where an entry is neither a tensor nor a plain value, or of another kind than its name wants."""
    for name, value in state.items():
        if type(value) is Tensor:
            _check_tensor(value, name)
        elif type(value) not in PLAIN:
            raise TypeError(f"{name} is a {type(value).__name__}, neither a tensor nor a plain value.")
        if name in kinds and type(value) is not kinds[name]:
            raise TypeError(f"{name} must be a {kinds[name].__name__}; it is a {type(value).__name__}.")


def own(value: Any) -> Any:
    """Return a value that shares no memory with the state dict."""
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value


def _check_tensor(tensor: Tensor, name: str) -> None:
    """Raise where a tensor is not an array of float64 numbers in memory, each in its own place."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype != torch.float64 or not tensor.is_contiguous():
        raise ValueError(f"{name} must be a dense, contiguous float64 tensor; its type is {tensor.dtype}.")
