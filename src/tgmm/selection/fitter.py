"""Fits of cells, which share one look at the rows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tgmm.data.columns import Columns
from tgmm.data.data import Data
from tgmm.data.reservoir import Sampling
from tgmm.data.source import Source, require_order
from tgmm.data.training import Training
from tgmm.em.abreast import Search, abreast
from tgmm.em.degeneracy import dependent_features
from tgmm.em.fit import Fit
from tgmm.em.problem import Problem
from tgmm.em.solution import Solution
from tgmm.em.start import Trial
from tgmm.em.starts import MOST_COMPONENTS, search, tried_update, views_of
from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.estimators.settings import Settings
from tgmm.estimators.special import label_numbers, noise_of, special_of
from tgmm.runtime.checks import check_flag
from tgmm.runtime.faults import FAULTS
from tgmm.runtime.generators import drawn_seed
from tgmm.runtime.progress import Reporter
from tgmm.start.sample import sample_size
from tgmm.start.views import Views

CellKey = tuple[int, str, int | None]  # the numbers of components and factors of a cell, and its structure between them
# Settings of a fit that have values for each feature, or that mean something else where some are left out.
BY_FEATURE = ("mean_prior", "covariance_prior", "init_means", "init_covariances", "noise_volume")


@dataclass(frozen=True)
class Fitted:
    """A cell's fit."""

    solution: Solution
    given: dict[str, Any]  # the settings that it can be repeated with
    is_degenerate: bool

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
    labels : array-like, optional
        What is known of the components of rows, as `fit` is given it.
    """

    def __init__(
        self,
        X: Any,
        sample_weight: Any,
        given: dict[str, Any],
        counts: Sequence[int],
        n_init: int,
        seed: int,
        labels: Any = None,
    ) -> None:
        self.given, self.counts, self.n_init, self.seed = given, counts, n_init, seed
        self.settings = _settings_of(given)  # those that cells have in common
        columns = Columns(None, None, GaussianMixture.__name__, may_lack=self.settings.may_lack)
        sampling = Sampling(lambda n_features: sample_size(max(counts), n_features), seed)
        self.training = Training.of(
            X, sample_weight, columns, sampling, device=given["device"], verbose=bool(given.get("verbose"))
        )
        self.labels = None if labels is None else self._checked(labels)
        self._tried: dict[Hashable, list[Trial] | None] = {}  # what trials have found, by mixture
        self._fitted: dict[Hashable, Fitted] = {}  # the first of several cells that are one mixture
        self._views: dict[bool, Views] = {}
        self._problems: dict[bool, Problem] = {}  # the first of each unit of features, with what starts see

    @property
    def data(self) -> Data:
        """The rows of positive weight."""
        return self.training.data

    def _checked(self, labels: Any) -> Tensor:
        """Return labels as numbers, or raise an error that no number of components would mend."""
        if self.training.source is not None:
            require_order(self.training.source, "labels")
        numbers = label_numbers(labels)
        if numbers.ndim not in (1, 2) or len(numbers) != self.data.n_given:
            raise ValueError(
                f"labels must have an entry for each of the {self.data.n_given} rows; got shape {tuple(numbers.shape)}."
            )
        return numbers

    def restricted(self, dims: list[int]) -> Fitter:
        """Return what fits cells to some of the features alone."""
        rows: Any = FeatureSource(self.data, dims) if self.data.in_memory is None else self.data.in_memory[:, dims]
        weights = None if self.data.in_memory is None else self.data.take(torch.arange(self.data.n_rows)).weights
        given = {**self.given_for(slice(None)), "n_features": None}
        weights = None if weights is None else weights.cpu()
        labels = None
        if self.labels is not None:  # those of the rows that have a weight
            known = [chunk.known for chunk in self.data.knowing(self.labels)]
            labels = torch.cat([each for each in known if each is not None])
        fitter = Fitter(rows, weights, given, self.counts, self.n_init, self.seed, labels)
        names = self.training.columns.names or [str(j) for j in range(self.data.n_features)]
        columns = replace(fitter.training.columns, names=tuple(names[j] for j in dims))
        fitter.training = replace(fitter.training, columns=columns)  # so that notes call them as the user does
        return fitter

    @cached_property
    def noise(self) -> Tensor | None:
        """Which rows begin as noise, (n,) on the CPU, where that is said of each; an error where noise cannot be."""
        if not check_flag(self.settings.given["noise"], "noise"):
            return None
        is_noise = noise_of(self.settings, self.training).is_noise
        return None if is_noise is None else is_noise.cpu()

    def given_for(self, places: Any) -> dict[str, Any]:
        """Return the parameters for the rows in these places: of those with a value for each row, that of these.

        Of rows that all begin as noise, or none, only the share is said.
        """
        if self.noise is None:
            return self.given
        own = self.noise[places]
        is_mixed = 0 < int(own.sum()) < len(own)
        return {**self.given, "noise_init": own if is_mixed else float(self.noise.double().mean())}

    def dependent(self) -> list[int]:
        """Return the features that are constant or linear functions of those before them, to working precision.

        None where rows are too few to tell, where no feature varies, or where settings are given feature by feature.
        """
        by_feature = (self.given.get(name) for name in BY_FEATURE)
        if not all(value is None or isinstance(value, str) for value in by_feature):
            return []
        return dependent_features(self.training.survey)

    def prepare(self, cells: Iterable[CellKey]) -> None:
        """Make the trials of cells that are to be fitted, side by side: each as if it were alone, up to rounding.

        Cells that are the same mixture, as those of one feature are, share them. What goes wrong with a cell is seen
        when it is fitted.
        """
        searches: dict[Hashable, Search[list[Trial]]] = {}
        for cell in cells:
            try:
                fit = self._posed(cell)[0]
            except FAULTS:
                continue
            found = search(fit.problem, fit.origin, fit.policy.n_init, fit.seed, fit.policy.assignment)
            if found is not None:
                searches.setdefault(_mixture_of(fit.problem), found)
        self._tried |= zip(searches, abreast(list(searches.values())), strict=True)

    def fit(self, n_components: int, covariance_type: str, n_factors: int | None = None) -> Fitted:
        """Return the fit of a cell."""
        fit, settings, given = self._posed((n_components, covariance_type, n_factors))
        problem, mixture = fit.problem, _mixture_of(fit.problem)
        which = mixture, problem.structure.shared  # which decides what is kept of the sums, to go on from
        known = self._fitted.get(which)
        if known is not None:
            return Fitted(known.solution.in_form_of(problem.structure), given, known.is_degenerate)
        fit = replace(fit, origin=replace(fit.origin, tried=self._tried.get(mixture)))
        with Reporter(settings.verbose, settings.verbose_interval) as progress:
            solution, is_degenerate = fit.solved(progress)
        found = Fitted(solution, given, is_degenerate)
        if self.data.n_features == 1:
            self._fitted[which] = found
        return found

    def _posed(self, cell: CellKey) -> tuple[Fit, Settings, dict[str, Any]]:
        """Return the fit of a cell before it begins, and its settings, as they are and as they were given."""
        n_components, covariance_type, n_factors = cell
        given: dict[str, Any] = {"n_components": n_components, "covariance_type": covariance_type}
        given |= {"n_factors": n_factors, "n_init": self.n_init, "random_state": self.seed, **self.given}
        settings = _settings_of(given)
        settings.check_features(self.training.columns)
        special = special_of(settings, self.training, self.labels, None)
        update = settings.update(self.training, special)
        problem = Problem.of(self.training, update, n_components, settings.reg_covar, special=special)
        problem = problem.seeing(self._problems.setdefault(problem.structure.one_scale, problem))
        origin = settings.origin(problem, None, None)
        if origin.has_trials and n_components > 1 and problem.noise is None:
            origin = replace(origin, views=self._views_of(problem))
        fit = Fit(problem, origin, settings.policy, drawn_seed(settings.given["random_state"]))
        return fit, settings, given

    def _views_of(self, problem: Problem) -> Views:
        """Return what trials see of the rows: the same for all cells whose frames have the same units."""
        one_scale = problem.structure.one_scale
        if one_scale not in self._views:
            most = min(max(self.counts), MOST_COMPONENTS)
            self._views[one_scale] = views_of(problem, most, self.seed)
        return self._views[one_scale]


def _settings_of(given: dict[str, Any]) -> Settings:
    """Return the settings that parameters of `GaussianMixture` are."""
    return Settings.of(GaussianMixture(**given).get_params(deep=False))


def _mixture_of(problem: Problem) -> Hashable:
    """Return what cells have in common that are one mixture in the same units, as types of one feature are."""
    units = (*problem.frame.shift.tolist(), *problem.frame.scale.tolist())
    return problem.n_components, tried_update(problem.update, problem.data.n_features).structure, units


class FeatureSource(Source):
    """Some of the features of rows.

    Parameters
    ----------
    data : Data
    dims : list of int
    """

    keeps_batches = True

    def __init__(self, data: Data, dims: list[int]) -> None:
        self.data, self.dims = data, dims

    def __iter__(self) -> Iterator[Any]:
        """Yield rows, or pairs of rows and weights."""
        for chunk in self.data:
            rows = chunk.rows[:, self.dims]
            yield rows if chunk.weights is None else (rows, chunk.weights)
