"""Sums over rows and factors against the formulas of Ghahramani & Hinton with whole matrices."""

import numpy as np
import pytest
import torch
from naive_em import log_normal
from scipy.special import logsumexp

from tgmm.covariance import Diagonal, LowRank
from tgmm.covariance.latent import Latent
from tgmm.data.chunk import Chunk
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import TOLERANCE
from tgmm.kernels.choose import is_precise
from tgmm.kernels.factors import Deviating, Scored
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters

N, D, Q, K = 200, 8, 2, 9
LATENT = Latent(n_factors=Q)
FORMS = {
    "float32": (Scored, torch.float32),
    "float64": (Scored, torch.float64),
    "precise": (Deviating, torch.float64),
}
every_form = pytest.mark.parametrize(("form", "dtype"), FORMS.values(), ids=FORMS)


def mixture(offset=0.0, gap=0.1, noise=(0.3, 1.0), seed=0):
    """Rows (n, d) that float32 holds exactly, and a mixture's parameters near those that they were drawn from."""
    rng = np.random.default_rng(seed)
    means = offset + gap * rng.standard_normal((K, D))
    W, psi = rng.standard_normal((K, D, Q)) * np.sqrt(noise[0]), rng.uniform(*noise, (K, D))
    labels = rng.integers(0, K, N)
    X = means[labels] + np.einsum("nij,nj->ni", W[labels], rng.standard_normal((N, Q)))
    X = (X + np.sqrt(psi[labels]) * rng.standard_normal((N, D))).astype(np.float32).astype(float)
    weights = torch.full((K,), 1 / K, dtype=torch.float64)
    return X, Parameters(weights, torch.tensor(means), LowRank.of(0.8 * torch.tensor(W), 1.2 * torch.tensor(psi)))


def kernel_of(form, dtype):
    frame = Frame(torch.zeros(D, dtype=torch.float64), torch.ones(D, dtype=torch.float64))
    return form(LATENT, frame, K, dtype, torch.device("cpu"))


def gathered(kernel, parameters, X, weights=None, cuts=(1, 70)):
    sums = kernel.gather(parameters, soft)
    for part in np.split(np.arange(len(X)), cuts):
        sums.add(Chunk(torch.tensor(X[part]), None if weights is None else torch.tensor(weights[part]), int(part[0])))
    return sums.result()


def naive(X, parameters, weights):
    """Mass, means, and sums about these of x z', x^2, z z' and z: with beta = W' Sigma^-1, E[z | x] = beta (x - mu)."""
    means, W = parameters.means.numpy(), parameters.covariances.loadings.numpy()
    matrices = parameters.covariances.dense.numpy()
    joint = np.stack([log_normal(X, *of) for of in zip(means, matrices, strict=True)], 1) - np.log(K)
    R = weights[:, None] * np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    found = []
    for k in range(K):
        beta = W[k].T @ np.linalg.inv(matrices[k])
        z, r = (X - means[k]) @ beta.T, R[:, k, None]
        mean, factor = (r * X).sum(0) / r.sum(), (r * z).sum(0) / r.sum()
        x, z = X - mean, z - factor
        left = r.sum() * (np.eye(Q) - beta @ W[k])
        found.append((r.sum(), mean, (r * x).T @ z, (r * x**2).sum(0), left + (r * z).T @ z))
    return [np.stack(each) for each in zip(*found, strict=True)]


def check(statistics, expected, rtol):
    """Sums over their mass, relative to the deviations of rows and factors."""
    mass, mean, cross, squares, products = expected
    step = statistics.first / statistics.mass[:, None]
    about = LATENT.about_means(statistics.second, statistics.mass, step)
    found = [each.numpy() / mass.reshape(-1, *[1] * (each.ndim - 1)) for each in LATENT.parts(about)[:3]]
    sd, width = np.sqrt(squares / mass[:, None]), np.sqrt(np.einsum("kii->ki", products) / mass[:, None])
    np.testing.assert_allclose(statistics.mass, mass, rtol=rtol)
    assert (np.abs((step + statistics.centre).numpy() - mean) < rtol * sd).all()
    assert (np.abs(found[0] - cross / mass[:, None, None]) < rtol * sd[:, :, None] * width[:, None]).all()
    assert (np.abs(found[1] - sd**2) < rtol * sd**2).all()
    assert (np.abs(found[2] - products / mass[:, None, None]) < rtol * width[:, :, None] * width[:, None]).all()


@every_form
@pytest.mark.parametrize("gap", [0.0, 1.0, 20.0], ids=["overlapping", "between", "separate"])
def test_sums_are_those_of_whole_matrices_however_many_shares_count(form, dtype, gap):
    X, parameters = mixture(gap=gap)
    weights = np.random.default_rng(1).integers(0, 3, N).astype(float)
    rtol = (1 + gap**2) * (5e-6 if dtype == torch.float32 else 1e-13)  # as squares of rows to their variances
    check(gathered(kernel_of(form, dtype), parameters, X, weights), naive(X, parameters, weights), rtol)


@every_form
@pytest.mark.parametrize("offset", [0.0, 3.0, 20.0, 1e3, 1e5])
def test_sums_are_precise_or_known_not_to_be(form, dtype, offset):
    """All components far from the origin, in which the sums of the products' form are, relative to their widths."""
    X, parameters = mixture(offset=offset)
    kernel = kernel_of(form, dtype)
    precise = form is Deviating or is_precise(kernel, parameters, None, torch.float64)
    assert precise == (offset <= {torch.float32: 3.0, torch.float64: 1e3}[dtype] or form is Deviating)
    if precise:
        check(gathered(kernel, parameters, X), naive(X, parameters, np.ones(N)), 20 * TOLERANCE[dtype])


@every_form
def test_features_of_tiny_variance(form, dtype):
    X, parameters = mixture(noise=(1e-10, 2e-10), gap=1e-5)
    check(gathered(kernel_of(form, dtype), parameters, X), naive(X, parameters, np.ones(N)), 20 * TOLERANCE[dtype])


@every_form
def test_sums_over_directions_begin_a_run(form, dtype):
    """Sums of u u', u = P (x - mean), are those of products with x of P."""
    X, parameters = mixture()
    begun = Parameters(parameters.weights, parameters.means, Diagonal(parameters.covariances.variances, D))
    statistics = gathered(kernel_of(form, dtype), begun, X)
    about = LATENT.about_means(statistics.second, statistics.mass, statistics.first / statistics.mass[:, None])
    cross, squares, products, _ = LATENT.parts(about)
    assert (torch.linalg.eigvalsh(products) > 0).all()
    explained = (torch.linalg.solve(products, cross.mT).mT * cross).sum(-1)
    assert (explained <= squares * 1.0001).all() and (explained.sum(-1) > 0.1 * squares.sum(-1)).all()
