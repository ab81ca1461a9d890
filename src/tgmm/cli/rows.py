"""What a command says of each row of a file, some at a time."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tgmm.cli import tables, writing
from tgmm.cli.writing import Columns
from tgmm.data.source import Source
from tgmm.runtime.progress import progress_bar


def write_of_rows(
    options: Namespace, source: Source, data: Path, read: Path, predictions: Callable[[np.ndarray], Columns]
) -> None:
    """Write what a function says of the rows of a file, some at a time, after what identifies each where that is asked.

    Parameters
    ----------
    options : Namespace
    source : Source
        The rows.
    data : Path
        The file that they are read from.
    read : Path
        The other file that is read, over which nothing is written.
    predictions : callable
        From rows (c, d) to columns of results.
    """
    identifiers = None if options.id is None else tables.identifiers(data, options.id)
    with (
        writing.written(options.out, [read, options.data], json=options.json) as write,
        progress_bar(enabled=options.progress, unit="row", total=source.n_rows) as bar,
    ):
        n_rows = n_kept = 0
        for rows in tables.arrays(source):
            kept = tables.are_complete(rows) if options.drop_missing else np.full(len(rows), True)
            if kept.any():
                own = None if identifiers is None else identifiers[n_rows : n_rows + len(rows)][kept]
                write(_identified(predictions(rows[kept]), options.id, own))
            n_rows, n_kept = n_rows + len(rows), n_kept + int(kept.sum())
            bar.update(len(rows))
        if not n_rows:
            raise ValueError(f"{str(data)!r} has no rows below its names: there is nothing to write.")
    if options.drop_missing:
        warn_of_left_out(n_rows - n_kept, n_kept)


def _identified(found: Columns, name: str | None, identifiers: np.ndarray | None) -> Columns:
    """Return predictions after what identifies each row, where that is wanted."""
    if name is None or identifiers is None:
        return found
    if name in found or name in writing.flat_of(found):
        raise ValueError(f"--id {name} is also the name of a column of the predictions: rename it in the data.")
    return {name: identifiers, **found}


def warn_of_left_out(n_left_out: int, n_kept: int) -> None:
    """Say how many rows were left out, if any, or raise an error where no other is there."""
    if not n_kept:
        raise ValueError("every row lacks a value: choose complete columns with --columns.")
    if n_left_out:
        warnings.warn(f"{n_left_out} of {n_left_out + n_kept} rows lack a value and were left out", stacklevel=2)
