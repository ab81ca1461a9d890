"""Headers of delimited text: whether the first line names the columns, and the first column the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from reprlib import repr as short

import numpy as np

from tgmm.data.fields import Rows, is_number, is_whole, is_word, split

FEWEST_OTHERS = 3  # rows, for the first to stand out from them
YEARS = range(1800, 2200)


@dataclass(frozen=True)
class Header:
    """The names of the columns.

    Parameters
    ----------
    names : tuple of str
        Of all columns. A first column of row names has an empty name.
    is_record : bool
        Whether the names are the first record, not a comment above it.
    """

    names: tuple[str, ...]
    is_record: bool = True


def header_of(records: Sequence[str], rows: Rows, delimiter: str | None) -> tuple[Header | None, str | None]:
    """Return the first record as a header if it looks like one, and what makes that doubtful."""
    names, others = tuple(rows[0]), rows[1:]
    are_named = (is_short(rows) or _has_corner(names)) and are_rows_named(records, rows, delimiter) is not False
    if any(map(is_word, names)) or (are_named and is_short(rows)):
        return Header(names), None
    if not (are_named or (others and (_is_numbered(names, others) or _alone_is_quoted(records)))):
        return None, None
    if names in map(tuple, others):
        return None, (
            f"the first line, {short(list(names))}, is read as data because it occurs again below. If it names the "
            "columns, say so: TextSource(path, header=True), or use names that are not numbers."
        )
    return Header(names), (
        f"the first line, {short(list(names))}, is read as the names of the columns. If it is a row of data, say so: "
        "TextSource(path, header=False), or put a line of names above it."
    )


def comment_as_header(skipped: Sequence[str], delimiter: str | None, rows: Rows) -> Header | None:
    """Return the last comment as a header, as numpy.savetxt writes it, if it has a name for each field of a row."""
    comments = [line.strip().lstrip("#") for line in skipped if line.lstrip().startswith("#")]
    names = split(comments[-1], delimiter) if comments else []
    if len(names) != len(rows[0]):
        return None
    for first, *others in zip(*(row for row in rows if len(row) == len(names)), strict=True):
        if is_word(first) and all(is_number(field) for field in others):
            return None  # the first record is one itself
    return Header(tuple(names), is_record=False)


def is_short(rows: Rows) -> bool:
    """Whether the first row has one field less than each of the others."""
    return len(rows) > 1 and all(len(row) == len(rows[0]) + 1 for row in rows[1:])


def are_rows_named(records: Sequence[str], rows: Rows, delimiter: str | None) -> bool | None:
    """Whether the first fields below a header look like row names, as R and pandas write them; None if in doubt."""
    first = [row[0] for row in rows[1:]]
    if not first:
        return False
    if all(record.lstrip().startswith('"') for record in records[1:]) or any(map(is_word, first)):
        return True
    if len(set(first)) < len(first) or not all(name.isdecimal() for name in first):
        return False
    is_counted = all(np.diff([int(name) for name in first]) == 1)
    if is_counted and not (delimiter == "," and is_short(rows)):
        return True
    # Under a short header, the first numbers could be the whole parts of some with decimal commas.
    has_points = any("." in field for row in rows[1:] for field in row)
    is_from_one = is_counted and first[0] == "1" and len(rows[0]) > 1 and len(first) >= FEWEST_OTHERS
    return None if is_short(rows) and (delimiter != "," or has_points or is_from_one) else False


def _is_numbered(names: Sequence[str], rows: Rows) -> bool:
    """Whether names are numbers of columns: 0, 1, 2 as in pandas, evenly spaced, or whole numbers above others."""
    if list(names) == [str(j) for j in range(len(names))]:
        return True
    if _is_even(names) and not any(map(_is_even, rows)):
        return True
    if not all(map(is_whole, names)):
        return False
    are_fractions = len(names) > 1 and not any(is_whole(field) for row in rows for field in row)
    return are_fractions or _stands_out(names, rows)


def _is_even(fields: Sequence[str]) -> bool:
    """Whether fields rise by equal steps, and not by accident: there are four, or three long ones, or two years."""
    if len(fields) < 2 or not all(is_number(field) for field in fields):
        return False
    numbers = [float(field) for field in fields]
    steps = np.diff(numbers)
    are_years = steps[0] == 1 and all(number in YEARS for number in numbers)
    least = 2 if are_years else 3 if all(is_whole(field) and len(field) > 2 for field in fields) else 4
    return len(fields) >= least and bool(steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-9, atol=0))


def _stands_out(names: Sequence[str], rows: Rows) -> bool:
    """Whether the names differ, and are farther from the numbers below them than those are from each other."""
    if len(rows) < FEWEST_OTHERS or len(set(names)) < len(names) or any(len(row) != len(names) for row in rows):
        return False
    if not all(is_number(field) for row in rows for field in row):
        return False
    below = np.array(rows, float)
    low, high, first = below.min(0), below.max(0), np.array(names, float)
    return bool(np.all(np.maximum(first - high, low - first) > high - low))


def _alone_is_quoted(records: Sequence[str]) -> bool:
    """Whether only the first record has quotes."""
    return '"' in records[0] and not any('"' in record for record in records[1:])


def _has_corner(names: Sequence[str]) -> bool:
    """Whether only the first name is empty."""
    return len(names) > 1 and not names[0] and all(names[1:])
