"""EM steps: an M-step, then the expectation of what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from tgmm.em.expectation import Expectation
from tgmm.em.maximisation import Maximisation, regularised
from tgmm.em.start import Started
from tgmm.em.state import Point, RunState
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.model.update import Maximiser
from tgmm.runtime.frozen import replace


class Step(NamedTuple):
    """The state that follows, and whether it does by EM alone.

    Where it does not, because a component came or went or the step is an extrapolation, its change of the objective
    says nothing about convergence. The history is the loop's to write.
    """

    state: RunState
    is_em: bool


@dataclass(frozen=True)
class EM:
    """Plain EM: pure functions of the state of a run.

    Parameters
    ----------
    expectation : Expectation
    update : Maximiser
        Before any regularisation, which is each run's own.
    """

    expectation: Expectation
    update: Maximiser

    def begin(self, started: Started) -> RunState:
        """Return the state of a run that begins."""
        point, rung = self.evaluate(started.parameters, 0)
        return RunState(
            point,
            started.regularisation,
            (point.objective,),
            rung=rung,
            notes=started.notes,
            start=started.name,
            seed=started.seed,
        )

    def evaluate(self, parameters: Parameters, rung: int) -> tuple[Point, int]:
        """Return parameters with their expectation, and the rung that it took."""
        statistics, rung = self.expectation(parameters, rung)
        return self._point(parameters, statistics), rung

    def widened(self, state: RunState) -> RunState:
        """Return the state at the same parameters by the next kernel, which serves from now on."""
        point, rung = self.evaluate(state.parameters, state.rung + 1)
        return replace(state, point=point, rung=rung)

    def step(self, state: RunState, *, may_hold: bool) -> Step:
        """Return the next state; may_hold allows to hold the covariances in a step that would fall.

        `reg_covar` makes the M-step slightly more than the mode, so that a step can lower the objective where
        variances are no larger than the regularisation. Such a step is taken again with the covariances held, which
        climbs (Meng & Rubin 1993, Biometrika 80: a conditional M-step).
        """
        propose = regularised(self.update, state.regularisation)
        maximisation = Maximisation(self.expectation, self.update, propose)
        found = maximisation(state.point.statistics, state.parameters, state.rung, state.reseeded)
        changed = bool(found.fresh)
        if not (changed or found.is_whole):  # weights that are 0 stay so
            changed = bool(((found.parameters.weights > 0) != (state.parameters.weights > 0)).any())
        if found.rung == state.rung and _is_same(found.parameters, state.parameters):  # as of one component
            return Step(state.moved_to(state.point, state.rung, found.fresh, found.notes), is_em=not changed)
        point, rung = self.evaluate(found.parameters, found.rung)
        lowest = state.point.objective - self.expectation.ladder.noise(rung)
        if may_hold and not changed and point.objective < lowest:
            held = replace(found.parameters, covariances=state.parameters.covariances)
            point, rung = self.evaluate(held, rung)
            if point.objective < lowest:  # nothing but rounding is left to climb
                point = state.point
        return Step(state.moved_to(point, rung, found.fresh, found.notes), is_em=not changed)

    def _point(self, parameters: Parameters, statistics: Statistics) -> Point:
        """Return the log-posterior (or classification log-posterior) per unit of weight with what it is that of."""
        log_prior = self.update.log_prior(parameters)
        return Point(parameters, statistics, float((statistics.objective + log_prior) / statistics.weight))


def _is_same(one: Parameters, other: Parameters) -> bool:
    """Whether two mixtures are the same in all numbers; False on a device, which would have to be waited for."""
    if one.posterior is not None or one.weights.device.type != "cpu":
        return False
    pairs = [(each.weights, each.means, each.covariances.values) for each in (one, other)]
    return all(torch.equal(*pair) for pair in zip(*pairs, strict=True))
