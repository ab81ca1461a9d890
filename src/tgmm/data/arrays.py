"""Arrays on disk: NumPy memory maps and .npy files, Zarr, HDF5, and anything else that can be sliced like an array."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from tgmm.data.source import Source, rows_per_read
from tgmm.data.validation import refuse_fields


class ArraySource(Source):
    """Rows of anything that has a shape and can be sliced like a NumPy array.

    A memory map of a whole file is read through the file, so that pages that were read do not count as memory of this
    process.

    Parameters
    ----------
    array : array-like of shape (n, d)
        For example a `numpy.memmap`, a Zarr array or an HDF5 dataset.

    Raises
    ------
    ValueError
        If the array is not two-dimensional or is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm.data import ArraySource
    >>> ArraySource(np.zeros((5, 2))).n_rows
    5
    """

    keeps_batches = True

    def __init__(self, array: Any) -> None:
        refuse_fields(array.dtype)
        shape = tuple(array.shape)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                f"Expected 2D array of shape (n_samples, n_features) with at least one row and feature; got an array "
                f"of shape {shape}. Reshape your data: one row for each sample."
            )
        self.array = array
        self.n_rows = shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield copies of consecutive rows."""
        array = self.array
        n_read = self._rows_per_read()
        if is_whole_file(array):
            yield from _read_file(array, n_read)
            return
        for first in range(0, array.shape[0], n_read):
            yield np.array(array[first : first + n_read])

    def _rows_per_read(self) -> int:
        """Return how many rows to read at a time: whole chunks of a chunked array."""
        n_read = rows_per_read(self.array.shape[1], np.dtype(self.array.dtype).itemsize)
        chunks = getattr(self.array, "chunks", None)
        return max(n_read // chunks[0], 1) * chunks[0] if chunks else n_read


def is_whole_file(array: Any) -> bool:
    """Whether the array is the content of a file from its offset on, row by row, not a view or a private copy."""
    return (
        isinstance(array, np.memmap)
        and isinstance(array.base, mmap.mmap)
        and array.filename is not None
        and array.mode != "c"
        and array.flags.c_contiguous
    )


def _read_file(array: np.memmap, n_read: int) -> Iterator[np.ndarray]:
    """Yield the rows of a memory map from its file."""
    array.flush()
    n_rows, n_features = array.shape
    with open(str(array.filename), "rb", buffering=0) as file:
        file.seek(array.offset)
        for first in range(0, n_rows, n_read):
            rows = np.fromfile(file, array.dtype, min(n_read, n_rows - first) * n_features)
            yield rows.reshape(-1, n_features)


def open_npy(path: str | PathLike[str]) -> ArraySource:
    """Return the rows of a .npy file."""
    try:
        return ArraySource(np.lib.format.open_memmap(path, mode="r"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} cannot be read as rows of numbers: {error}") from error


def open_zarr(path: str | PathLike[str]) -> ArraySource:
    """Return the rows of a Zarr array."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError("Reading Zarr arrays needs zarr: pip install zarr") from error
    return ArraySource(zarr.open_array(str(path), mode="r"))
