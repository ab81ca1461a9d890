"""Units in which directions can be compared: the covariance of all rows, or that within clusters, is round."""

import numpy as np
import pytest
import torch
from batches import tensor

from tgmm.start.sphering import sphered, whitened


def clusters(seed, n_components=3, d=3, n=600, ratio=20.0, gap=8.0):
    """Clusters of one covariance that is far from round, apart in units of it; the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_components)
    root = np.linalg.qr(rng.standard_normal((d, d)))[0] * np.geomspace(1, ratio, d)
    centres = gap * np.eye(n_components, d)
    return (rng.standard_normal((n, d)) + centres[labels]) @ root.T, labels


def unevenness(rows, labels):
    """The largest over the smallest variance of any direction, within clusters."""
    rows = np.concatenate([rows[labels == k] - rows[labels == k].mean(axis=0) for k in np.unique(labels)])
    values = np.linalg.eigvalsh(rows.T @ rows)
    return values[-1] / values[0]


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_covariance_of_whitened_rows_is_the_identity(d):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((200, d)) @ rng.standard_normal((d, d)) * np.geomspace(0.1, 100, d) + 5
    w = rng.uniform(0.1, 4, 200)
    white = whitened(tensor(X), tensor(w)).numpy()
    np.testing.assert_allclose(w @ white, 0, atol=1e-8)
    covariance = np.atleast_2d(np.cov(white.T, aweights=w, bias=True))
    np.testing.assert_allclose(covariance, np.eye(d), atol=1e-6)


@pytest.mark.parametrize("extra", ["a constant", "a sum of others", "nothing but equal rows"])
def test_directions_without_variance_are_left_out(extra):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 2)) * [1.0, 30.0]
    more = {"a constant": np.full(100, 3.0), "a sum of others": X[:, 0] + X[:, 1]}
    X = np.column_stack([X, more[extra]]) if extra in more else np.full((100, 2), 2.5)
    white = whitened(tensor(X), torch.ones(100).double()).numpy()
    assert np.isfinite(white).all()
    np.testing.assert_allclose(white.T @ white / 100, np.eye(2 if extra in more else 0), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_components", [2, 3])
def test_the_covariance_within_clusters_of_sphered_rows_is_near_round(n_components, seed):
    X, labels = clusters(seed, n_components)
    white = whitened(tensor(X), torch.ones(len(X)).double())
    assert unevenness(white.numpy(), labels) > 10
    assert unevenness(sphered(white, n_components).numpy(), labels) < 2.5


def test_rows_are_sphered_by_one_linear_map():
    X, _ = clusters(0)
    rows = tensor(X - X.mean(axis=0))
    found = sphered(rows, 3)
    there_and_back = rows @ torch.linalg.lstsq(rows, found).solution
    torch.testing.assert_close(there_and_back, found, rtol=0, atol=1e-9)


def test_few_rows_and_equal_rows_stay_finite():
    one = torch.tensor([[1.0, 2.0]]).double()
    assert torch.equal(sphered(one, 1), one)
    for rows in (one.repeat(50, 1), torch.cat([one.repeat(30, 1), one.new_tensor([[3.0, 1.0], [0.0, 0.0]])])):
        assert torch.isfinite(sphered(rows, 2)).all()
    two = torch.tensor([[1.0, 2.0], [0.0, 0.0]]).double()
    assert torch.isfinite(sphered(two, 2)).all()
