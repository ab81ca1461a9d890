"""The units of a frame: the variances of all rows, but where a few of them are far away."""

import numpy as np
import pytest
import torch

from tgmm.data.chunk import Chunk
from tgmm.data.summary import Summary, bulk, bulk_variance, frame_variance, limited

N = 400


def rows_of(kind):
    """Rows of two features, the second of which is of a kind."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2))
    if kind == "far rows":
        X[:5, 1] = 1e6
    elif kind == "heavy tails":
        X[:, 1] = rng.standard_cauchy(N)
    elif kind == "mostly one value":
        X[N // 20 :, 1] = 0.0
    elif kind == "almost one value":
        X[:, 1] *= np.where(np.arange(N) < N // 5, 1.0, 1e-3)
    elif kind == "one value":
        X[:, 1] = 3.0
    elif kind == "gaps":
        X[::3, 1] = np.nan
    return torch.tensor(X)


@pytest.mark.parametrize(
    "kind", ["normal", "far rows", "heavy tails", "mostly one value", "almost one value", "one value", "gaps"]
)
def test_variances_that_need_no_limit_are_found_without_sorting_rows(kind):
    rows = rows_of(kind)
    weights = torch.tensor(np.random.default_rng(1).uniform(0.1, 3.0, N))
    origin = bulk(rows, weights)
    summary = Summary.of(rows, weights, origin)
    farthest = torch.maximum(summary.maximum - origin, origin - summary.minimum)
    usual = bulk_variance(rows - origin, weights)
    expected = limited(summary.variance, usual, farthest, torch.float64)
    assert frame_variance(summary, Chunk(rows, weights, 0), torch.float64).equal(expected)
    assert bool((expected < summary.variance).any()) == (kind == "far rows")
