"""The variational step of every structure: exact, and the bound is the whole one.

The oracles are the conjugate posterior and evidence of one Gaussian in closed form, and autograd's gradient of the
bound as textbooks write it, which is zero in every variational parameter where a fit has converged.
"""

import math

import numpy as np
import pytest
import torch
from naive_variational import bound
from scipy.special import gammaln, multigammaln
from scipy.stats import multivariate_t, t
from structures import SPECS
from support import COVARIANCE_TYPES

from tgmm import BayesianGaussianMixture

PRIORS = ["dirichlet_process", "dirichlet_distribution"]
D = 3


def rows(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, D)) @ (np.eye(D) + 0.4 * rng.standard_normal((D, D))) + [0.5, -1.0, 2.0]


def prior_of(spec, seed=1):
    """A prior of one Gaussian under the names of the constructor, and Psi as a matrix or its part."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((D, D))
    psi = [1.7, np.array([0.5, 1.2, 2.0]), root @ root.T + np.eye(D)][spec.n_axes]
    keywords = {"mean_prior": rng.standard_normal(D), "mean_precision_prior": 0.7, "degrees_of_freedom_prior": 4.5}
    return keywords | {"covariance_prior": psi}


def conjugate(X, spec, keywords):
    """kappa, m, Psi, nu of the posterior, and the log evidence (Gelman et al., BDA3, 3.6; Murphy 2007)."""
    n, kappa, nu = len(X), keywords["mean_precision_prior"], keywords["degrees_of_freedom_prior"]
    gap, deviations = X.mean(0) - keywords["mean_prior"], X - X.mean(0)
    scatter = deviations.T @ deviations + n * kappa / (n + kappa) * np.outer(gap, gap)
    psi = keywords["covariance_prior"]
    own = psi + [np.trace(scatter), np.diag(scatter), scatter][spec.n_axes]
    nu_own = nu + n * (D if spec.n_axes == 0 else 1)

    def log_constant(psi, nu):
        if spec.n_axes == 2:
            return multigammaln(nu / 2, D) + nu * D / 2 * math.log(2) - nu / 2 * np.linalg.slogdet(psi)[1]
        count = D if spec.n_axes == 1 else 1
        return count * (gammaln(nu / 2) + nu / 2 * math.log(2)) - nu / 2 * np.log(psi).sum()

    evidence = log_constant(own, nu_own) - log_constant(psi, nu)
    evidence += D / 2 * math.log(kappa / (kappa + n)) - n * D / 2 * math.log(2 * math.pi)
    mean = (n * X.mean(0) + kappa * keywords["mean_prior"]) / (n + kappa)
    return kappa + n, mean, own, nu_own, evidence


def log_student(rows, spec, kappa, mean, psi, nu):
    """The log predictive density by scipy (Bishop, PRML, 10.81)."""
    share = (kappa + 1) / kappa
    if spec.n_axes == 2:
        return multivariate_t(mean, share / (nu - D + 1) * psi, df=nu - D + 1).logpdf(rows)
    if spec.n_axes == 1:
        return t(df=nu, loc=mean, scale=np.sqrt(share / nu * psi)).logpdf(rows).sum(1)
    return multivariate_t(mean, share / nu * psi * np.eye(D), df=nu).logpdf(rows)


@pytest.mark.parametrize("kind", PRIORS)
@pytest.mark.parametrize("name", COVARIANCE_TYPES)
def test_one_component_is_exact(name, kind):
    X, spec = rows(), SPECS[name]
    keywords = prior_of(spec)
    model = BayesianGaussianMixture(1, covariance_type=name, weight_concentration_prior_type=kind, **keywords).fit(X)
    kappa, mean, psi, nu, evidence = conjugate(X, spec, keywords)
    assert model.lower_bound_ == pytest.approx(evidence / len(X), rel=1e-11)
    np.testing.assert_allclose(model.mean_precision_, [kappa], rtol=1e-12)
    np.testing.assert_allclose(model.means_, mean[None], rtol=1e-12)
    np.testing.assert_allclose(model.degrees_of_freedom_, [nu], rtol=1e-12)
    np.testing.assert_allclose(model.covariances_, (psi / nu if spec.tied else np.asarray(psi / nu)[None]), rtol=1e-10)
    np.testing.assert_array_equal(model.weights_, [1.0])
    elsewhere = rows(20, seed=3) * 4
    expected = log_student(elsewhere, spec, kappa, mean, psi, nu)
    np.testing.assert_allclose(model.score_samples(elsewhere), expected, rtol=1e-10)
    assert model.score(elsewhere) == pytest.approx(expected.mean(), rel=1e-11)


def laws_of(model, spec):
    """A model's posterior and prior as the naive bound has them."""

    def as_tensor(values):
        return torch.tensor(np.asarray(values), dtype=torch.float64)

    def of(concentration, kappa, mean, nu, psi):
        psi = as_tensor(psi)
        return {
            "concentration": as_tensor(concentration),
            "kappa": as_tensor(kappa),
            "mean": as_tensor(mean),
            "nu": as_tensor(nu),
            "psi": psi[None] if spec.tied else psi,
        }

    nu = model.degrees_of_freedom_
    psi = model.covariances_ * (nu[0] if spec.tied else nu.reshape(-1, *[1] * spec.n_axes))
    q = of(model.weight_concentration_, model.mean_precision_, model.means_, nu, psi)
    concentration = model.weight_concentration_prior_
    if model.weight_concentration_prior_type == "dirichlet_process":
        concentration = [np.ones_like(concentration), concentration]
    p = of(
        concentration,
        model.mean_precision_prior_,
        model.mean_prior_,
        model.degrees_of_freedom_prior_,
        model.covariance_prior_,
    )
    return q, p


@pytest.mark.parametrize(("name", "kind"), list(zip(COVARIANCE_TYPES, PRIORS * 3, strict=True)))
def test_the_gradient_of_the_whole_bound_is_zero(name, kind):
    X, spec = np.concatenate([rows(40), rows(50, seed=2) * [1, 1, 0.5] + [4, 3, -4]]), SPECS[name]
    weights = np.random.default_rng(5).uniform(0.5, 2, len(X))
    settings = {"covariance_type": name, "weight_concentration_prior_type": kind, "weight_concentration_prior": 2.0}
    model = BayesianGaussianMixture(3, **settings, tol=1e-15, max_iter=1000, random_state=0)
    model.fit(X, sample_weight=weights)
    q, p = laws_of(model, spec)
    leaves = [value.requires_grad_() for value in q.values()]
    total = bound(torch.tensor(X), torch.tensor(weights), spec, q, p)
    assert model.lower_bound_ == pytest.approx(total.item() / weights.sum(), rel=1e-11)
    total.backward()
    for name_of, leaf in zip(q, leaves, strict=True):
        assert (leaf.grad * leaf.detach().abs().clamp(min=1)).abs().max() < 2e-5, name_of


@pytest.mark.parametrize("name", COVARIANCE_TYPES)
def test_the_bound_never_falls(name):
    X = np.concatenate([rows(150), rows(150, seed=2) * [1, 3, 0.3] + 3])
    model = BayesianGaussianMixture(8, covariance_type=name, init_means="random", max_iter=1000, random_state=0).fit(X)
    assert np.diff(model.objective_history_).min() > -1e-9
    assert model.n_components_ < 8
