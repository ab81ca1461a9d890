"""The oracles themselves: the naive EM and the documented log-posterior agree before anything is held against them."""

import numpy as np
import pytest
import torch
from cases import PRIORS, explicit_start, mixture, prior_keywords, soft_responsibilities
from naive_em import STRUCTURES, log_posterior, naive_em, objective, unconstrained_gradient
from scipy.stats import invgamma, invwishart, multivariate_normal, norm
from structures import SPECS

every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_prior = pytest.mark.parametrize("priors", PRIORS)


@every_structure
@every_prior
def test_both_codings_of_the_objective_differ_by_a_constant(structure, priors):
    X, _ = mixture(seed=0)
    prior = prior_keywords(priors, structure, 3, 3)
    sample_weight = np.random.default_rng(1).uniform(0.2, 3, len(X))
    gaps = []
    for seed in range(3):
        start = explicit_start(seed, X, structure, 3)
        average = objective(X, *start, structure, sample_weight, prior=prior)
        tensors = [torch.as_tensor(part, dtype=torch.float64) for part in (X, *start)]
        total = log_posterior(*tensors, structure, torch.as_tensor(sample_weight), prior)
        gaps.append(total.item() - average * sample_weight.sum())
    np.testing.assert_allclose(gaps, gaps[0], rtol=0, atol=1e-9)


def test_the_log_prior_is_scipys_up_to_a_constant():
    """Inverse-Wishart for matrices, inverse-gamma (its one-dimensional form) for variances, the normal for means."""
    rng = np.random.default_rng(2)
    d, nu, kappa = 3, 7.5, 2.5
    X = np.zeros((1, d))
    for structure in STRUCTURES:
        prior = prior_keywords("means_and_covariance", structure, 1, d)
        prior |= {"degrees_of_freedom_prior": nu, "mean_precision_prior": kappa}
        Psi, m = np.asarray(prior["covariance_prior"]), prior["mean_prior"][0]
        gaps = []
        for seed in range(3):
            weights, _, covariances = explicit_start(seed, rng.standard_normal((9, d)), structure, 1)
            means = rng.standard_normal((1, d))
            matrix = np.squeeze(covariances, axis=0) if covariances.ndim and len(covariances) == 1 else covariances
            if SPECS[structure].n_axes == 2:
                expected = invwishart(df=nu, scale=Psi.reshape(d, d)).logpdf(matrix)
                expected += multivariate_normal(m, matrix / kappa).logpdf(means[0])
            else:
                expected = invgamma(nu / 2, scale=Psi / 2).logpdf(matrix).sum()
                expected += norm(m, np.sqrt(matrix / kappa)).logpdf(means[0]).sum()
            tensors = [torch.as_tensor(part, dtype=torch.float64) for part in (X, weights, means, covariances)]
            ours = log_posterior(*tensors, structure, prior=prior) - log_posterior(*tensors, structure)
            gaps.append(ours.item() - expected)
        np.testing.assert_allclose(gaps, gaps[0], rtol=0, atol=1e-9, err_msg=structure)


@every_structure
@every_prior
@pytest.mark.parametrize("cem", [False, True], ids=["soft", "hard"])
def test_the_objective_never_falls(structure, priors, cem):
    X, labels = mixture(seed=3)
    prior = prior_keywords(priors, structure, 3, 3)
    fit = naive_em(X, structure, soft_responsibilities(4, labels, 3), 15, cem=cem, **prior)
    assert np.diff(fit.history).min() > -1e-12


@every_structure
@every_prior
def test_the_gradient_vanishes_at_the_limit(structure, priors):
    X, labels = mixture(seed=5, n=90, separation=5)
    prior = prior_keywords(priors, structure, 3, 3)
    sample_weight = np.random.default_rng(6).uniform(0.5, 2, len(X))
    fit = naive_em(X, structure, np.eye(3)[labels], 80, sample_weight=sample_weight, **prior)
    gradient = unconstrained_gradient(X, fit.weights, fit.means, fit.covariances, structure, sample_weight, prior)
    for name, values in gradient.items():
        assert values.abs().max() < 1e-4, name


@every_structure
def test_the_gradient_sees_a_denominator_that_is_off_by_one(structure):
    X, labels = mixture(seed=5, n=90, separation=5)
    fit = naive_em(X, structure, np.eye(3)[labels], 80)
    count = len(X) if SPECS[structure].tied else len(X) / 3
    off = fit.covariances * (count / (count + 1))
    gradient = unconstrained_gradient(X, fit.weights, fit.means, off, structure)
    assert max(values.abs().max() for values in gradient.values()) > 0.3
