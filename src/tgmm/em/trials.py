"""Trials of many starts on a sample of the rows: which solutions are worth following on all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

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
NEARBY = 0.05  # nats a row by which the run of a heat may be lower and still move
DOUBTFUL, MOST = 3, 10  # heats where one start alone leads to the best, and where after them one heat still does
FEW = 1500  # rows, of which many solutions are nearly as high as the best; of more, doubt ends with the first heats
DEGENERATE = 5  # heats where the best is degenerate: of many, one leads to what is not, but of clusters that are none
FOLLOWED = 2  # solutions that are worth all rows


class Heat(NamedTuple):
    """The best run of a heat, and where it has come to."""

    run: Runs
    found: Runs  # the same, or where moves have led to
    could_move: bool  # and has not
    highest_yet: float  # of its objective and those of the heats before, minus infinity where they are degenerate


class Trials:
    """Runs of EM from many starts, on rows that are kept in memory.

    They come in heats: the first begins with the partitions of a portfolio, each other one with random ones. Until the
    best solution has been found twice there are others, however few were asked for: of 170 problems with real data in
    which it was found once in three heats it was wrong in 45 %, and found twice in 12 %. What a heat comes to does not
    depend on those after it, so that more of them never end lower.

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
    most : int
        Heats where the best solution has not been found twice, in few rows.
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
        most: int = MOST,
    ) -> None:
        self.views, self.n_components = views, n_components
        self.nearest, self.n_followed, self.worth, self.tells = nearest, n_followed, worth, tells
        self.most = most
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
        """Search for the best solutions, from which moves have been tried, if need be until the best is found twice."""
        first, is_sure = yield from self._first()
        heats, least = [Heat(first, first, False, self._height(first))], 1
        structure = self.batch.update.structure
        # How high a run is tells less of where moves lead if components share a covariance, so that all may move.
        asked = max(n_heats, self.most) if structure.shared and not structure.form.one_scale else n_heats
        can_go_on = self.views.rows.shape[0] <= FEW and self.most * self.batch.kernel.n_passes < self.worth
        if not is_sure:
            heats, least = (yield from self._more(heats, DOUBTFUL, asked, generator)), DOUBTFUL
            n_agreeing = self._agreeing(joined([heat.found for heat in heats]))
            if n_agreeing == 0:
                least = DEGENERATE
            elif n_agreeing == 1 and can_go_on:
                least = self.most
        heats = yield from self._more(heats, max(least, n_heats), asked, generator)
        runs = yield from self._ended([first, *(yield from self._moved_nearby(heats, asked, least))])
        best = self._best(runs, self.n_followed)
        if len(best) == 1:  # which is at its limit; of others it was enough that they are lower
            return best
        others = yield Climb(self.batch, best.of_some(slice(1, None)), self.nearest, LAST)
        return joined([best.of_some(slice(1)), others])

    def _first(self) -> Search[tuple[Runs, bool]]:
        """Search for the best runs of the first heat, the best of which has moved; say whether that is enough.

        Where the first starts lead to one solution, there is next to nothing to find for the others, nor for moves but
        for those that promise most. Where one alone leads to the best, others may lead to a better one.
        """
        names = list(PARTITIONS)
        if self.batch.update.structure.form.one_scale:  # clusters are round, but not in whitened rows
            names.reverse()
        runs = yield from self._followed(names[:SCOUTS])
        n_agreeing, enough = self._agreeing(runs), SCOUTS
        if n_agreeing < enough:
            others = yield from self._followed(names[SCOUTS:], self._height(self._best(runs, 1)) - SAME)
            runs, enough = joined([runs, others]), AGREEING
            n_agreeing = self._agreeing(runs)
        best = self._best(runs, self.n_followed)
        if n_agreeing >= enough and self.batch.update.structure.shared:
            return best, True  # whose moves show what they promise only once they are made
        moved = yield from self.moves.improved(best.of_some(slice(1)), PROMISING if n_agreeing >= enough else BLEAK)
        found = joined([moved, best.of_some(slice(1, None))])
        return found, n_agreeing > 1 or self.batch.kernel.n_passes > self.worth

    def _followed(self, names: list[str], floor: float = -math.inf) -> Search[Runs]:
        """Search for where the starts of these names lead to, unless it is seen to be below a floor before."""
        begun = self._from(partitions(self.views, self.n_components, names))
        return (yield Climb(self.batch, begun, NEAR, LONG, floor))

    def _agreeing(self, runs: Runs) -> int:
        """Return how many of the runs are at the best solution, none where it is degenerate."""
        best = self._best(runs, 1)
        return 0 if self._height(best) == -math.inf else int(alike(best, runs).sum())

    def _random(
        self, n_heats: int, generator: torch.Generator, floor: float | Tensor = -math.inf
    ) -> Search[list[Runs]]:
        """Search for the best run of each of so many heats with random partitions, near where it leads to.

        Those that are seen to lead below the floor, which each may have its own, are not followed.
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
        """Search for where the best runs of heats lead to, but for those that are seen to end below others.

        Only others of the same heat and of those before count, and those that would be followed if there were no more
        heats go all the way: what is foreseen can be wrong, and more heats are to take nothing away.
        """
        floors, followed = list[Tensor](), heats[0]
        for number, heat in enumerate(heats):
            followed = self._best(heat if number == 0 else joined([followed, heat]), self.n_followed)
            goes_on = (heat.start[:, None] == followed.start).any(1)
            floors.append(torch.where(goes_on, -math.inf, self._height(followed) - SAME))
        return (yield Climb(self.batch, joined(heats), self.nearest, LAST, torch.cat(floors)))

    def _from(self, labels_by_name: dict[str, Tensor]) -> Runs:
        """Return the runs that begin with the clusters of partitions, each with a share of all rows."""
        labels = torch.stack(list(labels_by_name.values()))  # (R, m), -1 where a row is in no cluster
        shape = (len(labels), self.n_components, labels.shape[1])
        shares = (SHARE / self.n_components * self.is_near.double()).repeat(*shape[:2], 1)
        shares.scatter_add_(1, labels.clamp(min=0)[:, None], (labels >= 0)[:, None].double())
        start = torch.arange(len(self.names), len(self.names) + len(labels))
        self.names += labels_by_name
        return self.batch.begun(self.batch.kernel.of_shares(shares), start)

    def _more(self, heats: Sequence[Heat], n_heats: int, asked: int, generator: torch.Generator) -> Search[list[Heat]]:
        """Search for the heats that are left of so many, each moved where it is new and higher than those before.

        Those that were asked for are followed too where they lead but a little lower, and may still move; so are those
        that tell whether there is doubt, which is not to depend on how many were asked for.
        """
        n_more, highest_yet = max(n_heats - len(heats), 0), heats[-1].highest_yet
        floors = torch.full((n_more,), highest_yet - SAME, dtype=torch.float64)
        floors[: max(max(asked, DOUBTFUL) - len(heats), 0)] -= NEARBY - SAME
        every, seen = list(heats), joined([runs for heat in heats for runs in (heat.run, heat.found)])
        for run in (yield from self._random(n_more, generator, floors)):
            found, is_new = run, not bool(alike(run, seen).any())
            if is_new and self._height(run) >= highest_yet + GAIN:
                found, is_new = (yield from self.moves.improved(run, goal=highest_yet)), False
            seen, highest_yet = joined([seen, run, found]), max(highest_yet, self._height(found))
            every.append(Heat(run, found, is_new, highest_yet))
        return every

    def _moved_nearby(self, heats: Sequence[Heat], asked: int, least: int) -> Search[list[Runs]]:
        """Search for where the first heat leads to that is new but a little lower, if it was asked for.

        That comes after the heats that there are at least, as if it were one more. All but the first heat are returned.
        """
        every = [heat.found for heat in heats[1:]]
        for place, heat in enumerate(heats[1:asked], 1):
            last = max(place, least - 1)
            if heat.could_move and self._height(heat.run) >= heats[last].highest_yet - NEARBY:
                every.insert(last, (yield from self.moves.improved(heat.run, goal=heats[last].highest_yet)))
                break
        return every

    def _height(self, runs: Runs) -> float:
        """Return the objective of the first of some runs, or minus infinity where it is degenerate."""
        first = runs.of_some(slice(1))
        return -math.inf if bool(self.guard.degenerate(first)) else float(first.objective)

    def _best(self, runs: Runs, count: int) -> Runs:
        """Return the best runs, and of several the highest too, which the fit may not find degenerate."""
        if count == 1:
            return highest(runs, 1, self.guard)
        found = distinct(runs, self.guard)
        top = int(found.objective.argmax())
        return found.of_some([*range(min(count, len(found))), *([top] if top >= count else [])])


def _apart(runs: Runs, heats: list[Runs]) -> list[Runs]:
    """Return runs by their heats, which they are in the order of."""
    sizes = [len(heat) for heat in heats]
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [runs.of_some(slice(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
