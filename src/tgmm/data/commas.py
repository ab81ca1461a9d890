"""Decimal commas: whether 1,5 is one number, or two."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tgmm.data.fields import DECIMAL_COMMA, THOUSANDS, Rows, is_number, is_word

HALVES = re.compile(r"([+-]?)(\d+),(\d+)([eE][+-]?\d+)?$")
ENOUGH = 44  # fractions of several digits: one of a hundred such lists has none that begins with 0
REMEDY = "Put a line with the names of the columns above, and write decimals with points."


def has_decimal_commas(rows: Rows) -> bool:
    """Whether numbers have decimal commas. They have none if all commas could mark thousands, or some have points."""
    fields = [field for row in rows for field in row]
    commas = [field for field in fields if DECIMAL_COMMA.match(field)]
    points = any("." in field and is_number(field) for field in fields)
    return not points and not all(THOUSANDS.match(field) for field in commas)


def decimal_or_separators(rows: Rows) -> tuple[bool, str | None]:
    """Return whether commas are decimal commas, in a file of one column, and what makes that doubtful.

    If the first row names as many columns as the commas make, there is no doubt that they separate columns.
    """
    is_alone = len(rows[0]) == 1  # above rows of two fields: the name of one column, even if it is a number
    names = rows[0] if is_alone or any(map(is_word, rows[0])) else []
    body = rows[1:] if names else rows
    if not body or len(names) > 1 or any(len(row) != len(body[0]) or len(row) % 2 for row in body):
        return False, None
    numbers = [",".join(row[j : j + 2]) for row in body for j in range(0, len(row), 2)]
    example = repr(next((number for number in numbers if _shows_fraction(number)), numbers[0]))
    found = _are_decimal(numbers)
    if len(body[0]) > 2:
        doubt = f"commas are read as separators of columns, but those in {example} could be decimal. {REMEDY}"
        return False, doubt if found else None
    if names and found is None:  # what comes before the commas could name the rows
        first = [row[0] for row in body]
        found = len(set(first)) < len(first) or not all(name.isdecimal() for name in first)
    if found:
        return True, f"commas are read as decimal commas of a single column, as in {example}. {REMEDY}"
    if found is None:
        return False, f"commas are read as separators of two columns of whole numbers, as in {example}. {REMEDY}"
    return False, None


def _are_decimal(numbers: Sequence[str]) -> bool | None:
    """Whether values such as 170,5 are one number each; None if the values do not tell.

    No whole number is -0 or begins with 0, and some of those with several digits end with 0.
    """
    halves = [HALVES.match(number) for number in numbers]
    fractions = [half[3] for half in halves if half]
    if len(fractions) < len(numbers):
        return False
    if any(map(_shows_fraction, numbers)):
        return True
    several = [fraction for fraction in fractions if len(fraction) > 1]
    vary = len(set(map(len, fractions))) > 1
    return False if len(several) >= ENOUGH or (vary and any(part.endswith("0") for part in several)) else None


def _shows_fraction(number: str) -> bool:
    """Whether the parts beside a comma cannot be whole numbers: -0 before it, or 05 or 25e-1 after it."""
    half = HALVES.match(number)
    if half is None:
        return False
    sign, whole, fraction, exponent = half.groups()
    is_signed_zero = bool(sign) and not whole.strip("0")
    return is_signed_zero or (len(fraction) > 1 and (fraction[0] == "0" or exponent is not None))
