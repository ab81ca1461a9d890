"""How much memory a fit adds to the data and the interpreter at its largest, ours and others'.

    python benchmarks/memory.py

Every fit has a process of its own that has done one small fit before, so that what libraries load or set up on first
use does not count. It is a whole fit from raw data, start included, that runs until an iteration changes little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from measuring import Problem, parser, problems, table
from problems import Shape
from processes import Worker, WorkerError, report

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
    for key in dict.fromkeys((r["shape"], r["structure"], r["dtype"]) for r in records):
        found = {r["library"]: r["bytes"] for r in records if (r["shape"], r["structure"], r["dtype"]) == key}
        rows.append([*key, *(f"{found[library] / 1e6:.0f}" if library in found else "" for library in libraries)])
    return table(["n x d x K", "type", "float", *libraries], rows)


def main() -> None:
    options = parser(__doc__.splitlines()[0], [SHAPE])
    options.set_defaults(dtypes=["float32"])
    chosen = options.parse_args()
    records = measure_all(chosen.shapes, chosen.structures, chosen.dtypes, chosen.libraries, chosen.threads)
    print("megabytes that a fit adds to the data\n")
    print(show(records, chosen.libraries))


if __name__ == "__main__":
    main()
