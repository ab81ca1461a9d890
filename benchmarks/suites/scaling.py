"""How much faster a fit is with two processes than with one, each of one thread: the same rows, split between them.

    python benchmarks/run.py scaling

One and two processes take turns, and the least of many iterations counts, all of which do the same work: other work on
the machine only ever adds. The speed-up by the processors' own seconds, those of the busier rank, says how the work is
divided on a machine that is not quiet; it leaves out the waiting.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import warnings
from argparse import ArgumentParser, Namespace
from multiprocessing.connection import Connection

import numpy as np
import torch
import torch.distributed as dist

from harness.engine import seconds_of_iterations
from harness.measuring import DTYPES
from harness.problems import STRUCTURES, Parameters, Shape, make_rows, make_start, packed_size
from harness.tables import table
from tgmm import GaussianMixture

SEPARATION = 3.0
N_ITER = 40  # of a fit


def measure(n_ranks: int, shape: Shape, structure: str, dtype: str) -> np.ndarray:
    """Return seconds and processor's seconds of an iteration, and seconds of an all-reduce, each by the slower rank."""
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
    iteration = seconds_of_an_iteration(np.array_split(rows, n_ranks)[rank], start, structure)
    sender.send((*iteration, seconds_of_an_all_reduce(packed_size(structure, shape))))
    dist.destroy_process_group()


def seconds_of_an_iteration(rows: np.ndarray, start: Parameters, structure: str) -> np.ndarray:
    """Return seconds of an iteration by the clock and by the processor, the least of many."""
    model = GaussianMixture(
        len(start.weights),
        covariance_type=structure,
        tol=0.0,
        max_iter=N_ITER,
        distributed=True,
        **start.as_init(),
    )
    return np.min(seconds_of_iterations(model, rows), axis=0)


def seconds_of_an_all_reduce(size: int) -> float:
    """Return the time of summing so many float64 numbers, the mean of many."""
    vector = torch.zeros(size, dtype=torch.float64)
    dist.barrier()
    begin = time.perf_counter()
    for _ in range(100):
        dist.all_reduce(vector)
    return (time.perf_counter() - begin) / 100


def row_of(structure: str, chosen: Namespace) -> list[str]:
    """Return a row of the table."""
    turns = [[measure(n, chosen.shape, structure, chosen.dtype) for n in (1, 2)] for _ in range(chosen.turns)]
    alone, together = (np.min(figures, axis=0) for figures in zip(*turns, strict=True))
    ratios = (f"{ratio:.2f}" for ratio in alone[:2] / together[:2])
    times = (f"{1e3 * seconds:.1f}" for seconds in (alone[0], together[0]))
    return [structure, *times, *ratios, f"{1e3 * together[2]:.2f}"]


def add_options(options: ArgumentParser) -> None:
    options.add_argument("--shape", type=Shape.parse, default=Shape.parse("400kx16x16"))
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    options.add_argument("--dtype", choices=DTYPES, default="float64")
    options.add_argument("--turns", type=int, default=3)


def main(chosen: Namespace) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    rows = [row_of(structure, chosen) for structure in chosen.structures]
    header = ["structure", "1 process, ms", "2 processes, ms", "speed-up", "by processors' seconds", "all-reduce, ms"]
    print(f"\n{chosen.shape}, {chosen.dtype}: milliseconds an iteration; load average {os.getloadavg()[0]:.1f}\n")
    print(table(header, rows))
