"""Trials of many starts on a sample of the rows: which solutions are worth following on all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from tgmm.covariance import separate
from tgmm.em.abreast import Climb, Search, Steps
from tgmm.em.batch import Batch, Runs, joined
from tgmm.em.degeneracy import RIDGE, Guard
from tgmm.em.moves import BLEAK, GAIN, SAME, Moves, alike, distinct, highest
from tgmm.kernels.base import Assignment
from tgmm.kernels.batched import Batched
from tgmm.model.priors import Priors
from tgmm.model.update import Maximiser, Update
from tgmm.runtime.frozen import replace
from tgmm.start.portfolio import PARTITIONS, partitions, random_partitions
from tgmm.start.sample import are_far
from tgmm.start.views import Views

SCOUTS = 2  # starts of the portfolio that come first, and of which no more are needed where they agree
AGREEING = 3  # of all of them, that are enough too
PROMISING = 0.02  # nats a row by which moves may be worse before any EM where starts agree
SHORT = 10  # EM steps before the runs of a heat of random starts are compared, of which one goes on
LONG, NEAR = 60, 1e-5  # E-steps of a run, unless it would gain less before
LAST, NEAREST = 600, 1e-6  # E-steps of the best of all, and what they may still gain
SHARE = 1e-3  # of all rows but those far away, that the clusters of a partition have besides their own
MOVED, NEARBY = 2, 0.05  # heats whose best may move though it is lower, and by how many nats a row
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
    update : Maximiser
        In the frame.
    n_components : int
    assignment : Assignment
    nearest : float
        What the best may still gain in the end, in nats per unit of weight.
    n_followed : int
        How many solutions are worth all rows.
    worth : float
        Passes over the rows, by one mixture, that the moves of a heat are worth.
    tells : bool
        Whether the rows are enough to tell which of the solutions is best; otherwise all are worth more rows.
    """

    def __init__(
        self,
        views: Views,
        weight: float,
        update: Maximiser,
        n_components: int,
        assignment: Assignment,
        nearest: float = NEAREST,
        n_followed: int = FOLLOWED,
        worth: float = math.inf,
        tells: bool = True,
    ) -> None:
        self.views, self.n_components = views, n_components
        self.nearest, self.n_followed, self.worth, self.tells = nearest, n_followed, worth, tells
        self.names: list[str] = []  # of the starts, by their numbers
        weights = views.weights * (weight / views.weights.sum())
        self.is_near = ~are_far(views.rows).any(1)  # (m,)
        rows, update = views.centred, update.about(views.mean)  # nothing depends on the frame's origin
        own, ridge = separate(update.structure), torch.tensor(RIDGE, dtype=rows.dtype)
        kernel = Batched(rows, weights, update.structure.moment)
        local = Batched(rows, weights, own.moment) if update.structure.shared else kernel
        alone = Update(own, Priors(), ridge)
        self.batch = Batch(kernel, update.regularised(ridge), assignment)
        self.guard = Guard(lambda: (rows, weights), update.structure, update.priors, 1 / weight)
        self.moves = Moves(self.batch, local, alone, self.guard, worth)

    def solutions(self, n_heats: int, generator: torch.Generator) -> Search[Runs]:
        """Search for the different solutions that are worth all rows, best first.

        Raises
        ------
        CovarianceCollapse
            If the covariances of all runs of a heat collapse at once.
        """
        best = yield from (self._best_moved if self.tells else self._unmoved)(n_heats, generator)
        parameters = replace(best.parameters, means=best.parameters.means + self.views.mean)
        return replace(best, parameters=parameters)

    def _unmoved(self, n_heats: int, generator: torch.Generator) -> Search[Runs]:
        """Search for where all starts lead to, but for degenerate solutions if there are others."""
        first = yield from self._followed(list(PARTITIONS))
        heats = yield from self._random(n_heats - 1, generator)
        runs = distinct(joined([first, *heats]), self.guard)
        sound = ~self.guard.degenerate(runs)
        return runs.of_some(sound) if sound.any() else runs

    def _best_moved(self, n_heats: int, generator: torch.Generator) -> Search[Runs]:
        """Search for the best solutions, from which moves have been tried."""
        first = yield from self._first()
        heats = yield from self._random(n_heats - 1, generator, self._height(first) - NEARBY)
        heats = yield from self._moved(first, heats)
        runs = yield from self._ended([first, *heats])
        for _ in range(MORE):
            if not self.guard.degenerate(runs).all() or self.batch.kernel.n_passes > self.worth * n_heats:
                break
            heats = yield from self._random(1, generator)
            heats = yield from self._moved(runs, heats)
            more = yield from self._ended(heats)
            runs = joined([runs, more])
        best = self._best(runs, self.n_followed)
        if len(best) == 1:  # which is at its limit; of others it was enough that they are lower
            return best
        others = yield Climb(self.batch, best.of_some(slice(1, None)), self.nearest, LAST)
        return joined([best.of_some(slice(1)), others])

    def _first(self) -> Search[Runs]:
        """Search for the best runs of the first heat, the best of which has moved.

        Where the first starts lead to one solution, there is next to nothing to find for the others, nor for moves but
        for those that promise most.
        """
        names = list(PARTITIONS)
        if self.batch.update.structure.form.one_scale:  # clusters are round, but not in whitened rows
            names.reverse()
        runs = yield from self._followed(names[:SCOUTS])
        if not (agreed := self._agree(runs, SCOUTS)):
            others = yield from self._followed(names[SCOUTS:], self._height(self._best(runs, 1)) - SAME)
            runs = joined([runs, others])
            agreed = self._agree(runs, AGREEING)
        best = self._best(runs, self.n_followed)
        if agreed and self.batch.update.structure.shared:  # whose moves show what they promise only once they are made
            return best
        moved = yield from self.moves.improved(best.of_some(slice(1)), PROMISING if agreed else BLEAK)
        return joined([moved, best.of_some(slice(1, None))])

    def _followed(self, names: list[str], floor: float = -math.inf) -> Search[Runs]:
        """Search for where the starts of these names lead to, unless it is seen to be below a floor before."""
        begun = self._from(partitions(self.views, self.n_components, names))
        return (yield Climb(self.batch, begun, NEAR, LONG, floor))

    def _agree(self, runs: Runs, count: int) -> bool:
        """Whether so many of the runs are at the best solution, and it is not degenerate."""
        best = self._best(runs, 1)
        return int(alike(best, runs).sum()) >= count and not bool(self.guard.degenerate(best))

    def _random(self, n_heats: int, generator: torch.Generator, floor: float = -math.inf) -> Search[list[Runs]]:
        """Search for the best run of each of so many heats with random partitions, near where it leads to.

        Those that are seen to lead below the floor are not followed.
        """
        draw = partial(random_partitions, self.views, self.n_components, generator)
        heats = [self._from(draw()) for _ in range(n_heats)]
        if not heats:
            return []
        advanced = yield Steps(self.batch, joined(heats), SHORT)
        best = [highest(heat, 1, self.guard) for heat in _apart(advanced, heats)]
        climbed = yield Climb(self.batch, joined(best), NEAR, LONG, floor)
        return _apart(climbed, best)

    def _ended(self, heats: Sequence[Runs]) -> Search[Runs]:
        """Search for where the best runs of heats lead to, but for those that are seen to end below the best."""
        runs = joined(heats)
        return (yield Climb(self.batch, runs, self.nearest, LAST, self._height(self._best(runs, 1)) - SAME))

    def _from(self, labels_by_name: dict[str, Tensor]) -> Runs:
        """Return the runs that begin with the clusters of partitions, each with a share of all rows."""
        labels = torch.stack(list(labels_by_name.values()))  # (R, m), -1 where a row is in no cluster
        shape = (len(labels), self.n_components, labels.shape[1])
        shares = (SHARE / self.n_components * self.is_near.double()).repeat(*shape[:2], 1)
        shares.scatter_add_(1, labels.clamp(min=0)[:, None], (labels >= 0)[:, None].double())
        start = torch.arange(len(self.names), len(self.names) + len(labels))
        self.names += labels_by_name
        return self.batch.begun(self.batch.kernel.of_shares(shares), start)

    def _moved(self, seen: Runs, heats: Sequence[Runs]) -> Search[list[Runs]]:
        """Search for the run of each heat, moved where it is new and higher than those seen before.

        Those of a few heats may be a little lower.
        """
        highest_yet, n_moved, every = self._height(seen), 1, list[Runs]()
        for run in heats:
            slack = NEARBY if n_moved < MOVED else -GAIN
            found = run
            if not alike(run, seen).any() and self._height(run) >= highest_yet - slack:
                found = yield from self.moves.improved(run, goal=highest_yet)
                n_moved += 1
            seen = joined([seen, run, found])
            highest_yet = max(highest_yet, self._height(found))
            every.append(found)
        return every

    def _height(self, runs: Runs) -> float:
        """Return the objective of the first of some runs, or minus infinity where it is degenerate."""
        first = runs.of_some(slice(1))
        return -math.inf if bool(self.guard.degenerate(first)) else float(first.objective)

    def _best(self, runs: Runs, count: int) -> Runs:
        if count == 1:
            return highest(runs, 1, self.guard)
        return distinct(runs, self.guard).of_some(slice(count))


def _apart(runs: Runs, heats: list[Runs]) -> list[Runs]:
    """Return runs by their heats, which they are in the order of."""
    sizes = [len(heat) for heat in heats]
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [runs.of_some(slice(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
