"""Tables as text and as HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

LINE = 100  # letters in a line of text
GAP = "  "
BREAKS = re.compile(r"[\r\n\t\v\f\x85\u2028\u2029]+")
CAPTION = "text-align: left; white-space: nowrap; font-weight: 600; padding: 0.8em 0.6em 0.2em"


@dataclass(frozen=True)
class Table:
    """A title, names of columns, and rows of cells; the first column stands for the whole row.

    Parameters
    ----------
    title : str
        May be empty.
    header : sequence of str
        May be empty.
    rows : sequence of sequences of str
    align : str
        A letter for each column, "l" or "r"; the last one also serves all columns that follow.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str = "lr"

    def text(self) -> str:
        """Return the table as text; columns that a line has no room for follow below, after the first column."""
        lines = [self.header, *self.rows] if self.header else self.rows
        columns = [self._aligned(j, [in_a_line(row[j]) for row in lines]) for j in range(len(lines[0]))]
        parts = ["\n".join(GAP.join(cells).rstrip() for cells in zip(*some, strict=True)) for some in _fitting(columns)]
        return "\n".join([in_a_line(self.title)] * bool(self.title) + ["\n\n".join(parts)])

    def html(self) -> str:
        """Return the table as HTML."""
        sides = ["left" if self._is_left(j) else "right" for j in range(len(self.rows[0]))]
        styles = [f' style="text-align: {side}; padding: 0.1em 0.6em"' for side in sides]

        def row(cells: Sequence[str], tag: str) -> str:
            parts = [f"<{tag}{style}>{escape(cell)}</{tag}>" for cell, style in zip(cells, styles, strict=True)]
            return f"<tr>{''.join(parts)}</tr>"

        head = f"<thead>{row(self.header, 'th')}</thead>" if self.header else ""
        caption = f'<caption style="{CAPTION}">{escape(self.title)}</caption>' if self.title else ""
        return f"<table>{caption}{head}<tbody>{''.join(row(cells, 'td') for cells in self.rows)}</tbody></table>"

    def _is_left(self, j: int) -> bool:
        return self.align[min(j, len(self.align) - 1)] == "l"

    def _aligned(self, j: int, cells: list[str]) -> list[str]:
        """Return the cells of a column, all of one width."""
        width = max(map(len, cells))
        return [cell.ljust(width) if self._is_left(j) else cell.rjust(width) for cell in cells]


def in_a_line(text: str) -> str:
    """Return text with a blank for each break of a line and each tab, as HTML shows it."""
    return BREAKS.sub(" ", text)


def _fitting(columns: list[list[str]]) -> Iterator[list[list[str]]]:
    """Yield columns that fit into a line, the first of all before each part."""
    part = columns[:1]
    for column in columns[1:]:
        if len(part) > 1 and sum(len(each[0]) + len(GAP) for each in [*part, column]) > LINE:
            yield part
            part = columns[:1]
        part.append(column)
    yield part


def in_pairs(facts: dict[str, Any]) -> Table:
    """Return names and what they stand for as a table of two columns of pairs."""
    cells = [(name, shown(value)) for name, value in facts.items()]
    half = -(-len(cells) // 2)
    rows = [(*cells[i], "", *(cells[half + i] if half + i < len(cells) else ("", ""))) for i in range(half)]
    return Table("", (), rows, align="lrllr")


def shown(value: Any) -> str:
    """Return a value as text, numbers in as many digits as are of use."""
    if not isinstance(value, float):
        return str(value)
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.2f}" if 1e-2 < abs(value) < 1e9 else f"{value:.6g}"


def decimals(spread: float) -> int | None:
    """Return how many decimals show a spread in three digits, or None where only an exponent can."""
    if not (math.isfinite(spread) and 1e-6 < spread < 1e9):
        return None
    return max(0, 2 - math.floor(math.log10(spread)))


def rounded(value: float, places: int | None) -> str:
    """Return a number with some decimals, or with an exponent where None."""
    return f"{value:.6g}" if places is None else f"{value:.{places}f}"
