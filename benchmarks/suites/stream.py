"""What it costs to fit rows that stay in a file, against rows in memory: seconds a row, and memory.

    python benchmarks/run.py stream --rows 100000000

A file of float32 rows from a mixture is written first, and removed at the end. Each fit has a process of its own. An
iteration is the difference of two fits with different numbers of iterations; the seconds of the processors are given
beside those of the clock, as other work on the machine lengthens only these. Memory is the largest resident size of
the process above that after its imports.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

from harness.environments import BENCHMARKS
from harness.meters import Seconds, largest_resident_bytes, resident_bytes
from harness.processes import OUR_SOURCE, thread_pools
from harness.tables import table

N_COMPONENTS = 8
SEPARATION = 3.0
PART = 1_000_000  # rows written at a time
SPARE = 2 << 30  # bytes of the disk that stay free
FEW, MORE = 1, 3  # iterations of the shorter fit, and how many more the longer one has
TURNS_IN_MEMORY = 5
LIMIT = {"memory": 300e6, "cost": 1.1}
COSTS = ("seconds", "processor", "whole seconds", "whole processor")


def write_rows(path: Path, n_rows: int, n_features: int) -> None:
    """Write rows of a mixture of overlapping Gaussians, part by part, as one .npy file."""
    needed = 4 * n_rows * n_features
    free = shutil.disk_usage(path.parent).free
    if free < needed + SPARE:
        raise SystemExit(f"{path.parent} has {free / 1e9:.1f} GB free; the file needs {needed / 1e9:.1f} GB.")
    means = np.random.default_rng(0).normal(0, SEPARATION / np.sqrt(2), (N_COMPONENTS, n_features)).astype(np.float32)
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_features)}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, n_rows, PART):
            rng = np.random.default_rng(first)
            count = min(PART, n_rows - first)
            rows = rng.standard_normal((count, n_features), np.float32)
            rows += means[rng.integers(N_COMPONENTS, size=count)]
            rows.tofile(file)


def fit(path: str, n_rows: int | None, iterations: int, structure: str) -> dict[str, Any]:
    """Fit the first rows, in memory, or all of the file as it is read; return seconds and bytes."""
    from tgmm import GaussianMixture

    warnings.simplefilter("ignore")  # fits that are cut short say so
    before = resident_bytes()
    X = path if n_rows is None else np.array(np.load(path, mmap_mode="r")[:n_rows])
    gmm = GaussianMixture(N_COMPONENTS, covariance_type=structure, max_iter=iterations, tol=0, random_state=0)
    start = Seconds.now()
    gmm.fit(X)
    passed = start.passed()
    return {**passed._asdict(), "bytes": largest_resident_bytes() - before}


def in_a_process(path: Path, n_rows: int | None, iterations: int, structure: str, threads: int) -> dict[str, Any]:
    """Return what `fit` returns in a new process."""
    task = json.dumps([str(path), n_rows, iterations, structure])
    command = [sys.executable, str(BENCHMARKS / "run.py"), "stream", "--task", task]
    environment = {**os.environ, **thread_pools(threads), **OUR_SOURCE}
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def measure(path: Path, n_rows: int, n_in_memory: int | None, structure: str, threads: int) -> dict[str, Any]:
    """Return nanoseconds a row for an iteration and for the longer fit, and the bytes of that."""
    turns = 1 if n_in_memory is None else TURNS_IN_MEMORY
    fits: dict[int, list[dict[str, Any]]] = {FEW: [], FEW + MORE: []}
    for _ in range(turns):
        for iterations, done in fits.items():
            done.append(in_a_process(path, n_in_memory, iterations, structure, threads))
    least = {i: {name: min(f[name] for f in done) for name in ("seconds", "processor")} for i, done in fits.items()}
    difference = {name: 1e9 * (least[FEW + MORE][name] - least[FEW][name]) / MORE / n_rows for name in least[FEW]}
    whole = {f"whole {name}": 1e9 * value / n_rows for name, value in least[FEW + MORE].items()}
    return {**difference, **whole, "bytes": max(f["bytes"] for f in fits[FEW + MORE])}


def show(found: dict[str, tuple[int, dict[str, Any]]]) -> str:
    """Return a table of what was measured, by where the rows are, with their number."""
    header = [
        "rows in",
        "rows",
        "ns a row and iteration",
        "of the processor",
        "ns a row, whole fit",
        "of the processor",
        "MB above start-up",
    ]
    rows = [
        [where, f"{n:,}", *(f"{values[name]:.0f}" for name in COSTS), f"{values['bytes'] / 1e6:.0f}"]
        for where, (n, values) in found.items()
    ]
    return table(header, rows)


def add_options(options: ArgumentParser) -> None:
    options.add_argument("--rows", type=int, default=100_000_000)
    options.add_argument("--rows-in-memory", type=int, default=1_000_000)
    options.add_argument("--features", type=int, default=8)
    options.add_argument("--structure", default="full")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--folder", help="where the file is written")
    options.add_argument("--task", help=SUPPRESS)


def main(chosen: Namespace) -> None:
    if chosen.task:
        print(json.dumps(fit(*json.loads(chosen.task))))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, chosen.rows, chosen.features)
        few = min(chosen.rows_in_memory, chosen.rows)
        memory = measure(path, few, few, chosen.structure, chosen.threads)
        stream = measure(path, chosen.rows, None, chosen.structure, chosen.threads)
    print(f"{chosen.structure}, {chosen.features} features, {N_COMPONENTS} components, {FEW + MORE} iterations\n")
    print(show({"memory": (few, memory), "file": (chosen.rows, stream)}))
    ratios = ", ".join(f"{name} {stream[name] / memory[name]:.2f}" for name in COSTS)
    print(f"\nfile / memory: {ratios}; goal: at most {LIMIT['cost']} and {LIMIT['memory'] / 1e6:.0f} MB")
