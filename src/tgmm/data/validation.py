"""Checks of what users pass, and conversion to tensors: rows, weights, responsibilities."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array
from torch import Tensor

from tgmm.data.columns import Columns, arrays_of, listed
from tgmm.runtime.checks import ENCODE, KINDS, as_float64, at_row, refuse_masked, require_numbers
from tgmm.runtime.devices import widen, working_type
from tgmm.runtime.dlpack import exporter, imported, is_foreign
from tgmm.runtime.words import named, number_of

NUMERIC = re.compile("u?int(?!erval)|float|double|bool|complex")  # names of numeric types of NumPy, pandas and polars
TIMES = re.compile("date|time|duration|period|interval")
COMPLEX = (
    "Complex data not supported: X has {}. Pass real features, such as the real and the imaginary parts side by side."
)
NO_WEIGHT = "sample_weight is zero for every row: at least one weight must be positive."
HINT = ", or fit a GaussianMixture with missing='em'"
FINITE_ROWS = 65536  # rows looked at together for NaN and infinities


@dataclass(frozen=True)
class Rows:
    """Checked rows, and the conversion of results to the user's kind of array."""

    tensor: Tensor  # (n, d) on the user's device, in a float type
    from_tensor: bool  # or from another array that has a device: results belong there
    convert: Callable[[Tensor], Any]

    def give_back(self, result: Tensor) -> Any:
        """Return a result as the user's kind of array, on the user's device."""
        return self.convert(result.to(self.tensor.device))


def check_rows(X: Any, columns: Columns, *, may_lack: bool = False, hint: str | None = None) -> tuple[Rows, Columns]:
    """Return X as rows, and their columns, or raise an error that says what is wrong with it and where.

    If ``columns`` has the features of a fit, the rows must have the same. Missing values are NaN. If they are not
    allowed, the hint says what can be done about them.
    """
    _refuse_unread(X)
    if may_lack:
        X = with_nan(X)
    if isinstance(X, Tensor):
        tensor, found = _check_tensor(X, columns, arrays_of(X))
        rows = Rows(tensor, True, lambda result: result)
    elif is_foreign(X):
        tensor, found = _check_foreign(X, columns)
        rows = Rows(tensor, True, exporter(X))
    else:
        tensor, found = _check_array(X, columns)
        rows = Rows(tensor, False, Tensor.numpy)
    if hint is None:
        hint = "" if columns.may_lack else HINT
    check_finite(rows.tensor, found.names, may_lack=may_lack, hint=hint)
    return rows, found


def _refuse_unread(X: Any) -> None:
    """Raise a ValueError that says what to pass instead, if X is yet to be read."""
    if type(X) is np.ndarray or type(X) is Tensor:
        return
    kind = type(X).__name__
    if isinstance(X, str | PathLike):
        raise ValueError(f"X is the path {str(X)!r}, but this needs rows in memory: read the file and pass its rows.")
    if hasattr(X, "collect_schema") and not hasattr(X, "shape"):
        raise ValueError(f"X is a {kind}, but this needs rows in memory: pass X.collect().")
    if isinstance(X, Iterable) and not isinstance(X, Collection) and not hasattr(X, "shape"):
        raise ValueError(
            f"X is a {kind}, which yields batches, but this needs rows in memory: pass one batch at a time."
        )


def as_batch_of_one(row: Any) -> Any:
    """Return one row (d,) as rows (1, d): a series, which names its features, as a data frame."""
    if hasattr(row, "to_frame") and hasattr(row, "index"):
        return row.to_frame().T.infer_objects()
    return row[None] if isinstance(row, Tensor) else np.asarray(row)[None]


def _check_array(X: Any, columns: Columns) -> tuple[Tensor, Columns]:
    """Return anything that scikit-learn accepts as an array as a tensor, without a copy if possible."""
    if _is_plain(X, columns):
        return as_tensor(X), columns if columns.n_features is not None else columns.found(X.shape[1], None)
    with columns.explaining(X):
        X = as_numeric(X)
    _check_dimensions(X, "array")
    array, found = columns.checked_array(X, dtype=float_types(X), ensure_all_finite=False)
    return as_tensor(_native(array)), found


def check_batch(X: Any) -> Tensor:
    """Return rows of a source, with the same checks as rows in memory, as a tensor of any shape in a float type."""
    if type(X) is np.ndarray and X.dtype.char in "fd":  # the others differ by far more than this costs
        return as_tensor(_native(X))
    X = as_numeric(X)
    whatever = {"ensure_2d": False, "allow_nd": True, "ensure_min_samples": 0, "ensure_min_features": 0}
    array = check_array(X, dtype=float_types(X), ensure_all_finite=False, **whatever)
    return as_tensor(_native(array))


def _is_plain(X: Any, columns: Columns) -> bool:
    """Whether X is an array that needs no conversion. This is fast, which matters for single rows."""
    return (
        type(X) is np.ndarray
        and X.dtype.char in "fd"
        and X.dtype.isnative
        and X.ndim == 2
        and X.shape[0] > 0
        and X.shape[1] > 0
        and columns.n_features in (None, X.shape[1])
        and columns.names is None
        and (X.flags.c_contiguous or X.flags.f_contiguous)
    )


def as_numeric(X: Any) -> Any:
    """Return an array-like or data frame as it is, or a list as an array.

    Raises
    ------
    ValueError
        If it holds anything but numbers, including text that looks like a number, or is no table.
    """
    if isinstance(X, list | tuple):
        X = _as_table(X)
    refuse_masked(X, "X")
    names, columns = _type_names(X), list(getattr(X, "columns", ())) or None
    if columns is None and hasattr(X, "columns"):
        raise ValueError(f"X has no columns: its shape is {tuple(X.shape)}. Pass one for each feature.")
    if issparse(X):
        kind, shape = type(X).__name__, getattr(X, "shape", ())
        raise TypeError(f"Sparse data was passed: X is a {kind} of shape {shape}. Use X.toarray().")
    if complex_names := sorted(name for name in names if name.startswith("complex")):
        raise ValueError(COMPLEX.format(f"values of type {', '.join(complex_names)}"))
    if names and all(NUMERIC.match(name) for name in names):
        return X
    times = sorted(name for name in names if TIMES.match(name))
    if times:
        found = "columns or values" if columns is None else named("column", _of_types(X, times), listed)
        raise ValueError(f"X must hold numbers; got {found} of type {', '.join(times)}." + f" {ENCODE}" * bool(columns))
    values = np.asarray(X)
    refuse_fields(values.dtype)
    if values.dtype.kind in KINDS:
        raise ValueError(f"X must hold numbers; got {KINDS[values.dtype.kind]} values, dtype {values.dtype}.")
    if values.dtype == object:
        require_numbers(values, "X", columns)
    return X


def _as_table(X: Sequence[Any]) -> np.ndarray:
    """Return a list as an array, or raise a ValueError that says which of its rows is of another length."""
    try:
        return np.asarray(X)
    except ValueError as error:
        lengths = [len(row) if hasattr(row, "__len__") and getattr(row, "ndim", 1) else 0 for row in X]
        other = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
        if other is None:
            raise ValueError(f"X must be a table of numbers: {error}") from error
        raise ValueError(
            f"X must have rows of one length; row 0 has {number_of(lengths[0], 'value')}, and row {other} has "
            f"{lengths[other]}."
        ) from error


def _check_dimensions(X: Any, kind: str) -> None:
    """Raise a ValueError if X does not have the shape of a table."""
    shape = tuple(getattr(X, "shape", (0, 0)))
    if len(shape) == 2:
        return
    if len(shape) < 2:
        remedy = "X.reshape(-1, 1) if it holds one feature, X.reshape(1, -1) if it holds one sample"
        if hasattr(X, "to_frame"):
            remedy = "X.to_frame() if it holds one feature, X.to_frame().T if it holds one sample"
    else:
        remedy = "X.reshape(len(X), -1) if its first axis counts the samples"
    raise ValueError(
        f"Expected 2D array of shape (n_samples, n_features) for X, got a {len(shape)}D {kind} of shape {shape} "
        f"instead. Reshape your data: {remedy}."
    )


def with_nan(X: Any) -> Any:
    """Return X with NaN for masked values of NumPy and for NA of pandas."""
    if isinstance(X, np.ma.MaskedArray):
        return np.ma.filled(X.astype(np.result_type(X.dtype, np.float32)), np.nan)
    if "object" in _type_names(X):
        values = np.asarray(X, dtype=object)
        lacks = np.reshape([type(value).__name__ == "NAType" for value in values.flat], values.shape)
        if lacks.any():
            filled = np.where(lacks, np.nan, values)
            return X.__class__(filled, columns=X.columns) if hasattr(X, "columns") else filled
    return X


def refuse_fields(dtype: Any) -> None:
    """Raise a ValueError for structured arrays, whose fields may be of any types."""
    names = getattr(dtype, "names", None)
    if names:
        raise ValueError(
            f"X is a structured array with fields {', '.join(names)}: pass "
            "numpy.lib.recfunctions.structured_to_unstructured(X), or pandas.DataFrame(X)."
        )


def float_types(X: Any) -> list[type]:
    """Return the float types for X, best first: float32 if it, or each of its columns, is float32 or half precision."""
    names = _type_names(X)
    narrow = bool(names) and names <= {"float32", "float16"}
    return [np.float32, np.float64] if narrow else [np.float64, np.float32]


def _type_names(X: Any) -> set[str]:
    """Return the names of the types of an array or of the columns of a data frame; none if X has no types."""
    is_frame = hasattr(X, "dtypes") and getattr(X, "ndim", 2) == 2
    dtypes = X.dtypes if is_frame else [X.dtype] if hasattr(X, "dtype") else ()
    # A NumPy type is "<f4" or ">f4" as text where its bytes are in another order than the machine's.
    return {(dtype.name if isinstance(dtype, np.dtype) else str(dtype)).lower() for dtype in dtypes}


def _of_types(X: Any, types: Collection[str]) -> list[Any]:
    """Return the names of the columns of a data frame that are of these types."""
    return [name for name, dtype in zip(X.columns, X.dtypes, strict=True) if str(dtype).lower() in types]


def _native(array: np.ndarray) -> np.ndarray:
    """Return an array whose memory torch can share."""
    if any(stride < 0 for stride in array.strides) or not array.dtype.isnative:
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return array


def _check_foreign(X: Any, columns: Columns) -> tuple[Tensor, Columns]:
    """Return an array of another library as a tensor of rows, integers in float64 as NumPy's."""
    tensor = imported(X, "X")
    inexact = tensor.is_floating_point() or tensor.is_complex()
    return _check_tensor(tensor if inexact else tensor.double(), columns, arrays_of(X))


def _check_tensor(X: Tensor, columns: Columns, arrays: str) -> tuple[Tensor, Columns]:
    """Return a tensor of rows, detached, in a float type, and its columns."""
    if X.layout != torch.strided:
        raise TypeError(f"X is a sparse tensor ({X.layout}), but dense rows are required: use X.to_dense().")
    if X.is_complex():
        raise ValueError(COMPLEX.format(f"values of type {X.dtype}"))
    _check_dimensions(X, "tensor")
    for size, unit, axis in ((X.shape[0], "sample", 0), (X.shape[1], "feature", 1)):
        if size == 0:
            raise ValueError(f"Found array with 0 {unit}(s) (shape={tuple(X.shape)}): X has nothing along axis {axis}.")
    columns.require(X.shape[1])
    found = columns if columns.n_features is not None else columns.found(X.shape[1], None, arrays)
    X = X.detach()
    if X.is_floating_point() and X.dtype.itemsize == 1:  # torch has no arithmetic for these
        return X.float(), found
    return X if X.is_floating_point() else widen(X), found


class _Writable:
    """The memory of an array without its read-only flag."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of an array. Read-only arrays are never written to.

    torch would warn about these, and a filter of warnings would affect other threads.
    """
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


def check_finite(
    rows: Tensor, names: Any, first_row: int = 0, *, may_lack: bool = False, hint: str = HINT, what: str = "X"
) -> None:
    """Raise a ValueError that names the first NaN or infinity in what was given. The first row has this index.

    If rows may have missing values, NaN is accepted.
    """
    for first in range(0, rows.shape[0], FINITE_ROWS):
        part = rows[first : first + FINITE_ROWS]
        # A sum is finite unless an entry is not, or it overflows.
        if math.isfinite(part.sum()) or torch.isfinite(part).all():
            continue
        bad = torch.isinf(part) if may_lack else ~torch.isfinite(part)
        if not bad.any():
            continue
        row, column = (int(i) for i in torch.nonzero(bad)[0])
        value = float(part[row, column])
        kind = "NaN" if value != value else f"infinity ({value})"
        name = "" if names is None else f" ({names[column]!r})"
        remedy = "drop or impute such rows" + (hint if kind == "NaN" else "")
        row += first_row + first
        raise at_row(
            f"Input {what} contains {kind} at row {row}, column {column}{name}. "
            f"{'Infinite' if may_lack else 'Missing or infinite'} values are not accepted: {remedy}.",
            row,
        )


def working_rows(rows: Rows, device: torch.device) -> Tensor:
    """Return the rows on the device, in the float type of the computation or in a narrower one."""
    tensor = rows.tensor
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.to(working_type(tensor.dtype))
    return tensor.to(device)


def check_weights(sample_weight: Any, n_rows: int, *, may_vanish: bool = False) -> Tensor | None:
    """Return sample weights as a float64 tensor (n,), or None where none were given."""
    if sample_weight is None:
        return None
    weights = as_float64(sample_weight, "sample_weight")
    if weights.ndim == 0:
        weights = weights.expand(n_rows)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must have shape (n_samples,) = ({n_rows},), one weight per row; got {tuple(weights.shape)}."
        )
    check_weight_values(weights)
    if may_vanish and not weights.any():
        return weights
    if not weights.sum() > 0:
        raise ValueError(NO_WEIGHT)
    if not torch.finfo(torch.float64).tiny * n_rows < float(weights.sum()) < torch.inf:
        raise ValueError(f"sample_weight has the sum {float(weights.sum()):g}: divide it by a common factor.")
    return weights


def check_weight_values(weights: Tensor, first_row: int = 0) -> None:
    """Raise a ValueError that names the first invalid weight. The first of the weights belongs to this row."""
    bad = torch.nonzero(~(torch.isfinite(weights) & (weights >= 0))).flatten()
    if bad.numel():
        row = first_row + int(bad[0])
        raise at_row(
            f"sample_weight must be finite and not negative; got {float(weights[bad[0]])} at row {row}. "
            "A weight of 0 leaves a row out.",
            row,
        )


def check_responsibilities(given: Any, n_rows: int, n_components: int) -> Tensor:
    """Return labels (n,) int64, or responsibilities (n, K) float64 whose rows sum to 1."""
    name = "init_responsibilities"
    values = given.detach() if isinstance(given, Tensor) else as_float64(given, name)
    if values.shape not in ((n_rows,), (n_rows, n_components)):
        raise ValueError(
            f"{name} must be labels of shape (n_samples,) = ({n_rows},) or responsibilities of shape "
            f"(n_samples, n_components) = ({n_rows}, {n_components}); got shape {tuple(values.shape)}."
        )
    if values.ndim == 1:
        labels = values.to(torch.int64)
        bad = torch.nonzero((labels != values) | (labels < 0) | (labels >= n_components)).flatten()
        if bad.numel():
            row = int(bad[0])
            raise at_row(
                f"{name} as labels must be integers from 0 to n_components - 1 = {n_components - 1}; "
                f"got {values[row].item()} at row {row}.",
                row,
            )
        return labels
    values = as_float64(given, name)
    sums = values.sum(1)
    bad = torch.nonzero(~((values >= 0).all(1) & ((sums - 1).abs() < 1e-3))).flatten()
    if bad.numel():
        row = int(bad[0])
        raise at_row(f"{name} must be >= 0 with rows that sum to 1; row {row} is {values[row].tolist()}.", row)
    return values / sums[:, None]
