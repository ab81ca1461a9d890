"""Tables in Markdown, and records in groups that make their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    cells = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def by_problem(
    records: Sequence[dict[str, Any]], names: Sequence[str] = ("shape", "structure", "dtype")
) -> Iterator[tuple[tuple[Any, ...], dict[str, dict[str, Any]]]]:
    """Yield what each problem is, the values of these names, and its records by library."""

    def key(record: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(record[name] for name in names)

    for problem in dict.fromkeys(map(key, records)):
        yield problem, {record["library"]: record for record in records if key(record) == problem}
