"""Fields of delimited text: how a record is split into fields, and which of them are numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

MISSING = {"", "na", "n/a", "#n/a", "<na>", "null", "none", "?", "-", "."}
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?$")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+$")  # 1,234 is 1234 to some and 1.234 to others

Rows = Sequence[Sequence[str]]


def split(record: str, delimiter: str | None) -> list[str]:
    """Return the fields of a record. If the delimiter is None, blanks separate them."""
    if '"' not in record:
        return [field.strip() for field in record.split(delimiter)]
    if delimiter is None:
        record, delimiter = " ".join(record.split()), " "
    return [field.strip() for field in next(csv.reader(record.splitlines(True), delimiter=delimiter))]


def is_number(field: str) -> bool:
    """Whether NumPy reads a field as a number. Python itself also accepts other digits than ASCII, and 1_000."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field


def is_whole(field: str) -> bool:
    """Whether a field is a whole number."""
    return field.lstrip("+-").isdecimal()


def is_word(field: str) -> bool:
    """Whether a field is text: neither a number nor a mark for a missing value."""
    return not is_number(field) and field.lower() not in MISSING


def with_point(field: str) -> str:
    """Return a field with a decimal point instead of a decimal comma, if it is such a number."""
    return field.replace(",", ".") if DECIMAL_COMMA.match(field) else field
