"""What the parts of one EM iteration cost on the CPU: where its time goes, and at what rate its products run.

    python benchmarks/run.py parts

What an E-step by plain products does with one chunk of rows, each part repeated by itself, times the number of chunks.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import product

import torch

from harness.engine import Beginning, parts_of_an_e_step
from harness.meters import least_seconds
from harness.options import add_grid, add_shapes
from harness.problems import Shape, make_rows, make_start
from harness.tables import table
from tgmm import GaussianMixture

SHAPES = ("100kx16x16", "50kx64x32")
SEPARATION = 3.0
REPEATS = 30
PARTS = ("standardise", "moments", "E product", "softmax", "M product")


def milliseconds(shape: Shape, structure: str, dtype: str) -> list[str]:
    """Return a row of the table: milliseconds for all rows."""
    array, means = make_rows(shape, SEPARATION, dtype)
    start, rows = make_start(array, means, structure), torch.from_numpy(array)
    model = GaussianMixture(shape.n_components, covariance_type=structure, **start.as_init())
    beginning = Beginning.of(model, rows)
    kernel = beginning.products(rows.dtype)
    chunk = rows[: kernel.n_rows]
    seconds = {
        name: least_seconds(part, REPEATS) for name, part in parts_of_an_e_step(beginning, kernel, chunk).items()
    }
    seconds["softmax"] -= seconds["copy"]
    n_chunks = shape.n_rows / chunk.shape[0]
    operations = 4 * chunk.shape[0] * shape.n_components * kernel.n_columns
    rate = operations / (seconds["E product"] + seconds["M product"])
    times = (f"{1e3 * n_chunks * seconds.get(name, 0.0):.3g}" for name in PARTS)
    return [str(shape), structure, dtype, *times, f"{rate / 1e9:.0f}"]


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    add_grid(options)


def main(chosen: Namespace) -> None:
    torch.set_num_threads(chosen.threads)
    rows = [milliseconds(*problem) for problem in product(chosen.shapes, chosen.structures, chosen.dtypes)]
    header = ["n x d x K", "type", "float", *PARTS, "GFLOP/s"]
    print(f"milliseconds, {chosen.threads} thread(s)\n\n{table(header, rows)}")
