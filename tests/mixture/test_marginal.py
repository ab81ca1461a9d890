"""Moments of the whole mixture against closed forms on dense matrices and torch.distributions."""

import numpy as np
import pytest
import torch
from cases import random_covariances
from support import COVARIANCE_TYPES, dense_covariances
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from tgmm import GaussianMixture

WEIGHTS = np.array([0.5, 0.3, 0.2])


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_mean_and_covariance(covariance_type, offset):
    rng = np.random.default_rng(0)
    means = rng.standard_normal((3, 4))
    covariances = random_covariances(rng, covariance_type, 3, 4)
    gmm = GaussianMixture.from_parameters(WEIGHTS, means + offset, covariances, covariance_type)
    dense = dense_covariances(covariances, covariance_type, 3, 4)
    reference = MixtureSameFamily(
        Categorical(torch.from_numpy(WEIGHTS)), MultivariateNormal(torch.from_numpy(means), torch.from_numpy(dense))
    )
    np.testing.assert_allclose(gmm.mean() - offset, reference.mean, atol=1e-9 if offset else 1e-14)
    np.testing.assert_allclose(gmm.covariance().diagonal(), reference.variance, rtol=1e-9 if offset else 1e-13)
    second = np.einsum("k,kij->ij", WEIGHTS, dense + means[:, :, None] * means[:, None, :])
    expected = second - np.outer(WEIGHTS @ means, WEIGHTS @ means)
    np.testing.assert_allclose(gmm.covariance(), expected, atol=1e-8 if offset else 1e-13)
    assert np.array_equal(gmm.covariance(), gmm.covariance().T)


def test_maximum_likelihood_reproduces_the_data_s_moments(blobs):
    gmm = GaussianMixture(n_components=3, reg_covar=0, tol=0, max_iter=300, random_state=0)
    gmm.fit(blobs)
    np.testing.assert_allclose(gmm.mean(), blobs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(gmm.covariance(), np.cov(blobs.T, bias=True), rtol=1e-5)


def test_a_component_of_weight_0_counts_for_nothing_wherever_it_lies():
    gmm = GaussianMixture.from_parameters([1.0, 0.0], [[1.0], [1e200]], [2.0, 1.0], "spherical")
    assert gmm.mean().tolist() == [1.0]
    assert gmm.covariance().tolist() == [[2.0]]


def test_float_type_is_the_model_s():
    gmm = GaussianMixture.from_parameters([1.0], torch.zeros(1, 2), [1.0], "spherical")
    assert gmm.mean().dtype == gmm.covariance().dtype == torch.float32
