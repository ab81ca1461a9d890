"""Ward's clusters as seeds of k-means: which rows they come from, where the tree is cut, and what that is good for."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from tgmm import GaussianMixture
from tgmm.start.ward import ward_seeds


def clusters(counts, n_features, separation, seed=0):
    """Rows of unit Gaussians whose centres are the axes at a distance from each other, and these centres."""
    centres = separation / np.sqrt(2) * np.eye(len(counts), n_features)
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return centres[labels] + rng.standard_normal((len(labels), n_features)), centres


def generator(seed):
    return torch.Generator().manual_seed(seed)


def as_seeds(X, n_components, seed=0):
    rows = torch.as_tensor(X)
    return ward_seeds(rows, torch.ones_like(rows[:, 0]), n_components, generator(seed))


def finds(found, centres):
    """Whether every centre is the nearest of exactly one that was found."""
    return sorted(cdist(found, centres).argmin(axis=1)) == list(range(len(centres)))


@pytest.mark.parametrize("seed", range(5))
def test_every_start_finds_clusters_that_are_apart(seed):
    X, centres = clusters([300] * 24, 32, 10.0)
    assert finds(as_seeds(X, 24, seed), centres)
    gmm = GaussianMixture(24, covariance_type="spherical", random_state=seed).fit(X)
    assert finds(gmm.means_, centres)


def test_a_small_cluster_is_found():
    X, centres = clusters([960, 960, 80], 4, 10.0)
    assert all(finds(as_seeds(X, 3, seed), centres) for seed in range(10))


def test_rows_far_from_all_others_get_no_seed():
    X, centres = clusters([200, 200, 200], 3, 8.0)
    directions = np.random.default_rng(1).standard_normal((10, 3))
    X = np.concatenate([X, 40 * directions / np.linalg.norm(directions, axis=1, keepdims=True)])
    assert all(finds(as_seeds(X, 3, seed), centres) for seed in range(10))


def test_rows_are_drawn_by_weight():
    X, centres = clusters([400, 400, 400], 3, 10.0)
    weights = torch.cat([torch.ones(800), torch.full((400,), 1e-9)])
    found = ward_seeds(torch.as_tensor(X), weights, 2, generator(0))
    assert finds(found, centres[:2])


def test_there_are_no_seeds_for_too_many_components_or_too_few_different_rows():
    X = np.random.default_rng(0).standard_normal((3000, 2))
    assert as_seeds(X, 128).shape == (128, 2)
    assert as_seeds(X, 129) is None
    assert as_seeds(np.array([[0.0], [1.0], [10.0], [11.0]]), 3) is None  # two pairs merge at the same height
