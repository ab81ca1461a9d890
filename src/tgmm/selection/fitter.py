"""Fits of cells: to all rows, and to all but a fold of them. All cells share one look at the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from sklearn.model_selection import KFold
from torch import Tensor

from tgmm.covariance import CovarianceCollapse
from tgmm.data.columns import Columns
from tgmm.data.data import Data
from tgmm.data.reservoir import Sampling
from tgmm.data.source import Source
from tgmm.data.training import Training
from tgmm.em.fit import Fit, NoJournal
from tgmm.em.problem import Problem
from tgmm.em.run import Stopping
from tgmm.em.solution import Solution
from tgmm.em.start import Origin
from tgmm.em.state import RunState
from tgmm.estimators.fitting import posed
from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.estimators.settings import Settings
from tgmm.mixture.evaluation import criteria
from tgmm.runtime.checks import check_integer
from tgmm.runtime.generators import as_generator
from tgmm.runtime.progress import Reporter
from tgmm.start.sample import sample_size
from tgmm.start.shared import SharedStarts

SHORT_TOL, SHORT_MAX_ITER = 1e-4, 100


@dataclass(frozen=True)
class Fitted:
    """A cell's fit."""

    solution: Solution
    given: dict[str, Any]  # the settings that it can be repeated with

    def model(self) -> GaussianMixture:
        """Return the fit as an estimator."""
        return fitted_as(self.solution, self.given)


class Fitter:
    """Fits cells to the same rows, from starts they share.

    Parameters
    ----------
    X, sample_weight
        What `fit` is given.
    given : dict
        Parameters of `GaussianMixture`.
    counts : sequence of int
        The numbers of components of all cells.
    n_init, seed : int
    """

    def __init__(
        self, X: Any, sample_weight: Any, given: dict[str, Any], counts: Sequence[int], n_init: int, seed: int
    ) -> None:
        self.given, self.counts, self.n_init, self.seed = given, counts, n_init, seed
        columns = Columns(None, None, GaussianMixture.__name__)
        sampling = Sampling(lambda n_features: sample_size(max(counts), n_features), seed)
        self.training = Training.of(
            X, sample_weight, columns, sampling, device=given["device"], verbose=bool(given.get("verbose"))
        )
        # The second kind depends on the units as only structures with one scale may.
        self.starts = [
            SharedStarts(self.training.survey, one_scale=one_scale, n_kmeans=n_init, seed=seed)
            for one_scale in (False, True)
        ]

    @property
    def data(self) -> Data:
        """The rows of positive weight."""
        return self.training.data

    def fit(self, n_components: int, covariance_type: str) -> Fitted:
        """Return the fit of a cell."""
        given = {"n_components": n_components, "covariance_type": covariance_type, **self.given}
        if "init_means" in given:
            given = {"n_init": self.n_init, "random_state": self.seed, **given}
        settings = Settings.of(GaussianMixture(**given).get_params(deep=False))
        settings.check_features(self.data.n_features)
        problem = posed(settings, self.training)
        with Reporter(settings.verbose, settings.verbose_interval) as progress:
            if "init_means" in given:
                fit = _fit(problem, settings, settings.origin(problem, None, None))
                run = fit.best_run(NoJournal(), progress)
            else:
                run, centres = self._from_shared_starts(problem, settings, progress)
                given["init_means"] = centres
        solution = Solution.of_run(run, problem, self.training.columns, problem.degeneracies())
        return Fitted(solution, given)

    def _from_shared_starts(self, problem: Problem, settings: Settings, progress: Reporter) -> tuple[RunState, Tensor]:
        """Return the run that is highest after a short while, at its end, and the centres (K, d) it began from."""
        shared = self.starts if problem.structure.one_scale else self.starts[:1]
        starts = [centres for source in shared for centres in source.centres(problem.n_components)]
        stopping = settings.policy.stopping
        short = Stopping(max(stopping.tol, SHORT_TOL), min(stopping.max_iter, SHORT_MAX_ITER))
        fits = [_fit(problem, settings, _origin(settings, problem, centres)) for centres in starts]
        runs = {i: _short_run(fit, short) for i, fit in enumerate(fits)} if len(fits) > 1 else {}
        reached = {i: run for i, run in runs.items() if run is not None}
        if not reached:  # there is one start, or the covariances of all collapse
            return fits[0].best_run(NoJournal(), progress), starts[0]
        best = max(reached, key=lambda i: reached[i].objective)
        return fits[best].followed(_going_on(reached[best], stopping), progress), starts[best]


def _fit(problem: Problem, settings: Settings, origin: Origin) -> Fit:
    return Fit(problem, origin, settings.policy, as_generator(settings.given["random_state"]))


def _origin(settings: Settings, problem: Problem, centres: Tensor) -> Origin:
    """Return the origin of runs from these centres (K, d)."""
    return replace(settings, given={**settings.given, "init_means": centres}).origin(problem, None, None)


def _short_run(fit: Fit, stopping: Stopping) -> RunState | None:
    """Return where a short run ends, or None where its covariance collapses."""
    try:
        return fit.runner.finished(fit.begun(), stopping)
    except CovarianceCollapse:
        return None


def _going_on(run: RunState, stopping: Stopping) -> RunState:
    """Return a run that has stopped early as one that goes on, unless it would have stopped there anyway."""
    if not run.converged:
        return run
    return replace(run, converged=stopping.converged(run.history[-1] - run.history[-2]))


@dataclass(frozen=True)
class Fold:
    """What is fitted to a part of the rows, and the rest to judge it by."""

    fitter: Fitter
    rest: Any
    weights: Tensor | None

    def log_likelihood(self, n_components: int, covariance_type: str) -> float:
        """Return the total log-likelihood of the held-out rows."""
        mixture = self.fitter.fit(n_components, covariance_type).solution.mixture
        return criteria(mixture, self.rest, self.weights).log_likelihood


def folds_of(whole: Fitter, cv: int) -> list[Fold]:
    """Return the folds of a cross-validation."""
    cv = check_integer(cv, "cv", 2)
    if cv > whole.data.n_rows:
        raise ValueError(
            f"cv={cv} folds need at least as many rows, but X has n_samples={whole.data.n_rows}: lower cv."
        )
    return [
        Fold(Fitter(rows, weights, whole.given, whole.counts, whole.n_init, whole.seed), rest, rest_weights)
        for (rows, weights), (rest, rest_weights) in _divided(whole.data, cv, whole.seed)
    ]


def _divided(data: Data, cv: int, seed: int) -> Iterator[list[tuple[Any, Tensor | None]]]:
    """Yield, for each fold, what is fitted and what is held out, as rows and their weights."""
    if data.in_memory is not None:
        for parts in KFold(cv, shuffle=True, random_state=seed).split(range(data.n_rows)):
            chunks = [data.take(torch.from_numpy(part)) for part in parts]
            yield [(chunk.rows, None if chunk.weights is None else chunk.weights.cpu()) for chunk in chunks]
        return
    for number in range(cv):
        yield [(FoldSource(data, cv, number, seed, held_out=held_out), None) for held_out in (False, True)]


class FoldSource(Source):
    """The rows of one fold, or all the others; every row is in a random fold, the same at each reading.

    Parameters
    ----------
    data : Data
    cv, number : int
        How many folds there are, and which one this is.
    seed : int
    held_out : bool
        Whether to read the fold or the others.
    """

    def __init__(self, data: Data, cv: int, number: int, seed: int, *, held_out: bool) -> None:
        self.data, self.cv, self.number, self.seed, self.held_out = data, cv, number, seed, held_out

    def __iter__(self) -> Iterator[Any]:
        """Yield rows, or pairs of rows and weights."""
        generator = torch.Generator().manual_seed(self.seed)
        for chunk in self.data:
            fold = torch.randint(self.cv, (chunk.rows.shape[0],), generator=generator)
            kept = chunk.part(((fold == self.number) == self.held_out).to(chunk.rows.device))
            yield kept.rows if kept.weights is None else (kept.rows, kept.weights)
