"""The M-step with everything that can befall it: imprecise sums, lost components, collapse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Covariances
from tgmm.em.expectation import Expectation
from tgmm.em.reseeding import keep_previous, lost_components, reseeded, worst_explained
from tgmm.model.held import Held
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.model.update import Maximiser
from tgmm.runtime.frozen import replace
from tgmm.runtime.words import agreeing, named


class Proposal(NamedTuple):
    """Parameters that an M-step proposes."""

    parameters: Parameters
    means: Tensor  # (K, d), where sums would be most precise
    is_resolved: bool = True  # whether the sums were precise enough for what else was made of them


@dataclass(frozen=True)
class Maximised:
    """What an M-step came to."""

    parameters: Parameters
    statistics: Statistics  # that they were made from
    rung: int
    fresh: tuple[int, ...]  # components that were re-seeded
    is_whole: bool  # whether all components have some weight

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        if not self.fresh:
            return ()
        were = agreeing(len(self.fresh), "was", "were")
        return (f"{named('component', self.fresh)} lost all rows and {were} re-seeded on the worst-explained rows",)


@dataclass(frozen=True)
class Maximisation:
    """An M-step from statistics that rows have under parameters.

    Parameters
    ----------
    expectation : Expectation
        Where more precise statistics come from.
    update : Maximiser
    propose : callable
        From the mode that an update finds, statistics and their resolution to a proposal.
    """

    expectation: Expectation
    update: Maximiser
    propose: Callable[[Callable[[Maximiser], Parameters], Statistics, float], Proposal]

    def __call__(
        self, statistics: Statistics, previous: Parameters, rung: int, before: tuple[int, ...] = ()
    ) -> Maximised:
        """Return the next parameters; components re-seeded before are not once more.

        Statistics too imprecise for the variances that come out of them are computed again, more precisely:
        by the next kernel, and at last about the very means that came out.
        """
        ladder, recentred = self.expectation.ladder, False
        while True:
            lost = lost_components(statistics, self.update.priors)  # (K,)
            fresh = _not_among(lost, before, self.update.held)
            rows = None if fresh is None else worst_explained(previous, self.expectation, rung, int(fresh.sum()))
            mode = partial(self._mode, statistics=statistics, previous=previous, fresh=fresh, rows=rows)
            proposal = self.propose(mode, statistics, ladder.resolution(rung))
            gone = self._gone(statistics, lost, fresh)
            candidate = proposal.parameters if gone is None else self._kept(proposal.parameters, gone, previous)
            collapse = _collapse_of(candidate.covariances)
            if collapse is not None and recentred:
                raise collapse
            precise = proposal.is_resolved and collapse is None
            if recentred or (precise and ladder.is_precise(candidate, statistics.centre, rung)):
                indices = () if fresh is None else _indices(fresh)
                return Maximised(candidate, statistics, rung, indices, gone is None)
            recentred = not ladder.goes_on(rung)
            statistics, rung = self.expectation.refined(previous, rung, proposal.means)

    def _mode(
        self,
        update: Maximiser,
        *,
        statistics: Statistics,
        previous: Parameters,
        fresh: Tensor | None,
        rows: Tensor | None,
    ) -> Parameters:
        """Return the mode that an update finds, with lost components on rows in the frame, one for each."""
        mode = update(statistics, previous.covariances if update.structure.keeps(previous.covariances) else None)
        if fresh is None or rows is None:
            return mode
        noise = float(mode.rest) if update.has_noise else 0.0
        mode = reseeded(mode, fresh, rows, noise)
        return replace(mode, covariances=update.structure.project(mode.covariances, mode.weights))

    def _gone(self, statistics: Statistics, lost: Tensor | None, fresh: Tensor | None) -> Tensor | None:
        """Return which components get no weight and stay where they were, (K,), or None where none does."""
        priors = self.update.priors
        if lost is None and priors.concentration is None:
            return None
        gone = priors.weight_mass(statistics.mass) == 0  # (K,)
        gone = gone if lost is None else gone | lost
        gone = gone if fresh is None else gone & ~fresh
        return gone if gone.any() else None

    def _kept(self, parameters: Parameters, gone: Tensor, previous: Parameters) -> Parameters:
        """Return parameters in which components without weight are where they were."""
        kept = keep_previous(parameters, gone, previous)
        return replace(kept, covariances=self.update.structure.project(kept.covariances, kept.weights))


def _not_among(lost: Tensor | None, before: tuple[int, ...], held: Held | None) -> Tensor | None:
    """Return which of the lost components are not among others, nor fixed, (K,), or None where none is."""
    if lost is None:
        return None
    fresh = lost.clone()
    fresh[list(before)] = False
    if held is not None:
        fresh &= ~held.any
    return fresh if fresh.any() else None


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero().flatten().tolist())


def _collapse_of(covariances: Covariances) -> CovarianceCollapse | None:
    """Return what happens where covariances are factored, if they cannot be."""
    try:
        _ = covariances.factor
    except CovarianceCollapse as collapse:
        return collapse
    return None


def regularised(update: Maximiser, amount: Tensor) -> Callable[..., Proposal]:
    """Return what proposes the mode itself, with so much added to every variance."""
    whole = update.regularised(amount)

    def propose(mode: Callable[[Maximiser], Parameters], *_: object) -> Proposal:
        parameters = mode(whole)
        return Proposal(parameters, parameters.means)

    return propose
