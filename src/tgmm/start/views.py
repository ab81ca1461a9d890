"""Views of rows: the coordinates and the hierarchies in which clusters are looked for, each made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame, rounded
from tgmm.runtime.devices import moved
from tgmm.start.cells import MergeTree
from tgmm.start.kurtosis import least_kurtosis
from tgmm.start.sample import drawn_in, start_rows
from tgmm.start.seeding import subset
from tgmm.start.sphering import are_few, principal_axes, sphered, whitened
from tgmm.start.ward import hierarchy

CLUSTERED, CLUSTERED_PER_COMPONENT = 512, 6  # rows that hierarchies see
CELLS, MANY_CELLS = (60, 3), (100, 10)  # with which merging as Gaussians begins: in all, or for each component
FEATURES = 8  # in which cells are merged, at most

T = TypeVar("T")


class Views:
    """Rows, and what starts see in them.

    Parameters
    ----------
    rows : Tensor of shape (m, d)
        In the frame, float64, on the CPU; those that are far away drawn in.
    weights : Tensor of shape (m,)
    most : int
        The largest number of clusters that will be asked for: hierarchies are made once for all.
    generator : torch.Generator
    """

    def __init__(self, rows: Tensor, weights: Tensor, most: int, generator: torch.Generator) -> None:
        self.rows, self.weights, self.most = rows, weights, most
        self.is_all = True  # whether they are all rows of the sample that they come from
        size = max(CLUSTERED, CLUSTERED_PER_COMPONENT * most)
        self.some, _ = subset(weights, size, generator)  # indices of the rows that hierarchies see
        self._spheres: dict[int, Tensor] = {}
        self._trees: dict[int, MergeTree] = {}
        self._kept: dict[Hashable, Any] = {}

    @classmethod
    def of(cls, sample: Chunk, frame: Frame, size: int, most: int, generator: torch.Generator) -> Views:
        """Return the views of at most so many of the different rows of a sample, drawn by weight."""
        cpu = torch.device("cpu")
        chunk = Chunk(sample.rows.to(cpu), None if sample.weights is None else sample.weights.to(cpu), 0)
        rows, weights = start_rows(chunk, moved(frame, cpu), torch.float64)
        # Rows of a grid are at equal distances, and rounding must not tell which of them merge.
        drawn, weights = subset(rounded(weights / weights.amax()), size, generator)
        views = cls(drawn_in(rows[drawn]).contiguous(), weights, most, generator)
        views.is_all = drawn.shape[0] == rows.shape[0]
        return views

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is made of the views, once for all that ask by the same key."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def sees_all(self) -> bool:
        """Whether hierarchies see all rows."""
        return self.some.shape[0] == self.rows.shape[0]

    @cached_property
    def mean(self) -> Tensor:
        """The mean of the rows, (d,)."""
        return self.weights @ self.rows / self.weights.sum()

    @cached_property
    def centred(self) -> Tensor:
        """The rows minus their mean."""
        return self.rows - self.mean

    @cached_property
    def white(self) -> Tensor:
        """The rows in coordinates in which their covariance is the identity."""
        return whitened(self.rows, self.weights)

    @cached_property
    def directions(self) -> Tensor:
        """Directions of the whitened rows of least kurtosis, or in which they vary most if they are few, (r, q)."""
        if are_few(self.rows):
            return principal_axes(self.rows, self.weights, FEATURES)
        needs_subspace = self.white.shape[1] > FEATURES  # else one start looks along the first alone
        return least_kurtosis(self.white, self.weights, FEATURES if needs_subspace else 1)

    @cached_property
    def ward(self) -> np.ndarray:
        """Ward's hierarchy of some of the rows as they are."""
        return hierarchy(self.rows[self.some])

    @cached_property
    def ward_of_direction(self) -> np.ndarray:
        """Ward's hierarchy of the same in the direction of least kurtosis."""
        return hierarchy((self.white @ self.directions[:, :1])[self.some])

    @property
    def merged(self) -> MergeTree:
        """Ward's cells of the whitened rows, merged as Gaussians."""
        return self._merged(0)

    def merged_sphered(self, n_components: int) -> MergeTree:
        """Return the same of rows that are sphered for so many clusters."""
        return self._merged(n_components)

    def sphered(self, n_components: int) -> Tensor:
        """Return the rows in coordinates in which so many clusters are near to round."""
        if n_components not in self._spheres:
            self._spheres[n_components] = sphered(self.white, n_components)
        return self._spheres[n_components]

    def _merged(self, n_sphered: int) -> MergeTree:
        if n_sphered not in self._trees:
            rows = self.sphered(n_sphered) if n_sphered else self.white
            if rows.shape[1] > FEATURES:
                rows = rows @ self.directions
            n_cells = max(CELLS[0], CELLS[1] * self.most, min(MANY_CELLS[0], MANY_CELLS[1] * self.most))
            n_cells = min(n_cells, self.some.shape[0])
            self._trees[n_sphered] = MergeTree(rows[self.some], n_cells, 2 * self.most + 2)
        return self._trees[n_sphered]
