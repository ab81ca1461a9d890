"""SQUAREM: fewer EM steps by extrapolating along the path of the statistics.

Varadhan & Roland 2008 (Scandinavian Journal of Statistics 35) extrapolate the parameters of a slowly converging
EM. Here the statistics are extrapolated, of which the parameters are a closed form: a linear combination of
statistics whose coefficients sum to 1 keeps the total weight, every structure and prior is served by the
M-step that it has, and what crosses processes stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse
from tgmm.em.state import LONGEST, Path, Point, RunState
from tgmm.em.step import EM, Step
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import ESTIMATED, Statistics, together
from tgmm.runtime.frozen import replace

SHORTEST = 3.0  # the least step length of a jump: EM's steps shrink by a third or less, and are not soon at the end


@dataclass(frozen=True)
class Squarem:
    """Two EM steps, then a jump where they shrink slowly; a jump that does not climb is taken back.

    What it remembers between steps is the state's `Path`.

    Parameters
    ----------
    em : EM
        The plain steps.
    """

    em: EM

    def step(self, state: RunState, *, may_hold: bool) -> Step:
        """Return the next state: by a jump after two EM steps, else by an EM step."""
        path = state.path
        if not path.points or path.points[-1] is not state.point:
            path = Path((state.point,), path.longest)
        if len(path.points) == 3:
            jumped = self._jump(state, path)
            path = Path((state.point,), path.longest)
            if jumped is not None:
                return Step(jumped, is_em=False)
        following, is_em = self.em.step(state, may_hold=may_hold)
        points = (*path.points, following.point) if is_em else ()
        return Step(replace(following, path=Path(points, path.longest)), is_em)

    def _jump(self, state: RunState, path: Path) -> RunState | None:
        """Return the state at extrapolated statistics, or where it was if that is no higher, or None without any."""
        third, sums = path.points[-1], self.em.update.structure.sums
        centre, mean = third.statistics.centre, third.statistics.mean[None]
        steps = together([point.statistics.about(centre, sums) for point in path.points])
        # About the mean of all rows, lengths do not depend on the frame's origin.
        about_mean = steps.about(mean, sums)
        length = step_length(torch.cat([getattr(about_mean, name).flatten(1) for name in ESTIMATED], 1)).cpu()  # ()
        longest = torch.tensor(path.longest, dtype=length.dtype)
        length = torch.minimum(length, longest)
        if length < SHORTEST:
            return None
        candidate = self._candidate(steps.combined(jump_factors(length).to(centre.device)), third, state)
        if candidate is None:
            return None
        point, rung = self.em.evaluate(candidate, state.rung)
        is_higher = point.objective >= third.objective
        longest = float(next_longest(length, longest, torch.tensor(is_higher)))
        return replace(state, point=point if is_higher else third, rung=rung, path=Path((third,), longest))

    def _candidate(self, statistics: Statistics, third: Point, state: RunState) -> Parameters | None:
        """Return the parameters of extrapolated statistics, or None where they are those of no mixture."""
        least = 0.0 if self.em.update.priors.proper else torch.finfo(torch.float64).tiny  # of a component's mass
        if not bool((statistics.mass >= least).all() & (third.parameters.weights > 0).all()):
            return None
        if self.em.update.has_noise and not bool(statistics.mass.sum() < statistics.weight):
            return None
        update = self.em.update.regularised(state.regularisation)
        parameters = update(statistics, third.parameters.covariances)
        try:
            _ = parameters.covariances.factor
        except CovarianceCollapse:
            return None
        precise = self.em.expectation.ladder.is_precise(parameters, statistics.centre, state.rung)
        return parameters if precise else None


def step_length(path: Tensor) -> Tensor:
    """Return the step length |r| / |v| of the first and second differences of three points (3, ..., p), (...).

    1 is two plain EM steps.
    """
    a, b, c = path
    curvature = torch.linalg.vector_norm(torch.sub(c, b, alpha=2) + a, dim=-1)
    return torch.where(curvature > 0, torch.linalg.vector_norm(b - a, dim=-1) / curvature, 1.0)


def jump_factors(length: Tensor) -> Tensor:
    """Return the factors of three points in a jump of such a length (...), (3, ...).

    Their sum is s - 2 a r + a^2 v for a = -length, r = s' - s and v = s'' - 2 s' + s.
    """
    return torch.stack([(1 - length) ** 2, 2 * length * (1 - length), length**2])


def next_longest(length: Tensor, longest: Tensor, is_higher: Tensor) -> Tensor:
    """Return how long the next jump may be, after one of such a length that led higher or did not, (...)."""
    longer = torch.where(length == longest, longest * LONGEST, longest)
    return torch.where(is_higher, longer, (longest / LONGEST).clamp(min=LONGEST))
