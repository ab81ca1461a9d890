"""Samples follow their laws: radii, directions, components and moments, for every structure and region."""

import time

import numpy as np
import pytest
import torch
from cases import random_covariances
from scipy.stats import chi2, chisquare, expon, kstest
from sklearn.exceptions import NotFittedError
from support import COVARIANCE_TYPES, dense_covariances

from tgmm import BayesianGaussianMixture, GaussianMixture
from tgmm.mixture.sampling import draw_rows

INF = float("inf")
WEIGHTS = np.array([0.5, 0.3, 0.2])
D = 4
# What is asked for, and the Mahalanobis distances it allows.
REGIONS = {
    "all": ({}, (0, INF)),
    "confidence": ({"confidence": 0.7}, (0, chi2.ppf(0.7, D) ** 0.5)),
    "shell": ({"std_range": (1.0, 2.5)}, (1.0, 2.5)),
    "tail": ({"std_range": (3, INF)}, (3, INF)),
    "far tail": ({"std_range": (12, INF)}, (12, INF)),
}


def mixture(covariance_type, dtype=torch.float64, seed=0):
    rng = np.random.default_rng(seed)
    means = torch.tensor(10 * rng.standard_normal((3, D)), dtype=dtype)
    covariances = random_covariances(rng, covariance_type, 3, D)
    return GaussianMixture.from_parameters(WEIGHTS, means, covariances, covariance_type)


def whitened(gmm, X, components):
    """Deviations from each row's component in units of its Cholesky root, by numpy alone."""
    dense = dense_covariances(gmm.covariances_, gmm.covariance_type, *gmm.means_.shape)
    deviations = X.double().numpy() - np.asarray(gmm.means_, dtype=np.float64)[components]
    return np.linalg.solve(np.linalg.cholesky(dense)[components], deviations[..., None])[..., 0]


def truncated_chi2_cdf(low, high, d=D):
    """Distribution function of the squared distance within [low, high], from survival functions."""
    first, last = chi2.sf([low**2, high**2], d)
    return lambda squared: (first - chi2.sf(squared, d)) / (first - last)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_radii_and_directions_follow_their_laws(covariance_type, region):
    keywords, (low, high) = REGIONS[region]
    gmm = mixture(covariance_type)
    X, components = gmm.sample(6000, random_state=3, **keywords)
    white = whitened(gmm, X, components.numpy())
    squared = (white**2).sum(axis=1)
    assert (squared >= low**2 * (1 - 1e-9)).all()
    assert (squared <= high**2 * (1 + 1e-9)).all()
    assert kstest(squared, truncated_chi2_cdf(low, high)).pvalue > 1e-3
    # A coordinate of a uniform direction in d dimensions: (1 + u) / 2 ~ Beta((d - 1) / 2, (d - 1) / 2).
    directions = white / np.sqrt(squared)[:, None]
    for coordinate in directions.T:
        assert kstest((1 + coordinate) / 2, "beta", args=((D - 1) / 2, (D - 1) / 2)).pvalue > 1e-3
    np.testing.assert_allclose(directions.T @ directions / len(directions), np.eye(D) / D, atol=0.015)
    # Directions know nothing of radii.
    correlation = np.corrcoef(np.column_stack([directions, squared]).T)[-1, :-1]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(X))


@pytest.mark.parametrize("region", ["all", "shell", "tail"])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_moments_of_each_component_are_the_closed_forms(covariance_type, region):
    keywords, (low, high) = REGIONS[region]
    gmm = mixture(covariance_type)
    n = 40_000
    X, components = gmm.sample(n, component=1, random_state=4, **keywords)
    assert components.tolist() == [1] * n
    # E[r^2] of the chi law within [low, high], by the recurrence from d to d + 2.
    square = D * np.subtract(*chi2.sf([low**2, high**2], D + 2)) / np.subtract(*chi2.sf([low**2, high**2], D))
    covariance = dense_covariances(gmm.covariances_, covariance_type, 3, D)[1] * square / D
    deviations = np.sqrt(np.diag(covariance))
    error = (X.numpy().mean(axis=0) - np.asarray(gmm.means_[1])) / deviations
    assert np.abs(error).max() < 4 / np.sqrt(n)
    error = (np.cov(X.numpy().T) - covariance) / np.outer(deviations, deviations)
    assert np.abs(error).max() < 4 * np.sqrt(2 / n)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_moments_of_the_whole_mixture(covariance_type):
    gmm = mixture(covariance_type)
    X, _ = gmm.sample(40_000, random_state=5)
    means = np.asarray(gmm.means_)
    dense = dense_covariances(gmm.covariances_, covariance_type, 3, D)
    mean = WEIGHTS @ means
    covariance = np.einsum("k,kij->ij", WEIGHTS, dense + np.einsum("ki,kj->kij", means - mean, means - mean))
    deviations = np.sqrt(np.diag(covariance))
    assert np.abs((X.numpy().mean(axis=0) - mean) / deviations).max() < 4 / np.sqrt(len(X))
    assert np.abs((np.cov(X.numpy().T) - covariance) / np.outer(deviations, deviations)).max() < 0.03


@pytest.mark.parametrize("keywords", [{}, {"confidence": 0.3}, {"std_range": (4, 5)}])
def test_components_are_drawn_by_weight_and_independent_of_the_order(keywords):
    gmm = mixture("diag")
    _, components = gmm.sample(20_000, random_state=6, **keywords)
    for part in components.split(5000):
        assert chisquare(part.bincount(minlength=3).numpy(), 5000 * WEIGHTS).pvalue > 1e-3


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fewer_rows_than_components_have_the_covariance_of_their_own(covariance_type):
    gmm, components = mixture(covariance_type), torch.tensor([2, 0])
    rows = draw_rows(gmm.mixture_.parameters, components, torch.Generator().manual_seed(3))
    white = torch.randn(2, D, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    distances = np.linalg.norm(whitened(gmm, rows, components.numpy()), axis=1)
    np.testing.assert_allclose(distances, white.norm(dim=1).numpy(), rtol=1e-10)


def test_a_component_of_weight_0_is_drawn_only_when_asked_for():
    gmm = GaussianMixture.from_parameters([0.0, 1.0], [[0.0], [9.0]], [1.0, 1.0], "spherical")
    assert set(gmm.sample(1000, random_state=0)[1].tolist()) == {1}
    assert set(gmm.sample(10, component=0, random_state=0)[1].tolist()) == {0}


def test_twenty_standard_deviations_out_in_a_hundred_dimensions():
    gmm = GaussianMixture.from_parameters([1.0], torch.zeros(1, 100), torch.eye(100), "tied_full")
    started = time.perf_counter()
    X, _ = gmm.sample(10_000, std_range=(20, INF), random_state=0)
    assert time.perf_counter() - started < 5
    assert torch.isfinite(X).all()
    squared = X.double().square().sum(1).numpy()
    assert kstest(squared, truncated_chi2_cdf(20, INF, d=100)).pvalue > 1e-3


def test_where_the_survival_function_underflows_the_law_is_still_exact():
    gmm = GaussianMixture.from_parameters([1.0], [[1.0, -2.0]], [4.0], "spherical")
    X, _ = gmm.sample(5000, std_range=(40, INF), random_state=0)
    squared = ((X - gmm.means_) ** 2).sum(1) / 4
    assert chi2.sf(40**2, 2) == 0
    assert kstest(squared / 2 - 800, expon.cdf).pvalue > 1e-3  # in two dimensions r^2 / 2 is exponential


def test_a_tiny_ball_in_many_dimensions():
    gmm = GaussianMixture.from_parameters([1.0], np.zeros((1, 1000)), [1.0], "spherical")
    X, _ = gmm.sample(2000, std_range=(0, 1e-3), random_state=0)
    radii = np.linalg.norm(X, axis=1)
    assert kstest((radii / 1e-3) ** 1000, "uniform").pvalue > 1e-3  # the density is flat there


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_type_and_device_are_the_model_s(dtype):
    gmm = mixture("full", dtype)
    X, components = gmm.sample(7, random_state=0, confidence=0.9)
    assert X.dtype == dtype
    assert X.shape == (7, D)
    assert X.device == components.device == gmm.mixture_.parameters.means.device
    assert components.dtype == torch.int64
    assert not X.requires_grad


@pytest.mark.gpu
def test_samples_are_on_the_model_s_device():
    gmm = GaussianMixture.from_parameters(
        [0.5, 0.5], torch.tensor([[0.0], [5.0]], device="cuda"), [1.0, 1.0], "spherical"
    )
    X, components = gmm.sample(20_000, std_range=(1, INF), random_state=0)
    assert X.is_cuda
    assert components.is_cuda
    distances = (X.double().cpu() - gmm.means_.double().cpu()[components.cpu()])[:, 0].numpy() ** 2
    assert kstest(distances, truncated_chi2_cdf(1, INF, d=1)).pvalue > 1e-3


def test_a_random_state_decides_the_draw_and_none_draws_anew():
    gmm = mixture("tied_full")
    first, second = (gmm.sample(5, random_state=1) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(gmm.sample(5)[0], gmm.sample(5)[0])
    generator = torch.Generator().manual_seed(2)
    assert not np.array_equal(gmm.sample(5, random_state=generator)[0], gmm.sample(5, random_state=generator)[0])


def test_global_generators_are_left_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    mixture("diag").sample(10, std_range=(1, 2))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_samples": 2.5}, "n_samples"),
        ({"component": 3}, "component"),
        ({"component": -1}, "component"),
        ({"component": "0"}, "component"),
        ({"confidence": 0}, "confidence"),
        ({"confidence": 1}, "confidence"),
        ({"confidence": -0.1}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"confidence": 0.5, "std_range": (0, 1)}, "confidence and std_range"),
        ({"std_range": (2, 1)}, "std_range"),
        ({"std_range": (1, 1)}, "std_range"),
        ({"std_range": (-1, 1)}, "std_range"),
        ({"std_range": (INF, INF)}, "std_range"),
        ({"std_range": (0, float("nan"))}, "std_range"),
        ({"std_range": (1, 2, 3)}, "std_range"),
        ({"std_range": 3}, "std_range"),
        ({"random_state": "seed"}, "random_state"),
    ],
)
def test_bad_requests_name_the_argument(keywords, message):
    with pytest.raises(ValueError, match=message):
        mixture("full").sample(**keywords)


def test_an_unfitted_model_says_so():
    with pytest.raises(NotFittedError):
        GaussianMixture().sample()


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["arrays", "tensors"])
@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_draws_are_of_the_kind_of_the_training_data(cls, kind, tmp_path):
    X = kind(np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32))
    model = cls(2, random_state=0).fit(X)
    model.save(tmp_path / "m.pth")
    for each in (model, model.mixture_, cls.load(tmp_path / "m.pth")):
        rows, components = each.sample(3, random_state=1)
        assert type(rows) is type(components) is type(X) and rows.dtype == X.dtype
        assert components.dtype in (np.int64, torch.int64) and rows.shape == (3, 2)
