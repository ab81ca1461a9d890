"""Which solutions are accidents of a few rows: likelihoods that can be made as large as one likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import Covariances, Structure, separate, structure_named
from tgmm.data.columns import Columns
from tgmm.data.data import Survey
from tgmm.data.summary import DEPENDENT, frame_variance
from tgmm.em.batch import Runs
from tgmm.em.problem import Problem
from tgmm.em.state import RunState
from tgmm.model.frame import Frame
from tgmm.model.priors import Priors
from tgmm.model.regularisation import SINGULAR, floors
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update
from tgmm.runtime.devices import widen
from tgmm.runtime.frozen import kept
from tgmm.runtime.words import agreeing, named
from tgmm.start.sample import drawn_in, start_rows

THIN = 1e-5  # of the data's variance in the same direction, for a component of few rows
FEW = 5  # times the least number of rows
LEAST_SHARED = 2  # rows of a component whose covariance is not its own
RIDGE = 1e-9  # of the frame's units, on every variance in trials
# What rows must have of a variance at least, in units of what regularises it: then that is 2 % of it, 1 % of its root.
OWN = 50.0
RESTING = 1e-6  # or, where less, in units of the variance within components
OWN_IN_TRIALS = 1e-3  # there the ridge is far above the rounding of the rows
ONE_ROW = 0.99  # of a row, for rounding: with a share of less, a component describes none
WHY = "on too few different rows, or on a point, line or plane, where little but reg_covar is left of a variance"
REMEDY = (
    "fit fewer components, choose a simpler covariance_type or give a covariance_prior; "
    "where a variance is meant to be so small, lower reg_covar"
)
NOT_COMPARABLE = "the likelihood is not comparable with that of other fits"
ONE_VALUE = (
    f"there, reg_covar determines the variance, so {NOT_COMPARABLE}. Leave such features out, fit fewer components or "
    "give a covariance_prior"
)


@dataclass(frozen=True)
class Guard:
    """Tells solutions with a component on next to no rows, or next to no variance in some direction.

    Of one component alone only the variance can tell. A prior of the covariances keeps the objective bounded, and then
    nothing is degenerate. Features that do not vary beside the others in all rows tell nothing either.

    Parameters
    ----------
    look : callable
        Returns the different rows that starts look at, in the frame, (m, d), and their weights, (m,).
    structure : Structure
    priors : Priors
    rows_per_row : float
        How many rows of the data each of these stands for, per unit of weight.
    own : float
        What rows are to have of a variance at least, in units of what regularises it.
    fixed : Tensor of bool, (K,), optional
        Components whose covariances are given.
    """

    look: Callable[[], tuple[Tensor, Tensor]]
    structure: Structure
    priors: Priors
    rows_per_row: float
    own: float = OWN_IN_TRIALS
    fixed: Tensor | None = None

    @classmethod
    def of(cls, problem: Problem) -> Guard:
        """Return what tells such solutions of a problem, by the rows that starts look at."""

        def look() -> tuple[Tensor, Tensor]:
            rows, weights = problem.start_rows
            return drawn_in(widen(rows).cpu()), widen(weights).cpu()

        rows_per_row = problem.data.n_rows / problem.sample.rows.shape[0] / float(problem.summary.weight)
        own = own_share(problem.regularisation.reg_covar)
        fixed = None if problem.update.held is None else problem.update.held.covariances.cpu()
        return cls(look, problem.structure, problem.update.priors, rows_per_row, own, fixed)

    @kept
    def seen(self) -> tuple[Tensor, Tensor]:
        """The different rows and their weights."""
        return self.look()

    @kept
    def whole(self) -> Covariances:
        """The covariance of all rows, in the form of the components', as that of one."""
        return whole_of(*self.seen, self.structure)

    @kept
    def rows_per_weight(self) -> float:
        """How many different rows a unit of weight is."""
        return self.seen[0].shape[0] * self.rows_per_row

    def degenerate(self, runs: Runs, amount: Tensor | None = None) -> Tensor:
        """Return which of the runs are at such a solution, (R,); amount is what regularises them, that of trials.

        Those of trials, which are asked for again and again, keep the answer.
        """
        if amount is not None:
            return self.bad(runs, amount).any(-1)
        judge, verdict = vars(runs).get("judged", (None, None))
        if judge is not self or verdict is None:
            verdict = self.bad(runs).any(-1)
            vars(runs)["judged"] = self, verdict
        return verdict

    def bad(self, runs: Runs, amount: Tensor | None = None) -> Tensor:
        """Return which components of the runs make their solutions degenerate, (R, K)."""
        weights, covariances = runs.parameters.weights, runs.parameters.covariances
        if self.priors.covariance is not None:
            return torch.zeros_like(weights, dtype=torch.bool)
        least, n_rows = _least_rows(covariances), self._n_rows(runs)  # (R, K)
        bad = n_rows < least
        if (doubtful := self._may_be_thin(covariances, amount)).any():
            some = covariances.of_some(doubtful)  # (N,)
            bad = bad | torch.zeros_like(doubtful).masked_scatter(doubtful, self._resting(some, amount))
            few = doubtful & (n_rows < FEW * least)
            if few.any() and (dims := self.varying(amount)).numel():
                thin = some.restrict(dims).thinness(self.whole.restrict(dims)) < THIN  # (N,)
                bad = bad | (few & torch.zeros_like(doubtful).masked_scatter(doubtful, thin))
        if self.fixed is not None:
            bad = bad & ~self.fixed
        return bad & (weights > 0)  # a prior can leave a component without any

    def _n_rows(self, runs: Runs) -> Tensor:
        """Return how many different rows each component has, (R, K); of one alone that tells nothing."""
        mass = runs.statistics.mass
        return mass * self.rows_per_weight if mass.shape[-1] > 1 else torch.full_like(mass, torch.inf)

    def _may_be_thin(self, covariances: Covariances, amount: Tensor | None) -> Tensor:
        """Return which covariances are not by far too large for thin ones, or for those at rest, (R, B).

        With D the variances of all rows, whose covariance is at most d D, and P a precision, the smallest variance in
        any direction is at least 1 / |D^1/2 P D^1/2| of that of D: whatever the features, and more than what
        regularises where that is less of each of D.
        """
        whole = self.whole.variances  # (1, d)
        amount = torch.tensor(RIDGE, dtype=whole.dtype) if amount is None else amount
        floor = ((amount + SINGULAR * whole.shape[-1] * covariances.variances) / whole).amax(-1)  # (R, B)
        least = ((1 + self.own) * floor).clamp(min=whole.shape[-1] * THIN)
        return ~(least * covariances.factor.amplification(whole) < 1)

    def heights(self, runs: Runs) -> Tensor:
        """Return the objectives by which runs are compared, (R,): those of degenerate ones are below all others."""
        depth = 1 + runs.objective.amax() - runs.objective.amin()
        return torch.where(self.degenerate(runs), runs.objective - depth, runs.objective)

    def varying(self, amount: Tensor | None = None) -> Tensor:
        """Return the features that vary in all rows, besides what those before them tell of them, as indices."""
        return self.whole.independent(self._least(amount))

    def _alone_varying(self, amount: Tensor | None) -> Tensor:
        """Return the features that vary in all rows, whatever others tell of them, as indices."""
        return (self.whole.variances[0] > self._least(amount)).nonzero().flatten()

    def _least(self, amount: Tensor | None) -> Tensor:
        """Return the variance in all rows from which on each feature varies, (d,)."""
        return self.own * _floors(self.whole, amount)[0]

    @property
    def _tells_dependence(self) -> bool:
        """Whether there are rows enough to tell that a feature depends on others."""
        return self.seen[0].shape[0] > self.whole.n_features

    def notes(self, run: RunState, columns: Columns) -> list[str]:
        """Return what the user should know of a run that ends at such a solution."""
        runs, amount = Runs.of(run), run.regularisation.cpu()
        covariances = runs.parameters.covariances
        if bool(are_sound(covariances, self._n_rows(runs), amount, self.own)):
            return []
        notes = []
        rests = _rest(covariances, _floors(covariances, amount), 1 + self.own).any()
        if rests and (dependent := self._dependent(amount)):
            what = agreeing(len(dependent), "is a linear function", "are linear functions")
            notes.append(f"{columns.said(dependent)} {what} of others: variances are determined by reg_covar")
        bad = self.bad(runs, amount)[0].nonzero().flatten().tolist()
        discrete = {k: features for k in bad if (features := self._of_one_value(runs, amount, k))}
        others = [k for k in bad if k not in discrete]
        if discrete:
            features = sorted(set().union(*discrete.values()))
            have = agreeing(len(features), "has", "each have")
            where = "every component" if covariances.shared else named("component", [*discrete])
            where = f"one or more of {where}" if len(discrete) > 1 and not covariances.shared else where
            notes.append(f"{columns.said(features)} {have} one value in all rows of {where}: {ONE_VALUE}")
        if others:
            is_common = covariances.shared and self._resting(covariances, amount).any()
            some = f"{named('component', others)} {agreeing(len(others), 'is', 'are')}"
            whose = "the covariance that all components share is" if is_common else some
            notes.append(f"{whose} degenerate ({WHY}), so {NOT_COMPARABLE}: {REMEDY}")
        return notes

    def _of_one_value(self, runs: Runs, amount: Tensor, component: int) -> list[int]:
        """Return the features that have one value in a bad component, if nothing else is the matter with it."""
        whole, covariances = self.whole, runs.parameters.covariances.of_some(0)
        own = covariances.take([component])  # (1, ...)
        floor = (1 + self.own) * _floors(own, amount)[0]  # (d,)
        has_one = (own.variances[0] <= floor) & (whole.variances[0] > floor)
        dims = self.varying(amount)
        dims = dims[~has_one[dims]]
        if not (has_one.any() and dims.numel()):
            return []
        n_rows, least = float(runs.statistics.mass[0, component] * self.rows_per_weight), _least_rows(covariances)
        own = own.restrict(dims)
        is_thin = n_rows < FEW * least and bool(own.thinness(whole.restrict(dims)) < THIN)
        rests = bool(_rest(own, _floors(own, amount.expand(has_one.shape)[dims]), 1 + self.own))
        return [] if n_rows < least or is_thin or rests else has_one.nonzero().flatten().tolist()

    def _dependent(self, amount: Tensor) -> list[int]:
        """Return the features that vary, but not besides others; none where rows are too few to tell."""
        if not self._tells_dependence:
            return []
        dims = set(self.varying(amount).tolist())
        return [j for j in self._alone_varying(amount).tolist() if j not in dims]

    def _resting(self, covariances: Covariances, amount: Tensor | None) -> Tensor:
        """Return which covariances rest on what regularises them in some direction, (R, B).

        There, next to nothing of the variance is that of rows, and the likelihood can be made as large as one likes.
        """
        floor = _floors(covariances, amount)
        resting = _rest(covariances, floor, 1 + self.own)
        if not resting.any():
            return resting
        dims = (self.varying if self._tells_dependence else self._alone_varying)(amount)
        if not dims.numel():
            return torch.zeros_like(resting)
        return _rest(covariances.restrict(dims), floor[..., dims], 1 + self.own)


def notes_of_empty(run: RunState, priors: Priors, n_rows: int) -> list[str]:
    """Return what the user should know of components of a run that have a share of less than one of the rows.

    Priors can keep them where they are. In posteriors, and with Dirichlet priors below 1, they may be meant.
    Of those with some weight, and without a prior of the covariances, a `Guard` tells.
    """
    parameters, statistics = run.parameters, run.point.statistics
    empty = statistics.mass * (n_rows / statistics.weight) < ONE_ROW  # (K,)
    if priors.covariance is None:
        empty &= parameters.weights <= 0
    if priors.concentration is not None:
        empty &= priors.concentration >= 1
    indices = empty.nonzero().flatten().tolist()
    if not indices or parameters.posterior is not None:
        return []
    return [
        f"{named('component', indices)} {agreeing(len(indices), 'has', 'have')} a share of less than one row, which "
        f"leaves {len(empty) - len(indices)} of {len(empty)} to describe the data: fit fewer components, or give "
        "another start or weaker priors"
    ]


def own_share(reg_covar: float) -> float:
    """Return what rows are to have of a variance at least, in units of what regularises it."""
    return min(OWN, RESTING / reg_covar) if reg_covar > 0 else 0.0


def are_sound(covariances: Covariances, n_rows: Tensor, amount: Tensor, own: float) -> Tensor:
    """Return which mixtures have a component neither on few rows nor at rest on what regularises, (P,).

    Of these a guard has nothing to say; of others it may.

    Parameters
    ----------
    covariances : Covariances
        (P, B, ...).
    n_rows : Tensor of shape (P, K)
        How many different rows each component has.
    amount : Tensor of shape (P, 1, d) or (P, 1, 1)
        What regularises each.
    own : float
        What rows are to have of a variance at least, in units of that.
    """
    resting = _rest(covariances, floors(amount, covariances.variances), 1 + own).any(-1)
    if n_rows.shape[1] == 1:
        return ~resting
    least = LEAST_SHARED if covariances.shared else covariances.least_rows()
    return ~resting & (n_rows >= FEW * least).all(-1)


def dependent_features(survey: Survey) -> list[int]:
    """Return the features that are constant or linear functions of those before them, to working precision.

    None where no feature varies, or where rows are too few to tell.
    """
    summary, full = survey.summary, structure_named("full")
    variance = frame_variance(summary, survey.sample, torch.float64)
    frame = Frame.of(summary.origin, variance, torch.float64, one_scale=False)
    sample = survey.sample
    if summary.n_gaps:
        sample = sample.part(~torch.isnan(sample.rows).any(1))
        if sample.rows.shape[0] <= sample.rows.shape[1]:
            return []
    rows, weights = start_rows(sample, frame, torch.float64)
    n_features = rows.shape[1]
    varying = whole_of(drawn_in(rows), weights, full).independent(torch.full_like(rows[0], DEPENDENT)).tolist()
    if not varying or rows.shape[0] <= n_features:
        return []
    return [j for j in range(n_features) if j not in varying]


def whole_of(rows: Tensor, weights: Tensor, structure: Structure) -> Covariances:
    """Return the covariance of all rows (m, d) in the frame, in the form of the components', as that of one."""
    own, weight = separate(structure), weights.sum()
    nothing = torch.zeros_like(weight)
    mean = weights @ rows / weight
    rows = rows - mean
    statistics = Statistics(
        mass=weight[None],
        first=(weights @ rows)[None],
        second=own.moment.weighted_sum(rows, weights)[None],
        log_likelihood=nothing,
        objective=nothing,
        weight=weight,
        centre=torch.zeros_like(rows[:1]),
    )
    return Update(own, Priors())(statistics).covariances


def _least_rows(covariances: Covariances) -> int:
    """Return how many rows of a component tell something of its covariance."""
    return LEAST_SHARED if covariances.shared else covariances.least_rows()


def _floors(covariances: Covariances, amount: Tensor | None) -> Tensor:
    """Return what regularises the variances of covariances (..., B, ...), (..., B, d)."""
    variances = covariances.variances
    amount = torch.tensor(RIDGE, dtype=variances.dtype) if amount is None else amount
    return floors(amount.expand(variances.shape[-1:]), variances)


def _rest(covariances: Covariances, floor: Tensor, most: float) -> Tensor:
    """Return which covariances are at most so many times a floor (..., B, d) in some direction, (..., B)."""
    none = torch.zeros_like(floor[..., 0], dtype=torch.bool)
    if not (floor > 0).all():  # nothing regularises
        return none
    if (most * covariances.factor.amplification(floor) < 1).all():  # which bounds what the smallest variance is part of
        return none
    nothing = covariances.over(torch.full_like(floor[..., 0], torch.inf))
    return covariances.thinness(nothing.plus(floor[..., 0] if covariances.one_scale else floor)) <= most
