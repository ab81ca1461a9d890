"""Rows that commands write: as CSV, JSON or Parquet, some at a time. Nothing is written before there are some."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tgmm.cli import report
from tgmm.cli.messages import STANDARD, say_written
from tgmm.runtime.atomic import replacing
from tgmm.runtime.paths import check_apart, check_place

STANDARD_INPUT = Path("/dev/stdin")  # which the file that a shell reads it from is the same as
PART = {"probabilities": "probability_{}"}  # the name of one column of several

Columns = Mapping[str, np.ndarray]  # of some rows by name, (c,), or (c, m) where there are several of that name


Write = Callable[[Columns], None]


@contextmanager
def as_text(file: BinaryIO, delimiter: str = ",") -> Iterator[Write]:
    """Yield what writes delimited text below a line of names; numbers have the digits that tell them from others."""
    has_header = False

    def write(columns: Columns) -> None:
        nonlocal has_header
        flat, text = flat_of(columns), io.StringIO()
        lines = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        if not has_header:
            lines.writerow(flat)
            has_header = True
        lines.writerows(zip(*(values.astype(str).tolist() for values in flat.values()), strict=True))
        file.write(text.getvalue().encode())

    yield write


@contextmanager
def as_json(file: BinaryIO) -> Iterator[Write]:
    """Yield what writes one JSON object a line."""

    def write(columns: Columns) -> None:
        for row in zip(*(values.tolist() for values in columns.values()), strict=True):
            file.write(report.as_json(dict(zip(columns, row, strict=True))).encode() + b"\n")

    yield write


@contextmanager
def as_parquet(file: BinaryIO) -> Iterator[Write]:
    """Yield what writes a Parquet file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("Writing Parquet files needs pyarrow: pip install pyarrow") from error
    with ExitStack() as stack:
        opened: Any = None

        def write(columns: Columns) -> None:
            nonlocal opened
            table = pyarrow.table(flat_of(columns))
            if opened is None:
                opened = stack.enter_context(pyarrow.parquet.ParquetWriter(file, table.schema))
            opened.write_table(table)

        yield write


FORMATS: dict[str, Callable[[BinaryIO], AbstractContextManager[Write]]] = {
    "": as_text,
    ".csv": as_text,
    ".txt": as_text,
    ".tsv": partial(as_text, delimiter="\t"),
    ".json": as_json,
    ".jsonl": as_json,
    ".ndjson": as_json,
    ".parquet": as_parquet,
    ".pq": as_parquet,
}


@contextmanager
def written(path: Path | None, read: list[Path], *, json: bool) -> Iterator[Write]:
    """Yield what writes rows to a path that is none of those that are read, or to the standard output.

    A file takes its name when it is complete.

    Raises
    ------
    ValueError
        Where the file would replace what is read, or its name is that of another format.
    """
    if path is None or path == STANDARD or _is_standard_output(path):
        sys.stdout.flush()
        with (as_json if json else as_text)(sys.stdout.buffer) as write:
            yield write
        sys.stdout.buffer.flush()
        return
    kind = _format_of(path, json=json)
    check_output(path, *read)
    with replacing(path) as file, kind(file) as write:
        yield write
    say_written("the rows", path)


def check_output(path: Path, *read: Path) -> None:
    """Raise an error where a file cannot be written at a path, or would replace what is read."""
    check_place(path.resolve())
    check_apart(path, *(STANDARD_INPUT if each == STANDARD else each for each in read))


def _format_of(path: Path, *, json: bool) -> Callable[[BinaryIO], AbstractContextManager[Write]]:
    """Return what writes to a path, by its suffix."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: rows are written to files that end in {', '.join(filter(None, FORMATS))}; this one ends in "
            f"{path.suffix}."
        )
    if json and path.suffix and kind is not as_json:
        raise ValueError(f"{path}: --json is for files that end in .json, .jsonl or .ndjson; leave it out, or rename.")
    return as_json if json else kind


def _is_standard_output(path: Path) -> bool:
    """Whether a path is where the standard output goes, as /dev/stdout is: what is there already is not replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def flat_of(columns: Columns) -> dict[str, np.ndarray]:
    """Return each of several columns of one name under a name of its own."""
    flat: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        flat |= {name: values} if values.ndim == 1 else {PART[name].format(k): part for k, part in enumerate(values.T)}
    return flat
