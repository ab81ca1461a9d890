"""How long whole fits to few rows take, ours and scikit-learn's, and which likelihood they reach.

    python benchmarks/run.py small

Both libraries fit the same rows in one process and take turns, each turn with another random_state; the medians of the
turns count. With `init_means="kmeans"`, ours begins where scikit-learn's does by default; with "auto", the default,
scikit-learn has n_init=10. Scikit-learn stops much earlier by default, so that it also takes part with a tolerance of
1e-6, which comes as near to the limit as ours does: there both do the same work. The likelihoods are computed by the
same formula for both.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from harness.contenders import Contender, ours, scikit_learn
from harness.families import rows_of
from harness.measuring import OURS
from harness.problems import Shape, average_log_likelihood, make_rows
from harness.processes import report
from harness.records import RESULTS, machine, save
from harness.tables import by_problem, table
from suites.iteration import SEPARATION

Record = dict[str, Any]
REAL = {"iris": ("iris", 3), "wine": ("wine, diag", 3)}  # data sets: the family whose rows they are, and K
DATA = (*REAL, "200x2x3", "1kx10x3", "5kx5x4")
STRUCTURES = ("full", "diag")
THEIRS, TO_THE_LIMIT = "scikit-learn", "scikit-learn, tol=1e-6"
LIMIT = {"tol": 1e-6, "max_iter": 2000}
CONTENDERS: dict[str, dict[str, Contender]] = {
    "kmeans": {OURS: ours(init_means="kmeans"), THEIRS: scikit_learn(), TO_THE_LIMIT: scikit_learn(**LIMIT)},
    "auto": {OURS: ours(), THEIRS: scikit_learn(n_init=10), TO_THE_LIMIT: scikit_learn(n_init=10, **LIMIT)},
}
GOAL = 1.0  # at most so many times scikit-learn's time


def problem_of(name: str) -> tuple[np.ndarray, int]:
    """Return the rows of a data set, or of a shape, and K."""
    if name in REAL:
        family, n_components = REAL[name]
        return rows_of(family, 0)[0], n_components
    shape = Shape.parse(name)
    return make_rows(shape, SEPARATION, "float64")[0], shape.n_components


def measure(data: str, structure: str, contenders: Mapping[str, Contender], turns: int) -> Iterator[Record]:
    """Yield a record of each contender's fits."""
    rows, n_components = problem_of(data)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in contenders}
    for seed in range(-1, turns):  # the first warms up
        for name, contender in contenders.items():
            fit = contender.fit(rows, structure, n_components, max(seed, 0))
            assert fit.parameters is not None and fit.n_iter is not None
            if seed >= 0:
                height = average_log_likelihood(rows, fit.parameters, structure)
                found[name].append((fit.seconds, fit.n_iter, height))
    for name, contender in contenders.items():
        seconds, n_iter, height = np.median(found[name], axis=0).tolist()
        medians = {"processor_seconds": seconds, "n_iter": n_iter, "log_likelihood": height}
        yield {"library": name, "version": contender.version, "turns": turns} | medians


def measure_all(
    data: Sequence[str], structures: Sequence[str], starts: Sequence[str], turns: int
) -> Iterator[list[Record]]:
    """Yield the records of one problem after another."""
    for start, name, structure in product(starts, data, structures):
        report(f"small: {start} {name} {structure}")
        problem = {"start": start, "data": name, "structure": structure}
        yield [problem | record for record in measure(name, structure, CONTENDERS[start], turns)]


def show(records: Sequence[Record]) -> str:
    """Return a table of milliseconds, iterations, ratios and likelihoods, and what became of the goal."""
    rows, slow = [], []
    for key, found in by_problem(records, ("start", "data", "structure")):
        own = found[OURS]
        ratios = [own["processor_seconds"] / found[name]["processor_seconds"] for name in (THEIRS, TO_THE_LIMIT)]
        if ratios[0] > GOAL:
            slow.append(f"{' '.join(key)} {ratios[0]:.2f}")
        times = [f"{1e3 * each['processor_seconds']:.1f} ({each['n_iter']:.0f})" for each in found.values()]
        heights = [f"{each['log_likelihood']:.4f}" for each in found.values()]
        rows.append([*key, *times, *(f"{ratio:.2f}" for ratio in ratios), *heights])
    times, heights = ([f"{what}, {name}" for name in (OURS, THEIRS, TO_THE_LIMIT)] for what in ("ms", "nats a row"))
    text = table(["start", "data", "type", *times, "ours / theirs", "ours / tol=1e-6", *heights], rows)
    return f"{text}\n\n{len(slow)} of {len(rows)} take more than {GOAL:g} times theirs: {'; '.join(slow)}"


def add_options(options: ArgumentParser) -> None:
    options.add_argument("--data", nargs="+", default=DATA, help=f"{', '.join(REAL)}, or ROWSxFEATURESxCOMPONENTS")
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    options.add_argument("--starts", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    options.add_argument("--threads", type=int, default=1, help="threads each library may use")
    options.add_argument("--turns", type=int, default=15, help="fits of each library to each problem")
    options.add_argument("--output", type=Path, default=RESULTS / "small-latest.json")


def main(chosen: Namespace) -> None:
    torch.set_num_threads(chosen.threads)
    results: dict[str, Any] = {"machine": machine(chosen.threads), "small": []}
    with threadpool_limits(chosen.threads):
        for found in measure_all(chosen.data, chosen.structures, chosen.starts, chosen.turns):
            results["small"] += found
            save(results, chosen.output)
    print(f"milliseconds of the processor (M-steps), {chosen.threads} thread(s)\n")
    print(show(results["small"]))
