"""Starts that several fits to the same rows share, whatever their covariance structure."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tgmm.data.data import Survey
from tgmm.model.frame import Frame
from tgmm.start.kmeans import kmeans_from
from tgmm.start.sample import repeated, start_rows
from tgmm.start.seeding import kmeans_plusplus
from tgmm.start.ward import ROWS_MOST, cluster_means, hierarchy


class SharedStarts:
    """Centres to start from, by Ward's hierarchical clustering and by k-means from several seeds.

    The hierarchy is made once, for every number of components. Distances are those of standardised features, or of the
    features as they are where ``one_scale``: a spherical component knows one unit for all of them. Ward's clustering is
    to the tied spherical mixture what the model-based hierarchy of Fraley 1998 (SIAM J. Scientific Computing 20), the
    start of mclust, is to the others.

    Parameters
    ----------
    survey : Survey
    one_scale : bool
    n_kmeans : int
        Starts by k-means for each number of components.
    seed : int
        Centres depend on it and on the number of components, not on what was asked for before.
    """

    def __init__(self, survey: Survey, *, one_scale: bool, n_kmeans: int, seed: int) -> None:
        self.n_kmeans, self.seed = n_kmeans, seed
        summary = survey.summary
        self.frame = Frame.of(summary.origin, summary.variance, torch.float64, one_scale=one_scale)
        self.rows, self.weights = start_rows(survey.sample, self.frame, torch.float64)
        self._centres: dict[int, list[Tensor]] = {}
        self._hierarchy: tuple[Tensor, np.ndarray] | None = None

    def centres(self, n_components: int) -> list[Tensor]:
        """Return the different starts for K components, each (K, d) float64 in the user's units on the CPU."""
        if n_components not in self._centres:
            found = self._framed_centres(n_components)
            self._centres[n_components] = [self.frame.rows_out(z.cpu()) for z in _different(found)]
        return self._centres[n_components]

    def _framed_centres(self, n_components: int) -> list[Tensor]:
        """Return all centres (K, d) in the frame."""
        generator = torch.Generator().manual_seed(self.seed)
        rows, weights = self.rows, self.weights
        if n_components == 1:
            return [(weights @ rows / weights.sum())[None]]
        if rows.shape[0] <= n_components:
            return [repeated(rows, n_components)]
        seedings = (kmeans_plusplus(rows, weights, n_components, generator) for _ in range(self.n_kmeans))
        found = [kmeans_from(rows, weights, seeds) for seeds in seedings]
        ward = self._ward(n_components)
        return found if ward is None else [ward, *found]

    def _ward(self, n_components: int) -> Tensor | None:
        """Return the means of Ward's clusters, (K, d), or None where the hierarchy has no cut into so many."""
        if self._hierarchy is None:
            generator, rows = torch.Generator().manual_seed(self.seed), self.rows
            if rows.shape[0] > ROWS_MOST:
                rows = rows[torch.randperm(rows.shape[0], generator=generator)[:ROWS_MOST].to(rows.device)]
            self._hierarchy = rows, hierarchy(rows)
        return cluster_means(*self._hierarchy, n_components)


def _different(starts: list[Tensor]) -> list[Tensor]:
    """Leave out starts that are another one up to the order of their centres."""
    kept: list[Tensor] = []
    for centres in starts:
        ordered = centres[torch.argsort(centres[:, 0])]
        if not any(torch.allclose(ordered, other[torch.argsort(other[:, 0])], atol=1e-6) for other in kept):
            kept.append(centres)
    return kept
