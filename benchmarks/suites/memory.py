"""How much memory a fit adds to the data and the interpreter at its largest, ours and others'.

    python benchmarks/run.py memory

Every fit has a process of its own that has done one small fit before, so that what libraries load or set up on first
use does not count. It is a whole fit from raw data, start included, that runs until an iteration changes little.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from harness.measuring import Problem, problems
from harness.options import add_grid, add_libraries, add_shapes
from harness.problems import Shape
from harness.processes import Worker, WorkerError, report
from harness.tables import by_problem, table

SHAPE = "1Mx16x16"
SMALL = 5000  # rows of the fit before
SEPARATION = 6.0
ITERATIONS, TOL = 10, 1e-2


def measure(problem: Problem, library: str, threads: int) -> dict[str, Any] | None:
    """Return the record of one library, or None where it cannot do this."""
    with Worker(library, threads) as worker:
        if not worker.can(problem.structure, problem.dtype):
            return None
        try:
            for n_rows in (SMALL, None):
                problem.load_into(worker, n_rows)
                fit = worker.ask("fit", iterations=ITERATIONS, from_start=False, tol=TOL)
        except WorkerError as error:
            report(f"  {error}")
            return None
        return problem.named(worker, bytes=fit["bytes"], seconds=fit["seconds"])


def measure_all(
    shapes: Sequence[Shape], structures: Sequence[str], dtypes: Sequence[str], libraries: Sequence[str], threads: int
) -> list[dict[str, Any]]:
    """Return the records of all problems."""
    records = []
    for problem in problems(shapes, structures, dtypes, SEPARATION):
        report(f"memory: {problem.shape} {problem.structure} {problem.dtype}")
        found = (measure(problem, library, threads) for library in libraries)
        records += [record for record in found if record]
    return records


def show(records: Sequence[dict[str, Any]], libraries: Sequence[str]) -> str:
    """Return a table of megabytes."""
    rows = []
    for key, found in by_problem(records):
        cells = (f"{found[library]['bytes'] / 1e6:.0f}" if library in found else "" for library in libraries)
        rows.append([*key, *cells])
    return table(["n x d x K", "type", "float", *libraries], rows)


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, [SHAPE])
    add_grid(options)
    add_libraries(options)
    options.set_defaults(dtypes=["float32"])


def main(chosen: Namespace) -> None:
    records = measure_all(chosen.shapes, chosen.structures, chosen.dtypes, chosen.libraries, chosen.threads)
    print("megabytes that a fit adds to the data\n")
    print(show(records, chosen.libraries))
