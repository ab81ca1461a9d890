"""Many problems in what a user hands in: which rows each has, and what else is given for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.data.columns import listed
from tgmm.data.source import Source
from tgmm.data.validation import as_numeric
from tgmm.estimators.row_labels import require_labels
from tgmm.runtime.checks import as_float64
from tgmm.runtime.dlpack import exporter, imported, is_foreign

# Kinds of NumPy's types whose values are plain Python's.
PLAIN = "biufUS"


@dataclass(frozen=True)
class Groups:
    """Which rows belong to which group.

    Parameters
    ----------
    keys : list
        The labels of the groups, in increasing order.
    members : list of array of shape (n_b,)
        The numbers of each group's rows, in their order.
    n_rows : int
    """

    keys: list[Any]
    members: list[np.ndarray]
    n_rows: int

    @classmethod
    def of(cls, labels: Any, n_rows: int) -> Groups:
        """Return the groups of rows with these labels, (n,), or raise a ValueError."""
        labels = labels.cpu().numpy() if isinstance(labels, Tensor) else labels
        values = np.asarray(labels)
        if values.shape != (n_rows,):
            raise ValueError(
                f"groups must have shape (n_samples,) = ({n_rows},), one label per row; got shape {values.shape}."
            )
        require_labels(labels, "groups")
        try:
            found, number = np.unique(values, return_inverse=True)
        except TypeError as error:
            raise ValueError(f"groups must be labels that have an order, such as numbers or text: {error}.") from error
        members = np.split(number.argsort(kind="stable"), np.bincount(number).cumsum()[:-1])
        return cls(found.tolist() if values.dtype.kind in PLAIN else list(found), members, n_rows)

    def parts(self, values: Any, name: str) -> Iterator[Any]:
        """Yield the part of each group of what has a row for each row; None for each where there is nothing."""
        if values is None:
            return repeat(None, len(self.keys))
        if isinstance(values, list | tuple):
            values = as_float64(values, name).numpy()
        shape = getattr(values, "shape", ())
        if not shape or shape[0] != self.n_rows:
            raise ValueError(f"{name} must have an entry for each of the {self.n_rows} rows; it has {_length(values)}.")
        return (_taken(values, index) for index in self.members)

    def together(self, parts: Sequence[Any]) -> Any:
        """Return results for the rows of each group as one array in the order of the rows."""
        if is_foreign(parts[0]):
            return exporter(parts[0])(self.together([imported(part, "a result") for part in parts]))
        places = np.concatenate(self.members).argsort()
        if isinstance(parts[0], Tensor):
            return torch.cat(list(parts))[torch.from_numpy(places).to(parts[0].device)]
        return np.concatenate(parts)[places]


@dataclass(frozen=True)
class Tables:
    """Tables of rows that are given one by one.

    Parameters
    ----------
    rows : sequence
        The table of each problem.
    """

    rows: Sequence[Any]

    @property
    def keys(self) -> list[Any]:
        """The numbers of the problems."""
        return list(range(len(self.rows)))

    @property
    def members(self) -> list[None]:
        """None for each problem, whose rows are counted in its own table."""
        return [None] * len(self.rows)

    def parts(self, values: Any, name: str) -> Iterable[Any]:
        """Return what is given for each problem; None for each where there is nothing."""
        return of_each(values, len(self.rows), name)


def with_groups(X: Any, groups: Any) -> tuple[Any, Groups]:
    """Return rows, and the groups that they belong to, which may be a column of theirs."""
    if isinstance(groups, int):
        raise ValueError(
            f"groups={groups} must be the group of each row, or the name of a column: for the number of components, "
            f"give n_components={groups}."
        )
    if isinstance(groups, str):
        names = list(getattr(X, "column_names", getattr(X, "columns", ())))  # of Arrow, and of data frames
        if groups not in names:
            has = listed(names) if names else "no names"
            raise ValueError(f"groups={groups!r} must be a column of the data frame X, but that has {has}.")
        others = [name for name in names if name != groups]
        labels, X = X[groups], X.select(others) if hasattr(X, "select") else X[others]
    else:
        labels, X = groups, np.asarray(as_numeric(X)) if isinstance(X, list | tuple) else X
    shape = getattr(X, "shape", ())
    if len(shape) != 2:
        raise ValueError(
            "X must be rows in memory, of shape (n_samples, n_features), if groups are given; got "
            f"{type(X).__name__}" + (f" of shape {tuple(shape)}." if shape else ".")
        )
    n_rows = shape[0]
    if n_rows == 0:
        raise ValueError(f"X has no rows, its shape is {tuple(shape)}: give at least one.")
    return X, Groups.of(labels, n_rows)


def divided(X: Any, groups: Any) -> tuple[Any, Groups | Tables]:
    """Return what is to be fitted to, and how it divides into problems."""
    if groups is not None:
        return with_groups(X, groups)
    tables = check_tables(_as_list(X))
    return tables, Tables(tables)


def _as_list(X: Any) -> Any:
    """Return an array of another library as the list of its tables: not all arrays have a length."""
    return [X[b, ...] for b in range(X.shape[0])] if is_foreign(X) and len(X.shape) == 3 else X


def check_tables(X: Any) -> Sequence[Any]:
    """Return the tables of all problems, which are not given as groups, or raise a ValueError."""
    shape = getattr(X, "shape", None)
    if not isinstance(X, list | tuple) and (shape is None or len(shape) != 3):
        got = type(X).__name__ if shape is None else f"{type(X).__name__} of shape {tuple(shape)}"
        raise ValueError(
            "X must have shape (n_problems, n_samples, n_features) or be a list of tables of rows, unless groups tell "
            f"which problem each row belongs to; got {got}."
        )
    if len(X) == 0:
        raise ValueError("X has no problems: give at least one.")
    widths = [(b, shape[1]) for b, table in enumerate(X) if len(shape := getattr(table, "shape", ())) == 2]
    for b, width in widths:
        if width != widths[0][1]:
            raise ValueError(
                f"Problem {b} has {width} features, but problem {widths[0][0]} has {widths[0][1]}: fit problems with "
                "different numbers of features in separate calls."
            )
    _require_same_names(X)
    return X


def _require_same_names(tables: Sequence[Any]) -> None:
    """Raise a ValueError where columns have other names than those of the first table with names, or another order."""
    named = [(b, names) for b, table in enumerate(tables) if (names := _names(table))]
    for b, names in named:
        first, expected = named[0]
        if names != expected:
            raise ValueError(
                f"The table of problem {b} has the columns {listed(names)}, but that of problem {first} has "
                f"{listed(expected)}: give all tables the same columns in the same order. table[names] puts a data "
                "frame in order."
            )


def _names(table: Any) -> list[str]:
    """Return the names of the columns of a data frame or a source; none where any is no text, as those by default."""
    if isinstance(table, Source):
        names = table.feature_names
    elif hasattr(table, "collect_schema"):  # a lazy frame warns of being asked for its columns
        names = table.collect_schema().names()
    else:
        names = getattr(table, "column_names", getattr(table, "columns", None))
    names = [] if names is None else list(names)
    return names if all(isinstance(name, str) for name in names) else []


def of_each(values: Any, count: int, name: str) -> Iterable[Any]:
    """Return what is given for each problem, None for each where there is nothing."""
    if values is None:
        return repeat(None, count)
    if _length(values) != count:
        raise ValueError(f"{name} must have an entry for each of the {count} problems; it has {_length(values)}.")
    return values


def _length(values: Any) -> str | int:
    """Return how many entries there are."""
    return len(values) if hasattr(values, "__len__") and getattr(values, "ndim", 1) else "none"


def _taken(rows: Any, index: np.ndarray) -> Any:
    """Return some rows of an array, a tensor, a data frame or a table of Arrow."""
    if is_foreign(rows):
        return exporter(rows)(_taken(imported(rows, "X"), index))
    if hasattr(rows, "column_names"):
        return rows.take(index)
    if isinstance(rows, Tensor):
        return rows[torch.from_numpy(index).to(rows.device)]
    return rows.iloc[index] if hasattr(rows, "iloc") else rows[index]
