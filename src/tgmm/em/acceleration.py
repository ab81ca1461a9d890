"""SQUAREM: fewer EM steps by extrapolating along the path of the statistics.

Varadhan & Roland 2008 (Scandinavian Journal of Statistics 35) extrapolate the parameters of a slowly converging
EM. Here the statistics are extrapolated, of which the parameters are a closed form: a linear combination of
statistics whose coefficients sum to 1 keeps the total weight, every structure and prior is served by the
M-step that it has, and what crosses processes stays the same.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse
from tgmm.em.climb import Climb, State, Step
from tgmm.em.expectation import Expectation
from tgmm.em.maximisation import maximise
from tgmm.em.step import Maximisation
from tgmm.mixture import Mixture
from tgmm.moments import Moment
from tgmm.statistics import Statistics

SHORTEST = 3.0  # the least step length of a jump: EM's steps shrink by a third or less, and are not soon at the end
LONGEST = 4.0  # the first bound on the step length, and the factor by which it grows


class Squarem:
    """Two EM steps, then a jump where they shrink slowly; a jump that does not climb is taken back.

    Parameters
    ----------
    climb : Climb
        The plain EM steps.
    """

    def __init__(self, climb: Climb) -> None:
        self.climb = climb
        self.path: list[State] = []  # up to three states that follow one another by EM steps
        self.longest = LONGEST

    @property
    def expectation(self) -> Expectation:
        """The E-step."""
        return self.climb.expectation

    @property
    def regularisation(self) -> Tensor:
        """What is added to every variance."""
        return self.climb.regularisation

    @property
    def maximisation(self) -> Maximisation:
        """The M-step."""
        return self.climb.maximisation

    def evaluate(self, mixture: Mixture) -> State:
        """Return the state at a mixture."""
        return self.climb.evaluate(mixture)

    def widen(self, state: State) -> State:
        """Return the state at the same mixture by the next kernel."""
        return self.climb.widen(state)

    def step(self, state: State, *, may_hold: bool) -> Step:
        """Return the next state: by a jump after two EM steps, else by an EM step."""
        if not self.path or self.path[-1] is not state:
            self.path = [state]
        if len(self.path) == 3:
            jumped = self._jump(*self.path)
            self.path = [state]
            if jumped is not None:
                return Step(jumped, is_em=False)
        step = self.climb.step(state, may_hold=may_hold)
        self.path = [*self.path, step.state] if step.is_em else []
        return step

    def _jump(self, first: State, second: State, third: State) -> State | None:
        """Return the state at the extrapolated statistics, the third if that is no higher, None if there is none."""
        moment, centre = third.mixture.structure.moment, third.statistics.centre
        a, b, c = (about(state.statistics, centre, moment) for state in (first, second, third))
        if not a.second.shape == b.second.shape == c.second.shape:
            return None  # another kernel took over on the way
        length = self._length(a, b, c)
        if length < SHORTEST:
            return None
        candidate = self._mixture(_extrapolated(a, b, c, length), third)
        if candidate is None:
            return None
        state = self.climb.evaluate(candidate)
        if not state.objective >= third.objective:
            self.longest = max(LONGEST, self.longest / LONGEST)
            return third
        if length == self.longest:
            self.longest *= LONGEST
        return state

    def _length(self, first: Statistics, second: Statistics, third: Statistics) -> float:
        """Return the step length |r| / |v| of the first and second differences; 1 is two plain EM steps."""
        a, b, c = (_vector(statistics) for statistics in (first, second, third))
        step, curvature = torch.linalg.vector_norm(b - a), torch.linalg.vector_norm(c - 2 * b + a)
        return min(float(step / curvature), self.longest) if curvature > 0 else 1.0

    def _mixture(self, statistics: Statistics, third: State) -> Mixture | None:
        """Return the mixture of extrapolated statistics, or None where they are those of no mixture."""
        climb, before = self.climb, third.mixture.parameters
        if not bool((statistics.mass > 0).all() & (before.weights > 0).all()):
            return None
        mode = maximise(statistics, climb.maximisation.structure, climb.maximisation.priors)
        try:
            mixture = Mixture.of(climb.regularise(mode)[0], climb.maximisation.structure)
        except CovarianceCollapse:
            return None
        return mixture if climb.expectation.is_precise(mixture, statistics.centre) else None


def about(statistics: Statistics, centre: Tensor, moment: Moment) -> Statistics:
    """Return the statistics about another centre (K, d), near the one they have.

    The sums of (z - c')(z - c')' with c' = c - s are those about c plus those of first s' + s first' and mass s s';
    the middle term by polarisation, for every moment.
    """
    shift = statistics.centre - centre  # (K, d)
    if not shift.any():
        return statistics
    first, mass = statistics.first, statistics.mass[:, None]
    cross = moment.of(first + shift) - moment.of(first) - moment.of(shift)  # (K, q)
    return replace(
        statistics,
        first=first + mass * shift,
        second=statistics.second + cross + mass * moment.of(shift),
        centre=centre,
    )


def _extrapolated(first: Statistics, second: Statistics, third: Statistics, length: float) -> Statistics:
    """Return s - 2 a r + a^2 v for a = -length, r = s' - s and v = s'' - 2 s' + s."""
    return first.scale((1 - length) ** 2) + second.scale(2 * length * (1 - length)) + third.scale(length**2)


def _vector(statistics: Statistics) -> Tensor:
    """Return what the parameters depend on per unit of weight, as one vector."""
    parts = (statistics.mass, statistics.first, statistics.second)
    return torch.cat([part.flatten() for part in parts]) / statistics.weight
