"""Many features: time and memory of an iteration of few factors and of other structures, and held-out likelihoods.

    python benchmarks/run.py factors

An iteration is what a fit of more of them takes longer, the median of three, from components of rows at random, which
overlap. The first iterations are all in float32; the last ones before a fit converges are in float64. Each structure is
measured in a process of its own, so that its peak of memory is its own: what is reported is that beyond the rows and
the library.
Matrices without restriction take part where components have more rows than features.
Held-out likelihoods are of half of the rows, in nats a row; of digits with uniform noise, because whole numbers have no
density.
"""

from __future__ import annotations

import multiprocessing
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import sklearn.datasets
import torch

import tgmm
from harness.meters import Seconds
from harness.options import add_shapes
from harness.problems import Shape
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import by_problem, table

SHAPES = ("50000x384x16", "10000x1536x8")
FACTORS = {384: 16, 1536: 32}
KINDS = ("diag", "factor", "low_rank")
REPEATS = 3  # of which the median counts: what else fits take is many times an iteration
SHORT, LONG = 1, {"diag": 33, "factor": 5, "low_rank": 5, "full": 3}  # iterations: more, the shorter they are


class Problem(NamedTuple):
    """Draws from components of few factors."""

    shape: Shape
    n_factors: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """The structures that are measured."""
        has_matrices = self.shape.n_rows > self.shape.n_components * self.shape.n_features
        return (*KINDS, "full") if has_matrices else KINDS

    def rows(self, dtype: str = "float32") -> np.ndarray:
        """Return rows (n, d)."""
        rng = np.random.default_rng(0)
        n, d, n_components = self.shape.n_rows, self.shape.n_features, self.shape.n_components
        labels = rng.integers(n_components, size=n)
        means = 0.1 * rng.normal(size=(n_components, d))
        loadings = rng.normal(size=(n_components, self.n_factors, d)) / np.sqrt(self.n_factors)
        noise = rng.uniform(0.4, 1.0, size=(n_components, d))
        X = np.empty((n, d), dtype)
        for k in range(n_components):
            own = labels == k
            X[own] = means[k] + rng.normal(size=(own.sum(), self.n_factors)) @ loadings[k]
            X[own] += noise[k] * rng.normal(size=(own.sum(), d))
        return X


def settings_of(kind: str, n_factors: int) -> dict[str, Any]:
    """Return the settings of a structure."""
    return {"covariance_type": kind, "n_factors": n_factors if kind in ("factor", "low_rank") else None}


def measure(problem: Problem, kind: str, threads: int) -> dict[str, Any]:
    """Return the seconds of an iteration, and by how many MB the peak of memory grew."""
    torch.set_num_threads(threads)
    X = problem.rows()
    labels = np.random.default_rng(1).integers(problem.shape.n_components, size=len(X))
    tgmm.GaussianMixture(1, covariance_type="diag", device="cpu").fit(X[:100, :2])  # loads what is loaded late
    before = getrusage(RUSAGE_SELF).ru_maxrss
    pairs = [[_seconds(problem, kind, X, labels, count) for count in (SHORT, LONG[kind])] for _ in range(REPEATS)]
    seconds = median(long - short for short, long in pairs) / (LONG[kind] - SHORT)
    grown = (getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"library": kind, "seconds": seconds, "megabytes": grown}


def _seconds(problem: Problem, kind: str, X: np.ndarray, labels: np.ndarray, count: int) -> float:
    model = tgmm.GaussianMixture(
        problem.shape.n_components,
        max_iter=count,
        tol=1e-9,
        accelerate=None,
        device="cpu",
        **settings_of(kind, problem.n_factors),
    )
    start = Seconds.now()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        model.fit(X, init_responsibilities=labels)
    assert model.n_iter_ == count, "it converged too soon to be timed"
    return start.passed().processor


def measure_all(shapes: Sequence[Shape], threads: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of one shape after another."""
    context = multiprocessing.get_context("spawn")
    for shape in shapes:
        problem = Problem(shape, FACTORS.get(shape.n_features, 16))
        found = []
        for kind in problem.kinds:
            report(f"factors: {shape}, {kind}")
            with context.Pool(1) as pool:
                found.append({"problem": str(shape), **pool.apply(measure, (problem, kind, threads))})
        yield found


def held_out() -> Iterator[dict[str, Any]]:
    """Yield the held-out log-likelihoods of structures on digits and on draws of few factors."""
    digits = sklearn.datasets.load_digits().data
    digits = digits + np.random.default_rng(0).random(digits.shape)  # whole numbers have no density
    draws = Problem(Shape(2000, 100, 4), 4).rows("float64")
    for name, X, n_components, q in (("digits", digits, 10, 8), ("draws", draws, 4, 4)):
        for kind in ("full", *KINDS):
            model = tgmm.GaussianMixture(
                n_components, init_means="kmeans", random_state=0, device="cpu", **settings_of(kind, q)
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that components rest on what regularises
                score = model.fit(X[::2]).score(X[1::2])
            yield {"problem": name, "library": kind, "score": score}


def show_iterations(records: Sequence[dict[str, Any]]) -> str:
    """Return a table of seconds an iteration and of memory."""
    rows = []
    for (problem,), found in by_problem(records, ("problem",)):
        cells = (
            f"{found[kind]['seconds']:.3g} s, {found[kind]['megabytes']:.0f} MB" if kind in found else "-"
            for kind in (*KINDS, "full")
        )
        rows.append([problem, *cells])
    return table(["rows", *KINDS, "full"], rows)


def show_held_out(records: Sequence[dict[str, Any]]) -> str:
    """Return a table of held-out log-likelihoods."""
    kinds = ("full", *KINDS)
    rows = [
        [problem, *[f"{found[kind]['score']:.2f}" for kind in kinds]]
        for (problem,), found in by_problem(records, ("problem",))
    ]
    return table(["held out", *kinds], rows)


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    options.add_argument("--threads", type=int, default=1, help="threads")
    options.add_argument("--output", type=Path, default=RESULTS / "factors-latest.json")


def main(chosen: Namespace) -> None:
    results: dict[str, Any] = {"machine": machine(chosen.threads), "factors": [], "held_out": list(held_out())}
    for found in measure_all(chosen.shapes, chosen.threads):
        results["factors"] += found
        save(results, chosen.output)
    print(f"seconds of the processor an iteration, and memory beyond the rows, {chosen.threads} thread(s)\n")
    print(show_iterations(results["factors"]), show_held_out(results["held_out"]), sep="\n\n")
