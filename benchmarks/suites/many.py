"""How long many small fits take, by `fit_many` and by a loop over scikit-learn's mixtures.

    python benchmarks/run.py many

Both libraries fit the same problems in one process and take turns, and the medians of several turns are compared with a
loop over scikit-learn's default fits. Both fit from the same means too, those of scikit-learn's k-means, which no clock
counts; ours do so with its `tol`, and from rows in float32, as well. Optima are compared too: how many end lower, and
higher, than those of the default fits by more than 1e-3 nats a row.
"""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster
import sklearn.mixture
import torch
from threadpoolctl import threadpool_limits

import tgmm
from harness.meters import Seconds
from harness.options import add_clock
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import table

STARTS = ("k-means++", "kmeans", "auto")
STRUCTURES = ("full", "diag")  # that both libraries have
THEIRS, THEIRS_GIVEN = "scikit-learn", "scikit-learn, given means"
GIVEN, GIVEN_LOOSE, GIVEN_NARROW = "given means", "given means, tol=1e-3", "given means, float32"
N_ROWS, N_FEATURES, N_COMPONENTS = 400, 2, 2
SEPARATION = 4.0  # of the components' means, in standard deviations
PROBLEMS, QUICK = 1000, 20
APART = 1e-3  # nats a row
GOAL = 20.0  # times as fast as the loop


def make_problems(count: int) -> np.ndarray:
    """Return the rows of all problems, (B, n, d)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(count, N_ROWS, N_FEATURES))
    second = rng.uniform(size=(count, N_ROWS)) < rng.uniform(0.3, 0.7, size=(count, 1))
    directions = rng.normal(size=(count, 1, N_FEATURES))
    directions *= SEPARATION / np.linalg.norm(directions, axis=-1, keepdims=True)
    return X + second[..., None] * directions


def centres_of(X: np.ndarray) -> np.ndarray:
    """Return the centres of scikit-learn's k-means in each problem, (B, K, d)."""
    model = sklearn.cluster.KMeans(N_COMPONENTS, n_init=1, random_state=0)
    return np.stack([model.fit(rows).cluster_centers_ for rows in X])


def fits(X: np.ndarray, structure: str, starts: Sequence[str]) -> dict[str, Callable[[], np.ndarray]]:
    """Return by name what fits all problems, and returns the average log-likelihood of each."""
    centres = centres_of(X)

    def ours(start: str | np.ndarray, rows: np.ndarray = X, **settings: float) -> np.ndarray:
        common = {"covariance_type": structure, "random_state": 0, "device": "cpu"}
        return tgmm.fit_many(rows, n_components=N_COMPONENTS, init_means=start, **common, **settings).lower_bound_

    def theirs(means: Sequence[np.ndarray | None]) -> np.ndarray:
        model = sklearn.mixture.GaussianMixture(N_COMPONENTS, covariance_type=structure, random_state=0)
        return np.array(
            [model.set_params(means_init=m).fit(rows).score(rows) for rows, m in zip(X, means, strict=True)]
        )

    return {
        THEIRS: partial(theirs, [None] * len(X)),
        THEIRS_GIVEN: partial(theirs, list(centres)),
        GIVEN: partial(ours, centres),
        GIVEN_LOOSE: partial(ours, centres, tol=1e-3),
        GIVEN_NARROW: partial(ours, centres, X.astype(np.float32)),
        **{start: partial(ours, start) for start in starts},
    }


def measure(X: np.ndarray, structure: str, turns: int, starts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the records of one structure, one for each way to fit."""
    seconds: dict[str, list[Seconds]] = {}
    found: dict[str, np.ndarray] = {}
    ways = fits(X, structure, starts)
    for turn in range(turns):
        for name, fit in ways.items():
            report(f"many: {structure} {name}, turn {turn + 1} of {turns}")
            start = Seconds.now()
            found[name] = fit()
            seconds.setdefault(name, []).append(start.passed())
    records = []
    for name, times in seconds.items():
        middle = Seconds(*np.median(times, axis=0).tolist())
        gain = found[name] - found[THEIRS]
        records.append(
            {
                "structure": structure,
                "start": name,
                "n_problems": len(X),
                "seconds": middle.seconds,
                "processor_seconds": middle.processor,
                "lower": int((gain < -APART).sum()),
                "higher": int((gain > APART).sum()),
            }
        )
    return records


def show(records: list[dict[str, Any]], clock: str) -> str:
    """Return a table of seconds, and of how many times as fast as the loop they are."""
    loops = {record["structure"]: record[clock] for record in records if record["start"] == THEIRS}
    rows = [
        [
            record["structure"],
            record["start"],
            f"{record[clock]:.3g}",
            f"{loops[record['structure']] / record[clock]:.2f}",
            str(record["lower"]),
            str(record["higher"]),
        ]
        for record in records
    ]
    text = table(["type", "fit", "seconds", "times as fast", "optima lower", "higher"], rows)
    return f"{text}\n\nGoal: at least {GOAL:g} times as fast as the loop."


def add_options(options: ArgumentParser) -> None:
    add_clock(options)
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    options.add_argument("--starts", nargs="*", choices=STARTS, default=STARTS, help="of ours, besides given means")
    options.add_argument("--problems", type=int, default=PROBLEMS, help="how many problems there are")
    options.add_argument("--threads", type=int, default=1, help="threads each library may use")
    options.add_argument("--turns", type=int, default=3, help="times that all fits are repeated")
    options.add_argument("--quick", action="store_true", help="few problems: whether it works, not how fast")
    options.add_argument("--output", type=Path, default=RESULTS / "many-latest.json")


def main(chosen: Namespace) -> None:
    X = make_problems(QUICK if chosen.quick else chosen.problems)
    results: dict[str, Any] = {"machine": machine(chosen.threads), "many": []}
    torch.set_num_threads(chosen.threads)
    with threadpool_limits(chosen.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some do not converge
        for structure in chosen.structures:
            results["many"] += measure(X, structure, chosen.turns, chosen.starts)
            save(results, chosen.output)
    shape = f"{len(X)} problems of {N_ROWS} x {N_FEATURES}, K = {N_COMPONENTS}"
    print(f"{shape}, {chosen.threads} thread(s)\n")
    print(show(results["many"], chosen.clock))
