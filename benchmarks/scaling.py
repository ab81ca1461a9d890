"""How much faster a fit is with two processes than with one, each of one thread: the same rows, split between them.

    python benchmarks/scaling.py

An iteration is the difference of two fits with different numbers of iterations, from the same start. One and two
processes take turns, and the least of several turns counts: other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import warnings
from multiprocessing.connection import Connection

import numpy as np
import torch
import torch.distributed as dist
from measuring import table
from problems import STRUCTURES, Shape, make_rows, make_start

from tgmm import GaussianMixture

SEPARATION = 3.0
FEW, MORE = 2, 12  # iterations of the shorter and of the longer fit


def main() -> None:
    options = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rows = []
    for structure in options.structures:
        seconds = [min(turn) for turn in zip(*(turns(options, structure) for _ in range(options.turns)), strict=True)]
        (alone, _), (together, reduction) = seconds
        speed_up = f"{alone / together:.2f}"
        rows.append([structure, f"{1e3 * alone:.1f}", f"{1e3 * together:.1f}", speed_up, f"{1e3 * reduction:.2f}"])
    header = ["structure", "1 process, ms", "2 processes, ms", "speed-up", "all-reduce, ms"]
    print(f"\n{options.shape}, {options.dtype}: milliseconds an iteration; load average {os.getloadavg()[0]:.1f}\n")
    print(table(header, rows))


def turns(options: argparse.Namespace, structure: str) -> list[tuple[float, float]]:
    """The seconds of an iteration and of an all-reduce, by one process and by two."""
    return [measure(n_ranks, options.shape, structure, options.dtype) for n_ranks in (1, 2)]


def measure(n_ranks: int, shape: Shape, structure: str, dtype: str) -> tuple[float, float]:
    """Start the ranks, and return what rank 0 measures."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        arguments = (n_ranks, folder, sender, shape, structure, dtype)
        ranks = [context.Process(target=run_rank, args=(rank, *arguments)) for rank in range(n_ranks)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
    return receiver.recv()


def run_rank(
    rank: int, n_ranks: int, folder: str, sender: Connection, shape: Shape, structure: str, dtype: str
) -> None:
    """Fit this rank's share; rank 0 sends the seconds of an iteration and of an all-reduce."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # two iterations do not converge
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=n_ranks)
    rows, means = make_rows(shape, SEPARATION, dtype)
    start = make_start(rows, means, structure)
    own = np.array_split(rows, n_ranks)[rank]
    few, more = (seconds_of_a_fit(own, start._asdict(), structure, n_iter) for n_iter in (FEW, MORE))
    iteration = (more - few) / (MORE - FEW)
    reduction = seconds_of_an_all_reduce(packed_size(structure, shape))
    if rank == 0:
        sender.send((iteration, reduction))
    dist.destroy_process_group()


def seconds_of_a_fit(rows: np.ndarray, start: dict, structure: str, n_iter: int) -> float:
    """The time of a fit, the least of three."""
    given = {f"init_{name}": value for name, value in start.items()}
    gmm = GaussianMixture(len(start["weights"]), covariance_type=structure, tol=0.0, max_iter=n_iter, distributed=True)
    gmm.set_params(**given)
    times = []
    for _ in range(3):
        dist.barrier()
        begin = time.perf_counter()
        gmm.fit(rows)
        times.append(time.perf_counter() - begin)
    return min(times)


def packed_size(structure: str, shape: Shape) -> int:
    """The numbers that a rank sends in an iteration, as in docs/scaling.md."""
    d, n_components = shape.n_features, shape.n_components
    moment = {"full": d * (d + 1) // 2, "diag": d, "spherical": 1}[structure.removeprefix("tied_")]
    return n_components * (1 + d) + (1 if structure.startswith("tied_") else n_components) * moment + 4


def seconds_of_an_all_reduce(size: int) -> float:
    """The time of summing so many float64 numbers, the mean of many."""
    vector = torch.zeros(size, dtype=torch.float64)
    dist.barrier()
    begin = time.perf_counter()
    for _ in range(100):
        dist.all_reduce(vector)
    return (time.perf_counter() - begin) / 100


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", type=Shape.parse, default=Shape.parse("400kx16x16"))
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
