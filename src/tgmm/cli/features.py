"""The columns of a file that are the features of a model."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from tgmm.cli import tables
from tgmm.cli.messages import called, say
from tgmm.data.columns import listed
from tgmm.data.source import Source
from tgmm.runtime.words import number_of

CHOOSE = "choose the columns that are its features, in its order, with --columns"


def open_features(
    path: Path, names: Sequence[str] | None, n_features: int, options: Namespace, *, lenient: bool
) -> Source:
    """Return the rows of a file with a model's features as columns, and say which other columns are not read.

    Columns are matched by name where the model and the file have names, else by place.

    Parameters
    ----------
    path : Path
    names : sequence of str or None
        The model's features.
    n_features : int
        How many there are.
    options : Namespace
        With what the user said of columns.
    lenient : bool
        Whether values may be missing.

    Raises
    ------
    ValueError
        For a file that lacks a feature, or has another number of columns and no names to choose by.
    """
    source = tables.open_table(path, _columns(path, names, options), lenient=lenient)
    n_columns = tables.width(source)
    if n_columns != n_features:
        whose = "--columns names" if options.columns else f"{str(path)!r} has"
        given = number_of(n_columns, "column")
        known = "" if names is None else f", {listed(names)}"
        raise ValueError(f"{whose} {given}, but the model has {number_of(n_features, 'feature')}{known}: {CHOOSE}.")
    return source


def _columns(path: Path, names: Sequence[str] | None, options: Namespace) -> list[str] | None:
    """Return which columns are the features, or None for all."""
    found = None if names is None else tables.names_of(path)
    if names is None or found is None:
        return options.columns or tables.columns_but(options.id, path)
    if options.columns:
        return _chosen(names, options)
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{str(path)!r} lacks {listed(missing)}, which the model was fitted to; its columns are {listed(found)}. "
            f"Rename them, or {CHOOSE}."
        )
    others = [name for name in found if name not in names and name != options.id]
    if others and options.id in (None, *found):  # else there will be an error, which this would hide
        say("note", f"columns {listed(others)} of {called(options.data)} are not features of the model and are ignored")
    return list(names)


def _chosen(names: Sequence[str], options: Namespace) -> list[str]:
    """Return the columns that the user names, in the model's order if they are its features."""
    if sorted(options.columns) == sorted(names):
        return list(names)
    if len(options.columns) == len(names):
        say("note", f"columns {listed(options.columns)} are read as the features {listed(names)}, in this order")
    return list(options.columns)
