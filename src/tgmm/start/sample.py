"""The rows that starts look at."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.batches import Batches, Chunk, TensorBatches
from tgmm.data.frame import Frame
from tgmm.precision import widen

SAMPLE_ROWS = 16384
SAMPLE_ROWS_PER_COMPONENT = 256
SAMPLE_NUMBERS = 1 << 19  # entries of the rows, where they have many features
FEW_TIMES = 16  # the size of the sample: rows few enough to be shuffled


def start_sample(
    batches: Batches, frame: Frame, n_components: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return different rows in the frame (m, d) and their weights (m,): of all rows, or of a random sample of many.

    A start is only a start: on more than 16384 rows (and 256 for each component; fewer where they would be more than
    2^19 numbers, but 64 for each component) it looks at so many, drawn without replacement. Equal rows are
    merged and the order is the rows' own, so that a start depends neither on the order of the data nor on whether a
    row is repeated or weighted.
    """
    rows, weights, _ = _sample(batches, n_components, generator)
    rows = widen(rows)
    rows = ((rows - frame.shift.to(rows.device)) / frame.scale.to(rows.device)).to(dtype)
    weights = rows.new_ones(rows.shape[0]) if weights is None else weights.to(rows.device, dtype)
    return _merged(rows, weights)


def rows_in_memory(batches: Batches, n_components: int, generator: torch.Generator) -> Tensor:
    """Return all rows where they are in memory, else those that starts look at, (m, d) in the user's units."""
    if isinstance(batches, TensorBatches):
        return batches.rows
    return _sample(batches, n_components, generator).rows


def _sample(batches: Batches, n_components: int, generator: torch.Generator) -> Chunk:
    """Return all rows, or so many of them that a start has enough."""
    n_sample = max(SAMPLE_ROWS, SAMPLE_ROWS_PER_COMPONENT * n_components)
    n_sample = min(n_sample, max(SAMPLE_NUMBERS // batches.n_features, 64 * n_components))
    if batches.n_rows <= n_sample:
        return batches.take(torch.arange(batches.n_rows, device=batches.device))
    return batches.take(_without_replacement(batches.n_rows, n_sample, generator).to(batches.device))


def repeated(rows: Tensor, n_components: int) -> Tensor:
    """Return all rows, over and over until they are K: the centres where there are no more different rows, (K, d)."""
    return rows[torch.arange(n_components, device=rows.device) % rows.shape[0]]


def _merged(rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different rows, ordered by a projection of theirs, and the sums of their weights."""
    direction = torch.arange(1, rows.shape[1] + 1, device=rows.device).double().sqrt()  # no row is special to it
    order = (widen(rows) * direction).sum(1).argsort(stable=True)
    rows, weights = rows[order], weights[order]
    new = torch.ones_like(weights, dtype=torch.bool)
    new[1:] = (rows[1:] != rows[:-1]).any(1)
    group = new.cumsum(0) - 1  # (m,)
    return rows[new], weights.new_zeros(int(group[-1]) + 1).index_add_(0, group, weights)


def _without_replacement(n_rows: int, n_sample: int, generator: torch.Generator) -> Tensor:
    """Return n_sample different indices below n_rows, sorted, in memory of the sample's size.

    Drawing with replacement and topping up gives every set the same probability. Where that would repeat itself often,
    all indices are shuffled.
    """
    if n_rows <= FEW_TIMES * n_sample:
        return torch.randperm(n_rows, generator=generator)[:n_sample].sort().values
    indices = torch.empty(0, dtype=torch.int64)
    while indices.shape[0] < n_sample:
        missing = n_sample - indices.shape[0]
        more = torch.randint(n_rows, (missing,), generator=generator)
        indices = torch.cat([indices, more]).unique()
    return indices
