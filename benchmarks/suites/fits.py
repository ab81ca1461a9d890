"""How long whole fits and selections take by default, from raw rows on: rows, features and components to seconds.

    python benchmarks/run.py fits

The start is included. Components are typically four standard deviations apart, so that they overlap a little.
"""

from __future__ import annotations

import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from harness.options import add_grid, add_shapes
from harness.problems import Shape, make_rows
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import by_problem, table
from tgmm import GaussianMixture, __version__, select

SEPARATION = 4.0
ROWS, SIZES = ("1k", "10k", "100k", "1M"), ("2x3", "8x8", "32x8", "32x32")
SHAPES = tuple(f"{rows}x{size}" for rows, size in product(ROWS, SIZES))
SELECTED = ("1kx2x3", "1kx8x8", "10kx2x3", "10kx8x8", "100kx2x3")  # where `select` is measured, too
TURNS, SHORT = 3, 2.0  # times that what takes fewer seconds than this is repeated; the least counts


def least_seconds(action: Callable[[], Any]) -> float:
    """Return the processor's seconds of a call, the least of some turns where it is short."""
    seconds = []
    while len(seconds) < TURNS:
        begin = time.process_time()
        action()
        seconds.append(time.process_time() - begin)
        if seconds[0] > SHORT:
            break
    return min(seconds)


def measure(shape: Shape, structure: str, dtype: str) -> Iterator[dict[str, Any]]:
    """Yield the records of one problem."""
    rows, _ = make_rows(shape, SEPARATION, dtype)
    about = {"shape": str(shape), "structure": structure, "dtype": dtype, "library": "tgmm", "version": __version__}
    model = GaussianMixture(shape.n_components, covariance_type=structure, random_state=0, device="cpu")
    yield about | {"verb": "fit", "processor_seconds": least_seconds(lambda: model.fit(rows))}
    if str(shape) in SELECTED:
        tried = range(1, 2 * shape.n_components + 1)
        seconds = least_seconds(lambda: select(rows, tried, structure, random_state=0, device="cpu"))
        yield about | {"verb": "select", "processor_seconds": seconds}


def show(records: Sequence[dict[str, Any]]) -> str:
    """Return a table of seconds: fits, and selections from one component to twice their number."""
    structures = list(dict.fromkeys(record["structure"] for record in records))
    rows = []
    for (shape,), _ in by_problem(records, ["shape"]):
        seconds = {(r["verb"], r["structure"]): r["processor_seconds"] for r in records if r["shape"] == shape}
        cells = [seconds.get((verb, structure)) for verb in ("fit", "select") for structure in structures]
        size = Shape.parse(shape)
        sizes = [
            f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")
            for number in (size.n_rows, size.n_features, size.n_components)
        ]
        rows.append([*sizes, *("" if cell is None else f"{float(f'{cell:.2g}'):g}" for cell in cells)])
    header = [f"{verb}, {structure}" for verb in ("`fit`", "`select`") for structure in structures]
    return table(["rows", "features", "components", *header], rows)


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    add_grid(options)
    options.set_defaults(structures=["full", "diag"], dtypes=["float64"])
    options.add_argument("--output", type=Path, default=RESULTS / "fits-latest.json")


def main(chosen: Namespace) -> None:
    torch.set_num_threads(chosen.threads)
    results = {"machine": machine(chosen.threads), "fits": []}
    with threadpool_limits(chosen.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for problem in product(chosen.shapes, chosen.structures, chosen.dtypes):
            report(f"fits: {' '.join(map(str, problem))}")
            results["fits"] += measure(*problem)
            save(results, chosen.output)
    print(f"processor seconds, {chosen.threads} thread(s)\n\n{show(results['fits'])}")
