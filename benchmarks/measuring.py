"""What the measurements share: the grid of problems, the files that hand a problem to the workers, the command line."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environments import PEERS
from problems import STRUCTURES, Parameters, Shape, average_log_likelihood, make_rows, make_start
from processes import Worker

OURS = "tgmm"
IN_PROJECT = (OURS, "scikit-learn")  # need no environment of their own
DTYPES = ("float32", "float64")
CLOCKS = ("seconds", "processor_seconds")


@dataclass
class Problem:
    """Rows and a start, in memory and in the files that workers read."""

    shape: Shape
    structure: str
    dtype: str
    rows: np.ndarray
    folder: Path

    def load_into(self, worker: Worker, n_rows: int | None = None) -> None:
        """Have a worker read it, or its first rows."""
        worker.ask(
            "load",
            rows=str(self.folder / "rows.npy"),
            start=str(self.folder / "start.npz"),
            structure=self.structure,
            n_components=self.shape.n_components,
            n_rows=n_rows,
        )

    def likelihood_of(self, worker: Worker) -> float:
        """Return the average log-likelihood of a worker's last fit, by the same formula for all."""
        path = self.folder / "fitted.npz"
        worker.ask("save", path=str(path))
        with np.load(path) as parts:
            fitted = Parameters(parts["weights"], parts["means"], parts["covariances"])
        return average_log_likelihood(self.rows, fitted, self.structure)

    def named(self, worker: Worker, **values: Any) -> dict[str, Any]:
        """Return a record of the results."""
        return {
            "shape": str(self.shape),
            "structure": self.structure,
            "dtype": self.dtype,
            "library": worker.library,
            "version": worker.about["version"],
            "threads": worker.threads,
            **values,
        }


def problems(
    shapes: Sequence[Shape], structures: Sequence[str], dtypes: Sequence[str], separation: float
) -> Iterator[Problem]:
    """Yield every combination, one at a time in the same files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shape in shapes:
            for dtype in dtypes:
                rows, means = make_rows(shape, separation, dtype)
                np.save(folder / "rows.npy", rows)
                for structure in structures:
                    np.savez(folder / "start.npz", **make_start(rows, means, structure)._asdict())
                    yield Problem(shape, structure, dtype, rows, folder)


@contextmanager
def workers(libraries: Sequence[str], threads: int) -> Iterator[list[Worker]]:
    """Start a process for each library."""
    with ExitStack() as stack:
        yield [stack.enter_context(Worker(library, threads)) for library in libraries]


def parser(description: str, shapes: Sequence[str]) -> argparse.ArgumentParser:
    """Return the options that every measurement has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--shapes", nargs="+", type=Shape.parse, default=[Shape.parse(shape) for shape in shapes])
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    options.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    options.add_argument("--libraries", nargs="+", choices=(*IN_PROJECT, *PEERS), default=IN_PROJECT)
    options.add_argument("--threads", type=int, default=1, help="threads each library may use")
    options.add_argument(
        "--clock",
        choices=CLOCKS,
        default=CLOCKS[0],
        help="what the table shows; the processors' own seconds say more on a machine that does other work too",
    )
    return options


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    cells = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
