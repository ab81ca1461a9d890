"""Directions of least kurtosis: those in which clusters lie side by side, against a search among many directions."""

import numpy as np
import pytest
import torch
from batches import tensor

from tgmm.start.kurtosis import least_kurtosis
from tgmm.start.sphering import whitened


def white_of(X, w=None):
    """Whitened rows, and weights."""
    weights = torch.ones(len(X)).double() if w is None else tensor(w)
    return whitened(tensor(X), weights), weights


def side_by_side(seed, d, gap=4.0, ratio=30.0, n=1000):
    """Two clusters that are long in all directions but one, in which they lie apart: rows, and that direction."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = rng.standard_normal((n, d)) * np.r_[1.0, np.full(d - 1, ratio)]
    X[:, 0] += gap * np.repeat([0, 1], n // 2)
    return X @ axes.T, axes[:, 0]


def kurtosis(z, w):
    """E z^4 of columns that are white, under weights."""
    return (w / w.sum()) @ z**4


@pytest.mark.parametrize("d", [2, 5, 12])
def test_the_first_is_the_direction_in_which_clusters_lie_apart(d):
    for seed in range(5):
        X, normal = side_by_side(seed, d)
        white, weights = white_of(X)
        first = white @ least_kurtosis(white, weights, 3)[:, 0]
        # A projection of whitened rows is one of the rows: they agree but for sign, place and scale.
        assert abs(np.corrcoef(first, X @ normal)[0, 1]) > 0.98


@pytest.mark.parametrize("d", [2, 3])
def test_no_direction_has_less_than_the_first(d):
    rng = np.random.default_rng(0)
    others = rng.standard_normal((d, 1500))
    others /= np.linalg.norm(others, axis=0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((300, d)) + 3 * rng.standard_normal((4, d))[rng.integers(0, 4, 300)]
        w = rng.uniform(0.1, 3, 300)
        white, weights = white_of(X, w)
        first = least_kurtosis(white, weights, 1).numpy()
        assert kurtosis(white.numpy() @ first, w) <= kurtosis(white.numpy() @ others, w).min() + 1e-3


@pytest.mark.parametrize(("d", "count"), [(1, 1), (2, 8), (6, 6), (6, 3), (12, 8)])
def test_directions_are_orthonormal_and_the_least_comes_first(d, count):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((500, d)) + 4 * rng.integers(0, 2, (500, d)) * (np.arange(d) < 3)
    white, weights = white_of(X)
    found = least_kurtosis(white, weights, count)
    n_found = min(d, count)
    assert found.shape == (d, n_found)
    torch.testing.assert_close(found.T @ found, torch.eye(n_found).double(), rtol=0, atol=1e-9)
    values = kurtosis((white @ found).numpy(), weights.numpy())
    assert (np.diff(values) > -0.35).all()  # each is the least among those orthogonal to the ones before
    assert values.argmin() < 3


def test_each_direction_is_where_a_pair_of_clusters_falls_apart():
    """Three independent features of two values each, the sharper ones first, and three that say nothing."""
    rng = np.random.default_rng(1)
    noise = np.array([0.1, 0.2, 0.3, 0.0, 0.0, 0.0])
    signs = rng.choice([-1.0, 1.0], (3000, 6))
    X = np.where(np.arange(6) < 3, signs, rng.standard_normal((3000, 6))) + noise * rng.standard_normal((3000, 6))
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    white, weights = white_of(X @ axes.T * 5)
    found = (white @ least_kurtosis(white, weights, 3)).numpy()
    correlations = np.abs(np.corrcoef(found.T, X.T)[:3, 3:])
    assert (correlations.argmax(1) == [0, 1, 2]).all()
    assert correlations.max(1).min() > 0.95


def test_a_weight_is_a_repetition():
    X, _ = side_by_side(3, 4)
    counts = np.random.default_rng(3).integers(0, 4, len(X))
    white, weights = white_of(X, counts)
    again = white.repeat_interleave(torch.tensor(counts), 0)
    weighted, repeated = least_kurtosis(white, weights, 1), least_kurtosis(again, torch.ones(len(again)).double(), 1)
    assert float((weighted * repeated).sum().abs()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("extra", ["a constant", "a sum of others"])
def test_features_that_say_nothing_new_do_not_hide_the_direction(extra):
    X, normal = side_by_side(0, 3)
    more = np.zeros(len(X)) if extra == "a constant" else X[:, 0] - 2 * X[:, 1]
    white, weights = white_of(np.column_stack([X, more]))
    first = (white @ least_kurtosis(white, weights, 3)[:, 0]).numpy()
    assert first.std() > 0.5
    assert abs(np.corrcoef(first, X @ normal)[0, 1]) > 0.99
