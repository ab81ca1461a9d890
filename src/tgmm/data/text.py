"""Delimited text files: CSV and its relatives."""

from __future__ import annotations

import codecs
import csv
import gzip
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from pathlib import Path
from reprlib import repr as short
from typing import TextIO

import numpy as np

from tgmm.data.dialects import dialect_of
from tgmm.data.fields import MISSING, THOUSANDS, is_number
from tgmm.data.source import Source, rows_per_read
from tgmm.data.tables import CHOOSE, feature_columns
from tgmm.runtime.words import number_of

CORRECT = "Correct such rows"
LACKING = "Drop such rows, fill them in, fit the model with missing='em'"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what files of that encoding begin with
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")  # and these with .gz


class TextSource(Source):
    r"""Columns of a delimited text file such as CSV, with or without a header, in float64.

    The first lines determine the delimiter (commas, semicolons, tabs, bars or blanks) and whether decimals have commas.
    A first line ``sep=;``, as for Excel, declares the delimiter.
    Columns of a file without a header are called "0", "1" and so on. A first column without a name holds row names, as
    R and pandas write them, and is not used as a feature. A warning says if the file can be read in two ways.

    Parameters
    ----------
    path : path-like
        The file. It is decompressed by gzip if its name ends in .gz.
    columns : sequence of str, optional
        Columns to use as features, in this order. By default all columns are used.
    header : bool, optional
        Whether the first line names the columns. By default it does if it contains a word. It also does, with a
        warning, if it looks like numbers of columns (0, 1, 2 as pandas writes them), like years, or like other whole
        numbers that differ from those below.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty or not UTF-8, or if the name of a column is missing or ambiguous. While reading: if a row
        has more fields than there are columns, a value is missing or not a number, or a quote is not closed.

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
    array([[5., 2.]])
    """

    keeps_batches = True

    def __init__(
        self, path: str | PathLike[str], columns: Sequence[str] | None = None, *, header: bool | None = None
    ) -> None:
        self.path = Path(path)
        with self._opened() as file:
            dialect = dialect_of(file, header)
        if dialect is None:
            raise ValueError(f"{str(self.path)!r} is empty: it has no line of data.")
        self.dialect = dialect
        names = dialect.names
        self.columns = feature_columns(names[dialect.has_row_names :], columns, None)
        self.feature_names = None if dialect.header is None else self.columns
        places = {name: j for j, name in enumerate(names)}
        self.positions = [places[name] for name in self.columns]
        for doubt in dialect.doubts:
            warnings.warn(f"{str(self.path)!r}: {doubt}", stacklevel=2)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield consecutive rows."""
        n_read = rows_per_read(self.dialect.n_columns, 8)
        with self._opened() as file:
            records = self.dialect.records(file)
            while (rows := self._read(records, n_read)).shape[0]:
                yield rows

    def texts(self, columns: Sequence[str]) -> Iterator[list[str]]:
        """Yield the text in some columns, row by row.

        Parameters
        ----------
        columns : sequence of str
            The names of the columns.

        Yields
        ------
        list of str
            The fields of a row, in the order of `columns`. A missing field is empty.

        Raises
        ------
        ValueError
            If a column does not exist, or if a row has more or fewer fields than there are columns.
        """
        names = self.dialect.names
        places = [names.index(name) for name in feature_columns(names, columns, None)]
        with self._opened() as file:
            for record in self.dialect.records(file):
                fields = self.dialect.fields(record)
                if len(fields) != len(names):
                    many = "more" if len(fields) > len(names) else "fewer"
                    raise ValueError(
                        f"{str(self.path)!r}: {fields} are {many} fields than the {len(names)} columns. {CORRECT}."
                    )
                yield [fields[place] for place in places]

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        """Open the file. If it is no text, a ValueError names it."""
        opener = gzip.open if self.path.suffix.lower() == ".gz" else open
        try:
            with opener(self.path, "rt", encoding="utf-8-sig", newline="") as file:
                yield file
        except UnicodeDecodeError as error:
            encoding = "utf-16" if error.start == 0 and error.object[:2] in UTF_16 else "latin1"
            raise ValueError(
                f"{str(self.path)!r} is not UTF-8 text: byte {error.object[error.start]:#x} ({error.reason}). Save it "
                f"as UTF-8, or convert it (iconv -f {encoding} -t utf-8)."
            ) from error
        except csv.Error as error:
            raise ValueError(f"{str(self.path)!r} cannot be split into fields: {error}.") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{str(self.path)!r} is not a complete gzip file: {error}.") from error

    def _read(self, records: Iterator[str], n_rows: int) -> np.ndarray:
        """Return the next rows, (c, d), or no rows at the end."""
        try:
            lines = list(islice(records, n_rows))
            return self._numbers(lines) if lines else np.empty((0, len(self.columns)))
        except UnicodeDecodeError:  # a ValueError, too, which is explained where the file was opened
            raise
        except (ValueError, csv.Error) as error:
            raise ValueError(self._explanation() or f"{str(self.path)!r}: {error}") from error

    def _numbers(self, records: Sequence[str]) -> np.ndarray:
        """Return the numbers in the columns of records, (c, d)."""
        dialect, n_columns = self.dialect, self.dialect.n_columns
        if dialect.decimal_comma:
            records = [record.replace(",", ".") for record in records]
        settings = {"delimiter": dialect.delimiter, "quotechar": '"', "comments": None}
        if len(set(self.positions)) == n_columns:
            table = np.loadtxt(records, ndmin=2, **settings)
            if table.shape[1] != n_columns:
                raise ValueError(f"rows have {table.shape[1]} fields")
            return table if self.positions == list(range(n_columns)) else table[:, self.positions]
        wanted = set(self.positions)
        kinds = [(str(j), "f8" if j in wanted else "U1") for j in range(n_columns)]  # NumPy counts the fields of a row
        table = np.loadtxt(records, kinds, ndmin=1, **settings)
        return np.stack([table[str(j)] for j in self.positions], 1)

    def _explanation(self) -> str | None:
        """Return what is wrong with the first record that cannot be read."""
        n_read = 0

        def counted(lines: Iterable[str]) -> Iterator[str]:
            nonlocal n_read
            for line in lines:
                n_read += 1
                yield line

        with self._opened() as file:
            begin = 1
            try:
                records = self.dialect.records(counted(file))
                begin = n_read + 1
                for record in records:
                    fault = self._fault(self.dialect.fields(record))
                    if fault is not None:
                        return f"{str(self.path)!r}, line {n_read}{fault}"
                    begin = n_read + 1
            except csv.Error as error:
                return (
                    f"{str(self.path)!r}, line {begin}: a quote is not closed where its field ends ({error}). Close "
                    'it, or double it ("") where it is part of the text.'
                )
        return None

    def _fault(self, fields: Sequence[str]) -> str | None:
        """Return what is wrong with the fields of a record, or None."""
        for name, position in zip(self.columns, self.positions, strict=True):
            value = fields[position] if position < len(fields) else ""
            if not is_number(value):
                what = f"{short(value)} is not a number. {CORRECT}"
                if value.lower() in MISSING:
                    what = f"a value is missing{f' ({value!r})' if value else ''}. {LACKING}"
                elif THOUSANDS.match(value):
                    what = f"{value} may contain a decimal comma or a thousands separator. {CORRECT}"
                return f", column {name!r}: {what}, or {CHOOSE}."
        if len(fields) != self.dialect.n_columns:
            wanted = number_of(self.dialect.n_columns, "column")
            found = f"it has {number_of(len(fields), 'field')}, but the table has {wanted}"
            remedy = CORRECT
            if len(fields) == self.dialect.n_columns + 1:
                remedy += ", or begin the first line with one more separator if the first field names the row"
            if self.dialect.delimiter == ",":
                remedy += ", or write decimal points if commas are decimal"
            return f": {found}. {remedy}."
        return None
