"""EM steps: an M-step, then the expectation of what it gave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from torch import Tensor

from tgmm.em.expectation import Expectation
from tgmm.em.step import Maximisation
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.statistics import Statistics

ROUNDING = 1e-10  # the fall of the average objective that rounding can explain


class State(NamedTuple):
    """A mixture with its expectation."""

    mixture: Mixture
    statistics: Statistics
    objective: float  # average


class Step(NamedTuple):
    """The state that follows, and whether it does by EM alone.

    Where it does not, because a component came or went or the step is an extrapolation, its change of the objective
    says nothing about convergence.
    """

    state: State
    is_em: bool


class Climber(Protocol):
    """How a run goes from state to state."""

    @property
    def expectation(self) -> Expectation:
        """The E-step."""
        ...

    @property
    def maximisation(self) -> Maximisation:
        """The M-step."""
        ...

    @property
    def regularisation(self) -> Tensor:
        """What is added to every variance, (d,) or ()."""
        ...

    def evaluate(self, mixture: Mixture) -> State:
        """Return the state at a mixture."""
        ...

    def widen(self, state: State) -> State:
        """Return the state at the same mixture by the next kernel, which serves from now on."""
        ...

    def step(self, state: State, *, may_hold: bool) -> Step:
        """Return the next state; may_hold allows to hold the covariances in a step that would fall."""
        ...


@dataclass(frozen=True)
class Climb:
    """EM steps of one run: an M-step, then the expectation of what it gave."""

    expectation: Expectation
    maximisation: Maximisation
    regularisation: Tensor

    def evaluate(self, mixture: Mixture) -> State:
        """Return the state at a mixture: its log-posterior (or classification log-posterior) per unit of weight."""
        return self._state(mixture, self.expectation(mixture))

    def widen(self, state: State) -> State:
        """Return the state at the same mixture by the next kernel, which serves from now on."""
        return self._state(state.mixture, self.expectation.widen(state.mixture))

    def step(self, state: State, *, may_hold: bool) -> Step:
        """Return the next state.

        `reg_covar` makes the M-step slightly more than the mode, so that a step can lower the objective where
        variances are no larger than the regularisation. Such a step is taken again with the covariances held, which
        climbs (Meng & Rubin 1993, Biometrika 80: a conditional M-step).
        """
        mixture, reseeded = self.maximisation(state.statistics, state.mixture, self.expectation, self.regularise)
        alive, before = mixture.parameters.weights > 0, state.mixture.parameters.weights > 0
        changed = reseeded or bool((alive != before).any())
        following = self.evaluate(mixture)
        if may_hold and not changed and following.objective < state.objective - ROUNDING:
            held = replace(mixture.parameters, covariances=state.mixture.parameters.covariances)
            following = self.evaluate(Mixture.of(held, mixture.structure))
            if following.objective < state.objective - ROUNDING:  # nothing but rounding is left to climb
                following = state
        return Step(following, is_em=not changed)

    def regularise(self, mode: Parameters, *_: object) -> tuple[Parameters, bool]:
        """Return the mode with the regularisation added to its variances, which any sums allow."""
        covariances = self.maximisation.structure.add_to_variances(mode.covariances, self.regularisation)
        return replace(mode, covariances=covariances), True

    def _state(self, mixture: Mixture, statistics: Statistics) -> State:
        log_prior = self.maximisation.priors.log_density(mixture, self.expectation.kernel.frame.log_volume)
        return State(mixture, statistics, float((statistics.objective + log_prior) / statistics.weight))
