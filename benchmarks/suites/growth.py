"""How the cost of one EM iteration grows with the rows, the features and the components, ours and scikit-learn's.

    python benchmarks/run.py growth

Each of the three is varied alone. The numbers go to a JSON file, from which the site draws them.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.measuring import problems, workers
from harness.options import add_clock, add_grid, add_libraries
from harness.problems import Shape
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import table
from suites import iteration

BASE = Shape(n_rows=20_000, n_features=16, n_components=16)
VARIED = {
    "n_rows": (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "n_features": (4, 8, 16, 32, 64, 128, 256),
    "n_components": (1, 2, 4, 8, 16, 32, 64, 128, 256),
}
STRUCTURES = ("full", "diag")
BUDGET, TURNS = 0.1, 3  # seconds of iterations in one fit, times that it is repeated


def exponents(records: Sequence[dict[str, Any]], clock: str) -> str:
    """Return a table of the exponents that costs grow with between the middle and the largest of the values."""
    rows = []
    for varied, values in VARIED.items():
        middle, last = values[len(values) // 2], values[-1]
        for key in dict.fromkeys((r["structure"], r["dtype"], r["library"]) for r in records):
            of_shape = {r["shape"]: r[clock] for r in records if (r["structure"], r["dtype"], r["library"]) == key}
            costs = [of_shape[str(replace(BASE, **{varied: value}))] for value in (middle, last)]
            rows.append([varied, *key, f"{math.log(costs[1] / costs[0]) / math.log(last / middle):.2f}"])
    return table(["varied", "type", "float", "library", "exponent"], rows)


def add_options(options: ArgumentParser) -> None:
    add_grid(options)
    add_libraries(options)
    add_clock(options)
    options.set_defaults(structures=STRUCTURES)
    options.add_argument("--output", type=Path, default=RESULTS / "growth-latest.json")


def main(chosen: Namespace) -> None:
    shapes = dict.fromkeys(replace(BASE, **{name: value}) for name, values in VARIED.items() for value in values)
    results = {"machine": machine(chosen.threads), "base": str(BASE), "varied": VARIED, "iteration": []}
    with workers(chosen.libraries, chosen.threads) as libraries:
        for problem in problems(list(shapes), chosen.structures, chosen.dtypes, iteration.SEPARATION):
            report(f"growth: {problem.shape} {problem.structure} {problem.dtype}")
            results["iteration"] += iteration.measure(problem, libraries, BUDGET, TURNS)
            save(results, chosen.output)
    print(exponents(results["iteration"], chosen.clock))
