"""Many runs of EM at once, over rows that are kept in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Covariances
from tgmm.em.acceleration import SHORTEST, jump_factors, next_longest, step_length
from tgmm.em.state import LONGEST, SETTLED, RunState
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Assignment
from tgmm.kernels.batched import stacked
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.model.update import Maximiser
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import replace

OPTIMISM = 20.0  # how many times the gain to be foreseen a run is given credit for


@dataclass(frozen=True)
class Runs:
    """Runs of EM, each where it has come to."""

    parameters: Parameters  # (R, ...), in the frame
    statistics: Statistics  # (R, ...), which the rows have under them
    objective: Tensor  # (R,), per unit of weight
    start: Tensor  # (R,) int64, which start each began with
    gain: Tensor | None = None  # (R,), of the last EM step, where that was asked for

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
        gain = None if self.gain is None else self.gain[index]
        some = Runs(parameters, statistics, self.objective[index], self.start[index], gain)
        if "judged" in vars(self):  # see `tgmm.em.degeneracy.Guard`
            judge, verdict = vars(self)["judged"]
            vars(some)["judged"] = judge, verdict[index]
        return some


class Rows(Protocol):
    """What is known of the rows that runs are over."""

    def statistics(self, parameters: Parameters, assignment: Assignment) -> Statistics:
        """Return the statistics under a batch of mixtures."""
        ...

    def of_some(self, index: Any) -> Any:
        """Return that of the rows of some of the mixtures."""
        ...

    def count(self, n_passes: int, n_mixtures: int) -> None:
        """Count so many passes over the rows by each of so many mixtures."""
        ...


R = TypeVar("R", bound=Rows)


@dataclass(frozen=True)
class Batch(Generic[R]):
    """EM on many runs: what `tgmm.em.step.EM` does for one, where rows are few and nothing is lost in rounding.

    A run whose covariance collapses stays where it was before.

    Parameters
    ----------
    kernel : Rows
    update : Maximiser
        With what regularises, the same for all runs.
    assignment : Assignment
    """

    kernel: R
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
        self.kernel.count(1, len(start))
        return self.at(parameters, start)

    def of_some(self, index: Any) -> Batch[R]:
        """Return that of some of the runs."""
        return replace(self, kernel=self.kernel.of_some(index))

    def stepped(self, runs: Runs) -> Runs:
        """Return the runs after an EM step each."""
        return self.at(self._next(runs.statistics, runs.parameters)[0], runs.start)

    def advanced(self, runs: Runs, n_steps: int) -> Runs:
        """Return the runs after so many EM steps, with what the last of them gained."""
        self.kernel.count(n_steps, len(runs))
        before = runs
        for _ in range(n_steps):
            before, runs = runs, self.stepped(runs)
        return replace(runs, gain=runs.objective - before.objective)

    def climbed(
        self, runs: Runs, tol: float | Tensor, max_iter: int | Tensor, floor: float | Tensor = -math.inf
    ) -> Runs:
        """Return the runs once what each would still gain is foreseen to be below tol, or after so many E-steps.

        Two EM steps are followed by a jump (SQUAREM, see `tgmm.em.acceleration`). Runs that even at several times the
        gain to be foreseen would not reach the floor go no further. Each run may have limits of its own, (R,).
        """
        limits = torch.stack([torch.as_tensor(each).double().expand(len(runs)) for each in (tol, floor, max_iter)])
        batch, places, longest = self, torch.arange(len(runs)), torch.full_like(runs.objective, LONGEST)
        ended = []
        for n_steps in count(3, 3):
            batch.kernel.count(2, len(runs))
            first = batch.stepped(runs)
            second = batch.stepped(first)
            foreseen = _foreseen(runs, first, second)
            path = torch.stack([vectors(each.statistics) for each in (runs, first, second)])  # (3, R, p)
            going = (foreseen >= limits[0]) & (second.objective + OPTIMISM * foreseen >= limits[1])
            if not going.all():
                ended.append((places[~going], second.of_some(~going)))
                batch, second, path = batch.of_some(going), second.of_some(going), path[:, going]
                limits, places, longest = limits[:, going], places[going], longest[going]
                if not len(places):
                    break
            batch.kernel.count(1, len(second))
            runs, longest = batch._jumped(second, path, longest)
            going = limits[2] > n_steps
            if not going.all():
                ended.append((places[~going], runs.of_some(~going)))
                batch, runs = batch.of_some(going), runs.of_some(going)
                limits, places, longest = limits[:, going], places[going], longest[going]
                if not len(places):
                    break
        order, found = zip(*ended, strict=True)
        return joined(found).of_some(torch.cat(order).argsort())

    def _next(self, statistics: Statistics, previous: Parameters) -> tuple[Parameters, Tensor | None]:
        """Return the parameters of statistics, and which runs keep the previous ones because covariances collapse.

        Components that a prior leaves without weight stay where they are.
        """
        parameters = self.update(statistics, previous.covariances)
        gone = parameters.weights == 0  # (R, K)
        if gone.any():
            means = torch.where(gone[..., None], previous.means, parameters.means)
            covariances = parameters.covariances.replaced(gone, previous.covariances)
            parameters = Parameters(parameters.weights, means, covariances)
        stay = None
        while (bad := collapsed(parameters)) is not None:
            parameters = parameters_where(bad, previous, parameters)
            stay = bad if stay is None else stay | bad
        return parameters, stay

    def _jumped(self, runs: Runs, path: Tensor, longest: Tensor) -> tuple[Runs, Tensor]:
        """Return the runs after jumps, and the lengths (R,) that they may have next.

        The paths (3, R, p) are of two steps, of which the runs are at the ends.
        """
        length = torch.minimum(step_length(path), longest)
        statistics = of_vectors((jump_factors(length)[..., None] * path).sum(0), runs.statistics)
        unused = runs.parameters.weights == 0
        jumps = (length >= SHORTEST) & ((path[0, :, : unused.shape[1]] > 0) | unused).all(-1)
        if not jumps.any():
            return runs, longest
        possible = jumps & ((statistics.mass > 0) | unused).all(-1)
        if not possible.all():  # a third step instead
            statistics = statistics_where(possible, statistics, runs.statistics)
        parameters, stay = self._next(statistics, runs.parameters)
        reached = self.at(parameters, runs.start)
        better = jumps & (reached.objective >= runs.objective)
        if stay is not None:  # no jump: whether it ends as high is a matter of rounding
            better = better & ~stay
        return runs_where(better, reached, runs), torch.where(jumps, next_longest(length, longest, better), longest)


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
    if len(runs) == 1:
        return runs[0]
    parameters = [each.parameters for each in runs]
    whole = Runs(
        parameters_joined(parameters),
        stacked([each.statistics for each in runs]),
        torch.cat([each.objective for each in runs]),
        torch.cat([each.start for each in runs]),
    )
    judges, verdicts = zip(*(vars(each).get("judged", (None, None)) for each in runs), strict=True)
    if judges[0] is not None and all(judge is judges[0] for judge in judges):
        vars(whole)["judged"] = judges[0], torch.cat(verdicts)
    return whole


def parameters_joined(parameters: Sequence[Parameters]) -> Parameters:
    """Return the parameters of several batches as those of one."""
    return Parameters(
        torch.cat([each.weights for each in parameters]),
        torch.cat([each.means for each in parameters]),
        Covariances.joined([each.covariances for each in parameters]),
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


def runs_where(mask: Tensor, one: Runs, other: Runs) -> Runs:
    """Return one's runs where mask (R,) is set, and the other's elsewhere."""
    if mask.all():
        return one
    if not mask.any():
        return other
    return Runs(
        parameters_where(mask, one.parameters, other.parameters),
        _results_where(mask, one.statistics, other.statistics),
        torch.where(mask, one.objective, other.objective),
        other.start,
    )


def _results_where(mask: Tensor, one: Statistics, other: Statistics) -> Statistics:
    """Return one's statistics, likelihood included, where mask (R,) is set, and the other's elsewhere."""
    totals = {
        name: torch.where(mask, getattr(one, name), getattr(other, name)) for name in ("log_likelihood", "objective")
    }
    return replace(statistics_where(mask, one, other), **totals)
