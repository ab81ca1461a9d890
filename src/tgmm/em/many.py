"""EM on many problems at once: step by step what `tgmm.em.run` does on each alone.

Whatever else can befall a run (a component that loses its rows, a collapse, sums that are not precise enough, a step
that falls) ends it here: its problem is to be fitted alone, which knows what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.em.acceleration import SHORTEST, jump_factors, next_longest, step_length
from tgmm.em.batch import (
    Runs,
    collapsed,
    joined,
    of_vectors,
    parameters_joined,
    parameters_where,
    runs_where,
    statistics_where,
    vectors,
)
from tgmm.em.fit import Policy
from tgmm.em.precision import ROUNDING
from tgmm.em.problems import Problems
from tgmm.em.reseeding import lost_components
from tgmm.em.run import REMEMBERED
from tgmm.em.start import Trial
from tgmm.em.state import LONGEST, SETTLED
from tgmm.kernels.assignment import winners
from tgmm.kernels.base import TOLERANCE, Assignment
from tgmm.kernels.choose import are_precise
from tgmm.kernels.own_rows import OwnRows
from tgmm.model.parameters import Parameters, nearest
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import replace
from tgmm.runtime.parts import parts
from tgmm.start.together import StartTogether

CROWDED = 0.75  # of the runs that are moved on have not ended, at least: taking their rows out costs about a step
RESOLUTION = torch.finfo(torch.float64).eps / TOLERANCE[torch.float64]


@dataclass(frozen=True)
class Origins:
    """Where the runs of problems start, in the user's units; each of the given values has a leading dimension P or 1.

    See `tgmm.em.start.Origin`.
    """

    name: str
    seed: int  # of what a start draws
    start: StartTogether | None = None
    means: Tensor | None = None  # (P, K, d)
    weights: Tensor | None = None  # (P, K)
    covariances: Covariances | None = None  # (P, B, ...)
    tried: Sequence[Sequence[Trial]] = ()  # of each, what trials have found, best first, where these come first

    def of_some(self, index: Tensor) -> Origins:
        """Return those of some of the problems."""
        covariances, places = self.covariances, index.nonzero().flatten() if index.dtype == torch.bool else index
        return replace(
            self,
            tried=[self.tried[place] for place in places.tolist()] if self.tried else (),
            means=None if self.means is None else self.means[index],
            weights=None if self.weights is None else self.weights[index],
            covariances=None if covariances is None else covariances.of_some(index),
        )

    def to(self, device: torch.device) -> Origins:
        """Return them on a device."""
        return self if device.type == "cpu" else moved(self, device)

    def best_tried(self, device: torch.device) -> Parameters:
        """Return the best solutions of the trials, in the frames."""
        return parameters_joined([found[0].parameters.of_some(None) for found in self.tried]).to(device)

    def centres(self, problems: Problems) -> Tensor:
        """Return the centres to begin with, in the frames, (P, K, d); NaN where there are none."""
        if self.means is not None:
            return problems.frame.rows_in(self.means)
        if self.start is None or problems.n_components == 1:  # one component has all rows, wherever it is
            return problems.rows.new_zeros(len(problems), problems.n_components, problems.rows.shape[2])
        (rows, weights), n_components = problems.start_rows, problems.n_components
        some = parts(len(problems), rows.shape[1] * (rows.shape[2] + 2 * n_components), rows.device)
        return torch.cat([self.start(rows[part], weights[part], n_components, self.seed) for part in some])

    def put_in(self, problems: Problems, parameters: Parameters) -> Parameters:
        """Return parameters in the frames with those that were given in their places."""
        scale, covariances = problems.frame.scale, self.covariances
        return Parameters(
            parameters.weights if self.weights is None else self.weights,
            parameters.means if self.means is None else problems.frame.rows_in(self.means),
            parameters.covariances if covariances is None else covariances.rescale(1 / scale),
        )


@dataclass(frozen=True)
class Ends:
    """Where the runs came to, of the problems that were fitted."""

    runs: Runs  # their start is the number of their problem
    regularisation: Tensor  # (P, d), or (P,) where there is one scale
    history: Tensor  # (P, T) of the objective, of which those after the end have no meaning
    n_iter: Tensor  # (P,)
    converged: Tensor  # (P,)

    def of_some(self, index: Tensor) -> Ends:
        """Return some of them."""
        rest = (self.regularisation, self.history, self.n_iter, self.converged)
        return Ends(self.runs.of_some(index), *(each[index] for each in rest))


@dataclass(frozen=True)
class Climbers:
    """Runs under way, one for each problem; what each remembers is that of `tgmm.em.state.RunState`."""

    kernel: OwnRows
    update: Update
    runs: Runs
    last: Tensor  # (P, 3) objectives, the latest at last
    n_em: Tensor  # (P,)
    rates: Tensor  # (P, 2)
    n_points: Tensor  # (P,) on the path, from 1 to 3
    path: Tensor  # (P, 2, p), the statistics at its first points, but for the point that was reached
    longest: Tensor  # (P,)
    live: Tensor  # (P,), which have not ended: others are moved on with them, until they are many

    @classmethod
    def of(cls, kernel: OwnRows, update: Update, runs: Runs) -> Climbers:
        """Return the runs that begin."""
        nothing, count = torch.full_like(runs.objective, torch.nan), torch.zeros_like(runs.start)
        return cls(
            kernel,
            update,
            runs,
            last=torch.stack([nothing, nothing, runs.objective], 1),
            n_em=count,
            rates=runs.objective.new_full((len(runs), REMEMBERED), -torch.inf),
            n_points=count + 1,
            path=vectors(runs.statistics)[:, None].repeat(1, 2, 1),
            longest=torch.full_like(runs.objective, LONGEST),
            live=torch.ones_like(runs.start, dtype=torch.bool),
        )

    def of_some(self, index: Tensor) -> Climbers:
        """Return some of the runs."""
        if index.dtype == torch.bool and index.all():
            return self
        whole = (self.kernel.of_some(index), self.update.of_some(index), self.runs.of_some(index))
        rest = (self.last, self.n_em, self.rates, self.n_points, self.path, self.longest, self.live)
        return Climbers(*whole, *(each[index] for each in rest))

    def advanced(self, assignment: Assignment, policy: Policy, *, may_hold: bool) -> tuple[Climbers, Tensor]:
        """Return the runs after a step each, without those that need more than that, and which are at their ends."""
        kept = ~stranded(self.runs.statistics, self.update.priors)
        if int(self.live.sum()) < CROWDED * len(self.runs):
            kept &= self.live
        climbers = self.of_some(kept)
        if not len(climbers.runs):
            return climbers, torch.zeros_like(climbers.runs.start, dtype=torch.bool)
        climbers, is_em, failed = climbers.stepped(assignment, accelerate=policy.accelerate, may_hold=may_hold)
        climbers, is_em = climbers.of_some(~failed), is_em[~failed]
        return climbers, is_em & climbers.converged(policy.stopping.tol)

    def ended(self, which: Tensor, at_end: Tensor, n_iter: int) -> Ended:
        """Return some of the runs as they end after so many iterations, with which of all are at their ends."""
        amount = self.update.regularisation
        assert amount is not None
        amount = amount[which].flatten(1)
        amount = amount[:, 0] if self.update.structure.one_scale else amount
        n_iters, converged = torch.full_like(self.n_em, n_iter), at_end | self.at_rest()
        return Ended(self.runs.of_some(which), amount, n_iters[which], converged[which])

    def stepped(self, assignment: Assignment, *, accelerate: bool, may_hold: bool) -> tuple[Climbers, Tensor, Tensor]:
        """Return the runs after a step each, which of them made an EM step, and which need more than that, (P,)."""
        jumping, statistics, length, doubtful = self._jumps(accelerate=accelerate)
        parameters, bad = _updated(self.update, statistics, self.runs.parameters)
        if (refused := bad & jumping).any():  # an EM step instead
            jumping = jumping & ~refused
            update, runs, order = self.update.of_some(refused), self.runs.of_some(refused), _numbered(refused)
            order[refused] = len(self.runs) + _numbered(runs.start)
            plain, bad[refused] = _updated(update, runs.statistics, runs.parameters)
            parameters = parameters_joined([parameters, plain]).of_some(order)
        reached = self._at(parameters, assignment)
        change = reached.objective - self.runs.objective
        higher = change >= 0
        fell = ~jumping & ~(change >= -ROUNDING if may_hold else torch.isfinite(change))
        longest = next_longest(length, self.longest, higher)
        moved = replace(
            self._following(jumping),
            runs=runs_where(jumping & ~higher, self.runs, reached),
            longest=torch.where(jumping, longest, self.longest),
        )
        last = torch.cat([self.last[:, 1:], moved.runs.objective[:, None]], 1)
        return replace(moved, last=last), ~jumping, doubtful | bad | fell

    def converged(self, tol: float) -> Tensor:
        """Return which runs are at their ends if their last step was one of EM, (P,)."""
        change = self.last[:, 2] - self.last[:, 1]
        settled = change <= SETTLED * self.last[:, 2].abs().clamp(min=1.0)
        rate = torch.maximum(self._rate(), self.rates.amax(1))
        rate = torch.where(torch.isnan(self.last[:, 0]), torch.inf, rate)
        foreseen = torch.where(rate < 1, change * rate / (1 - rate), torch.inf)
        foreseen = torch.where(settled, 0.0, foreseen)
        return (change.abs() < tol) & (foreseen < tol) & ((self.n_em >= 2) | settled)

    def at_rest(self) -> Tensor:
        """Return which runs were left as they were by an EM step and a jump after it, (P,)."""
        same = self.last[:, 1:] == self.last[:, :-1]  # never where NaN stands for what was not yet
        return same[:, 1] & ((self.n_em > 0) | same[:, 0])

    def _rate(self) -> Tensor:
        """Return the ratios of the last changes to those before, infinite where these were none, (P,)."""
        before, last = (self.last[:, 1:] - self.last[:, :-1]).unbind(1)
        return torch.where(before > 0, last / before, torch.inf)

    def _jumps(self, *, accelerate: bool) -> tuple[Tensor, Statistics, Tensor, Tensor]:
        """Return which runs jump (P,), the statistics of their next steps, their lengths (P,), and which are doubtful.

        Doubtful is a jump to where a prior leaves a component without weight.
        """
        statistics, length = self.runs.statistics, torch.zeros_like(self.longest)
        never = torch.zeros_like(self.n_em, dtype=torch.bool)
        ready = self.n_points == 3 if accelerate else never
        if not ready.any():
            return never, statistics, length, never
        length = torch.where(ready, torch.minimum(self._lengths(), self.longest), 0.0)
        a, b = self.path.unbind(1)
        mixed = (jump_factors(length)[..., None] * torch.stack([a, b, vectors(statistics)])).sum(0)
        extrapolated = of_vectors(mixed, statistics)
        jumping = (length >= SHORTEST) & (extrapolated.mass > 0).all(1)
        doubtful = jumping & (self.update.priors.weight_mass(extrapolated.mass) <= 0).any(1)
        jumping = jumping & ~doubtful
        return jumping, statistics_where(jumping, extrapolated, statistics), length, doubtful

    def _lengths(self) -> Tensor:
        """Return the step lengths of the paths, about the means of all rows, (P,)."""
        statistics, sums = self.runs.statistics, self.update.structure.sums
        mean = statistics.mean[:, None]  # (P, 1, d)
        points = torch.cat([self.path, vectors(statistics)[:, None]], 1)  # (P, 3, p)
        points = of_vectors(points.flatten(0, 1), statistics).about(mean.repeat_interleave(3, 0), sums)
        return step_length(vectors(points).view(len(mean), 3, -1).transpose(0, 1))

    def _at(self, parameters: Parameters, assignment: Assignment) -> Runs:
        """Return the runs that have come to parameters."""
        return _evaluated(self.kernel, self.update, parameters, assignment, self.runs.start)

    def _following(self, jumping: Tensor) -> Climbers:
        """Return the runs with what they remember of a step to come, which for some is a jump."""
        n_points = torch.where(self.n_points == 3, 1, self.n_points)  # a path that did not end in a jump begins anew
        here = vectors(self.runs.statistics)
        path = torch.stack([torch.where((n_points == place)[:, None], here, old) for place, old in self._places()], 1)
        remembers = jumping & (self.n_em >= 2)
        rates = torch.cat([self.rates[:, 1:], self._rate()[:, None]], 1)
        return replace(
            self,
            n_em=torch.where(jumping, 0, self.n_em + 1),
            rates=torch.where(remembers[:, None], rates, self.rates),
            n_points=torch.where(jumping, 1, n_points + 1),
            path=path,
        )

    def _places(self) -> list[tuple[int, Tensor]]:
        """Return the first points of the paths by their numbers."""
        return list(enumerate(self.path.unbind(1), 1))


class Ended(NamedTuple):
    """Runs that ended together."""

    runs: Runs
    amount: Tensor  # what regularised them, (P, d), or (P,) where there is one scale
    n_iter: Tensor  # (P,)
    converged: Tensor  # (P,)


def fitted(problems: Problems, origins: Origins, policy: Policy) -> Ends | None:
    """Return where the runs of problems end, without those that are to be fitted alone; None where that is all."""
    max_iter = policy.stopping.max_iter
    climbers = begun(problems, origins, policy.assignment)
    ended: list[Ended] = []
    objectives: list[tuple[Tensor, Tensor]] = []  # after each iteration, of problems with these numbers
    for n_iter in range(max_iter + 1):
        if climbers is None or not climbers.live.any():
            break
        at_end = torch.zeros_like(climbers.runs.start, dtype=torch.bool)
        if n_iter:
            may_hold = origins.covariances is None or n_iter > 1
            climbers, at_end = climbers.advanced(policy.assignment, policy, may_hold=may_hold)
        objectives.append((climbers.runs.start, climbers.runs.objective))
        leaving = climbers.live & (at_end | (n_iter == max_iter))
        if leaving.any():
            ended.append(climbers.ended(leaving, at_end, n_iter))
            climbers = replace(climbers, live=climbers.live & ~leaving)
    return _ends(ended, objectives, len(problems)) if ended else None


def begun(problems: Problems, origins: Origins, assignment: Assignment) -> Climbers | None:
    """Return the runs of problems at their first parameters, without those that need more; None where that is all."""
    kernel, places = problems.kernel, _numbered(problems.unit)
    if origins.means is not None and origins.weights is not None and origins.covariances is not None:
        given = Parameters(origins.weights, origins.means, origins.covariances)
        parameters = problems.frame.parameters_in(given)
        amount, is_plain = problems.regularisation.resolve(parameters), torch.ones_like(places, dtype=torch.bool)
    else:
        statistics, has_rows = _assigned(problems, kernel, origins, assignment)
        if not has_rows.any():
            return None
        places, kernel = places[has_rows], kernel.of_some(has_rows)
        problems, origins = problems.of_some(has_rows), origins.of_some(has_rows)
        statistics = statistics.of_some(has_rows)
        parameters, amount, is_plain = _first(problems, origins, statistics)
    is_plain = is_plain & are_usable(parameters)
    if not is_plain.any():
        return None
    update = _regularised(problems.update, amount).of_some(is_plain)
    kernel, parameters = kernel.of_some(is_plain), parameters.of_some(is_plain)
    climbers = Climbers.of(kernel, update, _evaluated(kernel, update, parameters, assignment, places[is_plain]))
    return climbers.of_some(torch.isfinite(climbers.runs.objective))


def are_usable(parameters: Parameters) -> Tensor:
    """Return which mixtures of a batch have covariances that do not collapse, and sums that are precise, (P,)."""
    places = _numbered(parameters.means)
    usable = torch.zeros_like(places, dtype=torch.bool)
    while (bad := collapsed(parameters)) is not None:
        if bad.all():
            return usable
        parameters, places = parameters.of_some(~bad), places[~bad]
    usable[places] = are_precise(parameters)
    return usable


def stranded(statistics: Statistics, priors: Priors) -> Tensor:
    """Return which runs have a component without rows or weight, (P,)."""
    gone = (priors.weight_mass(statistics.mass) <= 0).any(1)
    lost = lost_components(statistics, priors)
    return gone if lost is None else gone | lost.any(1)


def _assigned(
    problems: Problems, kernel: OwnRows, origins: Origins, assignment: Assignment
) -> tuple[Statistics, Tensor]:
    """Return the statistics of the rows as they begin, and where each component has some, (P,)."""
    if origins.tried:
        assigning = origins.best_tried(problems.unit.device)
        is_plain, statistics = are_precise(assigning), kernel.statistics(assigning, assignment)
    elif problems.known is None:
        assigning = nearest(origins.centres(problems))
        is_plain = are_precise(assigning)  # not where there are no centres
        statistics = kernel.statistics(assigning, winners)
    else:
        is_plain = torch.ones_like(problems.unit, dtype=torch.bool)
        statistics = kernel.of_shares(problems.known)
    return statistics, is_plain & ~stranded(statistics, problems.update.priors)


def _first(problems: Problems, origins: Origins, statistics: Statistics) -> tuple[Parameters, Tensor, Tensor]:
    """Return the first parameters, what regularises each run, and where sums give the variances within components."""
    plain, regularisation = problems.update(statistics), problems.regularisation
    parameters = origins.put_in(problems, plain)
    amount = regularisation.resolve(parameters)
    if origins.covariances is None:
        parameters = origins.put_in(problems, _regularised(problems.update, amount)(statistics))
    return parameters, amount, regularisation.is_resolved(plain, statistics.centre, RESOLUTION)


def _regularised(update: Update, amount: Tensor) -> Update:
    """Return the update that adds amounts to variances, (P, d), or (P,) where there is one scale."""
    return update.regularised(
        amount[:, None] if update.structure.form.one_scale else amount.reshape(len(amount), 1, -1)
    )


def _updated(update: Update, statistics: Statistics, previous: Parameters) -> tuple[Parameters, Tensor]:
    """Return the parameters of statistics, or the previous ones where they are not usable, and where that is, (P,)."""
    parameters = update(statistics, previous.covariances)
    bad = ~are_usable(parameters)
    return (parameters_where(bad, previous, parameters) if bad.any() else parameters), bad


def _evaluated(kernel: OwnRows, update: Update, parameters: Parameters, assignment: Assignment, start: Tensor) -> Runs:
    """Return the runs that have come to parameters, of problems with these numbers (P,)."""
    statistics = kernel.statistics(parameters, assignment)
    objective = (statistics.objective + update.log_prior(parameters)) / statistics.weight
    return Runs(parameters, statistics, objective, start)


def _numbered(values: Tensor) -> Tensor:
    """Return 0, 1, ... for the first dimension of values, on their device."""
    return torch.arange(values.shape[0], device=values.device)


def _ends(ended: list[Ended], objectives: list[tuple[Tensor, Tensor]], count: int) -> Ends:
    """Return the ends in the order of the problems, of which there are so many."""
    runs = joined([each.runs for each in ended])
    order = runs.start.argsort()
    history = runs.objective.new_full((len(objectives), count), torch.nan)
    for row, (places, values) in zip(history, objectives, strict=True):
        row[places] = values
    amount, n_iter, converged = (
        torch.cat([getattr(each, name) for each in ended])[order] for name in ("amount", "n_iter", "converged")
    )
    runs = runs.of_some(order)
    return Ends(runs, amount, history[:, runs.start].T.contiguous(), n_iter, converged)
