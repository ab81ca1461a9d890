"""Starts of several kinds, each right for clusters that others miss, and their registries.

Each alone leads to the best solution in some 65 to 85 of 100 problems; together, followed by moves
(`tgmm.em.moves`), they do in all but a few.

A start is a function of views of the rows and K that gives the cluster of each row, (m,), -1 where it has none, or
None where it finds no K clusters. Registering it here makes it one that the default start tries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from tgmm.start.kmeans import kmeans_from
from tgmm.start.seeding import kmeans_plusplus, random_rows
from tgmm.start.views import Views
from tgmm.start.ward import means_of, partition

ENOUGH = 4  # rows for each feature, and one more, that tell the covariance of a cluster

Partition = Callable[[Views, int], Tensor | None]
RandomPartition = Callable[[Views, int, torch.Generator], Tensor]


def ward(views: Views, n_components: int) -> Tensor | None:
    """Return Ward's clusters of the rows as they are, or where it sees some of them, those of k-means from there.

    They are round, and of one size.
    """
    some = views.rows[views.some]
    labels = partition(some, views.ward, n_components)
    if labels is None or views.sees_all:
        return labels
    centres = kmeans_from(views.rows, views.weights, means_of(some, labels))
    return _nearest(views.rows, centres)


def merged_cells(views: Views, n_components: int) -> Tensor | None:
    """Return clusters of any shape of whitened rows."""
    return _everywhere(views.merged.labels(n_components), views.white, views)


def merged_cells_sphered(views: Views, n_components: int) -> Tensor | None:
    """Return clusters of any shape of rows in units of the covariance within clusters."""
    return _everywhere(views.merged_sphered(n_components).labels(n_components), views.sphered(n_components), views)


def least_kurtosis(views: Views, n_components: int) -> Tensor | None:
    """Return the clusters into which rows fall apart in one direction, whatever their scale there."""
    rows = views.white @ views.directions[:, :1]
    return _everywhere(partition(rows[views.some], views.ward_of_direction, n_components), rows, views)


def seeds(views: Views, n_components: int, generator: torch.Generator) -> Tensor:
    """Return the cluster of each row, that of the nearest seed of k-means++, (m,)."""
    return _nearest(views.rows, kmeans_plusplus(views.rows, views.weights, n_components, generator))


def seeds_whitened(views: Views, n_components: int, generator: torch.Generator) -> Tensor:
    """Return the cluster of each row, that of the nearest seed of k-means++ among whitened rows, (m,)."""
    return _nearest(views.white, kmeans_plusplus(views.white, views.weights, n_components, generator))


def seeds_sphered(views: Views, n_components: int, generator: torch.Generator) -> Tensor:
    """Return the cluster of each row, that of the nearest seed of k-means++ among sphered rows, (m,)."""
    rows = views.sphered(n_components)
    return _nearest(rows, kmeans_plusplus(rows, views.weights, n_components, generator))


def rows_whitened(views: Views, n_components: int, generator: torch.Generator) -> Tensor:
    """Return the cluster of each row, that of the nearest of some random rows, whitened, (m,)."""
    return _nearest(views.white, random_rows(views.white, views.weights, n_components, generator))


PARTITIONS: dict[str, Partition] = {  # the first are those that seldom both lead to the same wrong solution
    "least kurtosis": least_kurtosis,
    "merged cells": merged_cells,
    "merged cells, sphered": merged_cells_sphered,
    "ward": ward,
}
RANDOM_PARTITIONS: dict[str, RandomPartition] = {
    "k-means++": seeds,
    "k-means++, whitened": seeds_whitened,
    "k-means++, sphered": seeds_sphered,
    "random rows, whitened": rows_whitened,
}


def partitions(views: Views, n_components: int, names: Iterable[str] = PARTITIONS) -> dict[str, Tensor]:
    """Return the partitions into K clusters by the names of those starts that find one."""
    found = {name: views.kept((name, n_components), partial(PARTITIONS[name], views, n_components)) for name in names}
    return {name: labels for name, labels in found.items() if labels is not None}


def random_partitions(views: Views, n_components: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return random partitions into K clusters by the names of their starts, drawn once where draws are the same."""

    def drawn() -> tuple[dict[str, Tensor], Tensor]:
        found = {name: start(views, n_components, generator) for name, start in RANDOM_PARTITIONS.items()}
        return found, generator.get_state()

    found, state = views.kept((n_components, generator.get_state().numpy().tobytes()), drawn)
    generator.set_state(state)
    return found


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """Return which of the centres (K, d) each row is next to, (m,)."""
    return torch.cdist(rows, centres).argmin(1)


def _everywhere(labels: Tensor | None, rows: Tensor, views: Views) -> Tensor | None:
    """Return labels of all rows from those that hierarchies see.

    Others are in no cluster; but where those are too few for the covariances of clusters, with the row next to them.
    """
    if labels is None:
        return None
    counts = torch.bincount(labels)
    if int(counts.min()) < ENOUGH * (rows.shape[1] + 1) and not views.sees_all:
        return labels[torch.cdist(rows, rows[views.some]).argmin(1)]
    everywhere = torch.full_like(views.weights, -1, dtype=torch.int64)
    everywhere[views.some] = labels
    return everywhere
