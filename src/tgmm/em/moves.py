"""Moves out of a local maximum: one component is split, two others merge.

Ueda, Nakano, Ghahramani & Hinton 2000 (Neural Computation 12) split and merge one triple of components at a time. Here
splits are refined within the rows of their component alone, and all that promise most are tried at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tgmm.em.abreast import Climb, Search, Steps
from tgmm.em.batch import Batch, Runs, joined
from tgmm.em.degeneracy import Guard
from tgmm.em.splitting import Divided, Local, Parts, Splits
from tgmm.kernels.batched import Batched
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update

ROUNDS = 6
SPLITS, MOST_SPLITS = 4, 12  # of them that are tried together, and in all
PER_COMPONENT = 2  # of them that are tried, at most
MERGES = 10  # that are tried with each
BLEAK = 0.1  # nats a row by which a triple may be worse before any EM; those that won were worse by 0.07 at most
TRIED = 12  # of the triples that are followed, after one E-step
SHORT = ((2, 60), (6, 30))  # for how many steps; how many times the gain of the last one they are then credited with
FOLLOWED, LONG, NEAR = 3, 40, 1e-4  # and then
GAIN = 2e-4  # nats a row that a move is to win
NOTHING = 1e-300  # the mass of a component that a prior leaves without any
SAME, SAME_MASS = 1e-4, 2e-3  # nats a row, and share of the rows, by which runs differ that are at one solution
ROUNDING = 1e-10  # nats a row that do not decide which of two runs is the higher


@dataclass(frozen=True)
class Moves:
    """Splits and merges of the components of a run.

    Parameters
    ----------
    batch : Batch
        EM on the mixture.
    local : Batched
        The same rows, with the moments that a component alone needs.
    update : Update
        The M-step of components that each have their own covariance.
    guard : Guard
    worth : float
        Passes over the rows after which no more moves are tried.
    """

    batch: Batch[Batched]
    local: Batched
    update: Update
    guard: Guard
    worth: float = math.inf

    @cached_property
    def _local(self) -> Local:
        """Mixtures of components that each have their own covariance."""
        return Local.of(self.local, self.update)

    def improved(self, run: Runs, bleak: float = BLEAK, goal: float = -torch.inf) -> Search[Runs]:
        """Search for where moves lead one run to.

        Those are left out that make it worse by more than ``bleak`` before any EM, and those that are not foreseen to
        lead above the goal.
        """
        if run.parameters.n_components == 1:
            return run
        most = self.batch.kernel.n_passes + self.worth
        for _ in range(ROUNDS):
            better = yield from self._moved(run, bleak, goal, most)
            if better is None:
                break
            run = better
        return run

    def _gain(self, run: Runs, found: Runs) -> float:
        """Return by how much one run is higher than another."""
        before, after = self.guard.heights(joined([run, found])).tolist()
        return after - before

    def _moved(self, run: Runs, bleak: float, goal: float, most: float) -> Search[Runs | None]:
        """Search for a better run among the mixtures that splits and merges lead to, the most promising first.

        After so many passes over the rows there are no more.
        """
        is_degenerate = bool(self.guard.degenerate(run))
        floor = goal if is_degenerate else max(goal, float(run.objective))
        tells = not (is_degenerate or run.parameters.covariances.shared)  # whether worths are those of EM
        for triples in (yield from self._triples(run, bleak if tells else torch.inf)):
            if self.batch.kernel.n_passes > most:
                break
            start = run.start.expand(triples.mass.shape[0])
            runs = yield from self._hopeful(highest(self.batch.begun(triples, start), TRIED, self.guard), floor)
            if len(runs):
                runs = distinct(runs, self.guard).of_some(slice(FOLLOWED))
                runs = yield Climb(self.batch, runs, NEAR, LONG, floor + GAIN)
                found = highest(runs, 1, self.guard)
                if self._gain(run, found) > GAIN:
                    return found
        return None

    def _hopeful(self, runs: Runs, floor: float) -> Search[Runs]:
        """Search for the runs that after a few steps could still rise above the floor."""
        for n_steps, patience in SHORT:
            runs = yield Steps(self.batch, runs, n_steps)
            assert runs.gain is not None
            runs = runs.of_some(runs.objective + patience * runs.gain > floor)
            if not len(runs):
                break
        return runs

    def _triples(self, run: Runs, bleak: float) -> Search[list[Statistics]]:
        """Search for the statistics of mixtures (R, K, ...) that are a split and a merge away, but for bleak ones."""
        divided: Divided = yield Splits(self.batch, run, self._local, self.guard.rows_per_weight)
        whole, chosen = divided.whole, self._promising(divided)
        if not chosen:
            return []
        halves, components = divided.halves[chosen], divided.component[chosen]  # (C, 2), (C,)
        everything = torch.arange(whole.mass.shape[0]).expand(components.shape[0], -1)
        rest = everything[everything != components[:, None]].view(components.shape[0], -1)
        tried, worths = self._merged(Parts.joined([whole[rest], halves], 1))  # (C, M, K), (C,)
        hopeful = (worths >= self._worth(whole).sum() - bleak * self.local.weight).nonzero().flatten()
        return [tried[some].flattened(2).statistics(self.local.weight) for some in hopeful.split(SPLITS) if len(some)]

    def _promising(self, divided: Divided) -> list[int]:
        """Return the indices of the splits that promise most, of halves with rows enough."""
        n_rows = divided.halves.mass * self.guard.rows_per_weight
        gain = torch.where((n_rows > self.local.n_features + 2).all(1), divided.gain, -torch.inf)
        of, gains, chosen = divided.component.tolist(), gain.tolist(), list[int]()
        for index in gain.argsort(descending=True).tolist():
            if gains[index] > 0 and [of[i] for i in chosen].count(of[index]) < PER_COMPONENT:
                chosen.append(index)
        return chosen[:MOST_SPLITS]

    def _merged(self, parts: Parts) -> tuple[Parts, Tensor]:
        """Return mixtures (C, M, K) in which two of K + 1 components are one, and the worth of the best of M, (C,).

        The last two of the components are halves, which are not to become one again.
        """
        n_splits, n_parts = parts.mass.shape
        i, j = torch.triu_indices(n_parts, n_parts, 1)[:, :-1]
        union, worth = parts[:, i] + parts[:, j], self._worth(parts)
        loss = worth[:, i] + worth[:, j] - self._worth(union)  # (C, P)
        loss, best = loss.topk(min(MERGES, loss.shape[1]), largest=False)  # (C, M)
        everything = torch.arange(n_parts).expand(*best.shape, -1)
        rest = everything[(everything != i[best, None]) & (everything != j[best, None])].view(*best.shape, -1)
        split = torch.arange(n_splits)[:, None]
        tried = Parts.joined([parts[split[..., None], rest], union[split, best][:, :, None]], 2)
        return tried, worth.sum(1) - loss[:, 0]

    def _worth(self, parts: Parts) -> Tensor:
        """Return what components (...) add to the bound that EM climbs, up to a constant a row, (...)."""
        log_det = self._local.mixtures(parts.apart()).covariances.factor.log_det[..., 0]
        return parts.mass * (parts.mass.clamp(min=NOTHING).log() - 0.5 * log_det)


def alike(one: Runs, others: Runs) -> Tensor:
    """Return which of some runs are at the same solution as which of others, (R, r)."""
    near = (one.objective[:, None] - others.objective).abs() < SAME
    return near & ((_shares(one)[:, None] - _shares(others)).abs() < SAME_MASS).all(-1)


def distinct(runs: Runs, guard: Guard) -> Runs:
    """Return the runs, highest first, without those that are where a higher one is."""
    same, kept = alike(runs, runs).tolist(), []
    for index in _order(runs, guard).tolist():
        if not any(same[index][other] for other in kept):
            kept.append(index)
    return runs.of_some(kept)


def _shares(runs: Runs) -> Tensor:
    """Return the shares of the rows that components have, in order, (R, K)."""
    return runs.statistics.mass.sort(-1).values / runs.statistics.weight


def highest(runs: Runs, count: int, guard: Guard) -> Runs:
    """Return the highest of the runs, highest first."""
    return runs.of_some(_order(runs, guard)[:count])


def _order(runs: Runs, guard: Guard) -> Tensor:
    """Return the runs' places, highest first, or the first where only rounding makes one the higher."""
    return (guard.heights(runs) / ROUNDING).round().argsort(descending=True, stable=True)
