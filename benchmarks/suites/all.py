"""Iterations, fits to a given log-likelihood, memory and single rows in one run: `make bench`.

    python benchmarks/run.py

Prints tables in Markdown and writes every number, with the machine and the versions, to a JSON file. One EM iteration
from equal starts, the time from raw data to a given log-likelihood, the memory that a fit adds to the data, predictions
of one row and of a few, and the machine's own rate of matrix products, which the iterations are measured by.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.environments import PEERS, PUBLISHED
from harness.measuring import DTYPES, IN_PROJECT, OURS, problems, workers
from harness.options import add_clock, add_grid, add_libraries, add_shapes
from harness.problems import STRUCTURES, Shape
from harness.processes import report
from harness.records import RESULTS, add, machine, save
from suites import convergence, iteration, latency, memory

COMPARED = [*IN_PROJECT, *(peer for peer in PEERS if peer != PUBLISHED)]
SHAPES = ("100kx2x5", "100kx16x16", "50kx64x32", "1Mx8x8", "20kx128x64")
QUICK = ("10kx2x5", "10kx16x16")
STARTED = ("full", "diag", "tied_full")  # fits from raw data: the others begin as one of these does
MEMORY, MEMORY_SMALLER = "1Mx16x16", "250kx16x16"


def iterations(chosen: Namespace, results: dict[str, Any]) -> None:
    """Add the records of iterations to the results, and the best rates of matrix products seen meanwhile."""
    rates = results["rates"]
    with workers(chosen.libraries, chosen.threads) as libraries:
        ours = next(worker for worker in libraries if worker.library == OURS)
        for problem in problems(chosen.shapes, chosen.structures, chosen.dtypes, iteration.SEPARATION):
            report(f"iteration: {problem.shape} {problem.structure} {problem.dtype}")
            for dtype in DTYPES:
                rates[dtype] = max(rates[dtype], ours.ask("matrix_rate", dtype=dtype, repeats=3)["rate"])
            add(results, "iteration", iteration.measure(problem, libraries, chosen.budget, chosen.turns))
            save(results, chosen.output)


def convergences(chosen: Namespace, results: dict[str, Any]) -> None:
    """Add the records of fits to a given log-likelihood, of the two that reach it in reasonable time."""
    shapes = chosen.shapes[:1] if chosen.quick else [Shape.parse(shape) for shape in convergence.SHAPES]
    structures = [structure for structure in chosen.structures if structure in STARTED]
    with workers([name for name in chosen.libraries if name in IN_PROJECT], chosen.threads) as libraries:
        for found in convergence.measure_all(shapes, structures, chosen.dtypes, libraries, turns=3):
            add(results, "convergence", found)
            save(results, chosen.output)


def memories(chosen: Namespace, results: dict[str, Any]) -> None:
    """Add the records of memory, and of ours on fewer rows too: it is not to grow with them."""
    shape, smaller = Shape.parse(QUICK[1] if chosen.quick else MEMORY), Shape.parse(MEMORY_SMALLER)
    dtypes = chosen.dtypes[:1]
    add(results, "memory", memory.measure_all([shape], chosen.structures, dtypes, chosen.libraries, chosen.threads))
    if not chosen.quick:
        add(results, "memory", memory.measure_all([smaller], chosen.structures, dtypes, [OURS], chosen.threads))
    save(results, chosen.output)


def latencies(chosen: Namespace, results: dict[str, Any]) -> None:
    """Add the records of predictions of few rows."""
    shapes = [Shape.parse(shape) for shape in (latency.SHAPES[:1] if chosen.quick else latency.SHAPES)]
    for found in latency.measure_all(shapes, chosen.structures, ["float64"], chosen.threads, chosen.turns):
        add(results, "latency", found)
        save(results, chosen.output)


def tables(results: dict[str, Any], libraries: Sequence[str], clock: str) -> str:
    """Return all tables."""
    about, rates = results["machine"], results["rates"]
    cores = f"{about['threads']} of {about['cores']} cores"
    rate = ", ".join(f"{rates[dtype] / 1e9:.0f} GFLOP/s in {dtype}" for dtype in rates)
    return "\n\n".join(
        [
            f"{about['processor']}, {cores}, {about['date']}; matrix products: {rate}",
            "One EM iteration, milliseconds (fraction of the matrix rate)",
            iteration.show(results["iteration"], libraries, clock, rates),
            "From raw data to within 1e-6 of the best log-likelihood, milliseconds (seeds, iterations)",
            convergence.show(results["convergence"], IN_PROJECT, clock),
            "Memory that a fit adds to the data, megabytes",
            memory.show(results["memory"], libraries),
            "Predictions of few rows, microseconds a call",
            latency.show(results["latency"], clock),
        ]
    )


PARTS = {"iteration": iterations, "convergence": convergences, "memory": memories, "latency": latencies}


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    add_grid(options)
    add_libraries(options)
    add_clock(options)
    options.set_defaults(libraries=COMPARED)
    options.add_argument("--quick", action="store_true", help="small problems: whether it works, not how fast")
    options.add_argument("--budget", type=float, default=0.1, help="seconds of iterations in one fit")
    options.add_argument("--turns", type=int, default=3, help="times that every fit is repeated")
    options.add_argument("--output", type=Path, default=RESULTS / "latest.json")
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="what is measured")
    options.add_argument("--update", action="store_true", help="keep what the output has of other problems")


def main(chosen: Namespace) -> None:
    if chosen.quick:
        chosen.shapes = [Shape.parse(shape) for shape in QUICK]
        chosen.structures = [structure for structure in chosen.structures if structure in STRUCTURES[:4]]
        chosen.turns = 3
    results: dict[str, Any] = {part: [] for part in PARTS}
    if chosen.update:
        results |= json.loads(chosen.output.read_text())
    else:
        results |= {"machine": machine(chosen.threads), "rates": dict.fromkeys(DTYPES, 0.0)}
    for part in chosen.parts:
        PARTS[part](chosen, results)
    print(tables(results, chosen.libraries, chosen.clock))
