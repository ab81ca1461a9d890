"""How long variational Bayes takes: ours, and scikit-learn's BayesianGaussianMixture.

    python benchmarks/run.py variational

Both libraries fit the same rows in one process and take turns. An iteration is the difference of two fits of different
lengths from the same random rows, by the number of iterations between them. The column is what tabular synthesis fits
to each feature: one feature, ten components, a Dirichlet process of concentration 0.001. Ours stops on its own, and is
to reach a bound as high as the best from the responsibilities that scikit-learn ends with.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.mixture
import torch
from threadpoolctl import threadpool_limits

import tgmm
from harness.meters import Seconds
from harness.options import add_clock
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import table

OURS, THEIRS = "tgmm", "scikit-learn"
ITERATION, COLUMN = "iteration", "column"
GOALS = {ITERATION: 5.0, COLUMN: 10.0}  # times as fast
SHORT, LONG = 2, 12  # iterations of the two fits
STRUCTURE = "full"  # whose step is exact in both
SHAPE = (100_000, 16, 16)
COLUMN_ROWS, COLUMN_COMPONENTS, CONCENTRATION = 500_000, 10, 1e-3
MODES = ((0.0, 1.0, 0.4), (5.0, 0.7, 0.3), (9.0, 2.0, 0.2), (20.0, 4.0, 0.1))  # mean, standard deviation, share

Model = Any
Fit = Callable[[], Model]


def clusters(n_rows: int, n_features: int, n_components: int) -> np.ndarray:
    """Return draws from overlapping spherical components."""
    rng = np.random.default_rng(0)
    means = 3.0 * rng.normal(size=(n_components, n_features))
    return means[rng.integers(n_components, size=n_rows)] + rng.normal(size=(n_rows, n_features))


def column(n_rows: int) -> np.ndarray:
    """Return draws of one feature that has several modes, (n, 1)."""
    rng = np.random.default_rng(0)
    means, deviations, shares = np.array(MODES).T
    which = rng.choice(len(MODES), size=n_rows, p=shares)
    return (means[which] + deviations[which] * rng.normal(size=n_rows))[:, None]


def of_length(library: str, rows: np.ndarray, n_components: int, n_iterations: int) -> Model:
    """Return a fit that goes on for so many iterations."""
    common = {"n_components": n_components, "covariance_type": STRUCTURE, "max_iter": n_iterations, "random_state": 0}
    if library == THEIRS:
        return sklearn.mixture.BayesianGaussianMixture(init_params="random_from_data", tol=0, **common).fit(rows)
    settings = {"init_means": "random", "accelerate": None, "moves": False, "tol": 0, "device": "cpu"}
    return tgmm.BayesianGaussianMixture(**settings, **common).fit(rows)


def whole_fit(library: str, rows: np.ndarray) -> Model:
    """Return a fit to a column that stops on its own."""
    common = {
        "n_components": COLUMN_COMPONENTS,
        "weight_concentration_prior": CONCENTRATION,
        "max_iter": 100,
        "random_state": 0,
    }
    if library == THEIRS:
        return sklearn.mixture.BayesianGaussianMixture(**common).fit(rows)
    return tgmm.BayesianGaussianMixture(**common, device="cpu").fit(rows)


def bound_of(model: Model, rows: np.ndarray) -> float:
    """Return the bound, per row; of another library the best one from its responsibilities."""
    if isinstance(model, tgmm.BayesianGaussianMixture):
        return model.lower_bound_
    settings = {"n_components": COLUMN_COMPONENTS, "weight_concentration_prior": CONCENTRATION, "device": "cpu"}
    ours = tgmm.BayesianGaussianMixture(**settings, max_iter=0)
    return ours.fit(rows, init_responsibilities=model.predict_proba(rows)).lower_bound_


def timed(fit: Fit) -> tuple[Model, np.ndarray]:
    """Return a fit, and the seconds and the processor's seconds that it took."""
    start = Seconds.now()
    model = fit()
    return model, np.array(start.passed())


def measure_iterations(shape: Sequence[int], turns: int) -> list[dict[str, Any]]:
    """Return a record of each library: the median of one iteration."""
    n_rows, n_features, n_components = shape
    rows = clusters(n_rows, n_features, n_components)
    found: dict[str, list[np.ndarray]] = {OURS: [], THEIRS: []}
    for library in found:
        of_length(library, rows, n_components, 1)  # which warms up
    for turn in range(turns):
        for library, times in found.items():
            report(f"variational: iteration, {library}, turn {turn + 1} of {turns}")
            lengths = [timed(partial(of_length, library, rows, n_components, n))[1] for n in (SHORT, LONG)]
            times.append((lengths[1] - lengths[0]) / (LONG - SHORT))
    return [_record(ITERATION, library, list(shape), times) for library, times in found.items()]


def measure_column(n_rows: int, turns: int) -> list[dict[str, Any]]:
    """Return a record of each library: the median of a fit to a column, and its bound."""
    rows = column(n_rows)
    found: dict[str, list[np.ndarray]] = {OURS: [], THEIRS: []}
    models: dict[str, Model] = {}
    for turn in range(turns):
        for library, times in found.items():
            report(f"variational: column, {library}, turn {turn + 1} of {turns}")
            models[library], seconds = timed(partial(whole_fit, library, rows))
            times.append(seconds)
    shape = [n_rows, 1, COLUMN_COMPONENTS]
    return [
        _record(COLUMN, library, shape, times)
        | {"bound": bound_of(models[library], rows), "n_iter": int(models[library].n_iter_)}
        for library, times in found.items()
    ]


def _record(problem: str, library: str, shape: list[int], times: list[np.ndarray]) -> dict[str, Any]:
    seconds, processor = np.median(times, axis=0).tolist()
    return {
        "problem": problem,
        "library": library,
        "shape": shape,
        "seconds": seconds,
        "processor_seconds": processor,
        "turns": len(times),
    }


def show(records: Sequence[dict[str, Any]], clock: str) -> str:
    """Return a table of seconds, and of how many times as fast ours is."""
    rows = []
    for problem, goal in GOALS.items():
        own = {record["library"]: record for record in records if record["problem"] == problem}
        if not own:
            continue
        ours, theirs = own[OURS], own[THEIRS]
        bounds = [f"{record['bound']:.5f}" if "bound" in record else "" for record in (ours, theirs)]
        times = [f"{record[clock]:.3g}" for record in (ours, theirs)]
        shape = "x".join(map(str, ours["shape"]))
        rows.append([problem, shape, *times, f"{theirs[clock] / ours[clock]:.1f}", f"{goal:g}", *bounds])
    head = ["problem", "rows x features x components", f"{OURS}, s", f"{THEIRS}, s", "times as fast", "goal"]
    return table([*head, f"bound, {OURS}", f"bound, {THEIRS}"], rows)


def add_options(options: ArgumentParser) -> None:
    add_clock(options)
    options.add_argument("--problems", nargs="*", choices=GOALS, default=list(GOALS))
    options.add_argument("--rows", type=int, help="of each problem, instead of its own number")
    options.add_argument("--turns", type=int, default=3, help="of each library")
    options.add_argument("--threads", type=int, default=1, help="threads each library may use")
    options.add_argument("--output", type=Path, default=RESULTS / "variational-latest.json")


def main(chosen: Namespace) -> None:
    results: dict[str, Any] = {"machine": machine(chosen.threads), "variational": []}
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")  # that fits of few iterations do not converge
    with threadpool_limits(chosen.threads):
        if ITERATION in chosen.problems:
            shape = (chosen.rows or SHAPE[0], *SHAPE[1:])
            results["variational"] += measure_iterations(shape, chosen.turns)
            save(results, chosen.output)
        if COLUMN in chosen.problems:
            results["variational"] += measure_column(chosen.rows or COLUMN_ROWS, chosen.turns)
            save(results, chosen.output)
    print(f"seconds, {chosen.threads} thread(s)\n")
    print(show(results["variational"], chosen.clock))
