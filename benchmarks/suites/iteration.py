"""How long one EM iteration takes, ours and others', from the same start in the same run.

    python benchmarks/run.py iteration

An iteration is the difference of two fits with different numbers of iterations, so that what a fit does once does not
count. Libraries take turns, and the least of several turns counts: other work on the machine only ever adds. That they
did the same work is checked: after equal iterations from equal starts their likelihoods are to be equal.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from harness.measuring import OURS, Problem, problems, workers
from harness.options import add_clock, add_grid, add_libraries, add_shapes
from harness.problems import operations
from harness.processes import Worker, WorkerError, report
from harness.tables import by_problem, table

SHAPE = "100kx16x16"
SEPARATION = 3.0  # overlapping components: many iterations to go, so that float32 steps are not lost in rounding
FEW, MOST = 2, 14  # iterations of the shorter fit, and the most that the longer one may have more
SLOW = 3.0  # seconds of a fit of which one turn is enough
EQUAL = {"float32": 1e-4, "float64": 1e-9}  # how far the average log-likelihoods may differ


class Timing:
    """Fits of one library on one problem."""

    def __init__(self, problem: Problem, worker: Worker) -> None:
        self.problem, self.worker = problem, worker
        self.short: list[dict[str, float]] = []
        self.long: list[dict[str, float]] = []

    def prepare(self, budget: float) -> None:
        """Load, check the work that is done, warm up, and choose how many iterations fill the budget (seconds)."""
        self.problem.load_into(self.worker)
        few, more = self._fit(FEW), self._fit(FEW + 2)
        self.log_likelihood = self.problem.likelihood_of(self.worker)
        self.more, self.turns = 2, 0
        if more["seconds"] > SLOW:
            self.short, self.long = [few], [more]
            return
        few, more = self._fit(FEW)["seconds"], self._fit(FEW + 2)["seconds"]
        estimate = max((more - few) / 2, more / (4 * FEW), 1e-5)
        self.more = int(min(max(budget / estimate, 2), MOST))
        self.turns = max(int(4 * budget / estimate / (2 * FEW + self.more)), 4)
        self._fit(FEW + self.more)

    def take_turn(self) -> None:
        """Time both fits once."""
        self.short.append(self._fit(FEW))
        self.long.append(self._fit(FEW + self.more))

    def record(self) -> dict[str, Any]:
        """Return the results: seconds an iteration by the clock and of the processors."""
        shape, structure = self.problem.shape, self.problem.structure
        return self.problem.named(
            self.worker,
            seconds=self._difference("seconds"),
            processor_seconds=self._difference("processor"),
            iterations=self.more,
            turns=len(self.long),
            log_likelihood=self.log_likelihood,
            operations=operations(structure, shape),
            bytes=max(fit["bytes"] for fit in self.long),
        )

    def _fit(self, iterations: int) -> dict[str, float]:
        return self.worker.ask("fit", iterations=iterations, from_start=True)

    def _difference(self, clock: str) -> float:
        least = [min(fit[clock] for fit in fits) for fits in (self.short, self.long)]
        difference = least[1] - least[0]
        difference, average = difference / self.more, least[1] / (FEW + self.more)
        return difference if difference > average / 4 else math.nan  # the machine was too busy


def measure(problem: Problem, libraries: Sequence[Worker], budget: float, turns: int) -> list[dict[str, Any]]:
    """Return the records of one problem, one for each library that can do it."""
    timings = []
    for worker in libraries:
        if worker.can(problem.structure, problem.dtype):
            timing = Timing(problem, worker)
            try:
                timing.prepare(budget)
            except WorkerError as error:
                report(f"  {error}")
                continue
            timings.append(timing)
    for turn in range(turns):
        for timing in timings:
            if turn < timing.turns:
                timing.take_turn()
    records = [timing.record() for timing in timings]
    for record in records:
        record["difference"] = record["log_likelihood"] - records[0]["log_likelihood"]
        record["equal"] = abs(record["difference"]) <= EQUAL[problem.dtype]
    return records


def show(records: Sequence[dict[str, Any]], libraries: Sequence[str], clock: str, rates: dict[str, float]) -> str:
    """Return a table: milliseconds an iteration (fraction of the matrix rate), and how many times faster we are."""
    rows = []
    for key, found in by_problem([record for record in records if record["library"] in libraries]):
        cells = (_cell(found[name], clock, rates.get(key[2])) if name in found else "" for name in libraries)
        peers = [record[clock] for name, record in found.items() if name != OURS and not math.isnan(record[clock])]
        ratio = f"{min(peers) / found[OURS][clock]:.1f}" if peers and OURS in found else ""
        rows.append([*key, *cells, ratio, f"{max(abs(record['difference']) for record in found.values()):.0e}"])
    return table(["n x d x K", "type", "float", *libraries, "ratio to best", "difference"], rows)


def _cell(record: dict[str, Any], clock: str, rate: float | None) -> str:
    if math.isnan(record[clock]):
        return "machine too busy"
    text = f"{1e3 * record[clock]:.3g}"
    text += f" ({record['operations'] / record[clock] / rate:.2f})" if rate else ""
    return text if record["equal"] else text + " other result"


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, [SHAPE])
    add_grid(options)
    add_libraries(options)
    add_clock(options)
    options.add_argument("--budget", type=float, default=0.2, help="seconds of iterations in one fit")
    options.add_argument("--turns", type=int, default=7, help="times that every fit is repeated")


def main(chosen: Namespace) -> None:
    records = []
    with workers(chosen.libraries, chosen.threads) as libraries:
        for problem in problems(chosen.shapes, chosen.structures, chosen.dtypes, SEPARATION):
            report(f"{problem.shape} {problem.structure} {problem.dtype}")
            records += measure(problem, libraries, chosen.budget, chosen.turns)
    print(f"milliseconds an EM iteration, {chosen.threads} thread(s)\n")
    print(show(records, chosen.libraries, chosen.clock, {}))
