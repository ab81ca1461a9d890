"""Which solutions are accidents of a few rows: likelihoods that can be made as large as one likes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Covariances, Structure, separate
from tgmm.em.batch import Runs
from tgmm.em.problem import Problem
from tgmm.em.state import RunState
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update
from tgmm.runtime.devices import widen

THIN = 1e-5  # of the data's variance in the same direction, for a component of few rows
TIED = 1e-7  # of it, however many there are: rows with equal values
FEW = 5  # times the least number of rows
LEAST_SHARED = 2  # rows of a component whose covariance is not its own
RIDGE = 1e-9  # of the frame's units, on every variance
RESTING = 1e-6  # of the variance within components: what is left of a variance that rests on what regularises it


@dataclass(frozen=True)
class Guard:
    """Tells solutions with a component on next to no rows, or next to no variance in some direction.

    A prior of the covariances keeps the objective bounded, and then nothing is degenerate.

    Parameters
    ----------
    whole : Covariances
        Of all rows, in the form of the components'.
    rows_per_weight : float
        How many different rows a unit of weight is.
    priors : Priors
    """

    whole: Covariances
    rows_per_weight: float
    priors: Priors

    @classmethod
    def of(cls, problem: Problem) -> Guard:
        """Return what tells such solutions of a problem, by the rows that starts look at."""
        rows, weights = (widen(part).cpu() for part in problem.start_rows)
        share = rows.shape[0] / problem.sample.rows.shape[0]  # that are different
        rows_per_weight = share * problem.data.n_rows / float(problem.summary.weight)
        return cls(whole_of(rows, weights, problem.structure), rows_per_weight, problem.update.priors)

    def degenerate(self, runs: Runs) -> Tensor:
        """Return which of the runs are at such a solution, (R,)."""
        if self.priors.covariance is not None:
            return torch.zeros_like(runs.objective, dtype=torch.bool)
        covariances = runs.parameters.covariances
        least = LEAST_SHARED if covariances.shared else covariances.least_rows(covariances.n_features)
        n_rows = runs.statistics.mass * self.rows_per_weight  # (R, K)
        thinness = covariances.thinness(self.whole)  # (R, B)
        thin = (thinness < TIED) | ((thinness < THIN) & (n_rows < FEW * least))
        used = runs.parameters.weights > 0  # a prior can leave a component without any
        return (((n_rows < least) | thin) & used).any(-1)

    def heights(self, runs: Runs) -> Tensor:
        """Return the objectives by which runs are compared, (R,): those of degenerate ones are below all others."""
        depth = 1 + runs.objective.amax() - runs.objective.amin()
        return torch.where(self.degenerate(runs), runs.objective - depth, runs.objective)


def whole_of(rows: Tensor, weights: Tensor, structure: Structure) -> Covariances:
    """Return the covariance of all rows (m, d) in the frame, in the form of the components', as that of one."""
    own, weight = separate(structure), weights.sum()
    nothing = torch.zeros_like(weight)
    statistics = Statistics(
        mass=weight[None],
        first=(weights @ rows)[None],
        second=own.moment.weighted_sum(rows, weights)[None],
        log_likelihood=nothing,
        objective=nothing,
        weight=weight,
        centre=torch.zeros_like(rows[:1]),
    )
    return Update(own, Priors(), torch.full_like(weight, RIDGE))(statistics).covariances


def is_degenerate(run: RunState, problem: Problem, guard: Guard) -> bool:
    """Whether a run is at a degenerate solution."""
    return bool(guard.degenerate(Runs.of(run))) or resting(run, problem) is not None


def resting(run: RunState, problem: Problem) -> Tensor | None:
    """Return which covariances rest on what regularises them in some direction, (B,), or None where none does.

    There, next to nothing of the variance is that of rows, and the likelihood can be made as large as one likes.
    """
    covariances, reg_covar = run.parameters.covariances, problem.regularisation.reg_covar
    amount = run.regularisation.expand(covariances.n_features)
    if not (amount > 0).all():
        return None
    most = 1 + min(1.0, RESTING / reg_covar)  # in units of what regularises
    unit = torch.ones_like(amount[0] if covariances.one_scale else amount)
    try:
        _ = covariances.rescale(amount.rsqrt()).plus(-most * unit).factor
    except CovarianceCollapse as collapse:
        return collapse.bad
    return None


def note_of(run: RunState, problem: Problem) -> list[str]:
    """Return what the user should know of components whose variance is not that of rows."""
    bad = resting(run, problem)
    if bad is None:
        return []
    shared = run.parameters.covariances.shared
    whose = "the covariance that all components share" if shared else f"component(s) {bad.nonzero().flatten().tolist()}"
    return [
        f"{whose} rest(s) on reg_covar in some direction (too few different rows, or rows on a line or plane), so that "
        "the likelihood says little: fit fewer components, or give a covariance_prior"
    ]
