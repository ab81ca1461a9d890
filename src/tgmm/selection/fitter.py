"""Fits of cells: to all rows, and to all but a fold of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.model_selection import KFold
from torch import Tensor

from tgmm import settings as checks
from tgmm.covariance import CovarianceCollapse, structure_named
from tgmm.data.batches import Batches, TensorBatches
from tgmm.data.source import Source
from tgmm.gaussian_mixture import GaussianMixture
from tgmm.inputs import Training
from tgmm.start.shared import SharedStarts

SHORT_TOL, SHORT_MAX_ITER = 1e-4, 100


def checked_batches(X: Any, sample_weight: Any, settings: dict[str, Any]) -> Batches:
    """Return the rows of positive weight, or raise a ValueError that says what is wrong with them."""
    return Training.of(GaussianMixture(device=settings["device"]), X, sample_weight, reset=True).batches


class Fitter:
    """Fits cells to the same rows, from starts they share.

    Parameters
    ----------
    X, sample_weight
        What `fit` is given.
    settings : dict
        Parameters of `GaussianMixture`.
    n_init, seed : int
    """

    def __init__(self, X: Any, sample_weight: Any, settings: dict[str, Any], n_init: int, seed: int) -> None:
        self.X, self.weights, self.settings = X, sample_weight, settings
        self.n_init, self.seed = n_init, seed
        self.batches = checked_batches(X, sample_weight, settings)
        # The second kind depends on the units as only the spherical structures may.
        self.starts = [
            SharedStarts(self.batches, isotropic=isotropic, n_kmeans=n_init, seed=seed) for isotropic in (False, True)
        ]

    def fit(self, n_components: int, covariance_type: str) -> GaussianMixture:
        """Return the fitted model of a cell."""
        settings = {"n_components": n_components, "covariance_type": covariance_type, **self.settings}
        if "init_means" in settings:
            return self._run({"n_init": self.n_init, "random_state": self.seed, **settings})
        if n_components > self.batches.n_rows:
            return self._run(settings)  # fit says what is wrong
        return self._run({**settings, "init_means": self._best_start(settings)})

    def _best_start(self, settings: dict[str, Any]) -> Tensor:
        """Return the centres (K, d) from which a short run gets highest."""
        shared = self.starts if structure_named(settings["covariance_type"]).isotropic else self.starts[:1]
        starts = [centres for source in shared for centres in source.centres(settings["n_components"])]
        if len(starts) == 1:
            return starts[0]
        short = {
            **settings,
            "tol": max(settings["tol"], SHORT_TOL),
            "max_iter": min(settings["max_iter"], SHORT_MAX_ITER),
        }
        heights = [self._height({**short, "init_means": centres}) for centres in starts]
        return starts[heights.index(max(heights))]

    def _height(self, settings: dict[str, Any]) -> float:
        """Return the objective that a run reaches; minus infinity where its covariance collapses."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self._run(settings).objective_history_[-1]
            except ValueError as error:
                if not isinstance(error.__cause__, CovarianceCollapse):
                    raise
                return float("-inf")

    def _run(self, settings: dict[str, Any]) -> GaussianMixture:
        return GaussianMixture(**settings).fit(self.X, sample_weight=self.weights)


@dataclass(frozen=True)
class Fold:
    """What is fitted to a part of the rows, and the rest to judge it by."""

    fitter: Fitter
    rest: Any
    weights: Tensor | None
    total_weight: float

    def log_likelihood(self, n_components: int, covariance_type: str) -> float:
        """Return the total log-likelihood of the held-out rows."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit to all rows says the same once
            model = self.fitter.fit(n_components, covariance_type)
        return model.score(self.rest, sample_weight=self.weights) * self.total_weight


def folds_of(whole: Fitter, cv: int) -> list[Fold]:
    """Return the folds of a cross-validation."""
    cv = checks.check_integer(cv, "cv", 2)
    batches, settings = whole.batches, whole.settings
    if cv > batches.n_rows:
        raise ValueError(f"cv={cv} folds need at least as many rows, but X has n_samples={batches.n_rows}: lower cv.")
    folds = []
    for (rows, weights), (rest, rest_weights) in _divided(batches, cv, whole.seed):
        fitter = Fitter(rows, weights, settings, whole.n_init, whole.seed)
        folds.append(Fold(fitter, rest, rest_weights, checked_batches(rest, rest_weights, settings).weight))
    return folds


def _divided(batches: Batches, cv: int, seed: int) -> Iterator[list[tuple[Any, Tensor | None]]]:
    """Yield, for each fold, what is fitted and what is held out, as rows and their weights."""
    if isinstance(batches, TensorBatches):
        for parts in KFold(cv, shuffle=True, random_state=seed).split(range(batches.n_rows)):
            chunks = [batches.take(torch.from_numpy(part).to(batches.device)) for part in parts]
            yield [(rows, None if weights is None else weights.cpu() * batches.unit) for rows, weights, _ in chunks]
        return
    for number in range(cv):
        yield [(FoldSource(batches, cv, number, seed, held_out=held_out), None) for held_out in (False, True)]


class FoldSource(Source):
    """The rows of one fold, or all the others; every row is in a random fold, the same at each reading.

    Parameters
    ----------
    batches : Batches
    cv, number : int
        How many folds there are, and which one this is.
    seed : int
    held_out : bool
        Whether to read the fold or the others.
    """

    def __init__(self, batches: Batches, cv: int, number: int, seed: int, *, held_out: bool) -> None:
        self.batches, self.cv, self.number, self.seed, self.held_out = batches, cv, number, seed, held_out

    def __iter__(self) -> Iterator[Any]:
        """Yield rows, or pairs of rows and weights."""
        generator = torch.Generator().manual_seed(self.seed)
        for rows, weights, _ in self.batches:
            fold = torch.randint(self.cv, (rows.shape[0],), generator=generator)
            kept = ((fold == self.number) == self.held_out).to(rows.device)
            yield rows[kept] if weights is None else (rows[kept], weights[kept])
