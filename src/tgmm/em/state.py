"""The state of a run: all that it takes to go on from between two iterations, bit for bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import replace

SETTLED = 1e-12  # a change of the average objective, relative to the objective, that is nothing but rounding
LONGEST = 4.0  # the first bound on the step length of an acceleration, and the factor by which it grows


class FollowedRun(NamedTuple):
    """A run that was followed to the end.

    Attributes
    ----------
    objective : float
        The value that the run reached, in nats: the average log-likelihood of a row, and with priors also the log
        prior per unit of weight.
    start : str
        The name of its start.
    seed : int
        Seed of the start's random draws; 0 if the start makes none.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture(1, init_means=[[0.0]]).fit([[0.0], [2.0], [4.0]])
    >>> gmm.runs_[0].start, round(gmm.runs_[0].objective, 2)
    ('init_means', -1.91)
    """

    objective: float
    start: str
    seed: int


@dataclass(frozen=True)
class Point:
    """Parameters with their expectation."""

    parameters: Parameters
    statistics: Statistics
    objective: float  # what EM climbs, per unit of weight

    def to(self, device: torch.device) -> Point:
        """Return the point on a device."""
        return moved(self, device)


@dataclass(frozen=True)
class Path:
    """What an acceleration remembers: points that followed one another by EM steps, and how far it may jump."""

    points: tuple[Point, ...] = ()
    longest: float = LONGEST


@dataclass(frozen=True)
class RunState:
    """A run between two iterations, in the frame."""

    point: Point
    regularisation: Tensor  # what is added to every variance, (d,), or () where there is one scale
    history: tuple[float, ...]  # the objective, from the start to this point
    n_em: int = 0  # EM steps that led to this point one after another
    rates: tuple[float, ...] = ()  # by which EM steps shrank before the last jumps of an acceleration
    rung: int = 0  # of the ladder of kernels
    converged: bool = False
    path: Path = Path()
    reseeded: tuple[int, ...] = ()  # components that were put elsewhere, each once a run
    notes: tuple[str, ...] = ()  # what befell the run that the user should know
    start: str = ""  # how it began
    seed: int = 0  # of what was drawn at random then

    @property
    def parameters(self) -> Parameters:
        """The parameters that were reached."""
        return self.point.parameters

    @property
    def objective(self) -> float:
        """The objective at the point that was reached."""
        return self.history[-1]

    @property
    def is_settled(self) -> bool:
        """Whether the last step gained nothing but rounding."""
        if len(self.history) < 2:
            return False
        return self.history[-1] - self.history[-2] <= SETTLED * max(1.0, abs(self.objective))

    @property
    def is_at_rest(self) -> bool:
        """Whether the last EM step, and a jump after it, left the objective as it was: there no `tol` is too small."""
        size = 2 if self.n_em else 3
        return len(self.history) >= size and len(set(self.history[-size:])) == 1

    @property
    def followed(self) -> FollowedRun:
        """What users are told of the run; the objective is the frame's."""
        return FollowedRun(self.objective, self.start, self.seed)

    @property
    def n_iter(self) -> int:
        """The number of M-steps."""
        return len(self.history) - 1

    @property
    def log_likelihood(self) -> float:
        """The average log-likelihood of exactly these parameters, in the frame."""
        return float(self.point.statistics.log_likelihood / self.point.statistics.weight)

    @property
    def foreseen_gain(self) -> float:
        """What the objective would still gain if its last changes went on as a geometric series.

        Aitken's extrapolation (McLachlan & Krishnan 2008, The EM Algorithm and Extensions, 4.9); infinite where the
        changes do not shrink, 0 once the run has converged or nothing but rounding is left. The first steps after a
        jump shrink fast, whatever remains, so that the rates before the last jumps count too.
        """
        if self.converged or self.is_settled:
            return 0.0
        if len(self.history) < 3:
            return math.inf
        rate = max((self.rate, *self.rates))
        return (self.history[-1] - self.history[-2]) * rate / (1 - rate) if rate < 1 else math.inf

    @property
    def rate(self) -> float:
        """The ratio of the last change to the one before it; infinite where that was none."""
        before, last = (self.history[i] - self.history[i - 1] for i in (-2, -1))
        return last / before if before > 0 else math.inf

    def moved_to(self, point: Point, rung: int, fresh: tuple[int, ...], notes: tuple[str, ...]) -> RunState:
        """Return the state at another point, where components were put elsewhere and notes were made on the way."""
        return replace(self, point=point, rung=rung, reseeded=self.reseeded + fresh, notes=self.notes + notes)

    def to(self, device: torch.device) -> RunState:
        """Return the state on a device."""
        points = tuple(point.to(device) for point in self.path.points)
        on_path = bool(points) and self.path.points[-1] is self.point
        return replace(
            self,
            point=points[-1] if on_path else self.point.to(device),
            regularisation=self.regularisation.to(device),
            path=replace(self.path, points=points),
        )
