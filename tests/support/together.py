"""Processes that are threads of one: what several ranks do together, without starting any.

`tests/runtime/test_processes.py` holds this stand-in against what real processes do.
"""

import pickle
import threading

import torch

from tgmm.runtime.processes import Processes

SECONDS = 60  # no rank waits longer for the others


class Together(Processes):
    """One rank of several: everything they tell each other goes through one table."""

    def __init__(self, rank, table, barrier):
        self.rank, self.table, self.barrier = rank, table, barrier
        self.size = len(table)

    def exchange(self, value):
        self.table[self.rank] = pickle.dumps(value)
        self.barrier.wait()
        values = [pickle.loads(told) for told in self.table]
        self.barrier.wait()
        return values

    def first(self, value):
        return self.exchange(value)[0]

    def sum(self, values):
        return torch.stack(self.exchange(values)).sum(0)

    def guard(self, work):
        result, error = self._attempt(work)
        self._raise_together(error)
        return result

    def total(self, work, nothing, same):
        part, error = self._attempt(work)
        self._raise_together(error)
        if len({tuple(tensor.numpy().tobytes() for tensor in tensors) for tensors in self.exchange(list(same))}) > 1:
            raise RuntimeError("The parameters are no longer the same on all ranks")
        return part.unpacked(self.sum(part.packed()))

    def _attempt(self, work):
        try:
            return work(), None
        except Exception as error:
            return None, error

    def _raise_together(self, error):
        kinds = (ValueError, TypeError, OSError, ImportError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
        for rank, told in enumerate(self.exchange(None if error is None else (kind, str(error)))):
            if told is not None:
                raise told[0](f"On rank {rank} of {self.size}: {told[1]}") from error


def results(task, n_ranks):
    """What task(processes) returns on each of so many ranks; the error of the first rank that has one, else."""
    table, barrier = [None] * n_ranks, threading.Barrier(n_ranks, timeout=SECONDS)
    outcomes = [None] * n_ranks

    def run(rank):
        try:
            outcomes[rank] = task(Together(rank, table, barrier))
        except BaseException as error:  # pytest's own too
            outcomes[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(n_ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    return outcomes
