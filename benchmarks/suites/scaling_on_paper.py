"""The tables of docs/scaling.md: the bytes of an iteration, and the efficiency on many ranks that follows from them.

python benchmarks/run.py scaling_on_paper
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from harness.problems import Shape, packed_size
from harness.tables import table

RANKS = (8, 64, 1024)
REPEATED = 0.5e-3  # seconds of an iteration on hardly any rows: the M-step's small operations
MODELS = (
    ("diag", Shape.parse("1x64x64")),
    ("full", Shape.parse("1x16x16")),
    ("full", Shape.parse("1x64x64")),
    ("tied_full", Shape.parse("1x64x64")),
    ("full", Shape.parse("1x128x1024")),
)


@dataclass(frozen=True)
class Machine:
    """A cluster of equal ranks."""

    name: str
    rows: float  # of a rank
    rate: float  # operations a second of a rank
    bandwidth: float  # bytes a second out of a rank
    latency: float  # seconds of a message
    is_ring: bool  # gloo's all-reduce is a ring, NCCL's a tree where latency matters

    def communication(self, n_bytes: int, n_ranks: int) -> float:
        """Return the seconds of an all-reduce (Thakur, Rabenseifner & Gropp 2005)."""
        steps = 2 * (n_ranks - 1) if self.is_ring else 2 * math.ceil(math.log2(n_ranks))
        return steps * self.latency + 2 * (n_ranks - 1) / n_ranks * n_bytes / self.bandwidth

    def efficiency(self, structure: str, shape: Shape, n_ranks: int) -> float:
        """Return the share of an iteration that is neither waiting for others nor what all ranks repeat."""
        d, n_components = shape.n_features, shape.n_components
        moments = packed_size(structure, shape) - n_components * (1 + d) - 6
        products = 4 * (n_components * (1 + d) + (0 if structure.startswith("tied") else moments))
        factors = 2 * d**3 * (n_components if structure == "full" else structure == "tied_full")
        work = self.rows * products / self.rate
        waiting = self.communication(8 * packed_size(structure, shape), n_ranks)
        return work / (work + waiting + factors / self.rate + REPEATED)


MACHINES = (
    Machine("a thread, 10 Gbit/s Ethernet", rows=1e5, rate=30e9, bandwidth=1.25e9, latency=30e-6, is_ring=True),
    Machine("a thread, 100 Gbit/s InfiniBand", rows=1e5, rate=30e9, bandwidth=12.5e9, latency=3e-6, is_ring=True),
    Machine("a GPU, 400 Gbit/s InfiniBand", rows=1e7, rate=50e12, bandwidth=50e9, latency=10e-6, is_ring=False),
)


def written(n_bytes: float) -> str:
    """Return a number of bytes with its unit."""
    return f"{n_bytes / 1e3:.1f} kB" if n_bytes < 1e6 else f"{n_bytes / 1e6:.1f} MB"


def add_options(options: ArgumentParser) -> None:
    """There are none: the tables are of the machines and models above."""


def main(chosen: Namespace) -> None:
    names = [f"{structure}, d = {shape.n_features}, K = {shape.n_components}" for structure, shape in MODELS]
    sizes = [packed_size(structure, shape) for structure, shape in MODELS]
    rows = [[name, f"{size:,}", written(8 * size)] for name, size in zip(names, sizes, strict=True)]
    print(table(["model", "numbers", "bytes"], rows), end="\n\n")
    rows = [
        [machine.name, name, *(f"{machine.efficiency(*model, n_ranks):.1%}" for n_ranks in RANKS)]
        for machine in MACHINES
        for name, model in zip(names, MODELS, strict=True)
    ]
    print(table(["a rank", "model", *(f"{n_ranks} ranks" for n_ranks in RANKS)], rows))
