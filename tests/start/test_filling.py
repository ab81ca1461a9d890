"""Values that rows lack, filled in for starts, against a search one row and one feature at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.start import filling

NEVER, ALWAYS = "a feature that few rows have", "features that all rows have"


def _rows(n_rows: int, kind: str) -> np.ndarray:
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(n_rows, 4)) * [1.0, 5.0, 0.2, 3.0] + [0.0, 100.0, -3.0, 7.0]
    lacks = generator.random(rows.shape) < 0.3
    if kind == ALWAYS:
        lacks[:, 2:] = False
    if kind == NEVER:
        lacks[2:, 1] = True
        lacks[:2, 1] = False
    lacks[lacks.all(1), 0] = False
    return np.where(lacks, np.nan, rows)


def _searched(rows: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Each missing value as the mean of those of the three nearest rows that have it, by the features both have."""
    result = rows.copy()
    for i, j in zip(*np.isnan(rows).nonzero(), strict=True):
        squares = np.square((rows - rows[i]) / units)
        distances = np.array([np.nanmean(row) if (~np.isnan(row)).any() else np.inf for row in squares])
        distances[np.isnan(rows[:, j])] = np.inf
        nearest = np.argsort(distances)[: min(3, (~np.isnan(rows[:, j])).sum())]
        result[i, j] = rows[nearest, j].mean()
    return result


@pytest.mark.parametrize("kind", ["any feature", ALWAYS, NEVER])
def test_each_missing_value_is_the_mean_of_those_of_the_nearest_rows_that_have_it(kind, monkeypatch):
    monkeypatch.setattr(filling, "ROWS", 32)  # of which the last part is smaller
    rows = _rows(150, kind)
    variances = np.nanvar(rows, 0)
    frame = Frame.of(torch.tensor(np.nanmean(rows, 0)), torch.tensor(variances), torch.float64, one_scale=False)
    found = filling.filled(Chunk(torch.tensor(rows), None, 0), frame).rows
    np.testing.assert_allclose(found, _searched(rows, np.asarray(frame.scale)), rtol=1e-12)
