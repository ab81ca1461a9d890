"""The acid test of every estimate: the gradient of the documented log-posterior is zero at the fitted parameters.

The gradient is autograd's, in parameters without constraints (``naive_em.unconstrained_gradient``), of the total
log-posterior. A denominator that is off by one changes it by about a half, a misplaced kappa by as much.
"""

import numpy as np
import pytest
from cases import PRIORS, mixture, parameters, prior_keywords
from naive_em import STRUCTURES, unconstrained_gradient
from structures import SPECS

from tgmm import GaussianMixture

K, D = 3, 3

every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_prior = pytest.mark.parametrize("priors", PRIORS)


def converged_model(X, labels, structure, prior, sample_weight=None):
    model = GaussianMixture(K, covariance_type=structure, reg_covar=0, tol=1e-13, max_iter=3000, **prior)
    model.fit(X, init_responsibilities=labels, sample_weight=sample_weight)
    assert model.converged_
    return model


def assert_stationary(model, X, structure, prior, sample_weight=None):
    gradient = unconstrained_gradient(X, *parameters(model), structure, sample_weight, prior)
    for name, values in gradient.items():
        assert values.abs().max() < 1e-3, f"gradient in the {name}: {values.abs().max():.3g}"


@every_structure
@every_prior
def test_the_fit_is_stationary(structure, priors):
    X, labels = mixture(seed=20, n=120, d=D, n_components=K, separation=4)
    prior = prior_keywords(priors, structure, K, D)
    assert_stationary(converged_model(X, labels, structure, prior), X, structure, prior)


@every_structure
@every_prior
def test_the_weighted_fit_is_stationary(structure, priors):
    """With sample weights that do not sum to n, and one value of each hyperparameter for all components."""
    X, labels = mixture(seed=21, n=120, d=D, n_components=K, separation=4)
    sample_weight = np.random.default_rng(22).uniform(0.2, 3, len(X))
    prior = prior_keywords(priors, structure, K, D)
    shared = {
        "weight_concentration_prior": 2.5,
        "mean_prior": X.mean(axis=0) + 1,
        "mean_precision_prior": 3.0,
        "degrees_of_freedom_prior": D + 4.0,
    }
    prior |= {name: value for name, value in shared.items() if name in prior}
    if "covariance_prior" in prior and not SPECS[structure].tied:
        prior["covariance_prior"] = prior["covariance_prior"][0]
    model = converged_model(X, labels, structure, prior, sample_weight)
    assert_stationary(model, X, structure, prior, sample_weight)
