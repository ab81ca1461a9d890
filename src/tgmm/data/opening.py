"""Conversion of what users pass as X to a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from tgmm.data.arrays import ArraySource, open_npy, open_zarr
from tgmm.data.arrow import ArrowSource, ParquetSource
from tgmm.data.lenient import Lenient
from tgmm.data.loaders import LoaderSource
from tgmm.data.source import Source
from tgmm.data.tables import FrameSource
from tgmm.data.text import TEXT_SUFFIXES, TextSource
from tgmm.runtime.paths import expanded

ARROW_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "feather"}
IN_MEMORY = ("__array__", "__dlpack__", "__arrow_c_stream__", "shape", "dtypes")  # marks of arrays and data frames


def as_source(X: Any, *, may_lack: bool = False) -> Source | None:
    """Return a source that reads X batch by batch, or None if X is in memory.

    If rows may have missing values, fields of a text file may be empty.

    Raises
    ------
    FileNotFoundError
        If X is the path of a file that does not exist.
    ValueError
        If X is a file of an unknown kind, can be read only once, or is no table: None, a dict, or a data set instead of
        its loader.
    """
    if type(X) is np.ndarray or type(X) is Tensor:
        return None
    _refuse_no_table(X)
    library = type(X).__module__.partition(".")[0]
    if isinstance(X, str | PathLike):
        X = open_path(expanded(X))
    if isinstance(X, Source):
        return Lenient(X) if may_lack and isinstance(X, TextSource) else X
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
    if any(hasattr(X, mark) for mark in IN_MEMORY):
        return None
    return LoaderSource(X) if isinstance(X, Iterable) else None


def _refuse_no_table(X: Any) -> None:
    """Raise an error that says what to pass instead, if X is no table of rows."""
    kind = type(X).__name__
    if X is None:
        raise ValueError("X is None: pass rows of shape (n_samples, n_features).")
    if isinstance(X, str) and not X:
        raise ValueError("X is an empty path: name a file or a folder ('.' for the current one).")
    if hasattr(X, "shape"):
        return
    if isinstance(X, Mapping):
        raise ValueError(f"X is a {kind}, whose columns have no certain order: pass pandas.DataFrame(X) or an array.")
    if isinstance(X, Set | bytes | bytearray):
        raise ValueError(f"X is a {kind}: pass an array of rows, of shape (n_samples, n_features).")
    if isinstance(X, Dataset) and not isinstance(X, IterableDataset):
        raise ValueError(
            f"X is a {kind}, a data set of single rows: pass DataLoader(X, batch_size=1024), which reads it in "
            "batches, or its tensor of rows."
        )


def open_path(path: Path, columns: Sequence[str] | None = None) -> Source:
    """Return the source of a file or folder, by its suffix. A folder without a suffix holds Parquet files.

    Parameters
    ----------
    path : Path
    columns : sequence of str, optional
        Columns to read as features, if the file has names. Arrays are read whole.
    """
    if not path.exists():
        raise FileNotFoundError(f"X names {str(path)!r}, but there is no such file or folder.")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return open_npy(path)
    if suffix == ".zarr":
        return open_zarr(path)
    if is_arrow(path):
        return ParquetSource(path, columns, format=arrow_format(path))
    if suffix in TEXT_SUFFIXES or (suffix == ".gz" and Path(path.stem).suffix.lower() in TEXT_SUFFIXES):
        return TextSource(path, columns)
    raise ValueError(
        f"X names {str(path)!r}, which cannot be read. Files can be .npy, .zarr, "
        f"{', '.join([*ARROW_FORMATS, *TEXT_SUFFIXES])} (text also as .csv.gz), and folders must contain Parquet files."
    )


def files_of(X: Any) -> list[Path]:
    """Return the files or folders that X or its parts refer to, as far as X tells."""
    if isinstance(X, list | tuple):
        return [path for part in X for path in files_of(part)]
    X = X.array if isinstance(X, ArraySource) else X
    while isinstance(X, np.ndarray) and not isinstance(X, np.memmap):
        X = X.base  # of a view of a map
    named = X if isinstance(X, str | PathLike) else getattr(X, "filename", None) if isinstance(X, np.memmap) else None
    return [] if named is None else [expanded(named)]


def is_arrow(path: Path) -> bool:
    """Whether Arrow reads files of this kind. Their columns always have names."""
    suffix = path.suffix.lower()
    return suffix in ARROW_FORMATS or (suffix not in (".npy", ".zarr") and path.is_dir())


def arrow_format(path: Path) -> str:
    """Return the name that Arrow gives to the format of a file, or of the files in a folder."""
    return ARROW_FORMATS.get(path.suffix.lower(), "parquet")


def _is_batch(item: Any) -> bool:
    """Whether an item of a list is a batch of rows, which may be a data frame, or a pair of rows and weights."""
    if isinstance(item, tuple | list):
        return len(item) == 2 and all(isinstance(part, np.ndarray | Tensor) for part in item) and item[0].ndim == 2
    return (isinstance(item, np.ndarray | Tensor) or hasattr(item, "columns")) and len(getattr(item, "shape", ())) == 2
