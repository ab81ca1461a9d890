"""Entropy and divergence against numerical integration and closed forms; the bound against a direct minimisation."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import random_covariances
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import xlogy
from scipy.stats import multivariate_normal, norm
from sklearn.exceptions import NotFittedError
from support import COVARIANCE_TYPES, dense_covariances
from torch.distributions import MultivariateNormal
from torch.distributions import kl_divergence as torch_divergence

from tgmm import GaussianMixture, Mixture

P = GaussianMixture.from_parameters([0.3, 0.7], [[-1.0], [2.0]], [0.5, 1.5], "spherical")
Q = GaussianMixture.from_parameters([0.6, 0.4], [[0.0], [3.0]], [2.0], "tied_diag")


def log_density(gmm, x):
    weights, means = np.asarray(gmm.weights_), np.asarray(gmm.means_[:, 0])
    deviations = np.sqrt(np.broadcast_to(np.asarray(gmm.covariances_).ravel(), means.shape))
    return np.log(weights @ norm.pdf(x, means, deviations))


def integral(function):
    return quad(function, -15, 15, epsabs=1e-12, limit=500)[0]


EXACT = integral(lambda x: np.exp(log_density(P, x)) * (log_density(P, x) - log_density(Q, x)))


def gaussian(covariance_type, seed, d=4):
    rng = np.random.default_rng(seed)
    covariances = random_covariances(rng, covariance_type, 1, d)
    return GaussianMixture.from_parameters([1.0], rng.standard_normal((1, d)), covariances, covariance_type)


def as_torch(gmm):
    dense = dense_covariances(gmm.covariances_, gmm.covariance_type, *gmm.means_.shape)
    return MultivariateNormal(torch.as_tensor(gmm.means_[0]), torch.from_numpy(dense[0]))


def test_entropy_of_a_mixture_by_numerical_integration():
    exact = -integral(lambda x: np.exp(log_density(P, x)) * log_density(P, x))
    estimate = P.entropy(40_000, random_state=0)
    assert 0 < estimate.standard_error < 0.01
    assert abs(estimate.value - exact) < 3 * estimate.standard_error


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_entropy_of_a_gaussian(covariance_type):
    gmm = gaussian(covariance_type, 0)
    value, error = gmm.entropy(20_000, random_state=1)
    assert abs(value - as_torch(gmm).entropy().item()) < 3 * error
    # The variance of -log p is d / 2 for a Gaussian.
    assert error == pytest.approx(np.sqrt(4 / 2 / 20_000), rel=0.05)


def test_divergence_of_mixtures_by_numerical_integration():
    estimate = P.kl_divergence(Q, 40_000, random_state=0)
    assert abs(estimate.value - EXACT) < 3 * estimate.standard_error
    assert estimate.standard_error < 0.03 * EXACT
    assert P.kl_upper_bound(Q) >= EXACT


@pytest.mark.parametrize("other_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_divergence_of_gaussians_of_any_two_types(covariance_type, other_type):
    p, q = gaussian(covariance_type, 1), gaussian(other_type, 2)
    exact = torch_divergence(as_torch(p), as_torch(q)).item()
    assert p.kl_upper_bound(q) == pytest.approx(exact, rel=1e-10)
    value, error = p.kl_divergence(q, 4000, random_state=0)
    assert abs(value - exact) < 4 * error


def test_a_mixture_does_not_diverge_from_itself():
    assert P.kl_divergence(P, 100, random_state=0) == (0.0, 0.0)
    assert P.kl_upper_bound(P) == pytest.approx(0, abs=1e-9)
    swapped = GaussianMixture.from_parameters([0.7, 0.3], [[2.0], [-1.0]], [[1.5], [0.5]], "diag")
    assert P.kl_upper_bound(swapped) == pytest.approx(0, abs=1e-9)


def test_the_bound_is_the_least_over_all_ways_to_cut_the_components():
    rng = np.random.default_rng(0)
    means = rng.standard_normal((2, 2, 2))
    covariances = np.stack([random_covariances(rng, "full", 2, 2) for _ in range(2)])
    weights = np.array([[0.4, 0.6], [0.7, 0.3]])
    p, q = (GaussianMixture.from_parameters(*part) for part in zip(weights, means, covariances, strict=True))
    divergences = np.array(
        [
            [
                torch_divergence(
                    MultivariateNormal(torch.from_numpy(means[0, a]), torch.from_numpy(covariances[0, a])),
                    MultivariateNormal(torch.from_numpy(means[1, b]), torch.from_numpy(covariances[1, b])),
                ).item()
                for b in range(2)
            ]
            for a in range(2)
        ]
    )

    def bound(shares):
        ours = np.stack([shares[:2], 1 - shares[:2]], axis=1) * weights[0][:, None]  # rows sum to our weights
        theirs = np.stack([shares[2:], 1 - shares[2:]], axis=0) * weights[1][None, :]  # columns to theirs
        return (xlogy(ours, ours / theirs) + ours * divergences).sum()

    least = minimize(bound, np.full(4, 0.5), bounds=[(1e-9, 1 - 1e-9)] * 4, tol=1e-14)
    assert p.kl_upper_bound(q) == pytest.approx(least.fun, rel=1e-6)
    value, error = p.kl_divergence(q, 40_000, random_state=0)
    assert value - 3 * error < p.kl_upper_bound(q)


def test_components_of_weight_0_do_not_matter():
    padded = GaussianMixture.from_parameters([0.3, 0.0, 0.7], [[-1.0], [9.0], [2.0]], [0.5, 1.0, 1.5], "spherical")
    assert padded.kl_upper_bound(Q) == pytest.approx(P.kl_upper_bound(Q), rel=1e-9)
    assert Q.kl_upper_bound(padded) == pytest.approx(Q.kl_upper_bound(P), rel=1e-9)


def test_a_divergence_beyond_the_float_type_is_infinite():
    far = GaussianMixture.from_parameters([1.0], [[1e200]], [1.0], "spherical")
    assert P.kl_upper_bound(far) == np.inf
    assert P.kl_divergence(far, 10, random_state=0).value == np.inf


def test_the_float_type_of_the_model_does_not_limit_the_estimate():
    single = GaussianMixture.from_parameters([1.0], torch.tensor([[1e4]]), [1e-4], "spherical")
    value, error = single.entropy(20_000, random_state=0)
    assert abs(value - multivariate_normal(0, 1e-4).entropy()) < 3 * error


@pytest.mark.parametrize("other", [None, 3, "P", np.zeros(2)])
@pytest.mark.parametrize("method", ["kl_divergence", "kl_upper_bound"])
def test_the_other_must_be_a_mixture(method, other):
    with pytest.raises(ValueError, match="other must be a tgmm.GaussianMixture"):
        getattr(P, method)(other)


@pytest.mark.parametrize("method", ["kl_divergence", "kl_upper_bound"])
def test_the_other_must_fit(method):
    with pytest.raises(ValueError, match="other must be a mixture of 1 features"):
        getattr(P, method)(gaussian("full", 0))
    with pytest.raises(NotFittedError):
        getattr(P, method)(GaussianMixture())
    with pytest.raises(ValueError, match="n_samples"):
        P.entropy(1)


@pytest.mark.parametrize("place", [1e150, 1e154, 1e200, 1e308])
def test_a_divergence_that_overflows_is_infinite_and_not_nan(place):
    near, far = (Mixture([1.0], [[mean]], [1.0], "spherical") for mean in (0.0, place))
    for p, q in ((near, far), (far, near)):
        value, error = p.kl_divergence(q, 100, random_state=0)
        expected = (0.5 * place) * place
        assert value == pytest.approx(expected, rel=1e-9)
        assert error >= 0
        assert np.isinf(error) == np.isinf(expected)


@pytest.mark.parametrize("method", ["kl_divergence", "kl_upper_bound"])
def test_the_other_must_have_the_features_in_the_same_order(method):
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((50, 2)) * [1, 3], columns=["a", "b"])
    one, other, unnamed = (GaussianMixture().fit(X) for X in (frame, frame[["b", "a"]], frame.to_numpy()))
    with pytest.raises(ValueError, match=r"features \['a', 'b'\], in this order; it has \['b', 'a'\]"):
        getattr(one, method)(other)
    for same in (other.marginal(["a", "b"]), unnamed):
        assert np.max(getattr(one, method)(same)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("method", ["kl_divergence", "kl_upper_bound"])
def test_the_other_must_be_without_noise(method):
    rows = np.random.default_rng(0).normal(size=(60, 2))
    one, other = GaussianMixture(1).fit(rows), GaussianMixture(1, noise=True, max_iter=2).fit(rows)
    with pytest.raises(ValueError, match="other must be a mixture without noise"):
        getattr(one, method)(other)
