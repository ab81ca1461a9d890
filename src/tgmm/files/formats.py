"""A state dict as bytes and back: torch's own format, and safetensors."""

from __future__ import annotations

import io
import json
import os
import pickletools
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from tgmm.files.plain import State

# All that the pickle of a dict of float64 tensors and plain values calls by name.
TORCH_NAMES = {"torch._utils _rebuild_tensor_v2", "torch DoubleStorage", "collections OrderedDict"}
AGAIN = "Save the model again, and make sure that the whole file is copied."
NAMING = {"GLOBAL", "INST", "STACK_GLOBAL"}  # the operations of a pickle that name what to call


class Format(ABC):
    """One way to write a state dict."""

    @abstractmethod
    def encode(self, state: State) -> bytes:
        """Return the content of a file."""

    @abstractmethod
    def decode(self, data: bytes) -> State:
        """Return what is in a file, in memory of the order of the file's own size, without running code of it.

        Any exception means that the data is not of this format.
        """


class TorchFormat(Format):
    """What ``torch.save`` writes and ``torch.load(weights_only=True)`` reads."""

    def encode(self, state: State) -> bytes:
        """Return a zip archive."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()

    def decode(self, data: bytes) -> State:
        """Return what torch's restricted unpickler makes of an archive that was looked through before."""
        _check_archive(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class SafetensorsFormat(Format):
    """Tensors in the format's own layout, plain values as JSON in its metadata."""

    def encode(self, state: State) -> bytes:
        """Return a header and the tensors' bytes."""
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        metadata = {name: json.dumps(value) for name, value in state.items() if name not in tensors}
        return _safetensors().save(tensors, metadata)

    def decode(self, data: bytes) -> State:
        """Return tensors, whose extents the library checks against the data, and plain values."""
        safetensors = _safetensors()
        try:
            tensors = safetensors.load(data)
        except Exception as error:  # the library's own, which derives from Exception alone
            raise ValueError(
                f"its {len(data)} bytes are damaged, or not a safetensors file ({error}). {AGAIN}"
            ) from error
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        return {name: json.loads(value) for name, value in metadata.items()} | tensors


FORMATS: dict[str, Format] = {".pth": TorchFormat(), ".safetensors": SafetensorsFormat()}


def format_of(path: str | os.PathLike[str]) -> Format:
    """Return the format that a path's suffix names, or raise a ValueError."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        hint = f": write {Path(path).with_suffix('.pth').name!r} for a file of torch.save" if suffix == ".pt" else ""
        raise ValueError(f"path must end in {' or '.join(FORMATS)}; got {os.fspath(path)!r}{hint}.")
    return FORMATS[suffix]


def _check_archive(data: bytes) -> None:
    """Raise a ValueError where reading the archive could take more memory than it has bytes, or call a function.

    torch allocates what the archive declares; the names that torch allows include constructors that allocate what
    they are told to.
    """
    if not data.startswith(b"PK\x03\x04"):
        raise ValueError(f"its {len(data)} bytes are not a file that torch.save writes, so it is not a tgmm model.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is damaged: it ends after {len(data)} bytes. {AGAIN}") from error
    with archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed, which those of torch.save are not.")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("its entries declare more bytes than there are.")
        # torch finds entries whatever the case of their names.
        pickles = [entry for entry in entries if entry.filename.lower().endswith("data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"it holds {len(pickles)} pickles instead of one.")
        for operation, argument, _ in pickletools.genops(archive.read(pickles[0])):
            if operation.name in NAMING and argument not in TORCH_NAMES:
                raise ValueError(f"it refers to {argument!r}, which no model does.")


def _safetensors() -> ModuleType:
    """Return safetensors for torch, or raise an ImportError that names the extra."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError("Files that end in .safetensors need safetensors: pip install safetensors") from error
    return safetensors.torch
