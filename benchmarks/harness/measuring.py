"""The grid of problems, the files that hand a problem to the workers, and the workers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.problems import Parameters, Shape, average_log_likelihood, make_rows, make_start
from harness.processes import Worker

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
