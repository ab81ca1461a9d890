"""One run of EM: a loop that advances a state until it has converged, and knows nothing of mixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tgmm.em.precision import ends
from tgmm.em.state import RunState
from tgmm.em.step import EM, Step
from tgmm.runtime.frozen import replace

REMEMBERED = 2  # jumps of an acceleration, the rates before which tell how far the end is


@dataclass(frozen=True)
class Stopping:
    """Stop after max_iter M-steps, or once the average objective changes by less than tol and would gain no more.

    Changes can be small for long on a plateau; only where they shrink fast enough do they tell that the end is near.
    """

    tol: float
    max_iter: int

    def converged(self, state: RunState) -> bool:
        """Whether a state is the end: its last change, and what two EM steps foresee, in nats per unit of weight."""
        change = state.history[-1] - state.history[-2]
        return abs(change) < self.tol and state.foreseen_gain < self.tol and (state.n_em >= 2 or state.is_settled)


@dataclass(frozen=True)
class Runner:
    """How runs are advanced.

    Parameters
    ----------
    em : EM
    step : callable
        From a state to the next: the plain step, or an accelerated one.
    start_is_regularised : bool
        Whether `reg_covar` is part of the start's covariances; otherwise the first step may fall.
    escape : callable, optional
        From a state that has converged to a higher one that the run goes on from, or None where there is none.
    """

    em: EM
    step: Callable[..., Step]
    start_is_regularised: bool = True
    escape: Callable[[RunState], RunState | None] | None = None

    def advanced(self, state: RunState, stopping: Stopping) -> Iterator[RunState]:
        """Yield the state after each M-step, until the run stops; the last part of a step is an expectation."""
        ladder = self.em.expectation.ladder
        while not state.converged and state.n_iter < stopping.max_iter:
            following, is_em = self.step(state, may_hold=self.start_is_regularised or state.n_iter > 0)
            change, history = following.point.objective - state.point.objective, state.history
            if is_em and not ladder.decides(following.rung, change, stopping.tol):
                if not ends(change, stopping.tol):
                    state = self._again(state, following)
                    continue
                following = self.em.widened(following)
                history = (*history[:-1], min(history[-1], following.point.objective))  # EM climbs; the rest was noise
                change = following.point.objective - history[-1]
            rates = state.rates if is_em or state.n_em < 2 else (*state.rates, state.rate)[-REMEMBERED:]
            history = (*history, following.point.objective)
            state = replace(following, history=history, n_em=state.n_em + 1 if is_em else 0, rates=rates)
            if is_em and stopping.converged(state):
                state = self._escaped(replace(state, converged=True))
            yield state

    def finished(self, state: RunState, stopping: Stopping) -> RunState:
        """Return the state in which a run stops."""
        for following in self.advanced(state, stopping):
            state = following
        return state

    def _escaped(self, state: RunState) -> RunState:
        """Return the higher state that a run which has converged goes on from, or the same where there is none."""
        escaped = None if self.escape is None else self.escape(state)
        if escaped is None:
            return state
        history = (*state.history, escaped.point.objective)
        return replace(escaped, history=history, n_em=0, rates=(), converged=False)

    def _again(self, state: RunState, following: RunState) -> RunState:
        """Return the state from which a step whose change is noise is taken again, by the next kernel."""
        widened = self.em.widened(replace(state, rung=following.rung))
        return replace(widened, history=(*state.history[:-1], widened.point.objective))
