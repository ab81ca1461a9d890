"""Single values that users hand in: numbers, flags, arrays of numbers."""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Sequence
from functools import partial
from reprlib import repr as short
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.runtime.dlpack import imported

KINDS = {"c": "complex", "S": "bytes", "U": "string", "M": "date", "m": "time"}
ENCODE = "Leave such columns out, or turn them into numbers first."
TEXT_OR_TIME = (str, bytes, datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)


def at_row(message: str, row: int) -> ValueError:
    """Return an error about a row, in a message that has the word row and its number among the rows looked at."""
    error = ValueError(message)
    vars(error)["row"] = row
    return error


def among(error: Exception, numbers: Sequence[int] | np.ndarray | None) -> str:
    """Return the message of an error, about a row with the number that it has among more rows, (n,)."""
    row = vars(error).get("row")
    if row is None or numbers is None:
        return str(error)
    return str(error).replace(f"row {row}", f"row {numbers[row]}", 1)


def check_integer(value: Any, name: str, least: int) -> int:
    """Return an integer parameter, or raise a ValueError that names it."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}; got {value!r}.")
    return int(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number, which True is not."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    return real and bool(np.isfinite(float(value)))


def check_number(value: Any, name: str) -> float:
    """Return a finite real parameter that is not negative, or raise a ValueError that names it."""
    if not is_number(value) or float(value) < 0:
        raise ValueError(f"{name} must be a finite number >= 0; got {value!r}.")
    return float(value)


def check_flag(value: Any, name: str) -> bool:
    """Return a parameter that is True or False, or raise a ValueError that names it."""
    if not isinstance(value, bool | np.bool_ | numbers.Integral) or value not in (0, 1):
        raise ValueError(f"{name} must be True or False; got {value!r}.")
    return bool(value)


def require_finite(values: Tensor, name: str) -> None:
    """Raise a ValueError that names a parameter with an entry that is NaN or infinite."""
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got {values.tolist()}.")


def require_numbers(values: np.ndarray, name: str, columns: Sequence[Any] | None = None) -> None:
    """Raise an error that names the first object that is no number: strings are none, even such as read as one.

    Where the columns of a table have names, it also names the column.
    """
    for index, value in enumerate(values.flat):
        if isinstance(value, numbers.Real) and not isinstance(value, np.timedelta64):
            continue
        place, refused = f"position {index}", ValueError
        if values.ndim == 2:
            row, column = divmod(index, values.shape[1])
            refused = partial(at_row, row=row)
            place = f"row {row}, column {column}" + ("" if columns is None else f" ({columns[column]!r})")
        if type(value).__name__ == "NAType":
            raise refused(f"Input {name} contains NaN (a missing value) at {place}: drop or impute such rows.")
        fault = f"{name} must hold numbers; got {short(value)} at {place}"
        if isinstance(value, TEXT_OR_TIME):
            raise refused(f"{fault}." if columns is None else f"{fault}. {ENCODE}")
        try:
            float(0 if value is None else value)  # None is NaN
        except TypeError as error:
            raise TypeError(f"{fault}: {error}.") from error  # as scikit-learn's checks have it
        except ValueError as error:
            raise refused(f"{fault}: {error}.") from error


def refuse_masked(value: Any, name: str) -> None:
    """Raise a ValueError for an array of which some values are masked, which stand for nothing."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        row, *column = np.argwhere(np.ma.getmaskarray(value))[0].tolist() or [0]
        place = ", column ".join(map(str, [row, *column]))
        raise at_row(f"{name} has masked values, the first at row {place}: drop or fill them.", row)


def as_float64(value: Any, name: str) -> Tensor:
    """Return an array-like parameter as a float64 tensor on the CPU, or raise a ValueError that names it."""
    refuse_masked(value, name)
    value = imported(value, name)
    if isinstance(value, Tensor):
        if value.is_complex():
            raise ValueError(f"{name} must be an array of real numbers; got a complex tensor.")
        return value.detach().cpu().double()
    try:
        given = np.asarray(value)
        if given.dtype.kind in KINDS:
            raise TypeError(f"got {KINDS[given.dtype.kind]} values, {short(given.tolist())}")
        if given.dtype == object:
            require_numbers(given, name)
        return torch.from_numpy(np.array(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers: {error}.") from error
