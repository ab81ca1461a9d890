"""One run of EM: from a starting mixture until it has converged."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from tgmm.em.climb import Climber, State
from tgmm.em.stopping import Stopping
from tgmm.parameters import Parameters

Progress = Callable[[int, float, float], None]  # iteration, objective, change


class Run:
    """A run of EM, which can be advanced in parts.

    Parameters
    ----------
    state : State
        The start, or where it goes on.
    climb : Climber
    start_is_regularised : bool
        Whether `reg_covar` is part of the start's covariances; otherwise the first step may fall.
    history : list of float, optional
        That of a run that goes on.
    converged : bool
        Whether it has nowhere to go.

    Attributes
    ----------
    history : list of float
        The average objective, from the start to the state that was reached.
    converged : bool
    """

    def __init__(
        self,
        state: State,
        climb: Climber,
        *,
        start_is_regularised: bool,
        history: list[float] | None = None,
        converged: bool = False,
    ) -> None:
        self.state, self.climb = state, climb
        self.start_is_regularised = start_is_regularised
        self.history = list(history or [state.objective])
        self.converged = converged

    def advance(self, stopping: Stopping, progress: Progress) -> None:
        """Alternate maximisation and expectation until the run stops; the last step is an expectation."""
        while not self.converged and self.n_iter < stopping.max_iter:
            following, is_em = self.climb.step(self.state, may_hold=self.start_is_regularised or self.n_iter > 0)
            change, expectation = following.objective - self.state.objective, self.climb.expectation
            if is_em and not expectation.decides(change, stopping.tol):
                if not expectation.ends(change, stopping.tol):
                    self.state = self.climb.widen(self.state)
                    self.history[-1] = self.state.objective
                    continue
                following = self.climb.widen(following)
                self.history[-1] = min(self.history[-1], following.objective)  # EM climbs; the rest was noise
                change = following.objective - self.history[-1]
            self.state = following
            self.history.append(following.objective)
            self.converged = is_em and stopping.converged(change)
            progress(self.n_iter, following.objective, change)

    @property
    def n_iter(self) -> int:
        """The number of M-steps."""
        return len(self.history) - 1

    @property
    def objective(self) -> float:
        """The average objective of the state that was reached."""
        return self.history[-1]

    @property
    def foreseen_gain(self) -> float:
        """What the objective would still gain if its last changes went on as a geometric series.

        Aitken's extrapolation (McLachlan & Krishnan 2008, The EM Algorithm and Extensions, 4.9); infinite where the
        changes do not shrink, 0 once the run has converged.
        """
        if self.converged:
            return 0.0
        if len(self.history) < 3:
            return math.inf
        before, last = (self.history[i] - self.history[i - 1] for i in (-2, -1))
        return last * last / (before - last) if before > last > 0 else math.inf

    @property
    def parameters(self) -> Parameters:
        """The parameters that were reached, in the frame."""
        return self.state.mixture.parameters

    @property
    def log_likelihood(self) -> float:
        """The average log-likelihood of exactly these parameters."""
        return float(self.state.statistics.log_likelihood / self.state.statistics.weight)

    @property
    def regularisation(self) -> Tensor:
        """What was added to every variance, (d,) or (), in the frame."""
        return self.climb.regularisation

    @property
    def notes(self) -> list[str]:
        """What befell the run that the user should know."""
        return self.climb.maximisation.notes
