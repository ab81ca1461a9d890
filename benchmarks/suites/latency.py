"""How long predictions of one row and of a few, and a draw of one, take on a fitted model, ours and scikit-learn's.

    python benchmarks/run.py latency
    python benchmarks/run.py latency --profile

A shape's rows are those of one call. Both libraries have the same parameters, in one process, and take turns; the
median of the turns counts. Ours gets NumPy arrays and tensors, scikit-learn the same arrays. That they did the same
work is checked: their results are to be equal, but for draws. In place of a structure that scikit-learn lacks it has
the same mixture in the narrowest of its own. ``--profile`` shows instead where the time of one prediction goes.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_limits

import tgmm
from harness.engine import parts_of_a_prediction
from harness.measuring import OURS
from harness.meters import Seconds, least_seconds, median_seconds
from harness.options import add_clock, add_grid, add_shapes
from harness.problems import Shape, make_rows, make_start
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import by_problem, table
from suites.iteration import EQUAL, SEPARATION

THEIRS = "scikit-learn"
VERSIONS = {OURS: tgmm.__version__, THEIRS: sklearn.__version__}
SHAPES = ("1x4x3", "100x4x3", "1x13x4", "1x64x64", "100x64x64")
VERBS = ("predict", "predict_proba", "score_samples", "sample")
INPUTS = {"array": lambda rows: rows, "tensor": torch.from_numpy}  # of ours; scikit-learn gets arrays
FITTED = 300  # rows of a component that the model is fitted to
ITERATIONS = 2
BUDGET = 0.02  # seconds of a turn
GOAL = 1.0  # of one row, at most so many times scikit-learn's time
PARTS_REPEATED = 2000


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


def median_of_turns(calls: dict[str, Callable[[], object]], turns: int) -> dict[str, Seconds]:
    """Return the median seconds of a call of each library, which take turns."""
    numbers = {library: max(1, int(BUDGET / least_seconds(call, 5))) for library, call in calls.items()}
    found: dict[str, list[Seconds]] = {library: [] for library in calls}
    for _ in range(turns):
        for library, call in calls.items():
            start = Seconds.now()
            for _ in range(numbers[library]):
                call()
            found[library].append(start.passed())
    return {library: Seconds(*(np.median(found[library], axis=0) / numbers[library]).tolist()) for library in calls}


def difference_of(results: dict[str, np.ndarray]) -> float:
    """Return the largest difference between both libraries' results, relative to those above 1."""
    ours, theirs = (np.asarray(results[library], np.float64) for library in (OURS, THEIRS))
    return float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max())


def problems_of(rows: np.ndarray, models: dict[str, Any]) -> Iterator[tuple[str, str, float, dict[str, Callable]]]:
    """Yield each verb with the kind of input, how far the results differ, and each library's call."""
    for verb in VERBS:
        ours, theirs = (getattr(models[library], verb) for library in (OURS, THEIRS))
        if verb == "sample":
            yield verb, "", 0.0, {OURS: ours, THEIRS: theirs}  # of one row, and no draws are equal
            continue
        for kind, converted in INPUTS.items():
            given = converted(rows)
            difference = difference_of({OURS: np.asarray(ours(given)), THEIRS: theirs(rows)})
            yield verb, kind, difference, {OURS: partial(ours, given), THEIRS: partial(theirs, rows)}


def measure(shape: Shape, structure: str, dtype: str, threads: int, turns: int) -> list[dict[str, Any]]:
    """Return the records of one problem, one for each verb, kind of input and library."""
    rows, models = models_of(shape, structure, dtype)
    common = {"shape": str(shape), "structure": structure, "dtype": dtype, "threads": threads, "turns": turns}
    records = []
    for verb, kind, difference, calls in problems_of(rows, models):
        what = common | {"verb": verb, "input": kind, "difference": difference, "equal": difference <= EQUAL[dtype]}
        for library, (seconds, processor) in median_of_turns(calls, turns).items():
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
    rows, judged = [], {}
    for key, found in by_problem(records, ("shape", "structure", "dtype", "verb", "input")):
        ours, theirs = found[OURS], found[THEIRS]
        ratio = ours[clock] / theirs[clock]
        if key[0].startswith("1x"):
            judged[" ".join(key)] = ratio
        times = [f"{1e6 * record[clock]:.4g}" for record in (ours, theirs)]
        rows.append([*key, *times, f"{ratio:.2f}", f"{ours['difference']:.0e}" + " other result" * (not ours["equal"])])
    header = ["n x d x K", "type", "float", "verb", "input", OURS, THEIRS, "ours / theirs", "difference"]
    text = table(header, rows)
    if not judged:
        return text
    slow = [f"{name} {ratio:.2f}" for name, ratio in judged.items() if ratio > GOAL]
    return f"{text}\n\nof one row, {len(slow)} of {len(judged)} take more than {GOAL:g} times theirs: {'; '.join(slow)}"


def profile(shape: Shape, structure: str, dtype: str) -> str:
    """Return a table of the microseconds of a prediction and of its parts, each repeated by itself."""
    rows, models = models_of(shape, structure, dtype)
    parts = parts_of_a_prediction(models[OURS], rows)
    parts[f"{THEIRS}: predict"] = lambda: models[THEIRS].predict(rows)
    found = [[part, f"{1e6 * median_seconds(call, PARTS_REPEATED):.1f}"] for part, call in parts.items()]
    return f"{shape} {structure} {dtype}\n\n{table(['part', 'microseconds'], found)}\n"


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    add_grid(options)
    add_clock(options)
    options.set_defaults(dtypes=["float64"])
    options.add_argument("--turns", type=int, default=15, help="times that the calls are repeated")
    options.add_argument("--profile", action="store_true", help="show where the time of a prediction goes")
    options.add_argument("--output", type=Path, default=RESULTS / "latency-latest.json")


def main(chosen: Namespace) -> None:
    if chosen.profile:
        torch.set_num_threads(chosen.threads)
        for problem in product(chosen.shapes, chosen.structures, chosen.dtypes):
            print(profile(*problem))
        return
    results: dict[str, Any] = {"machine": machine(chosen.threads), "latency": []}
    for found in measure_all(chosen.shapes, chosen.structures, chosen.dtypes, chosen.threads, chosen.turns):
        results["latency"] += found
        save(results, chosen.output)
    print(f"microseconds a call, {chosen.threads} thread(s)\n")
    print(show(results["latency"], chosen.clock))
