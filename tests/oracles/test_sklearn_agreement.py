"""scikit-learn's GaussianMixture from the same start, iteration for iteration, for the four structures both have."""

import warnings

import numpy as np
import pytest
from cases import as_numpy, assert_same_parameters, explicit_start, fit_quietly, mixture, parameters
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture
from structures import SPECS

from tgmm import GaussianMixture

K, D = 4, 3
SKLEARN_NAME = {"full": "full", "tied_full": "tied", "diag": "diag", "spherical": "spherical"}


def both(structure, iterations, seed=30):
    """The two libraries' models after as many M-steps from the same weights, means and covariances."""
    X, _ = mixture(seed, n=300, d=D, n_components=K)
    weights, means, covariances = explicit_start(seed, X, structure, K)
    ours = GaussianMixture(
        K,
        covariance_type=structure,
        init_weights=weights,
        init_means=means,
        init_covariances=covariances,
        reg_covar=0,
        tol=0,
        max_iter=iterations,
        accelerate=None,
    )
    fit_quietly(ours, X)
    theirs = SklearnMixture(
        K,
        covariance_type=SKLEARN_NAME[structure],
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances) if (SPECS[structure].n_axes == 2) else 1 / covariances,
        reg_covar=0,
        tol=0,
        max_iter=iterations,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        theirs.fit(X)
    return X, ours, theirs


@pytest.mark.parametrize("iterations", [1, 2, 25])
@pytest.mark.parametrize("structure", SKLEARN_NAME)
def test_the_same_parameters(structure, iterations):
    X, ours, theirs = both(structure, iterations)
    assert ours.n_iter_ == iterations
    expected = (theirs.weights_, theirs.means_, theirs.covariances_)
    assert_same_parameters(parameters(ours), expected, structure, tolerance=1e-8)
    assert ours.lower_bound_ == pytest.approx(theirs.score(X), abs=1e-8)


@pytest.mark.parametrize("structure", SKLEARN_NAME)
def test_the_same_predictions(structure):
    X, ours, theirs = both(structure, iterations=5)
    new = np.concatenate([X, 10 * np.random.default_rng(31).standard_normal((100, D))])
    np.testing.assert_allclose(ours.score_samples(new), theirs.score_samples(new), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.predict_proba(new), theirs.predict_proba(new), rtol=0, atol=1e-8)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    for ours_value, theirs_value in [
        (ours.score(new), theirs.score(new)),
        (ours.aic(new), theirs.aic(new)),
        (ours.bic(new), theirs.bic(new)),
    ]:
        assert ours_value == pytest.approx(theirs_value, rel=1e-9)


@pytest.mark.parametrize("structure", SKLEARN_NAME)
def test_the_history_is_sklearns_lower_bounds_one_step_on(structure):
    """scikit-learn's bound of iteration t is the likelihood before its M-step, which is entry t - 1 of our history."""
    _, ours, theirs = both(structure, iterations=6)
    np.testing.assert_allclose(as_numpy(ours.objective_history_)[5], theirs.lower_bound_, rtol=0, atol=1e-8)


@pytest.mark.parametrize("structure", SKLEARN_NAME)
def test_integrated_completed_likelihood(structure):
    """BIC minus twice the log-probability of the most probable labels (Biernacki, Celeux & Govaert 2000; mclust)."""
    X, ours, theirs = both(structure, iterations=5)
    certainty = np.log(theirs.predict_proba(X).max(axis=1)).sum()
    assert ours.icl(X) == pytest.approx(theirs.bic(X) - 2 * certainty, rel=1e-8)
