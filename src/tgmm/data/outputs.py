"""The place for the results of many rows: memory, a given array, or a .npy file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from tgmm.runtime.atomic import replacing
from tgmm.runtime.paths import expanded, is_special


def collect(parts: Iterable[np.ndarray], out: Any, n_rows: int | None) -> Any:
    """Return the parts as one array: in memory, in ``out``, or as a memory map of the .npy file that it names.

    Raises
    ------
    ValueError
        If an array does not fit the results, or a path does not end in .npy.
    """
    if out is None:
        return np.concatenate(list(parts))
    if isinstance(out, str | os.PathLike):
        path = expanded(out)
        if path.suffix != ".npy" or is_special(path):
            raise ValueError(f"out={str(path)!r} must be an array or the path of a regular file that ends in .npy.")
        with replacing(path) as file:
            _write_npy(parts, file)
        return np.load(path, mmap_mode="r")
    if not isinstance(out, np.ndarray):
        raise ValueError(f"out must be a NumPy array or a path that ends in .npy; got a {type(out).__name__}.")
    return _fill(parts, out, n_rows)


def _fill(parts: Iterable[np.ndarray], out: np.ndarray, n_rows: int | None) -> np.ndarray:
    """Write the parts to an array, which must have exactly their size."""
    first = 0
    for part in parts:
        last = first + part.shape[0]
        wanted = (last if n_rows is None else n_rows, *part.shape[1:])
        fits = out.ndim == part.ndim and out.shape[1:] == part.shape[1:]
        if not fits or out.shape[0] < last or n_rows not in (None, out.shape[0]):
            more = " or more" if n_rows is None else ""
            raise ValueError(f"out must have shape {wanted}{more} for these results; it has shape {out.shape}.")
        if not np.can_cast(part.dtype, out.dtype, "same_kind"):
            raise ValueError(f"out of dtype {out.dtype} cannot hold results of dtype {part.dtype}.")
        out[first:last] = part
        first = last
    if first != out.shape[0]:
        raise ValueError(f"out has {out.shape[0]} rows, but there were {first} rows of results.")
    return out


def _write_npy(parts: Iterable[np.ndarray], file: BinaryIO) -> None:
    """Write the parts as one array; its header, padded by NumPy for more rows, is written again at the end."""
    n_rows, description = 0, {}
    for part in parts:
        if not description:
            description = {"descr": part.dtype.str, "fortran_order": False, "shape": (0, *part.shape[1:])}
            np.lib.format.write_array_header_1_0(file, description)
        file.write(np.ascontiguousarray(part).data)
        n_rows += part.shape[0]
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {**description, "shape": (n_rows, *description["shape"][1:])})
