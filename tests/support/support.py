"""What several test modules need: kinds of structures, their shapes, and NumPy views of a fitted model."""

import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from structures import SPECS, spec_of

ORACLES = Path(__file__).parents[1] / "oracles" / "data"  # what others computed
COVARIANCE_TYPES = [name for name, spec in SPECS.items() if not spec.restricted]  # that know nothing but their form
FULL_TYPES = [name for name in COVARIANCE_TYPES if SPECS[name].n_axes == 2]
UNTIED_TYPES = [name for name in COVARIANCE_TYPES if not SPECS[name].tied]
TIED_TYPES = [name for name in COVARIANCE_TYPES if SPECS[name].tied]
SPHERICAL_TYPES = [name for name in COVARIANCE_TYPES if SPECS[name].n_axes == 0]
ASPHERICAL_TYPES = [name for name in COVARIANCE_TYPES if SPECS[name].n_axes > 0]
# mclust's names: equal or varying volume, shape and orientation.
STRUCTURE_OF_CODE = {
    "VVV": "full",
    "VVI": "diag",
    "VII": "spherical",
    "EEE": "tied_full",
    "EEI": "tied_diag",
    "EII": "tied_spherical",
}
STARTS = ["kmeans", "kpp", "k-means++", "random", "points", "maxdist"]


def covariance_shape(covariance_type, n_components, n_features):
    """Shape of `covariances_`, as the contract's table has it."""
    return spec_of(covariance_type).shape(n_components, n_features)


def n_parameters(covariance_type, n_components, n_features):
    """Free parameters of the mixture: weights, means, covariances."""
    covariances = spec_of(covariance_type).n_free(n_components, n_features)
    return (n_components - 1) + n_components * n_features + covariances


def dense_covariances(covariances, covariance_type, n_components, n_features):
    """The covariances of any structure as a (K, d, d) array."""
    return np.stack(spec_of(covariance_type).dense(np.asarray(covariances, dtype=float), n_components, n_features))


def unit_covariances(covariance_type, n_components, n_features):
    """Identity matrices in the type's shape."""
    return SPECS[covariance_type].public(np.stack([np.eye(n_features)] * n_components))


def structured_covariances(dense, weights, covariance_type):
    """The maximum likelihood covariances of a structure, from each component's scatter over its mass, (K, d, d)."""
    spec = SPECS[covariance_type]
    matrices = np.einsum("k,kij->ij", weights, dense)[np.newaxis] if spec.tied else dense
    variances = np.einsum("kii->ki", matrices)
    covariances = [variances.mean(axis=1), variances, matrices][spec.n_axes]
    return covariances[0] if spec.tied else covariances


def grouped_parameters(X, labels, n_components, covariance_type):
    """Weights, means and maximum likelihood covariances of labelled rows."""
    groups = [X[labels == k] for k in range(n_components)]
    weights = np.array([len(g) / len(X) for g in groups])
    means = np.stack([g.mean(axis=0) for g in groups])
    scatters = np.stack([np.cov(g, rowvar=False, bias=True).reshape(X.shape[1], X.shape[1]) for g in groups])
    return weights, means, structured_covariances(scatters, weights, covariance_type)


def weighted_log_densities(X, weights, means, dense):
    """log(weight_k) + log N(x | mean_k, covariance_k), (n, K), by scipy."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(np.asarray(weights, dtype=float))
    columns = [
        np.reshape(multivariate_normal(np.asarray(m, dtype=float), c).logpdf(X), -1)
        for m, c in zip(means, dense, strict=True)
    ]
    return log_weights + np.stack(columns, axis=1)


def reference_log_densities(gmm, X):
    """`weighted_log_densities` at the fitted parameters of `gmm`."""
    n_components, n_features = gmm.means_.shape
    dense = dense_covariances(np.asarray(gmm.covariances_), gmm.covariance_type, n_components, n_features)
    return weighted_log_densities(X, gmm.weights_, gmm.means_, dense)


def reference_score(gmm, X):
    """Average log-likelihood of `X` by scipy."""
    return logsumexp(reference_log_densities(gmm, X), axis=1).mean()


def assert_valid(gmm, X):
    """The model is finite and proper, and predicts for the rows of `X`."""
    n_components, n_features = gmm.means_.shape
    assert gmm.weights_.shape == (n_components,)
    assert (gmm.weights_ >= 0).all()
    assert abs(float(gmm.weights_.sum()) - 1) < 1e-6
    assert np.isfinite(np.asarray(gmm.means_)).all()
    assert gmm.covariances_.shape == covariance_shape(gmm.covariance_type, n_components, n_features)
    dense = dense_covariances(np.asarray(gmm.covariances_), gmm.covariance_type, n_components, n_features)
    assert np.isfinite(dense).all()
    assert (np.linalg.eigvalsh(dense) > 0).all()
    assert np.isfinite(gmm.lower_bound_)
    assert np.isfinite(gmm.objective_history_).all()
    assert np.isfinite(gmm.score_samples(X)).all()
    probabilities = gmm.predict_proba(X)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


def array_of(values):
    """An array of values, whatever device they are on."""
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def assert_same_fit(a, b, rtol=0.0, atol=0.0):
    """Two fitted models have the same parameters: bit for bit unless a tolerance is given."""
    for name in ("weights_", "means_", "covariances_"):
        left, right = (array_of(getattr(model, name)) for model in (a, b))
        assert left.dtype == right.dtype
        np.testing.assert_allclose(left, right, rtol=rtol, atol=atol, err_msg=name)


def warnings_of(function, *args, **kwargs):
    """What `function` returns, and every warning it gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    return result, caught


def messages(caught):
    """Warnings as text, for assertion messages."""
    return [f"{w.category.__name__}: {w.message}" for w in caught]
