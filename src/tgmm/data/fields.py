"""Fields of delimited text: how a record is split into them, and which are numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

MISSING = {"", "na", "n/a", "#n/a", "<na>", "null", "none", "?", "-", "."}
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?$")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+$")  # 1,234 is 1234 to some and 1.234 to others

Rows = Sequence[Sequence[str]]


def split(record: str, delimiter: str | None) -> list[str]:
    """Return the fields of a record; where the delimiter is None, of what blanks separate."""
    if '"' not in record:
        return [field.strip() for field in record.split(delimiter)]
    if delimiter is None:
        record, delimiter = " ".join(record.split()), " "
    return [field.strip() for field in next(csv.reader(record.splitlines(True), delimiter=delimiter))]


def is_number(field: str) -> bool:
    """Whether a field is a number as NumPy reads it: Python itself takes more than ASCII, and 1_000."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field


def is_whole(field: str) -> bool:
    """Whether a field is a whole number."""
    return field.lstrip("+-").isdecimal()


def is_word(field: str) -> bool:
    """Whether a field is text, neither a number nor what stands for a missing one."""
    return not is_number(field) and field.lower() not in MISSING


def with_point(field: str) -> str:
    """Return a field, a number with a decimal point where it has a decimal comma."""
    return field.replace(",", ".") if DECIMAL_COMMA.match(field) else field
