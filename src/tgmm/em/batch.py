"""Many runs of EM at once, over rows that are kept in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Covariances
from tgmm.em.acceleration import SHORTEST
from tgmm.em.state import LONGEST, SETTLED, RunState
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Assignment
from tgmm.kernels.batched import Batched, stacked
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import SUMS, Statistics
from tgmm.model.update import Maximiser
from tgmm.runtime.devices import moved

OPTIMISM = 20.0  # how many times the gain to be foreseen a run is given credit for


@dataclass(frozen=True)
class Runs:
    """Runs of EM, each where it has come to."""

    parameters: Parameters  # (R, ...), in the frame
    statistics: Statistics  # (R, ...), which the rows have under them
    objective: Tensor  # (R,), per unit of weight
    start: Tensor  # (R,) int64, which start each began with

    @classmethod
    def of(cls, run: RunState) -> Runs:
        """Return one run as a batch, on the CPU."""
        host = torch.device("cpu")
        parameters = run.parameters.to(host).of_some(None)
        statistics = moved(run.point.statistics, host).of_some(None)
        return cls(parameters, statistics, torch.tensor([run.objective], dtype=torch.float64), torch.zeros(1).long())

    def __len__(self) -> int:
        """Return how many there are."""
        return self.objective.shape[0]

    def of_some(self, index: Any) -> Runs:
        """Return some of the runs."""
        parameters, statistics = self.parameters.of_some(index), self.statistics.of_some(index)
        return Runs(parameters, statistics, self.objective[index], self.start[index])

    def with_others(self, others: Runs, index: Tensor) -> Runs:
        """Return the runs with others in the place of those with these indices."""

        def put(own: Any, other: Any, *names: str) -> dict[str, Tensor]:
            """Return fields of one's own, with the others' in their places."""
            return {name: getattr(own, name).index_copy(0, index, getattr(other, name)) for name in names}

        ours, theirs = self.parameters, others.parameters
        covariances = replace(ours.covariances, **put(ours.covariances, theirs.covariances, "values"))
        parameters = replace(ours, covariances=covariances, **put(ours, theirs, "weights", "means"))
        sums = put(self.statistics, others.statistics, *(name for name in SUMS if name != "weight"))
        return Runs(parameters, replace(self.statistics, **sums), **put(self, others, "objective", "start"))


@dataclass(frozen=True)
class Batch:
    """EM on many runs: what `tgmm.em.step.EM` does for one, where rows are few and nothing is lost in rounding.

    A run whose covariance collapses stays where it was before.

    Parameters
    ----------
    kernel : Batched
    update : Maximiser
        With what regularises, the same for all runs.
    assignment : Assignment
    """

    kernel: Batched
    update: Maximiser
    assignment: Assignment = soft

    def at(self, parameters: Parameters, start: Tensor) -> Runs:
        """Return the runs that have come to these parameters, from starts of these numbers (R,)."""
        statistics = self.kernel.statistics(parameters, self.assignment)
        log_prior = self.update.log_prior(parameters)
        return Runs(parameters, statistics, (statistics.objective + log_prior) / statistics.weight, start)

    def begun(self, statistics: Statistics, start: Tensor) -> Runs:
        """Return the runs whose first parameters are those of statistics, but for those whose covariances collapse.

        Raises
        ------
        CovarianceCollapse
            If they all do.
        """
        parameters = self.update(statistics)
        while (bad := collapsed(parameters)) is not None:
            if bad.all():
                _ = parameters.covariances.factor  # raises
            parameters, start = parameters.of_some(~bad), start[~bad]
        return self.at(parameters, start)

    def stepped(self, runs: Runs) -> Runs:
        """Return the runs after an EM step each."""
        return self.at(self._next(runs.statistics, runs.parameters), runs.start)

    def advanced(self, runs: Runs, n_steps: int) -> Runs:
        """Return the runs after so many EM steps."""
        for _ in range(n_steps):
            runs = self.stepped(runs)
        return runs

    def climbed(self, runs: Runs, tol: float, max_iter: int, floor: float = -math.inf) -> Runs:
        """Return the runs once what each would still gain is foreseen to be below tol, or after so many E-steps.

        Two EM steps are followed by a jump (SQUAREM, see `tgmm.em.acceleration`). Runs that even at several times the
        gain to be foreseen would not reach the floor go no further.
        """
        longest = torch.full_like(runs.objective, LONGEST)
        places, ended, order = torch.arange(len(runs)), [], []
        for _ in range(math.ceil(max_iter / 3)):
            first = self.stepped(runs)
            second = self.stepped(first)
            foreseen = _foreseen(runs, first, second)
            going = (foreseen >= tol) & (second.objective + OPTIMISM * foreseen >= floor)
            if not going.all():
                ended.append(second.of_some(~going))
                order.append(places[~going])
                if not going.any():
                    break
                runs, first, second = (each.of_some(going) for each in (runs, first, second))
                places, longest = places[going], longest[going]
            runs, longest = self._jumped(runs, first, second, longest)
        else:
            ended.append(runs)
            order.append(places)
        return joined(ended).of_some(torch.cat(order).argsort())

    def _next(self, statistics: Statistics, previous: Parameters) -> Parameters:
        """Return the parameters of statistics, or the previous ones of runs whose covariances collapse.

        Components that a prior leaves without weight stay where they are.
        """
        parameters = self.update(statistics, previous.covariances)
        gone = parameters.weights == 0  # (R, K)
        if gone.any():
            means = torch.where(gone[..., None], previous.means, parameters.means)
            covariances = parameters.covariances.replaced(gone, previous.covariances)
            parameters = Parameters(parameters.weights, means, covariances)
        while (bad := collapsed(parameters)) is not None:
            parameters = parameters_where(bad, previous, parameters)
        return parameters

    def _jumped(self, start: Runs, first: Runs, second: Runs, longest: Tensor) -> tuple[Runs, Tensor]:
        """Return the runs after jumps from the second of two steps, and the lengths (R,) that they may have next."""
        path = torch.stack([vectors(runs.statistics) for runs in (start, first, second)])  # (3, R, p)
        a, b, c = path
        step, curvature = b - a, c - 2 * b + a
        length = step.norm(dim=1) / curvature.norm(dim=1).clamp(min=torch.finfo(a.dtype).tiny)
        length = torch.minimum(length, longest)
        jumps = (length >= SHORTEST) & (start.statistics.mass > 0).all(-1)
        index = jumps.nonzero().flatten()
        if not index.numel():
            return second, longest
        origin, length = second.of_some(index), length[index]
        factors = torch.stack([(1 - length) ** 2, 2 * length * (1 - length), length**2])  # (3, r)
        statistics = of_vectors((factors[..., None] * path[:, index]).sum(0), origin.statistics)
        possible = (statistics.mass > 0).all(-1)
        if not possible.all():
            statistics = statistics_where(possible, statistics, origin.statistics)
        reached = self.at(self._next(statistics, origin.parameters), origin.start)
        better = reached.objective >= origin.objective
        longest = longest.clone()
        grown = torch.where(length == longest[index], longest[index] * LONGEST, longest[index])
        longest[index] = torch.where(better, grown, (longest[index] / LONGEST).clamp(min=LONGEST))
        return second.with_others(reached.of_some(better), index[better]), longest


def collapsed(parameters: Parameters) -> Tensor | None:
    """Return which mixtures of a batch have covariances that collapse, (R,), or None where none has.

    Others may have some too: ask again without these.
    """
    try:
        _ = parameters.covariances.factor
    except CovarianceCollapse as collapse:
        assert collapse.bad is not None
        return collapse.bad.any(-1)
    return None


def joined(runs: Sequence[Runs]) -> Runs:
    """Return the runs of several batches as one."""
    parameters = [each.parameters for each in runs]
    return Runs(
        parameters_joined(parameters),
        stacked([each.statistics for each in runs]),
        torch.cat([each.objective for each in runs]),
        torch.cat([each.start for each in runs]),
    )


def parameters_joined(parameters: Sequence[Parameters]) -> Parameters:
    """Return the parameters of several batches as those of one."""
    covariances = [each.covariances for each in parameters]
    return Parameters(
        torch.cat([each.weights for each in parameters]),
        torch.cat([each.means for each in parameters]),
        replace(covariances[0], values=torch.cat([each.values for each in covariances])),
    )


def _foreseen(start: Runs, first: Runs, second: Runs) -> Tensor:
    """Return the larger of each run's last gain and what it would still gain (Aitken's extrapolation), (R,)."""
    before, last = first.objective - start.objective, second.objective - first.objective
    foreseen = last.square() / (before - last)
    foreseen = torch.where(before > last, torch.maximum(foreseen, last), torch.inf)
    return torch.where(last.abs() <= SETTLED, 0.0, foreseen)


def vectors(statistics: Statistics) -> Tensor:
    """Return what each run's parameters depend on as a vector, (R, p)."""
    parts = (statistics.mass, statistics.first, statistics.second)
    return torch.cat([part.flatten(1) for part in parts], 1)


def of_vectors(flat: Tensor, like: Statistics) -> Statistics:
    """Return statistics from such vectors."""
    parts = flat.split([like.mass[0].numel(), like.first[0].numel(), like.second[0].numel()], 1)
    mass, first, second = (
        part.reshape(-1, *other.shape[1:])
        for part, other in zip(parts, (like.mass, like.first, like.second), strict=True)
    )
    return replace(like, mass=mass, first=first, second=second)


def statistics_where(mask: Tensor, one: Statistics, other: Statistics) -> Statistics:
    """Return one's sums where mask (R,) is set, and the other's elsewhere."""
    parts = {}
    for name in ("mass", "first", "second"):
        a, b = getattr(one, name), getattr(other, name)
        parts[name] = torch.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    return replace(other, **parts)


def parameters_where(mask: Tensor, one: Parameters, other: Parameters) -> Parameters:
    """Return one's parameters where mask (R,) is set, and the other's elsewhere."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    covariances: Covariances = other.covariances
    values = choose(one.covariances.values, covariances.values)
    return Parameters(
        choose(one.weights, other.weights), choose(one.means, other.means), replace(covariances, values=values)
    )
