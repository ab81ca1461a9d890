"""What the oracle tests share: data, starts, priors, a quiet fit, and the comparison of two models."""

import warnings

import numpy as np
import torch
from naive_em import as_matrices
from sklearn.exceptions import ConvergenceWarning
from structures import SPECS

PRIORS = ("none", "weights", "means", "covariance", "means_and_covariance", "all")


def mixture(seed, n=150, d=3, n_components=3, separation=2.5):
    """Rows of a random Gaussian mixture and the components they came from, every component present."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_components)
    centres = separation * rng.standard_normal((n_components, d))
    mixing = np.eye(d) + 0.5 * rng.standard_normal((n_components, d, d))
    X = np.einsum("kij,nkj->nki", mixing, rng.standard_normal((n, n_components, d)))[np.arange(n), labels]
    return X + centres[labels], labels


def soft_responsibilities(seed, labels, n_components):
    """Responsibilities that lean towards ``labels``: multiples of 1/1024, exact in any float type."""
    rng = np.random.default_rng(seed)
    leaning = np.eye(n_components)[labels] + rng.uniform(0.1, 1.0, (len(labels), n_components))
    responsibilities = np.round(1024 * leaning / leaning.sum(axis=1, keepdims=True)) / 1024
    responsibilities[:, -1] = 1 - responsibilities[:, :-1].sum(axis=1)
    return responsibilities


def round_to_float32(values):
    """The nearest float32 values, as float64."""
    return np.asarray(values).astype(np.float32).astype(np.float64)


def explicit_start(seed, X, structure, n_components):
    """Weights, means and covariances of the structure's shape, near the data, exact in float32."""
    rng = np.random.default_rng(seed)
    d = X.shape[1]
    weights = rng.uniform(1, 2, n_components)
    means = X[rng.choice(len(X), n_components, replace=False)]
    covariances = random_covariances(rng, structure, n_components, d) * X.var()
    # weights: rounded, then the last one is what is missing to 1 (exact in both float types)
    weights = np.round(weights / weights.sum() * 256) / 256
    weights[-1] = 1 - weights[:-1].sum()
    return weights, round_to_float32(means), round_to_float32(covariances)


def random_covariances(rng, structure, n_components, d):
    """Positive definite, of order 1, in the structure's shape."""
    roots = np.eye(d) + 0.3 * rng.standard_normal((n_components, d, d))
    matrices = roots @ roots.transpose(0, 2, 1)
    variances = np.diagonal(matrices, axis1=1, axis2=2)
    covariances = [variances[:, 0], variances, matrices][SPECS[structure].n_axes]
    return covariances[0] if SPECS[structure].tied else covariances


def prior_keywords(combination, structure, n_components, d, seed=0):
    """Hyperparameters, all different from component to component where the contract allows it, Dirichlet above 1."""
    rng = np.random.default_rng(seed)
    tied = SPECS[structure].tied
    weights = {"weight_concentration_prior": rng.uniform(1.5, 6, n_components)}
    means = {
        "mean_prior": rng.standard_normal((n_components, d)),
        "mean_precision_prior": rng.uniform(0.5, 8, n_components),
    }
    covariance = {
        "covariance_prior": 5 * random_covariances(rng, structure, n_components, d),
        "degrees_of_freedom_prior": d + 2.5 if tied else d + rng.uniform(1, 9, n_components),
    }
    return {
        "none": {},
        "weights": weights,
        "means": means,
        "covariance": covariance,
        "means_and_covariance": means | covariance,
        "all": weights | means | covariance,
    }[combination]


def fit_quietly(model, X, **keywords):
    """Fit where stopping early and components of few rows are meant, in silence; any other warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        warnings.filterwarnings("ignore", message=r"components? (\d+|\[[0-9, ]+\]) (is|are) degenerate")
        return model.fit(X, **keywords)


def as_numpy(values):
    """Tensor or array as a float64 array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def parameters(model):
    """weights, means and covariances as float64 arrays."""
    return as_numpy(model.weights_), as_numpy(model.means_), as_numpy(model.covariances_)


def assert_same_parameters(actual, expected, structure, tolerance, *, mean_slack=0.0):
    """Compare two (weights, means, covariances).

    Weights absolutely, means in standard deviations of their component, variances relatively, covariances relative
    to the two standard deviations. ``mean_slack`` is allowed to a mean on top, in the units of the data.
    """
    weights, means, covariances = (np.asarray(part, dtype=np.float64) for part in actual)
    expected_weights, expected_means, expected_covariances = (np.asarray(p, dtype=np.float64) for p in expected)
    assert weights.shape == expected_weights.shape
    assert means.shape == expected_means.shape
    assert covariances.shape == expected_covariances.shape
    matrices = as_matrices(covariances, structure, *means.shape)
    expected_matrices = as_matrices(expected_covariances, structure, *means.shape)
    deviations = np.sqrt(np.diagonal(expected_matrices, axis1=1, axis2=2))
    np.testing.assert_allclose(weights, expected_weights, rtol=0, atol=tolerance, err_msg="weights")
    error = np.maximum(np.abs(means - expected_means) - mean_slack, 0) / deviations
    assert error.max() <= tolerance, f"means are {error.max():.3g} standard deviations off"
    error = np.abs(matrices - expected_matrices) / (deviations[:, :, None] * deviations[:, None, :])
    assert error.max() <= tolerance, f"covariances are off by {error.max():.3g} relative"
