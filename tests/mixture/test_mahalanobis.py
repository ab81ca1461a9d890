"""Mahalanobis distances against scipy's."""

import numpy as np
import pytest
import torch
from cases import random_covariances
from scipy.spatial.distance import mahalanobis
from sklearn.exceptions import NotFittedError
from support import COVARIANCE_TYPES, dense_covariances

from tgmm import GaussianMixture


def mixture(covariance_type, dtype=torch.float64, offset=0.0):
    rng = np.random.default_rng(0)
    means = torch.tensor(rng.standard_normal((3, 4)) + offset, dtype=dtype)
    covariances = random_covariances(rng, covariance_type, 3, 4)
    return GaussianMixture.from_parameters([0.5, 0.3, 0.2], means, covariances, covariance_type)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_distances_are_scipy_s(covariance_type, monkeypatch):
    monkeypatch.setattr("tgmm.mixture.densities.rows_per_chunk", lambda *_: 3)
    gmm = mixture(covariance_type)
    X = 3 * np.random.default_rng(1).standard_normal((10, 4))
    precisions = np.linalg.inv(dense_covariances(gmm.covariances_, covariance_type, 3, 4))
    expected = [[mahalanobis(x, m, p) for m, p in zip(np.asarray(gmm.means_), precisions, strict=True)] for x in X]
    np.testing.assert_allclose(gmm.mahalanobis(X), expected, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_distances_of_samples_are_those_asked_for(covariance_type):
    gmm = mixture(covariance_type)
    X, components = gmm.sample(500, std_range=(2, 3), random_state=0)
    own = torch.take_along_dim(gmm.mahalanobis(X), components[:, None], 1)
    assert (own > 2 - 1e-9).all()
    assert (own < 3 + 1e-9).all()


def test_float32_far_from_the_origin():
    gmm = mixture("full", torch.float32, offset=1e4)
    X = gmm.means_ + torch.tensor([0.5, 0.0, 0.0, 0.0])
    distances = gmm.mahalanobis(X)
    assert distances.dtype == torch.float32
    precision = np.linalg.inv(np.asarray(gmm.covariances_[1], dtype=np.float64))
    assert distances[1, 1].item() == pytest.approx(0.5 * np.sqrt(precision[0, 0]), rel=1e-6)


def test_rows_at_the_ends_of_the_float_type():
    gmm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [4.0], "spherical")
    np.testing.assert_allclose(
        gmm.mahalanobis([[0.0, 0.0], [6e200, 8e200], [6e-200, 8e-200]])[:, 0], [0, 5e200, 5e-200]
    )


def test_an_unfitted_model_says_so():
    with pytest.raises(NotFittedError):
        GaussianMixture().mahalanobis([[0.0]])


@pytest.mark.parametrize("missing", ["error", "em"])
def test_rows_that_lack_a_value_are_refused_with_a_remedy_that_helps(missing):
    X = np.random.default_rng(0).standard_normal((30, 2))
    gmm = GaussianMixture(missing=missing).fit(X)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"row 3, column 1.*impute\(X\)"):
        gmm.mahalanobis(X)
    assert np.isfinite(gmm.mahalanobis(gmm.impute(X))).all()
