"""Every kind of data, from the same rows: in memory or streamed, on one process or on threads that stand in for ranks.

A new kind of data is a line here, and is then held against the rows themselves.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import together
import torch

from tgmm.data.columns import Columns
from tgmm.data.data import TensorData
from tgmm.data.reservoir import Sampling
from tgmm.data.shards import Shard, ShardedData
from tgmm.data.source import Source
from tgmm.data.stream import Scan, Stream, StreamData
from tgmm.runtime.processes import ALONE

SIZE, SEED = 20, 7  # of the sample that a stream takes on its first pass
HOST = torch.device("cpu")


class Batches(Source):
    """Rows in batches of odd sizes, one of them empty."""

    def __init__(self, rows, sizes=(1, 7, 0, 12, 1)):
        self.batches = np.split(rows, np.cumsum(sizes)) if isinstance(rows, np.ndarray) else rows

    def __iter__(self):
        return iter(self.batches)


def in_memory(rows, weights):
    if isinstance(rows, list):
        widest = max((batch.dtype for batch in rows), key=lambda dtype: dtype.itemsize)
        rows = np.concatenate(rows).astype(widest)
    return TensorData.of(torch.tensor(rows), None if weights is None else torch.tensor(weights))


def streamed(rows, weights):
    weights = None if weights is None else torch.tensor(weights)
    stream = Stream(Batches(rows), Columns(None), HOST, weights, may_be_empty=True)
    return StreamData(stream, Scan(stream, Sampling(lambda _: SIZE, SEED), verbose=False))


@dataclass(frozen=True)
class Kind:
    """One kind of data.

    Parameters
    ----------
    make : callable
        From rows and weights of one process to its data.
    cuts : tuple of int, optional
        Where the rows are cut for the processes that share them.
    """

    make: Callable
    cuts: tuple[int, ...] | None = None

    def parts(self, n):
        """The rows of each process, as slices of those of all."""
        ends = [0, *(self.cuts or ()), n]
        return [slice(begin, end) for begin, end in itertools.pairwise(ends)]

    def run(self, task, rows, weights=None):
        """What task(data, its rows as a slice of all) returns on every process."""
        parts = self.parts(len(rows))

        def own(processes):
            part = parts[processes.rank]
            data = self.make(rows[part], None if weights is None else weights[part])
            if self.cuts is not None:
                data = ShardedData(data, processes.exchange(Shard.of(data, None)), processes)
            return task(data, part)

        return [own(ALONE)] if self.cuts is None else together.results(own, len(parts))


KINDS = {
    "in memory": Kind(in_memory),
    "streamed": Kind(streamed),
    "one shard": Kind(in_memory, ()),
    "shards in memory, one of them empty": Kind(in_memory, (17, 17)),
    "streamed shards, one of a single row": Kind(streamed, (1, 30)),
}
