"""Dialects of delimited text: what separates fields, and whether the first line names the columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from tgmm.data.commas import decimal_or_separators, has_decimal_commas
from tgmm.data.fields import Rows, is_number, split, with_point
from tgmm.data.headers import Header, are_rows_named, comment_as_header, header_of, is_short

DELIMITERS = (";", "\t", "|", ",", None)  # commas can be decimal; None: blanks, any number of them
DECLARED = re.compile(r'"?sep=([^\w"\s]|\t)"?\s*$')  # the first line of files that Excel is to open
PREVIEW_LINES = 100
PREVIEW_SIZE = 1 << 16  # characters after which a header and two rows are enough


@dataclass(frozen=True)
class Dialect:
    """How a text file is to be read.

    Parameters
    ----------
    delimiter : str or None
        None for any number of blanks.
    decimal_comma : bool
        Whether 1,5 is a number.
    n_skipped : int
        Number of lines before the first record: one that declares the delimiter, comments, and lines without text.
    n_columns : int
    header : Header or None
        None if nothing names the columns.
    doubts : tuple of str
        What else the file could mean, and how to say so.
    """

    delimiter: str | None
    decimal_comma: bool
    n_skipped: int
    n_columns: int
    header: Header | None
    doubts: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all columns; "0", "1", ... if they have none."""
        return [str(j) for j in range(self.n_columns)] if self.header is None else list(self.header.names)

    @property
    def has_row_names(self) -> bool:
        """Whether the first column holds row names: it is the only one without a name."""
        return self.n_columns > 1 and not self.names[0]

    def records(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the records below the header from all lines of the file. A quoted field can span several lines.

        Raises
        ------
        csv.Error
            If a quote is not closed, or not at the end of its field.
        """
        lines = iter(lines)
        for _ in islice(lines, self.n_skipped):
            pass
        records = self._joined(lines)
        if self.header is not None and self.header.is_record:
            next(records, None)
        return records

    def _joined(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield lines that have text or are rows. Lines that a quoted field spans are joined."""
        for line in lines:
            if '"' in line and line.count('"') % 2:
                taken: list[str] = []
                parts = (taken.append(part) or part for part in chain([line], lines))
                next(csv.reader(parts, delimiter=self.delimiter or " ", strict=True))
                yield "".join(taken)
            elif not line.isspace() or _is_row_of_tabs(line, self.delimiter, self.n_columns):
                yield line

    def fields(self, record: str) -> list[str]:
        """Return the fields of a record; numbers have a decimal point."""
        found = split(record, self.delimiter)
        return [with_point(field) for field in found] if self.decimal_comma else found


def dialect_of(lines: Iterable[str], has_header: bool | None) -> Dialect | None:
    """Return the dialect of a file from its first lines, or None if there is no record.

    Parameters
    ----------
    lines : iterable of str
    has_header : bool or None
        Whether the first record names the columns; None to find out.
    """
    skipped, records = _preview(lines)
    if not records:
        return None
    declared = DECLARED.match(skipped[0]) if skipped else None
    delimiter = _delimiter(records) if declared is None else declared[1]
    rows = [split(record, delimiter) for record in records]
    are_decimal, commas = False, None
    if delimiter == "," and declared is None and not any('"' in record for record in records):
        are_decimal, commas = decimal_or_separators(rows)
        if are_decimal:
            delimiter, rows = ";", [[record.strip()] for record in records]
    decimal_comma = delimiter != "," and has_decimal_commas(rows)
    values = [[with_point(field) for field in row] for row in rows] if decimal_comma else rows
    header, first_line = _header(skipped, records, values, delimiter, has_header)
    if header is not None and not are_decimal:
        commas = None  # names tell how many columns there are
    row_names = None
    if header is not None and header.is_record:
        header, row_names = _with_row_names(header, records, values, delimiter)
    n_columns = len(rows[0]) if header is None else len(header.names)
    doubts = tuple(doubt for doubt in (commas, first_line, row_names) if doubt is not None)
    n_skipped, has_record = len(skipped), header is not None and header.is_record
    while n_skipped and not has_record and _is_row_of_tabs(skipped[n_skipped - 1], delimiter, n_columns):
        n_skipped -= 1
    return Dialect(delimiter, decimal_comma, n_skipped, n_columns, header, doubts)


def _is_row_of_tabs(line: str, delimiter: str | None, n_columns: int) -> bool:
    """Whether a line without text is a row without values, of as many columns as its tabs separate."""
    return delimiter == "\t" and n_columns > 1 and line.isspace() and line.count("\t") == n_columns - 1


def _header(
    skipped: Sequence[str], records: Sequence[str], rows: Rows, delimiter: str | None, has_header: bool | None
) -> tuple[Header | None, str | None]:
    """Return the header, and any doubts if it had to be guessed."""
    if has_header is not None:
        return Header(tuple(split(records[0], delimiter))) if has_header else None, None
    commented = comment_as_header(skipped, delimiter, rows)
    return header_of(records, rows, delimiter) if commented is None else (commented, None)


def _with_row_names(
    header: Header, records: Sequence[str], rows: Rows, delimiter: str | None
) -> tuple[Header, str | None]:
    """Return a header with an empty name for the row names, if it has one name less than there are columns."""
    are_named = is_short(rows) and are_rows_named(records, rows, delimiter)
    if are_named is False:
        return header, None
    doubt = None
    if are_named is None:
        doubt = (
            "the first column is read as row names, because the first line has one field fewer than the others. If it "
            "is a feature, name it there."
        )
    return Header(("", *header.names)), doubt


def _preview(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the lines at the beginning that are no records, and the first records after them."""
    skipped: list[str] = []
    records: list[str] = []
    size = 0
    for line in lines:
        is_open = bool(records) and records[-1].count('"') % 2 == 1
        if is_open:
            records[-1] += line
        elif not records and (_is_comment(line) or (not skipped and DECLARED.match(line))):
            skipped.append(line)
        elif line.strip():
            records.append(line)
        size += len(line) if records else 0
        if len(records) == PREVIEW_LINES or (size > PREVIEW_SIZE and (len(records) > 2 or is_open)):
            break
    return skipped, records


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _delimiter(records: Sequence[str]) -> str | None:
    """Return the delimiter that splits all records alike and into most numbers, else one of the first record.

    The header may have one field less than the others: R does not name the column of the row names. Blanks also have to
    leave fewer texts than the others: of a text like "id 7" they make another text, and a number.
    """
    alike: dict[str | None, tuple[float, int]] = {}
    for delimiter in DELIMITERS:
        rows = [split(record, delimiter) for record in records]
        sizes = {len(row) for row in rows[1:]} or {len(rows[0])}
        size = max(sizes)
        if len(sizes) == 1 and size > 1 and len(rows[0]) in (size - 1, size):
            alike[delimiter] = _numbers_and_texts(rows[1:] or rows, delimiter)
    if alike:
        best = max((found for found in alike if found is not None), key=lambda found: alike[found][0], default=None)
        are_blanks = None in alike and alike[None][0] > alike[best][0] and alike[None][1] < alike[best][1]
        return None if are_blanks else best
    found = [delimiter for delimiter in DELIMITERS[:-1] if len(split(records[0], delimiter)) > 1]
    has_blanks = any(len(record.split()) > 1 for record in records[1:])
    return found[0] if found else None if has_blanks else ";"  # of one column, in which commas can be decimal


def _numbers_and_texts(rows: Rows, delimiter: str | None) -> tuple[float, int]:
    """Return the share of the fields with content that are numbers, and how many are none."""
    fields = [field if delimiter == "," else with_point(field) for row in rows for field in row if field]
    n_numbers = sum(map(is_number, fields))
    return n_numbers / max(len(fields), 1), len(fields) - n_numbers
