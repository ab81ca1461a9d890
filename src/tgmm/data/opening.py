"""From what a user hands in to a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tgmm.data.arrays import ArraySource, open_npy, open_zarr
from tgmm.data.arrow import ArrowSource, ParquetSource
from tgmm.data.loaders import LoaderSource
from tgmm.data.source import Source
from tgmm.data.tables import FrameSource
from tgmm.data.text import TEXT_SUFFIXES, TextSource

ARROW_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "feather"}
IN_MEMORY = ("__array__", "__dlpack__", "__arrow_c_stream__", "shape", "dtypes")  # marks of arrays and data frames


def as_source(X: Any) -> Source | None:
    """Return what to read X batch by batch with, or None where X is in memory already.

    Raises
    ------
    FileNotFoundError
        If X names a file that is not there.
    ValueError
        If it names a file of a kind that cannot be read, or can be read only once.
    """
    library = type(X).__module__.partition(".")[0]
    if isinstance(X, Source):
        return X
    if isinstance(X, str | PathLike):
        return open_path(Path(X))
    if isinstance(X, np.memmap) or library in ("zarr", "h5py"):
        return ArraySource(X)
    if isinstance(X, np.ndarray | Tensor):
        return None
    if library == "pyarrow":
        return ArrowSource(X)
    if library == "polars" and not hasattr(X, "shape"):
        return FrameSource(X)
    if isinstance(X, list | tuple):
        return LoaderSource(X) if X and _is_batch(X[0]) else None
    if isinstance(X, Mapping | Set | bytes) or any(hasattr(X, mark) for mark in IN_MEMORY):
        return None
    return LoaderSource(X) if isinstance(X, Iterable) else None


def open_path(path: Path) -> Source:
    """Return the rows of a file or folder, by its suffix; a folder without one holds Parquet files."""
    if not path.exists():
        raise FileNotFoundError(f"X names {str(path)!r}, but there is no such file or folder.")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return open_npy(path)
    if suffix == ".zarr":
        return open_zarr(path)
    if suffix in ARROW_FORMATS or path.is_dir():
        return ParquetSource(path, format=ARROW_FORMATS.get(suffix, "parquet"))
    if suffix in TEXT_SUFFIXES:
        return TextSource(path)
    raise ValueError(
        f"X names {str(path)!r}, which is of no kind that can be read; those are .npy, .zarr, "
        f"{', '.join([*ARROW_FORMATS, *TEXT_SUFFIXES])} and folders of Parquet files."
    )


def _is_batch(item: Any) -> bool:
    """Whether an item of a list is a batch of rows, or a pair of rows and weights."""
    if isinstance(item, tuple | list):
        return len(item) == 2 and all(isinstance(part, np.ndarray | Tensor) for part in item) and item[0].ndim == 2
    return isinstance(item, np.ndarray | Tensor) and item.ndim == 2
