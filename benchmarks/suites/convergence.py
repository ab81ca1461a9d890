"""How long it takes from raw data to a given log-likelihood, start included, ours and others'.

    python benchmarks/run.py convergence

The log-likelihood to reach is the best that long fits of ours and scikit-learn's come to, less 1e-6 a row. Every
library begins where it would by itself, with the first seed that leads to that optimum, and gets as few iterations as
bring it there. How many seeds it took is in the table; a library that gets there with none is at another optimum.

Components are either far apart, where the start is most of the work, or nearer, where some iterations follow.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from harness.measuring import IN_PROJECT, OURS, Problem, problems, workers
from harness.options import add_clock, add_grid, add_libraries, add_shapes
from harness.problems import Shape
from harness.processes import Worker, WorkerError, report
from harness.tables import by_problem, table

SHAPES = ("100kx2x5", "100kx16x16")
SEPARATIONS = (10.0, 6.0)  # standard deviations; components distinct enough for many starts to lead to one optimum
TARGET_SEEDS, SEEDS = range(4), range(10)  # of the fits that the best is taken from, and that may lead there
LONG, TOL = 100, 1e-8  # the most iterations that a library gets, scikit-learn's default; when a long fit has converged
NEAR = 1e-6  # how far from the best average log-likelihood a fit may end, in nats


def reached(problem: Problem, worker: Worker, seed: int, iterations: int, tol: float = 0.0) -> float:
    """Return the average log-likelihood after so many iterations from the library's own start."""
    worker.ask("fit", iterations=iterations, from_start=False, seed=seed, tol=tol)
    return problem.likelihood_of(worker)


def least_work(
    problem: Problem, worker: Worker, target: float, ends: Callable[[Worker, int], float]
) -> tuple[int, int] | None:
    """Return the first seed that leads to the target and the fewest iterations, or None where none does.

    Long fits of seeds end at ``ends``.
    """
    seed = next((seed for seed in SEEDS if ends(worker, seed) >= target), None)
    if seed is None:
        return None
    most = 1
    while most < LONG and reached(problem, worker, seed, most) < target:
        most *= 2
    least = most // 2 + 1
    while least < most:
        middle = (least + most) // 2
        if reached(problem, worker, seed, middle) >= target:
            most = middle
        else:
            least = middle + 1
    return seed, most


def measure_all(
    shapes: Sequence[Shape], structures: Sequence[str], dtypes: Sequence[str], libraries: Sequence[Worker], turns: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of one problem after another."""
    for separation in SEPARATIONS:
        for problem in problems(shapes, structures, dtypes, separation):
            report(f"convergence: {problem.shape} {problem.structure} {problem.dtype}, {separation:g} apart")
            yield [record | {"separation": separation} for record in measure(problem, libraries, turns)]


def measure(problem: Problem, libraries: Sequence[Worker], turns: int) -> list[dict[str, Any]]:
    """Return the records of one problem, one for each library that can do it."""
    able = [worker for worker in libraries if worker.can(problem.structure, problem.dtype)]
    for worker in able:
        problem.load_into(worker)
    trusted = [worker for worker in able if worker.library in IN_PROJECT]
    ends = cache(lambda worker, seed: reached(problem, worker, seed, LONG, TOL))
    target = max(ends(worker, seed) for worker in trusted for seed in TARGET_SEEDS) - NEAR
    work: dict[Worker, tuple[int, int] | None] = {}
    for worker in able:
        try:
            work[worker] = least_work(problem, worker, target, ends)
        except WorkerError as error:
            report(f"  {error}")
    fits: dict[Worker, list[dict[str, float]]] = {worker: [] for worker in work}
    for _ in range(turns):
        for worker, needed in work.items():
            if needed is not None:
                seed, iterations = needed
                fits[worker].append(worker.ask("fit", iterations=iterations, from_start=False, seed=seed))
    return [
        problem.named(
            worker,
            target=target,
            seeds=needed and needed[0] + 1,
            iterations=needed and needed[1],
            **_least(fits[worker]),
        )
        for worker, needed in work.items()
    ]


def _least(fits: Sequence[dict[str, float]]) -> dict[str, float | None]:
    return {
        "seconds": min((fit["seconds"] for fit in fits), default=None),
        "processor_seconds": min((fit["processor"] for fit in fits), default=None),
    }


def show(records: Sequence[dict[str, Any]], libraries: Sequence[str], clock: str) -> str:
    """Return a table: milliseconds (seeds, iterations), and how many times faster we are with all seeds needed."""
    rows = []
    for key, found in by_problem(records, ("shape", "separation", "structure", "dtype")):
        row = [*map(str, key), *(_cell(found[library], clock) if library in found else "" for library in libraries)]
        of_all = {library: _of_all_seeds(record, clock) for library, record in found.items()}
        ours, peers = of_all.pop(OURS, None), [each for each in of_all.values() if each]
        rows.append([*row, f"{min(peers) / ours:.1f}" if peers and ours else ""])
    return table(["n x d x K", "apart", "type", "float", *libraries, "ratio to best"], rows)


def _of_all_seeds(record: dict[str, Any], clock: str) -> float | None:
    """Return what a library needs with all seeds up to the one that leads there, each as long as this one."""
    return record[clock] and record[clock] * record["seeds"]


def _cell(record: dict[str, Any], clock: str) -> str:
    if not record[clock]:
        return "another optimum"
    return f"{1e3 * record[clock]:.4g} ({record['seeds']}, {record['iterations']})"


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    add_grid(options)
    add_libraries(options)
    add_clock(options)
    options.add_argument("--turns", type=int, default=3, help="times that every fit is repeated")


def main(chosen: Namespace) -> None:
    records = []
    with workers(chosen.libraries, chosen.threads) as libraries:
        for found in measure_all(chosen.shapes, chosen.structures, chosen.dtypes, libraries, chosen.turns):
            records += found
    print(f"milliseconds to the log-likelihood (seeds, iterations), {chosen.threads} thread(s)\n")
    print(show(records, chosen.libraries, chosen.clock))
