"""Dialects of delimited text: what separates fields, and whether the first line names the columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

DELIMITERS = (",", ";", "\t", "|", None)  # None: blanks, any number of them
PREVIEW_LINES = 100
PREVIEW_SIZE = 1 << 16  # characters after which a header and two rows are enough
MISSING = {"", "na", "n/a", "#n/a", "<na>", "null", "none", "?", "-", "."}
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?$")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+$")  # 1,234 is 1234 to some and 1.234 to others

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Header:
    """What names the columns.

    Parameters
    ----------
    names : tuple of str
        Of all columns; a column of row names, which is the first, has an empty one.
    is_record : bool
        Whether they are the first record, not a comment above it.
    is_doubtful : bool
        Whether they are numbers, which could be a row of data.
    """

    names: tuple[str, ...]
    is_record: bool = True
    is_doubtful: bool = False


@dataclass(frozen=True)
class Dialect:
    """How a text file is to be read.

    Parameters
    ----------
    delimiter : str or None
        None for blanks, any number of them.
    decimal_comma : bool
        Whether 1,5 is a number.
    n_skipped : int
        How many lines come before the first record: comments, and lines without text.
    n_columns : int
    header : Header or None
        None where nothing names the columns.
    """

    delimiter: str | None
    decimal_comma: bool
    n_skipped: int
    n_columns: int
    header: Header | None

    @property
    def names(self) -> list[str]:
        """The names of all columns; "0", "1", ... where they have none."""
        return [str(j) for j in range(self.n_columns)] if self.header is None else list(self.header.names)

    @property
    def has_row_names(self) -> bool:
        """Whether the first column, alone without a name, names the rows."""
        return self.n_columns > 1 and not self.names[0]

    def records(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the records below the header, of all lines of the file: a quoted field may go over several lines.

        Raises
        ------
        csv.Error
            For a quote that is not closed, or not at the end of its field.
        """
        lines = iter(lines)
        for _ in islice(lines, self.n_skipped):
            pass
        records = self._joined(lines)
        if self.header is not None and self.header.is_record:
            next(records, None)
        return records

    def _joined(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield lines that have text, those over which a quoted field goes as one."""
        for line in lines:
            if '"' in line and line.count('"') % 2:
                taken: list[str] = []
                parts = (taken.append(part) or part for part in chain([line], lines))
                next(csv.reader(parts, delimiter=self.delimiter or " ", strict=True))
                yield "".join(taken)
            elif not line.isspace():
                yield line

    def fields(self, record: str) -> list[str]:
        """Return the fields of a record, numbers with a decimal point."""
        found = _split(record, self.delimiter)
        return [_with_point(field) for field in found] if self.decimal_comma else found


def dialect_of(lines: Iterable[str], has_header: bool | None) -> Dialect | None:
    """Return the dialect of a file by its first lines, or None where there is no record.

    Parameters
    ----------
    lines : iterable of str
    has_header : bool or None
        Whether the first record names the columns; None where that is to be found out.
    """
    skipped, records = _preview(lines)
    if not records:
        return None
    delimiter = _delimiter(records)
    rows = [_split(record, delimiter) for record in records]
    decimal_comma = delimiter != "," and _has_decimal_commas(rows)
    values = [[_with_point(field) for field in row] for row in rows] if decimal_comma else rows
    header = None
    if has_header is None:
        header = _commented(skipped, delimiter, values) or _header(records, values, delimiter)
    elif has_header:
        header = Header(tuple(rows[0]))
    if header is not None and header.is_record and _is_short(rows) and _are_rows_named(records, values, delimiter):
        header = Header(("", *header.names))
    n_columns = len(rows[0]) if header is None else len(header.names)
    return Dialect(delimiter, decimal_comma, len(skipped), n_columns, header)


def is_number(field: str) -> bool:
    """Whether a field is a number as NumPy reads it: Python itself takes more than ASCII, and 1_000."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field


def _preview(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the comments and empty lines at the beginning, and the first records after them."""
    skipped: list[str] = []
    records: list[str] = []
    size = 0
    for line in lines:
        is_open = bool(records) and records[-1].count('"') % 2 == 1
        if is_open:
            records[-1] += line
        elif line.strip() and (records or not line.lstrip().startswith("#")):
            records.append(line)
        elif not records:
            skipped.append(line)
        size += len(line) if records else 0
        if len(records) == PREVIEW_LINES or (size > PREVIEW_SIZE and (len(records) > 2 or is_open)):
            break
    return skipped, records


def _split(record: str, delimiter: str | None) -> list[str]:
    """Return the fields of a record."""
    if '"' not in record:
        return [field.strip() for field in record.split(delimiter)]
    if delimiter is None:
        record, delimiter = " ".join(record.split()), " "
    return [field.strip() for field in next(csv.reader(record.splitlines(True), delimiter=delimiter))]


def _with_point(field: str) -> str:
    return field.replace(",", ".") if DECIMAL_COMMA.match(field) else field


def _delimiter(records: Sequence[str]) -> str | None:
    """Return what splits all records alike, and into most numbers; else what is in the first.

    The header may have one field less than the others: R does not name the column of the row names.
    """
    alike: list[tuple[float, str | None]] = []
    for delimiter in DELIMITERS:
        rows = [_split(record, delimiter) for record in records]
        sizes = {len(row) for row in rows[1:]} or {len(rows[0])}
        size = max(sizes)
        if len(sizes) == 1 and size > 1 and len(rows[0]) in (size - 1, size):
            alike.append((_share_of_numbers(rows[1:] or rows, delimiter), delimiter))
    if alike:
        return max(alike, key=lambda found: found[0])[1]
    found = [delimiter for delimiter in DELIMITERS[:-1] if len(_split(records[0], delimiter)) > 1]
    has_blanks = any(len(record.split()) > 1 for record in records[1:])
    return found[0] if found else None if has_blanks else ";"  # of one column, in which commas can be decimal


def _share_of_numbers(rows: Rows, delimiter: str | None) -> float:
    """Return how many of the fields that hold something are numbers."""
    fields = [field if delimiter == "," else _with_point(field) for row in rows for field in row if field]
    return sum(map(is_number, fields)) / max(len(fields), 1)


def _has_decimal_commas(rows: Rows) -> bool:
    """Whether numbers have decimal commas; not where all could be thousands, or some have decimal points."""
    fields = [field for row in rows for field in row]
    commas = [field for field in fields if DECIMAL_COMMA.match(field)]
    points = any("." in field and is_number(field) for field in fields)
    return not points and not all(THOUSANDS.match(field) for field in commas)


def _header(records: Sequence[str], rows: Rows, delimiter: str | None) -> Header | None:
    """Return the first record as a header where it looks like one."""
    names, others = tuple(rows[0]), rows[1:]
    are_named = (_is_short(rows) or _has_corner(names)) and _are_rows_named(records, rows, delimiter)
    if any(map(_is_word, names)) or (are_named and _is_short(rows)):
        return Header(names)
    if are_named or (others and (_is_numbered(names, others) or _alone_is_quoted(records))):
        return Header(names, is_doubtful=True)
    return None


def _commented(skipped: Sequence[str], delimiter: str | None, rows: Rows) -> Header | None:
    """Return the last comment as a header, as numpy.savetxt writes it, where it has a name for each field of a row."""
    comments = [line.strip().lstrip("#") for line in skipped if line.strip()]
    names = _split(comments[-1], delimiter) if comments else []
    if len(names) != len(rows[0]):
        return None
    for first, *others in zip(*(row for row in rows if len(row) == len(names)), strict=True):
        if _is_word(first) and all(is_number(field) for field in others):
            return None  # the first record is one itself
    return Header(tuple(names), is_record=False)


def _is_word(field: str) -> bool:
    return not is_number(field) and field.lower() not in MISSING


def _is_numbered(names: Sequence[str], rows: Rows) -> bool:
    """Whether names are numbers of columns: 0, 1, 2 as pandas counts, evenly spaced, or whole above fractions."""
    if list(names) == [str(j) for j in range(len(names))]:
        return True
    if _is_even(names) and not _is_even(rows[0]):
        return True
    has_whole = any(_is_whole(field) for row in rows for field in row)
    return len(names) > 1 and all(map(_is_whole, names)) and not has_whole


def _is_whole(field: str) -> bool:
    return field.lstrip("+-").isdecimal()


def _is_even(fields: Sequence[str]) -> bool:
    """Whether fields are so many numbers that rise by equal steps that it is no accident."""
    if len(fields) < 4 or not all(is_number(field) for field in fields):
        return False
    steps = np.diff([float(field) for field in fields])
    return bool(steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-9, atol=0))


def _alone_is_quoted(records: Sequence[str]) -> bool:
    """Whether there are quotes in the first record and in no other."""
    return '"' in records[0] and not any('"' in record for record in records[1:])


def _is_short(rows: Rows) -> bool:
    """Whether the first row has one field less than each of the others."""
    return len(rows) > 1 and all(len(row) == len(rows[0]) + 1 for row in rows[1:])


def _has_corner(names: Sequence[str]) -> bool:
    """Whether the first name alone is empty."""
    return len(names) > 1 and not names[0] and all(names[1:])


def _are_rows_named(records: Sequence[str], rows: Rows, delimiter: str | None) -> bool:
    """Whether the first fields below a header look like names of rows, as R and pandas write them."""
    first = [row[0] for row in rows[1:]]
    if not first:
        return False
    if all(record.lstrip().startswith('"') for record in records[1:]) or not any(map(is_number, first)):
        return True
    # Unquoted numbers under a short header could be whole parts of numbers with decimal commas.
    is_counted = all(name.isdecimal() for name in first) and all(np.diff([int(name) for name in first]) == 1)
    return is_counted and not (delimiter == "," and _is_short(rows))
