"""Delimited text files: CSV and its relatives."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from os import PathLike
from pathlib import Path

import numpy as np

from tgmm.data.source import Source, rows_per_read
from tgmm.data.tables import feature_columns

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
DELIMITERS = (",", ";", "\t", "|", " ")


class TextSource(Source):
    r"""Columns of a delimited text file, with or without a line of names, in float64.

    The delimiter is a comma or else a semicolon, a tab, a bar or a space, whichever is in the first line. Columns of a
    file without names are called "0", "1", ...

    Parameters
    ----------
    path : path-like
    columns : sequence of str, optional
        The features, in this order; all columns where None.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, a column is missing, or, while reading, a value is missing or not a number.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tgmm import GaussianMixture
    >>> from tgmm.data import TextSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "data.csv"
    ...     _ = path.write_text("x,y,kind\n1,2,a\n3,6,b\n2,7,a\n")
    ...     GaussianMixture().fit(TextSource(path, columns=["y", "x"])).means_
    tensor([[5., 2.]], dtype=torch.float64)
    """

    def __init__(self, path: str | PathLike[str], columns: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        with self._open() as file:
            first = file.readline()
        if not first.strip():
            raise ValueError(f"{str(self.path)!r} is empty, or begins with an empty line.")
        self.delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
        fields = next(self._fields([first]))
        self.has_names = not all(_is_number(field) for field in fields)
        names = fields if self.has_names else [str(j) for j in range(len(fields))]
        self.columns = feature_columns(names, columns, None)
        self.feature_names = self.columns if self.has_names else None
        self.positions = [names.index(name) for name in self.columns]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield consecutive rows."""
        n_read = rows_per_read(len(self.columns), 8)
        with self._open() as file:
            if self.has_names:
                file.readline()
            while True:
                rows = self._read(file, n_read)
                if not rows.shape[0]:
                    return
                yield rows

    def _open(self) -> TextIOWrapper:
        return open(self.path, encoding="utf-8-sig", newline="")

    def _fields(self, lines: Sequence[str] | TextIOWrapper) -> Iterator[list[str]]:
        """Yield the fields of each line."""
        for fields in csv.reader(lines, delimiter=self.delimiter):
            yield [field.strip() for field in fields]

    def _read(self, file: TextIOWrapper, n_rows: int) -> np.ndarray:
        """Return the next rows of an open file; none at its end."""
        lines = list(islice((line for line in file if line.strip()), n_rows))
        if not lines:
            return np.empty((0, len(self.columns)))
        delimiter = None if self.delimiter == " " else self.delimiter
        try:
            return np.loadtxt(lines, delimiter=delimiter, usecols=self.positions, ndmin=2, quotechar='"', comments=None)
        except ValueError as error:
            raise ValueError(self._explanation() or f"{str(self.path)!r}: {error}") from error

    def _explanation(self) -> str | None:
        """Return what is wrong with the first line that cannot be read."""
        with self._open() as file:
            for number, fields in enumerate(self._fields(file), start=1):
                if not fields or (number == 1 and self.has_names):
                    continue
                for name, position in zip(self.columns, self.positions, strict=True):
                    value = fields[position] if position < len(fields) else ""
                    if not _is_number(value):
                        what = f"{value!r} is not a number" if value else "a value is missing"
                        return (
                            f"{str(self.path)!r}, line {number}, column {name!r}: {what}. Drop such rows, or name "
                            "numeric columns only."
                        )
        return None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
