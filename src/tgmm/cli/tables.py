"""Data files as rows: chosen columns, in memory where they fit, and a part of them to draw."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tgmm.cli.messages import STANDARD
from tgmm.data import ArraySource, ArrowSource, Source, TextSource
from tgmm.data.arrow import open_dataset
from tgmm.data.lenient import Lenient
from tgmm.data.opening import arrow_format, is_arrow, open_path
from tgmm.data.outputs import collect
from tgmm.data.source import as_batch
from tgmm.data.tables import feature_columns

IN_MEMORY = 1 << 30  # bytes of rows that are read once and kept
GZIP_RATIO = 10  # at most, of numbers
DRAWN_ROWS = 5000
BEGIN = 8  # bytes that tell what the standard input is, if it is no text
MARKS = {b"\x93NUMPY": ".npy", b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\x1f\x8b": ".csv.gz"}


class Mapped(Source):
    """Rows of a source, batch by batch through a function.

    Parameters
    ----------
    source : Source
    function : callable
        From rows (c, d) to rows (c, m), arrays.
    """

    def __init__(self, source: Source, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.source, self.function, self.n_rows = source, function, source.n_rows

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the mapped batches."""
        return (self.function(rows) for rows in arrays(self.source))


class Complete(Source):
    """The rows of a source that lack no value.

    Parameters
    ----------
    source : Source

    Attributes
    ----------
    n_left_out : int
        How many rows of the last pass do.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.feature_names, self.n_left_out = source, source.feature_names, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the batches without those rows."""
        self.n_left_out = 0
        for rows in arrays(self.source):
            whole = are_complete(rows)
            self.n_left_out += int((~whole).sum())
            yield rows[whole]


def are_complete(rows: np.ndarray) -> np.ndarray:
    """Return which rows (c, d) lack no value, (c,)."""
    return np.logical_not(np.isnan(rows).any(axis=1))


def arrays(source: Source) -> Iterator[np.ndarray]:
    """Yield the batches of a source as arrays in a float type."""
    return (as_batch(item, number).rows.numpy() for number, item in enumerate(source))


@contextmanager
def at_hand(path: Path) -> Iterator[Path]:
    """Yield a path to read from: its own, or for - that of a file that holds what the standard input gives."""
    if path != STANDARD:
        yield path
        return
    with TemporaryDirectory() as folder:
        begin = sys.stdin.buffer.read(BEGIN)
        suffix = next((suffix for mark, suffix in MARKS.items() if begin.startswith(mark)), ".csv")
        copy = Path(folder, f"standard input{suffix}")
        with open(copy, "wb") as file:
            file.write(begin)
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield copy
        except ValueError as error:
            raise ValueError(str(error).replace(repr(str(copy)), "The standard input")) from error


def open_table(path: Path, columns: Sequence[str] | None, *, lenient: bool = False) -> Source:
    """Return the rows of a file, by its suffix.

    Parameters
    ----------
    path : Path
    columns : sequence of str or None
    lenient : bool
        Whether values may be missing: they are NaN.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a file that cannot be read, and columns that it does not have.
    """
    source = open_path(path, columns)
    if lenient and isinstance(source, TextSource):
        return Lenient(source)
    if columns is None or not isinstance(source, ArraySource):
        return source
    n_columns = next(arrays(source)).shape[1]
    names = [str(j) for j in range(n_columns)]
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(f"columns {missing} are not in {str(path)!r}, which has the columns 0 to {n_columns - 1}.")
    chosen = [names.index(name) for name in columns]
    return Mapped(source, lambda rows: rows[:, chosen])


def width(source: Source) -> int:
    """Return how many columns a source has."""
    text = source.text if isinstance(source, Lenient) else source
    if isinstance(text, TextSource | ArrowSource):
        return len(text.columns)
    return next(arrays(source)).shape[1]


def names_of(path: Path) -> list[str] | None:
    """Return the names of all columns of a file, whatever they hold, or None where it has none."""
    if is_arrow(path):
        return open_dataset(path, arrow_format(path)).schema.names
    names = open_path(path).feature_names
    return None if names is None else list(names)


def columns_but(column: str | None, path: Path) -> list[str] | None:
    """Return the names of all columns of a file but one, or their numbers where it has none; None for all."""
    if column is None:
        return None
    names = names_of(path)
    if names is None:
        source = open_path(path)
        names = source.columns if isinstance(source, TextSource) else range(next(arrays(source)).shape[1])
    return [str(name) for name in names if str(name) != column]


def identifiers(path: Path, column: str) -> np.ndarray:
    """Return what a column holds in each row, (n,): whole numbers of typed files, and otherwise the text."""
    if is_arrow(path):
        import pyarrow

        source = open_dataset(path, arrow_format(path))
        feature_columns(source.schema.names, [column], None)
        found = source.to_table(columns=[column]).column(0)
        if pyarrow.types.is_integer(found.type) and not found.null_count:
            return found.to_numpy()
        return np.array(["" if value is None else str(value) for value in found.to_pylist()])
    source = open_path(path)
    if isinstance(source, TextSource):
        return np.array([text for (text,) in source.texts([column])])
    return np.concatenate(list(arrays(open_table(path, [column]))))[:, 0]


def readable(source: Source, path: Path, folder: Path) -> Any:
    """Return what to fit: an array where the rows fit into memory, else what is fast to read again and again.

    Text is read once, and what is too large of it goes to a file in the folder.
    """
    size = path.stat().st_size if path.is_file() else IN_MEMORY + 1
    if path.suffix == ".gz":
        size *= GZIP_RATIO
    origin = source.source if isinstance(source, Complete) else source
    if isinstance(origin, ArrowSource) and origin.n_rows is not None:
        size = 8 * origin.n_rows * len(origin.columns)
    if size <= IN_MEMORY:
        batches = list(arrays(source))
        if not batches:
            raise ValueError(f"{str(path)!r} has no rows below its names: there is nothing to fit.")
        return np.concatenate(batches)
    if isinstance(origin, TextSource | Lenient):
        collect(arrays(source), folder / "rows.npy", None)
        return open_path(folder / "rows.npy")
    return source


def count(rows: Any) -> int:
    """Return the number of rows, reading them only where a source does not know."""
    if not isinstance(rows, Source):
        return len(rows)
    return sum(batch.shape[0] for batch in arrays(rows)) if rows.n_rows is None else rows.n_rows


def n_values(rows: Any) -> np.ndarray:
    """Return how many values each feature has, (d,), in one pass."""
    batches = arrays(rows) if isinstance(rows, Source) else [rows]
    return np.sum([np.isfinite(batch).sum(axis=0) for batch in batches], axis=0, dtype=float)


def thinned(rows: Source) -> np.ndarray:
    """Return a few thousand rows, evenly spread over the source, in one pass."""
    kept: list[np.ndarray] = []
    stride, position, count = 1, 0, 0
    for batch in arrays(rows):
        chosen = batch[-position % stride :: stride]
        kept.append(np.array(chosen))
        position, count = position + batch.shape[0], count + chosen.shape[0]
        while count > DRAWN_ROWS:
            kept = [np.concatenate(kept)[::2]]
            count, stride = kept[0].shape[0], 2 * stride
    return np.concatenate(kept)
