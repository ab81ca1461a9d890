"""One run of EM: from starting parameters to the last expectation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from torch import Tensor

from tgmm.em.expectation import Expectation
from tgmm.em.step import Maximisation
from tgmm.em.stopping import Stopping
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.statistics import Statistics

Progress = Callable[[int, float, float], None]  # iteration, objective, change
ROUNDING = 1e-10  # the fall of the average objective that rounding can explain


@dataclass(frozen=True)
class Run:
    """What one run of EM came to, in the frame."""

    parameters: Parameters
    converged: bool
    history: list[float]  # average objective, from the start to these parameters
    log_likelihood: float  # average log-likelihood of exactly these parameters
    regularisation: Tensor  # (d,) or ()
    notes: list[str] = field(default_factory=list)

    @property
    def n_iter(self) -> int:
        """The number of M-steps."""
        return len(self.history) - 1


class State(NamedTuple):
    """A mixture with its expectation."""

    mixture: Mixture
    statistics: Statistics
    objective: float  # average


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

    def step(self, state: State, *, may_hold: bool) -> tuple[State, bool]:
        """Return the next state, and whether a component came or went, so that the objective may have fallen.

        `reg_covar` makes the M-step slightly more than the mode, so that a step can lower the objective where
        variances are no larger than the regularisation. Such a step is taken again with the covariances held, which
        climbs (Meng & Rubin 1993, Biometrika 80: a conditional M-step).
        """
        mixture, reseeded = self.maximisation(state.statistics, state.mixture, self.expectation, self._regularise)
        alive, before = mixture.parameters.weights > 0, state.mixture.parameters.weights > 0
        changed = reseeded or bool((alive != before).any())
        following = self.evaluate(mixture)
        if may_hold and not changed and following.objective < state.objective - ROUNDING:
            held = replace(mixture.parameters, covariances=state.mixture.parameters.covariances)
            following = self.evaluate(Mixture.of(held, mixture.structure))
        return following, changed

    def _regularise(self, mode: Parameters, *_: object) -> tuple[Parameters, bool]:
        covariances = self.maximisation.structure.add_to_variances(mode.covariances, self.regularisation)
        return replace(mode, covariances=covariances), True

    def _state(self, mixture: Mixture, statistics: Statistics) -> State:
        log_prior = self.maximisation.priors.log_density(mixture, self.expectation.kernel.frame.log_volume)
        return State(mixture, statistics, float((statistics.objective + log_prior) / statistics.weight))


def run_em(
    mixture: Mixture,
    expectation: Expectation,
    maximisation: Maximisation,
    regularisation: Tensor,
    stopping: Stopping,
    progress: Progress,
    *,
    start_is_regularised: bool,
) -> Run:
    """Alternate expectation and maximisation; the last step is an expectation.

    A start with covariances that the user gave lacks the regularisation, so that the first step from it may fall.
    """
    climb = Climb(expectation, maximisation, regularisation)
    state = climb.evaluate(mixture)
    history, converged = [state.objective], False
    while not converged and len(history) <= stopping.max_iter:
        following, changed = climb.step(state, may_hold=start_is_regularised or len(history) > 1)
        change = following.objective - state.objective
        if not expectation.decides(change, stopping.tol):
            state = climb.widen(state)
            history[-1] = state.objective
            continue
        state = following
        history.append(state.objective)
        converged = not changed and stopping.converged(change)
        progress(len(history) - 1, state.objective, change)
    return Run(
        state.mixture.parameters,
        converged,
        history,
        float(state.statistics.log_likelihood / state.statistics.weight),
        regularisation,
        maximisation.notes,
    )
