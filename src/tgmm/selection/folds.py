"""Cross-validation: fits of cells to all rows but a fold of them, which then judges these."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.data.data import Data
from tgmm.data.source import Source
from tgmm.mixture.evaluation import criteria
from tgmm.runtime.checks import check_integer
from tgmm.selection.fitter import Fitter


@dataclass(frozen=True)
class Fold:
    """What is fitted to a part of the rows, and the rest to judge it by."""

    fitter: Fitter
    rest: Any
    weights: Tensor | None

    def log_likelihood(self, n_components: int, covariance_type: str, n_factors: int | None = None) -> float:
        """Return the total log-likelihood of the held-out rows."""
        mixture = self.fitter.fit(n_components, covariance_type, n_factors).solution.mixture
        return criteria(mixture, self.rest, self.weights).log_likelihood


def folds_of(whole: Fitter, cv: int) -> list[Fold]:
    """Return the folds of a cross-validation."""
    cv = check_integer(cv, "cv", 2)
    if cv > whole.data.n_rows:
        raise ValueError(
            f"cv={cv} folds need at least as many rows, but X has n_samples={whole.data.n_rows}: lower cv."
        )
    source = whole.training.source
    if source is not None and not source.in_order:
        raise ValueError(
            'criterion="held_out" identifies rows by their positions, but X does not promise to yield its '
            "rows in the same order each time (a loader that shuffles, for example): read the rows in order "
            "(shuffle=False), or choose another criterion."
        )
    return list(_folds(whole, cv))


def _folds(whole: Fitter, cv: int) -> Iterator[Fold]:
    data, rest = whole.data, (whole.counts, whole.n_init, whole.seed)
    if data.in_memory is None:
        for number in range(cv):
            own, others = (FoldSource(data, cv, number, whole.seed, held_out=held_out) for held_out in (True, False))
            yield Fold(Fitter(others, None, whole.given, *rest), own, None)
        return
    from sklearn.model_selection import KFold

    for others, own in KFold(cv, shuffle=True, random_state=whole.seed).split(range(data.n_rows)):
        (rows, weights), held_out = (_taken(data, places) for places in (others, own))
        yield Fold(Fitter(rows, weights, whole.given_for(others), *rest), *held_out)


def _taken(data: Data, places: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """Return some of the rows and their weights."""
    chunk = data.take(torch.from_numpy(places))
    return chunk.rows, None if chunk.weights is None else chunk.weights.cpu()


class FoldSource(Source):
    """The rows of one fold, or all the others; every row is in a random fold, the same at each reading.

    Of as many rows one after another as there are folds, each fold has one, so that all have as many.

    Parameters
    ----------
    data : Data
    cv, number : int
        How many folds there are, and which one this is.
    seed : int
    held_out : bool
        Whether to read the fold or the others.
    """

    keeps_batches = True

    def __init__(self, data: Data, cv: int, number: int, seed: int, *, held_out: bool) -> None:
        self.data, self.cv, self.number, self.seed, self.held_out = data, cv, number, seed, held_out

    def __iter__(self) -> Iterator[Any]:
        """Yield rows, or pairs of rows and weights."""
        generator, drawn = torch.Generator().manual_seed(self.seed), torch.empty(0, dtype=torch.int64)
        for chunk in self.data:
            n_rows = chunk.rows.shape[0]
            n_more = math.ceil((n_rows - len(drawn)) / self.cv)
            more = torch.rand(max(n_more, 0), self.cv, generator=generator).argsort(1)
            folds, drawn = torch.cat([drawn, more.flatten()]).tensor_split([n_rows])
            kept = chunk.part(((folds == self.number) == self.held_out).to(chunk.rows.device))
            yield kept.rows if kept.weights is None else (kept.rows, kept.weights)
