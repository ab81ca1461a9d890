"""What the parts of one EM iteration cost on the CPU: where its time goes, and at what rate its products run.

    python benchmarks/parts.py

The operations of `tgmm.kernels.products` on one chunk of rows, each repeated by itself, times the number of chunks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from measuring import parser, table
from problems import Shape
from tgmm.data.frame import Frame

from tgmm.covariance import structure_named
from tgmm.kernels.assignment import soft
from tgmm.kernels.multiplication import multiply
from tgmm.kernels.products import Products

SHAPES = ("100kx16x16", "50kx64x32")
REPEATS = 30
HEADER = [
    "n x d x K",
    "type",
    "float",
    "standardise",
    "moments",
    "E product",
    "softmax",
    "M product",
    "GFLOP/s",
]


def least(what: Callable[[], object]) -> float:
    """Return the least seconds of some calls."""
    what()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        what()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def parts(shape: Shape, structure_name: str, dtype: torch.dtype) -> list[str]:
    """Return a row of the table: milliseconds for all rows."""
    d, n_components = shape.n_features, shape.n_components
    structure, cpu = structure_named(structure_name), torch.device("cpu")
    frame = Frame(torch.zeros(d, dtype=torch.float64), torch.ones(d, dtype=torch.float64))
    kernel = Products(structure, frame, n_components, dtype, cpu)
    n_chunk = min(kernel.rows, shape.n_rows)
    rows, phi = torch.randn(n_chunk, d, dtype=dtype), torch.ones(kernel.n_columns, n_chunk, dtype=dtype)
    z, moments = phi[1 : 1 + d], phi[1 + d :]
    eta = torch.randn(n_components, kernel.n_columns, dtype=dtype)
    joint = torch.randn(n_components, n_chunk, dtype=dtype)
    buffer = joint.clone()
    seconds = {
        "standardise": least(lambda: kernel.standardise(rows, z)),
        "moments": 0.0 if structure.pooled else least(lambda: structure.moment.fill(z, moments)),
        "E": least(lambda: multiply(eta, phi)),
        "softmax": least(lambda: soft(buffer.copy_(joint), 0)) - least(lambda: buffer.copy_(joint)),
        "M": least(lambda: multiply(joint, phi.T)),
    }
    n_chunks = shape.n_rows / n_chunk
    rate = 4 * n_chunk * n_components * kernel.n_columns / (seconds["E"] + seconds["M"]) / 1e9
    times = (f"{1e3 * n_chunks * value:.3g}" for value in seconds.values())
    return [str(shape), structure_name, str(dtype).removeprefix("torch."), *times, f"{rate:.0f}"]


def main() -> None:
    options = parser(__doc__.splitlines()[0], SHAPES)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    rows = [
        parts(shape, structure, getattr(torch, dtype))
        for shape in chosen.shapes
        for structure in chosen.structures
        for dtype in chosen.dtypes
    ]
    print(f"milliseconds, {chosen.threads} thread(s)\n\n{table(HEADER, rows)}")


if __name__ == "__main__":
    main()
