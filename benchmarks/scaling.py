"""How much faster a fit is with two processes than with one, each of one thread: the same rows, split between them.

    python benchmarks/scaling.py

One and two processes take turns, and the least of many iterations counts, all of which do the same work: other work on
the machine only ever adds. The speed-up by the processors' own seconds, those of the busier rank, says how the work is
divided on a machine that is not quiet; it leaves out the waiting.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from measuring import table
from problems import STRUCTURES, Shape, make_rows, make_start
from tgmm.em.climb import Climb

from tgmm import GaussianMixture

SEPARATION = 3.0
N_ITER = 40  # of a fit


def main() -> None:
    options = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rows = []
    for structure in options.structures:
        turns = [[measure(n, options.shape, structure, options.dtype) for n in (1, 2)] for _ in range(options.turns)]
        alone, together = (np.min(figures, axis=0) for figures in zip(*turns, strict=True))
        ratios = (f"{ratio:.2f}" for ratio in alone[:2] / together[:2])
        times = (f"{1e3 * seconds:.1f}" for seconds in (alone[0], together[0]))
        rows.append([structure, *times, *ratios, f"{1e3 * together[2]:.2f}"])
    header = ["structure", "1 process, ms", "2 processes, ms", "speed-up", "by processors' seconds", "all-reduce, ms"]
    print(f"\n{options.shape}, {options.dtype}: milliseconds an iteration; load average {os.getloadavg()[0]:.1f}\n")
    print(table(header, rows))


def measure(n_ranks: int, shape: Shape, structure: str, dtype: str) -> np.ndarray:
    """Seconds and processor's seconds of an iteration, and seconds of an all-reduce, each by the slower rank."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        arguments = (n_ranks, folder, sender, shape, structure, dtype)
        ranks = [context.Process(target=run_rank, args=(rank, *arguments)) for rank in range(n_ranks)]
        for process in ranks:
            process.start()
        measured = [receiver.recv() for _ in ranks]
        for process in ranks:
            process.join()
    return np.max(measured, axis=0)


def run_rank(
    rank: int, n_ranks: int, folder: str, sender: Connection, shape: Shape, structure: str, dtype: str
) -> None:
    """Fit this rank's share, and send what it took."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # that it does not converge
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=n_ranks)
    rows, means = make_rows(shape, SEPARATION, dtype)
    start = make_start(rows, means, structure)
    own = np.array_split(rows, n_ranks)[rank]
    iteration = seconds_of_an_iteration(own, start._asdict(), structure)
    sender.send((*iteration, seconds_of_an_all_reduce(packed_size(structure, shape))))
    dist.destroy_process_group()


def seconds_of_an_iteration(rows: np.ndarray, start: dict, structure: str) -> np.ndarray:
    """Seconds of an iteration by the clock and by the processor, the least of many."""
    given = {f"init_{name}": value for name, value in start.items()}
    gmm = GaussianMixture(len(start["weights"]), covariance_type=structure, tol=0.0, max_iter=N_ITER, distributed=True)
    times, step = [], Climb.step

    def timed(*args: Any, **keywords: Any) -> Any:
        begin = time.perf_counter(), time.process_time()
        following = step(*args, **keywords)
        times.append(np.subtract((time.perf_counter(), time.process_time()), begin))
        return following

    Climb.step = timed
    gmm.set_params(**given).fit(rows)
    return np.min(times, axis=0)


def packed_size(structure: str, shape: Shape) -> int:
    """The numbers that a rank sends in an iteration, as in docs/scaling.md."""
    d, n_components = shape.n_features, shape.n_components
    moment = {"full": d * (d + 1) // 2, "diag": d, "spherical": 1}[structure.removeprefix("tied_")]
    return n_components * (1 + d) + (1 if structure.startswith("tied_") else n_components) * moment + 6


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
