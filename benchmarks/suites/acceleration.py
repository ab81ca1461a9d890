"""What `accelerate="squarem"` saves on overlapping components, and costs where there is nothing to save.

    python benchmarks/run.py acceleration

First, the M-steps and the time to within 1e-7 of the limit, plain and accelerated, from the same start. Then whole fits
with the default tolerance on the problems of the other benchmarks: the ratio of their times and of their M-steps.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import torch

from harness.meters import Seconds
from harness.options import add_grid, add_shapes
from harness.problems import Shape, make_rows
from harness.processes import report
from harness.tables import table
from tgmm import GaussianMixture

OVERLAPPING = [Shape(5000, 2, 3), Shape(5000, 5, 3), Shape(5000, 16, 3)]
OVERLAP = 2.0  # standard deviations between components
NEAR = 1e-7
LIMIT = {"tol": 1e-13, "max_iter": 20_000}
ORDINARY = ["100kx2x5", "100kx16x16", "50kx64x32", "20kx128x64"]
SEPARATIONS = (3.0, 6.0, 10.0)
TURNS = 3
WAYS: tuple[Literal["squarem"] | None, ...] = (None, "squarem")


def timed(
    rows: torch.Tensor, accelerate: Literal["squarem"] | None, turns: int, **settings: Any
) -> tuple[GaussianMixture, float]:
    """Return a fit and the least seconds it took."""
    gmm, seconds = GaussianMixture(accelerate=accelerate, random_state=0, reg_covar=0.0, **settings), []
    for _ in range(turns):
        start = Seconds.now()
        gmm.fit(rows)
        seconds.append(start.passed().seconds)
    return gmm, min(seconds)


def to_the_limit(shape: Shape, structure: str) -> list[str]:
    """Return a row of the first table: M-steps and milliseconds of both ways, and their ratios."""
    rows = torch.from_numpy(make_rows(shape, OVERLAP, "float64")[0])
    settings = {"n_components": shape.n_components, "covariance_type": structure}
    long = {way: timed(rows, way, 1, **settings, **LIMIT)[0] for way in WAYS}
    limits = [gmm.lower_bound_ for gmm in long.values()]
    steps, seconds = {}, {}
    for way in WAYS:
        steps[way] = int(np.argmax(np.asarray(long[way].objective_history_) >= long[way].lower_bound_ - NEAR))
        _, seconds[way] = timed(rows, way, TURNS, **settings, tol=0.0, max_iter=max(steps[way], 1))
    cells = [f"{steps[way]} ({1e3 * seconds[way]:.0f} ms)" for way in WAYS]
    same = "" if abs(limits[0] - limits[1]) < 1e-6 else f"other limit, {limits[1] - limits[0]:+.1e}"
    ratios = [f"{steps[None] / max(steps['squarem'], 1):.2f}", f"{seconds[None] / seconds['squarem']:.2f}"]
    return [str(shape), structure, *cells, *ratios, same]


def whole_fit(shape: Shape, separation: float, structure: str, dtype: str) -> list[str]:
    """Return a row of the second table: M-steps and milliseconds of both ways, and the ratio of the times."""
    rows = torch.from_numpy(make_rows(shape, separation, dtype)[0])
    settings = {"n_components": shape.n_components, "covariance_type": structure, "max_iter": 1000}
    fits = {way: timed(rows, way, TURNS, **settings) for way in WAYS}
    cells = [f"{gmm.n_iter_} ({1e3 * seconds:.0f} ms)" for gmm, seconds in fits.values()]
    difference = fits["squarem"][0].lower_bound_ - fits[None][0].lower_bound_
    return [
        str(shape),
        f"{separation:g}",
        structure,
        dtype,
        *cells,
        f"{fits[None][1] / fits['squarem'][1]:.2f}",
        f"{difference:+.1e}",
    ]


def limits(structures: Sequence[str]) -> str:
    """Return the first table."""
    rows = []
    for shape in OVERLAPPING:
        for structure in structures:
            report(f"acceleration: {shape} {structure}")
            rows.append(to_the_limit(shape, structure))
    return table(["n x d x K", "type", "plain", "squarem", "ratio of M-steps", "ratio of times", ""], rows)


def whole_fits(shapes: Sequence[Shape], structures: Sequence[str], dtypes: Sequence[str]) -> str:
    """Return the second table."""
    rows = []
    for problem in product(shapes, SEPARATIONS, structures, dtypes):
        report("acceleration: {} {:g} {} {}".format(*problem))
        rows.append(whole_fit(*problem))
    return table(["n x d x K", "apart", "type", "float", "plain", "squarem", "ratio of times", "likelihood"], rows)


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, ORDINARY)
    add_grid(options)


def main(chosen: Namespace) -> None:
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")  # fits that are cut short say so
    print(f"M-steps (and time) to within {NEAR:g} of the limit, {chosen.threads} thread(s)\n")
    print(limits(chosen.structures))
    print("\nM-steps (and time) of whole fits with the default tolerance\n")
    print(whole_fits(chosen.shapes, chosen.structures, chosen.dtypes))
