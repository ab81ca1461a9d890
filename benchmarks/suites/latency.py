"""How long predictions of one row and of a few take on a fitted model, ours and scikit-learn's.

    python benchmarks/run.py latency

A shape's rows are those of one call. Both libraries have the same parameters, in one process, get the same NumPy arrays
and take turns, and the least of several turns counts: other work on the machine only ever adds. That they did the same
work is checked: their results are to be equal. In place of a structure that scikit-learn lacks it has the same mixture
in the narrowest of its own.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_limits

import tgmm
from harness.measuring import OURS
from harness.meters import Seconds, least_seconds
from harness.options import add_clock, add_grid, add_shapes
from harness.problems import Shape, make_rows, make_start
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import by_problem, table
from suites.iteration import EQUAL, SEPARATION

THEIRS = "scikit-learn"
VERSIONS = {OURS: tgmm.__version__, THEIRS: sklearn.__version__}
SHAPES = ("1x4x3", "100x4x3", "1x64x64", "100x64x64")
VERBS = ("predict", "predict_proba", "score_samples")
FITTED = 300  # rows of a component that the model is fitted to
ITERATIONS = 2
BUDGET = 0.02  # seconds of a turn
GOAL_SHAPE, GOAL_VERB, GOAL = "1x4x3", "predict", 2.0  # at most so many times scikit-learn's time


def models_of(shape: Shape, structure: str, dtype: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the rows of one call, and by library models of the same parameters."""
    rows, means = make_rows(replace(shape, n_rows=FITTED * shape.n_components), SEPARATION, dtype)
    start = make_start(rows, means, structure).as_init()
    ours = tgmm.GaussianMixture(
        shape.n_components, covariance_type=structure, max_iter=ITERATIONS, device="cpu", **start
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not converge
        theirs = ours.fit(rows).to_sklearn()
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        setattr(theirs, name, getattr(theirs, name).astype(dtype))  # as scikit-learn's own fit leaves them
    return rows[: shape.n_rows].copy(), {OURS: ours, THEIRS: theirs}


def least_of_turns(calls: dict[str, Callable[[], object]], turns: int) -> dict[str, Seconds]:
    """Return the least seconds of a call of each library, which take turns."""
    numbers = {library: max(1, int(BUDGET / least_seconds(call, 5))) for library, call in calls.items()}
    found: dict[str, list[Seconds]] = {library: [] for library in calls}
    for _ in range(turns):
        for library, call in calls.items():
            start = Seconds.now()
            for _ in range(numbers[library]):
                call()
            found[library].append(start.passed())
    return {library: Seconds(*(np.min(found[library], axis=0) / numbers[library]).tolist()) for library in calls}


def difference_of(results: dict[str, np.ndarray]) -> float:
    """Return the largest difference between both libraries' results, relative to those above 1."""
    ours, theirs = (np.asarray(results[library], np.float64) for library in (OURS, THEIRS))
    return float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max())


def measure(shape: Shape, structure: str, dtype: str, threads: int, turns: int) -> list[dict[str, Any]]:
    """Return the records of one problem, one for each verb and library."""
    rows, models = models_of(shape, structure, dtype)
    common = {"shape": str(shape), "structure": structure, "dtype": dtype, "threads": threads, "turns": turns}
    records = []
    for verb in VERBS:
        bound = {library: getattr(model, verb) for library, model in models.items()}
        difference = difference_of({library: method(rows) for library, method in bound.items()})
        calls = {library: lambda method=method: method(rows) for library, method in bound.items()}
        what = common | {"verb": verb, "difference": difference, "equal": difference <= EQUAL[dtype]}
        for library, (seconds, processor) in least_of_turns(calls, turns).items():
            of_library = {"library": library, "version": VERSIONS[library]}
            records.append(what | of_library | {"seconds": seconds, "processor_seconds": processor})
    return records


def measure_all(
    shapes: Sequence[Shape], structures: Sequence[str], dtypes: Sequence[str], threads: int, turns: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of one problem after another."""
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        for problem in product(shapes, structures, dtypes):
            report("latency: {} {} {}".format(*problem))
            yield measure(*problem, threads, turns)


def show(records: Sequence[dict[str, Any]], clock: str) -> str:
    """Return a table of microseconds a call, and what became of the goal."""
    rows, judged = [], []
    for key, found in by_problem(records, ("shape", "structure", "dtype", "verb")):
        ours, theirs = found[OURS], found[THEIRS]
        ratio = ours[clock] / theirs[clock]
        if (key[0], key[3]) == (GOAL_SHAPE, GOAL_VERB):
            judged.append(ratio)
        times = [f"{1e6 * record[clock]:.4g}" for record in (ours, theirs)]
        rows.append([*key, *times, f"{ratio:.2f}", f"{ours['difference']:.0e}" + " other result" * (not ours["equal"])])
    text = table(["n x d x K", "type", "float", "verb", OURS, THEIRS, "ours / theirs", "difference"], rows)
    if not judged:
        return text
    return f"{text}\n\n{GOAL_VERB} of {GOAL_SHAPE}: ours / theirs at most {max(judged):.2f}; goal: at most {GOAL:g}"


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    add_grid(options)
    add_clock(options)
    options.set_defaults(dtypes=["float64"])
    options.add_argument("--turns", type=int, default=15, help="times that the calls are repeated")
    options.add_argument("--output", type=Path, default=RESULTS / "latency-latest.json")


def main(chosen: Namespace) -> None:
    results: dict[str, Any] = {"machine": machine(chosen.threads), "latency": []}
    for found in measure_all(chosen.shapes, chosen.structures, chosen.dtypes, chosen.threads, chosen.turns):
        results["latency"] += found
        save(results, chosen.output)
    print(f"microseconds a call, {chosen.threads} thread(s)\n")
    print(show(results["latency"], chosen.clock))
