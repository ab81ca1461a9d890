"""The rows that starts look at."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.runtime.devices import widen

SAMPLE_ROWS = 16384
SAMPLE_ROWS_PER_COMPONENT = 256
SAMPLE_NUMBERS = 1 << 19  # entries of the rows, where they have many features
FAR = 200.0  # units of the frame: no row is so far from the bulk of a few thousand whose variances are the units


def sample_size(n_components: int, n_features: int) -> int:
    """Return how many rows a start looks at, at most.

    A start is only a start: of more than 16384 rows (and 256 for each component; fewer where they would be more than
    2^19 numbers, but 64 for each component) it looks at so many, drawn at random.
    """
    wanted = max(SAMPLE_ROWS, SAMPLE_ROWS_PER_COMPONENT * n_components)
    return min(wanted, max(SAMPLE_NUMBERS // max(n_features, 1), 64 * n_components))


def start_rows(sample: Chunk, frame: Frame, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the different rows of a sample in the frame, (m, d), and their weights, (m,).

    Equal rows are merged and the order is the rows' own, so that a start depends neither on the order of the data nor
    on whether a row is repeated or weighted.
    """
    rows = frame.rows_in(widen(sample.rows)).to(dtype)
    weights = rows.new_ones(rows.shape[0]) if sample.weights is None else sample.weights.to(rows.device, dtype)
    return _merged(rows, weights)


def are_far(rows: Tensor) -> Tensor:
    """Return which values of rows in the frame are too far away for starts to look at as they are."""
    return rows.abs() > FAR


def drawn_in(rows: Tensor) -> Tensor:
    """Return rows in the frame with values that are far away drawn in, so that they do not hide what the others are.

    They stay farther than the others, and those that differ go on to: distances grow as their logarithms from there.
    """
    if not (far := are_far(rows)).any():
        return rows
    sizes = rows.abs().clamp(min=FAR)
    return torch.where(far, rows.sign() * FAR * (1 + (sizes / FAR).log()), rows)


def projection(rows: Tensor) -> Tensor:
    """Return a projection of rows (..., m, d) in float64 by which they can be put in order, (..., m).

    Cosines of whole numbers are linearly independent over the rationals (Lindemann & Weierstrass): different rows of a
    grid have different projections.
    """
    return (rows * torch.arange(1, rows.shape[-1] + 1, device=rows.device).double().cos()).sum(-1)


def repeated(rows: Tensor, n_components: int) -> Tensor:
    """Return all rows, over and over until they are K: the centres where there are no more different rows, (K, d)."""
    return rows[torch.arange(n_components, device=rows.device) % rows.shape[0]]


def first_of_copies(rows: Tensor) -> Tensor:
    """Return which rows (m, d) are not as the one before, (m,): of copies that are side by side, the first."""
    first = torch.ones(rows.shape[0], dtype=torch.bool, device=rows.device)
    first[1:] = (rows[1:] != rows[:-1]).any(1)
    return first


def _merged(rows: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different rows, ordered by a projection of theirs, and the sums of their weights."""
    order = projection(widen(rows)).argsort(stable=True)
    rows, weights = rows[order], weights[order]
    new = first_of_copies(rows)
    group = new.cumsum(0) - 1  # (m,)
    return rows[new], weights.new_zeros(int(group[-1]) + 1).index_add_(0, group, weights)
