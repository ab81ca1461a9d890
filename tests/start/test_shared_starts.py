"""Starts that fits share: Ward's clusters as scikit-learn has them, and what they do not depend on."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import AgglomerativeClustering

from tgmm.data.data import TensorData
from tgmm.start.sample import SAMPLE_ROWS
from tgmm.start.shared import SharedStarts


def starts(X, *, one_scale=False, n_kmeans=2, seed=0, weights=None):
    survey = TensorData(torch.as_tensor(X), weights).survey(SAMPLE_ROWS, seed)
    return SharedStarts(survey, one_scale=one_scale, n_kmeans=n_kmeans, seed=seed)


def assert_same_centres(centres, expected, atol):
    """Each centre has one of its own among those expected."""
    distances = cdist(centres, expected)
    assert sorted(distances.argmin(axis=1)) == list(range(len(expected)))
    assert distances.min(axis=1).max() < atol


@pytest.mark.parametrize("n_components", [2, 3, 6])
def test_the_first_start_has_wards_means(blobs, n_components):
    X = blobs * [1.0, 50.0, 0.02]
    labels = AgglomerativeClustering(n_components).fit_predict((X - X.mean(0)) / X.std(0))
    expected = np.stack([X[labels == k].mean(0) for k in range(n_components)])
    assert_same_centres(starts(X).centres(n_components)[0], expected, 1e-9)


def test_one_component_has_one_start_the_mean(blobs):
    weights = torch.arange(150, dtype=torch.float64)
    found = starts(blobs, weights=weights).centres(1)
    assert len(found) == 1
    np.testing.assert_allclose(found[0][0], np.average(blobs, axis=0, weights=weights), rtol=1e-12)


def test_starts_that_agree_are_kept_once(far_blobs):
    X, _, centres = far_blobs
    found = starts(X, n_kmeans=5).centres(4)
    assert len(found) == 1
    assert_same_centres(found[0], centres, 1)


def test_many_rows_are_sampled():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 40_000)
    X = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])[labels] + rng.standard_normal((40_000, 2))
    for centres in starts(X).centres(3):
        assert_same_centres(centres, [[0, 0], [0, 50], [50, 0]], 0.3)


def test_ties_and_few_rows_leave_ward_out():
    X = np.array([[0.0], [1.0], [10.0], [11.0]])  # Ward joins two pairs at the same height: there are no three clusters
    assert all(centres.shape == (3, 1) for centres in starts(X).centres(3))
    assert starts(X).centres(4)[0].flatten().tolist() == pytest.approx([0, 1, 10, 11])
    assert starts(X).centres(5)[0].flatten().tolist() == pytest.approx([0, 1, 10, 11, 0])
    assert starts(np.array([[5.0, 6.0]])).centres(1)[0].tolist() == [[5.0, 6.0]]
