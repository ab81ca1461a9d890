"""Moves that leave poor optima of a bound which pays for components: merging, deleting, putting in order.

An evidence lower bound gains where two components that share a cluster become one, or where a component goes whose rows
others explain; steps alone seldom find that out. A move is made where the objective is higher after it, nowhere else.

Source: Hughes & Sudderth 2013 (NIPS 26).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse
from tgmm.em.acceleration import Squarem
from tgmm.em.batch import OPTIMISM
from tgmm.em.run import Runner, Stopping
from tgmm.em.state import RunState
from tgmm.em.step import EM
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.frozen import replace

MERGED, DELETED = 3, 2  # pairs and components that are tried each time
PAIRS = 2  # a component, the nearest of which are looked at
STEPS = 20  # that a run may take until it is higher
FEWEST = 1e-6  # of all rows, that a component has at least if it is worth a pass
LEAST = 1e-9  # gain per unit of weight, relative to the objective, that is more than rounding


@dataclass(frozen=True)
class Escape:
    """What takes a run that has converged to a higher objective, where one of a few moves does.

    Parameters
    ----------
    em : EM
        With an update of a bound, under which each component costs something.
    tol : float
        What a move must gain, in nats per unit of weight.
    max_iter : int
        Iterations of the run, of which a move is one.
    """

    em: EM
    tol: float
    max_iter: int

    def __call__(self, state: RunState) -> RunState | None:
        """Return the state after the first move that leads to a higher objective, or None where none does."""
        if state.n_iter >= self.max_iter:
            return None
        least = state.objective + max(self.tol, LEAST * abs(state.objective))
        for parameters in self._proposals(state, least):
            try:
                reached = self._climbed(state, parameters, least)
            except CovarianceCollapse:
                continue
            if reached is not None:
                return replace(state, point=reached.point, rung=reached.rung)
        return None

    def _climbed(self, state: RunState, parameters: Parameters, least: float) -> RunState | None:
        """Return the state once a run from parameters is above the least objective, or None where that is too far."""
        point, rung = self.em.evaluate(parameters, state.rung)
        run = replace(state, point=point, rung=rung, history=(point.objective,), n_em=0, rates=(), converged=False)
        runner = Runner(self.em, Squarem(self.em).step)
        for following in chain([run], runner.advanced(run, Stopping(self.tol, STEPS))):
            if following.objective > least:
                return following
            if following.objective + OPTIMISM * following.foreseen_gain < least:
                return None
        return None

    def _proposals(self, state: RunState, least: float) -> Iterator[Parameters]:
        """Yield what parameters moves lead to: components in order, then merged, then deleted."""
        update, about = self.em.update, torch.zeros_like(state.parameters.means[:1])
        statistics = state.point.statistics.about(about, update.structure.sums)
        ordered = _taken(statistics, statistics.mass.argsort(descending=True, stable=True))
        if self._promise(state, ordered) > least:
            yield update(ordered)
        used = (statistics.mass > FEWEST * statistics.weight).nonzero().flatten()
        merged = [_merged(statistics, *pair) for pair in _nearest_pairs(state.parameters, used)]
        promises = [self._promise(state, each) for each in merged]
        for i in sorted(range(len(merged)), key=promises.__getitem__, reverse=True)[:MERGED]:
            if promises[i] > least:
                yield update(merged[i])
        if len(used) > 1:
            for component in used[statistics.mass[used].argsort()][:DELETED].tolist():
                yield update(self._without(state, component))

    def _promise(self, state: RunState, statistics: Statistics) -> float:
        """Return what the objective could be at statistics that a move makes of a state's.

        It is exact where components are put in order. Where two are merged, the entropy of the responsibilities, which
        is taken to be what it was, falls.
        """
        before, parameters = state.point, self.em.update(statistics)
        sums = self.em.update.structure.sums
        change = parameters.expected(statistics, sums) - before.parameters.expected(before.statistics, sums)
        log_prior = self.em.update.log_prior(parameters) - self.em.update.log_prior(before.parameters)
        return state.objective + float((change + log_prior) / before.statistics.weight)

    def _without(self, state: RunState, component: int) -> Statistics:
        """Return the statistics of rows that are given to all components but one."""
        found, _ = self.em.expectation(state.parameters.without(component), state.rung)
        return found


def _taken(statistics: Statistics, order: Tensor) -> Statistics:
    """Return the statistics, about one centre, of components in another order (K,)."""
    second = statistics.second if statistics.second.shape[0] == 1 else statistics.second[order]
    return replace(statistics, mass=statistics.mass[order], first=statistics.first[order], second=second)


def _merged(statistics: Statistics, one: int, other: int) -> Statistics:
    """Return the statistics, about one centre, in which one component has the rows of another, too."""
    into = torch.eye(statistics.mass.shape[0], dtype=torch.float64, device=statistics.mass.device)
    into[one, other], into[other, other] = 1.0, 0.0
    second = statistics.second if statistics.second.shape[0] == 1 else into @ statistics.second
    return replace(statistics, mass=into @ statistics.mass, first=into @ statistics.first, second=second)


def _nearest_pairs(parameters: Parameters, used: Tensor) -> list[tuple[int, int]]:
    """Return pairs of some components (m,), those with the nearest means in units of either's covariance first."""
    means = parameters.means[used]
    gaps = means[None] - means[:, None]  # (m, m, d)
    distances = parameters.covariances.apart(parameters.n_components).take(used).factor.distances(gaps)  # (m, m)
    one, other = torch.triu_indices(len(used), len(used), 1, device=used.device)
    nearest = torch.minimum(distances, distances.mT)[one, other].argsort()[: PAIRS * len(used)]
    return [(int(used[one[i]]), int(used[other[i]])) for i in nearest.tolist()]
