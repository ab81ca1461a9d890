"""Trials of many starts on a sample of the rows: which solutions are worth following on all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from tgmm.covariance import separate
from tgmm.em.batch import Batch, Runs, joined
from tgmm.em.degeneracy import RIDGE, Guard
from tgmm.em.moves import GAIN, Moves, distinct, highest
from tgmm.kernels.base import Assignment
from tgmm.kernels.batched import Batched
from tgmm.model.priors import Priors
from tgmm.model.update import Update
from tgmm.start.portfolio import partitions, random_partitions
from tgmm.start.views import Views

SHORT, KEPT = 10, 3  # EM steps before the runs of a heat are compared, and how many of the first heat go on
LONG, NEAR = 60, 1e-5  # E-steps of those, unless they would gain less before
LAST, NEAREST = 600, 1e-6  # E-steps of the best of all, and what they may still gain
SHARE = 1e-3  # of all rows, that the clusters of a partition have besides their own
MOVED, NEARBY = 3, 0.05  # heats whose best may move though it is lower, and by how many nats a row
MORE = 2  # heats that are added while all solutions are degenerate
FOLLOWED = 2  # solutions that are worth all rows


class Trials:
    """Runs of EM from many starts, on rows that are kept in memory.

    They come in heats: the first begins with the partitions of a portfolio, each other one with random ones. What a
    heat comes to does not depend on how many there are, so that more of them never end lower.

    Parameters
    ----------
    views : Views
        Of the rows.
    weight : float
        That of all the data, which the rows stand for.
    update : Update
        In the frame.
    n_components : int
    assignment : Assignment
    nearest : float
        What the best may still gain in the end, in nats per unit of weight.
    """

    def __init__(
        self,
        views: Views,
        weight: float,
        update: Update,
        n_components: int,
        assignment: Assignment,
        nearest: float = NEAREST,
    ) -> None:
        self.views, self.n_components, self.nearest = views, n_components, nearest
        self.names: list[str] = []  # of the starts, by their numbers
        weights = views.weights * (weight / views.weights.sum())
        self.mean = weights @ views.rows / weight  # about it, nothing depends on the frame's origin
        rows, update = views.rows - self.mean, replace(update, priors=update.priors.about(self.mean))
        own, ridge = separate(update.structure), torch.tensor(RIDGE, dtype=rows.dtype)
        kernel = Batched(rows, weights, update.structure.moment)
        local = Batched(rows, weights, own.moment) if update.structure.shared else kernel
        alone = Update(own, Priors(), ridge)
        self.batch = Batch(kernel, update.regularised(ridge), assignment)
        self.guard = Guard(lambda: (rows, weights), update.structure, update.priors, 1 / weight)
        self.moves = Moves(self.batch, local, alone, self.guard)

    def solutions(self, n_heats: int, generator: torch.Generator) -> Runs:
        """Return the different solutions that are worth all rows, best first.

        Raises
        ------
        CovarianceCollapse
            If the covariances of all runs of a heat collapse at once.
        """
        heats = self._after(list(self._begun(n_heats, generator)), [KEPT] + [1] * (n_heats - 1))
        for _ in range(MORE):
            if not self.guard.degenerate(joined(heats)).all():
                break
            heat = self._from(random_partitions(self.views, self.n_components, generator))
            heats += self._after([heat], [1])
        best = self._best(joined(heats), FOLLOWED)
        parameters = replace(best.parameters, means=best.parameters.means + self.mean)
        return replace(best, parameters=parameters)

    def _after(self, heats: list[Runs], kept: list[int]) -> list[Runs]:
        """Return the best runs of heats, of each of which so many are kept after a short while, where they lead to."""
        runs = _apart(self.batch.advanced(joined(heats), SHORT), heats)
        heats = [self._best(heat, count) for heat, count in zip(runs, kept, strict=True)]
        heats = _apart(self.batch.climbed(joined(heats), NEAR, LONG), heats)
        heats = [self._best(heat, FOLLOWED) for heat in self._moved(heats)]
        return _apart(self.batch.climbed(joined(heats), self.nearest, LAST), heats)

    def _begun(self, n_heats: int, generator: torch.Generator) -> Iterator[Runs]:
        """Yield the runs of each heat."""
        yield self._from(partitions(self.views, self.n_components))
        for _ in range(1, n_heats):
            yield self._from(random_partitions(self.views, self.n_components, generator))

    def _from(self, labels_by_name: dict[str, Tensor]) -> Runs:
        """Return the runs that begin with the clusters of partitions, each with a share of all rows."""
        labels = torch.stack(list(labels_by_name.values()))  # (R, m), -1 where a row is in no cluster
        shape = (len(labels), self.n_components, labels.shape[1])
        shares = torch.full(shape, SHARE / self.n_components, dtype=torch.float64)
        shares.scatter_add_(1, labels.clamp(min=0)[:, None], (labels >= 0)[:, None].double())
        start = torch.arange(len(self.names), len(self.names) + len(labels))
        self.names += labels_by_name
        return self.batch.begun(self.batch.kernel.of_shares(shares), start)

    def _moved(self, heats: list[Runs]) -> Iterator[Runs]:
        """Yield the runs of each heat, the best of which moves if it is new, and higher than those of the heats before.

        The best of a few heats may be a little lower. Where different starts of a heat led to one solution, it stays.
        """
        seen, highest_yet, n_moved = distinct(heats[0], self.guard), -math.inf, 0
        for number, heat in enumerate(heats):
            runs = distinct(heat, self.guard)
            best, height = runs.of_some(slice(1)), self._height(runs)
            is_new = number == 0 or len(distinct(joined([seen, best]), self.guard)) > len(seen)
            slack = NEARBY if n_moved < MOVED else -GAIN
            agree = len(runs) == 1 < len(heat)
            if is_new and not agree and (number == 0 or height > highest_yet - slack):
                runs = joined([self.moves.improved(best), runs.of_some(slice(1, None))])
                n_moved += 1
            seen = distinct(joined([seen, best, runs.of_some(slice(1))]), self.guard)
            highest_yet = max(highest_yet, self._height(runs))
            yield runs

    def _height(self, runs: Runs) -> float:
        """Return the objective of the first of some runs, or minus infinity where it is degenerate."""
        first = runs.of_some(slice(1))
        return -math.inf if bool(self.guard.degenerate(first)) else float(first.objective)

    def _best(self, runs: Runs, count: int) -> Runs:
        return highest(distinct(runs, self.guard), count, self.guard)


def _apart(runs: Runs, heats: list[Runs]) -> list[Runs]:
    """Return runs by their heats, which they are in the order of."""
    sizes = [len(heat) for heat in heats]
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [runs.of_some(slice(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
