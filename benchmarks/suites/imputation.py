"""How well missing values are filled in: ours, and scikit-learn's imputers.

    python benchmarks/run.py imputation

Of draws from mixtures, and of scikit-learn's small data sets, a fifth of the values is taken away at random. All get
the same rows, standardised, which matters to neighbours alone, and take turns. The error is the root mean square over
the values that were taken away, in standard deviations of their features, and is averaged over several masks.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets
import torch
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from threadpoolctl import threadpool_limits

import tgmm
from harness.meters import Seconds
from harness.options import add_shapes
from harness.problems import Shape
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import by_problem, table

SHAPES = ("300x4x3", "1000x4x3", "1000x8x5", "3000x8x5", "600x16x4")
REAL = ("iris", "wine", "diabetes")
SHARE = 0.2
SPREAD = 3.0  # of the means, in standard deviations within components
COUNTS = range(1, 6)  # of components, among which BIC chooses
MODEL = "tgmm, K by BIC"

Imputer = Callable[[np.ndarray], np.ndarray]


def chosen(rows: np.ndarray) -> np.ndarray:
    """Fill in by the mixture that BIC chooses."""
    selection = tgmm.select(rows, COUNTS, "full", missing="em", n_init=1, tol=1e-4, random_state=0, device="cpu")
    return selection.best_.impute(rows)


IMPUTERS: dict[str, Imputer] = {
    MODEL: chosen,
    "tgmm, K = 3": lambda rows: (
        tgmm.GaussianMixture(3, missing="em", random_state=0, device="cpu").fit(rows).impute(rows)
    ),
    "mean": lambda rows: SimpleImputer().fit_transform(rows),
    "neighbours": lambda rows: KNNImputer().fit_transform(rows),
    "iterative": lambda rows: IterativeImputer(random_state=0).fit_transform(rows),
}


def draws(shape: Shape, seed: int) -> np.ndarray:
    """Return draws from a mixture whose components are correlated each in its own way."""
    rng = np.random.default_rng(seed)
    size = shape.n_components, shape.n_features
    means = SPREAD * rng.normal(size=size)
    roots = rng.normal(size=(*size, shape.n_features)) / np.sqrt(shape.n_features)
    components = rng.integers(shape.n_components, size=shape.n_rows)
    noise = rng.normal(size=(2, shape.n_rows, shape.n_features))
    return means[components] + (roots[components] @ noise[0, :, :, None])[..., 0] + 0.3 * noise[1]


def rows_of(problem: Shape | str, seed: int) -> np.ndarray:
    """Return the standardised rows of a problem."""
    found = draws(problem, seed) if isinstance(problem, Shape) else _real(problem)
    return (found - found.mean(axis=0)) / found.std(axis=0)


def _real(name: str) -> np.ndarray:
    return getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)[0]


def measure(problem: Shape | str, seeds: int) -> list[dict[str, Any]]:
    """Return the records of a problem, one for each imputer."""
    errors: dict[str, list[float]] = {name: [] for name in IMPUTERS}
    seconds: dict[str, list[float]] = {name: [] for name in IMPUTERS}
    for seed in range(seeds):
        rows = rows_of(problem, seed)
        gaps = np.random.default_rng(seed + 1000).random(rows.shape) < SHARE
        for name, imputer in IMPUTERS.items():
            start = Seconds.now()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it does not converge
                filled = imputer(np.where(gaps, np.nan, rows))
            seconds[name].append(start.passed().processor)
            errors[name].append(float(np.sqrt(np.mean((filled - rows)[gaps] ** 2))))
    common = {"problem": str(problem), "shape": rows_of(problem, 0).shape, "seeds": seeds}
    return [
        common
        | {"library": name, "error": float(np.mean(errors[name])), "processor_seconds": float(np.median(seconds[name]))}
        for name in IMPUTERS
    ]


def measure_all(problems: Sequence[Shape | str], seeds: int, threads: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of one problem after another."""
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        for problem in problems:
            report(f"imputation: {problem}")
            yield measure(problem, seeds)


def show(records: Sequence[dict[str, Any]]) -> str:
    """Return a table of errors, the least of a problem in bold, with seconds of the processor."""
    rows = []
    for (problem,), found in by_problem(records, ("problem",)):
        least = min(record["error"] for record in found.values())
        cells = []
        for name in IMPUTERS:
            error = f"{found[name]['error']:.3f}"
            error = f"**{error}**" if error == f"{least:.3f}" else error
            cells.append(f"{error} ({found[name]['processor_seconds']:.2g} s)")
        rows.append([problem, *cells])
    return table(["rows", *IMPUTERS], rows)


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    options.add_argument("--real", nargs="*", choices=REAL, default=REAL, help="scikit-learn's data sets")
    options.add_argument("--seeds", type=int, default=2, help="masks, and draws")
    options.add_argument("--threads", type=int, default=1, help="threads each library may use")
    options.add_argument("--output", type=Path, default=RESULTS / "imputation-latest.json")


def main(chosen: Namespace) -> None:
    results: dict[str, Any] = {"machine": machine(chosen.threads), "imputation": []}
    for found in measure_all([*chosen.shapes, *chosen.real], chosen.seeds, chosen.threads):
        results["imputation"] += found
        save(results, chosen.output)
    print(f"root-mean-square error in standard deviations, and seconds of the processor, {chosen.threads} thread(s)\n")
    print(show(results["imputation"]))
