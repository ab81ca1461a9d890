"""Predictions and criteria of fitted models, against scipy's densities and the closed formulas."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from support import COVARIANCE_TYPES, n_parameters, reference_log_densities, warnings_of

from tgmm import GaussianMixture


@pytest.fixture(params=COVARIANCE_TYPES)
def fitted(request, blobs):
    return GaussianMixture(n_components=3, covariance_type=request.param, random_state=0).fit(blobs)


@pytest.fixture
def new_rows():
    return np.random.default_rng(5).normal(0, 4, (40, 3))


@pytest.fixture
def row_weights():
    return np.random.default_rng(6).uniform(0, 3, 40)


def test_score_samples_is_the_log_density(fitted, new_rows):
    expected = logsumexp(reference_log_densities(fitted, new_rows), axis=1)
    np.testing.assert_allclose(fitted.score_samples(new_rows), expected, rtol=1e-9)


def test_predict_proba_is_the_posterior(fitted, new_rows):
    expected = softmax(reference_log_densities(fitted, new_rows), axis=1)
    probabilities = fitted.predict_proba(new_rows)
    assert probabilities.shape == (40, 3)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)


def test_predict_is_the_most_probable_component(fitted, new_rows):
    labels = fitted.predict(new_rows)
    assert labels.shape == (40,)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, reference_log_densities(fitted, new_rows).argmax(axis=1))
    np.testing.assert_array_equal(labels, fitted.predict_proba(new_rows).argmax(axis=1))


def test_score_is_the_average_log_density(fitted, new_rows):
    score = fitted.score(new_rows)
    assert isinstance(score, float)
    assert score == pytest.approx(logsumexp(reference_log_densities(fitted, new_rows), axis=1).mean(), rel=1e-10)


def test_score_with_weights_is_the_weighted_average(fitted, new_rows, row_weights):
    log_density = logsumexp(reference_log_densities(fitted, new_rows), axis=1)
    expected = np.average(log_density, weights=row_weights)
    assert fitted.score(new_rows, sample_weight=row_weights) == pytest.approx(expected, rel=1e-10)
    assert fitted.score(new_rows, None, row_weights) == pytest.approx(expected, rel=1e-10)


def test_score_takes_and_ignores_y(fitted, new_rows):
    assert fitted.score(new_rows, np.zeros(40)) == fitted.score(new_rows)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_lower_bound_is_the_training_score(blobs, covariance_type, weighted):
    weights = np.random.default_rng(1).uniform(0.1, 5, len(blobs)) if weighted else None
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, max_iter=4, tol=0, random_state=0)
    warnings_of(gmm.fit, blobs, sample_weight=weights)
    log_density = logsumexp(reference_log_densities(gmm, blobs), axis=1)
    assert gmm.lower_bound_ == pytest.approx(np.average(log_density, weights=weights), rel=1e-10)
    assert gmm.lower_bound_ == pytest.approx(gmm.score(blobs, sample_weight=weights), rel=1e-12)
    assert gmm.objective_history_[-1] == pytest.approx(gmm.lower_bound_, rel=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_lower_bound_with_priors_is_the_likelihood_alone(blobs, covariance_type):
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, random_state=0)
    gmm.set_params(weight_concentration_prior=5.0, mean_prior=np.zeros(3), mean_precision_prior=4.0).fit(blobs)
    assert gmm.lower_bound_ == pytest.approx(gmm.score(blobs), rel=1e-12)
    assert gmm.objective_history_[-1] != pytest.approx(gmm.lower_bound_, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_fit_predict_is_fit_then_predict(blobs, weighted):
    weights = np.random.default_rng(1).integers(1, 5, len(blobs)) if weighted else None
    labels = GaussianMixture(n_components=3, random_state=0).fit_predict(blobs, sample_weight=weights)
    expected = GaussianMixture(n_components=3, random_state=0).fit(blobs, sample_weight=weights).predict(blobs)
    np.testing.assert_array_equal(labels, expected)


def test_fit_predict_takes_init_responsibilities(far_blobs):
    X, labels, _ = far_blobs
    order = np.array([2, 0, 3, 1])
    predicted = GaussianMixture(n_components=4).fit_predict(X, init_responsibilities=order[labels])
    np.testing.assert_array_equal(predicted, order[labels])


# --- information criteria ---------------------------------------------------------------------------------------


def test_aic(fitted, new_rows):
    k, d = fitted.means_.shape
    log_likelihood = logsumexp(reference_log_densities(fitted, new_rows), axis=1).sum()
    expected = 2 * n_parameters(fitted.covariance_type, k, d) - 2 * log_likelihood
    assert isinstance(fitted.aic(new_rows), float)
    assert fitted.aic(new_rows) == pytest.approx(expected, rel=1e-10)


def test_bic(fitted, new_rows):
    k, d = fitted.means_.shape
    log_likelihood = logsumexp(reference_log_densities(fitted, new_rows), axis=1).sum()
    expected = np.log(40) * n_parameters(fitted.covariance_type, k, d) - 2 * log_likelihood
    assert isinstance(fitted.bic(new_rows), float)
    assert fitted.bic(new_rows) == pytest.approx(expected, rel=1e-10)


def test_icl_adds_the_entropy_of_the_hard_assignment(fitted, new_rows):
    # mclust's icl: the BIC, and the log-probability of each row's most probable component, here lower is better.
    log_joint = reference_log_densities(fitted, new_rows)
    log_posterior = log_joint - logsumexp(log_joint, axis=1, keepdims=True)
    expected = fitted.bic(new_rows) - 2 * log_posterior.max(axis=1).sum()
    assert isinstance(fitted.icl(new_rows), float)
    assert fitted.icl(new_rows) == pytest.approx(expected, rel=1e-10)
    assert fitted.icl(new_rows) >= fitted.bic(new_rows)


def test_criteria_with_weights_count_the_sum_of_the_weights(fitted, new_rows, row_weights):
    k, d = fitted.means_.shape
    log_joint = reference_log_densities(fitted, new_rows)
    log_density = logsumexp(log_joint, axis=1)
    p = n_parameters(fitted.covariance_type, k, d)
    deviance = -2 * row_weights @ log_density
    bic = p * np.log(row_weights.sum()) + deviance
    icl = bic - 2 * row_weights @ (log_joint.max(axis=1) - log_density)
    assert fitted.aic(new_rows, sample_weight=row_weights) == pytest.approx(2 * p + deviance, rel=1e-10)
    assert fitted.bic(new_rows, sample_weight=row_weights) == pytest.approx(bic, rel=1e-10)
    assert fitted.icl(new_rows, sample_weight=row_weights) == pytest.approx(icl, rel=1e-10)


@pytest.mark.parametrize("criterion", ["aic", "bic", "icl"])
def test_criteria_prefer_the_true_number_of_clusters(far_blobs, criterion):
    X = far_blobs[0]
    values = {}
    for k in (1, 2, 3, 4, 6):
        gmm = GaussianMixture(n_components=k, covariance_type="spherical", init_means="maxdist", random_state=0)
        values[k] = getattr(gmm.fit(X), criterion)(X)
    assert min(values, key=values.get) == 4


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_icl_of_one_component_is_its_bic(blobs, covariance_type):
    gmm = GaussianMixture(covariance_type=covariance_type).fit(blobs)
    assert gmm.icl(blobs) == pytest.approx(gmm.bic(blobs), rel=1e-12)


# --- edges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 4), (3, 1)], ids=["K1-d1", "K1-d4", "K3-d1"])
def test_smallest_shapes(covariance_type, k, d):
    X = np.random.default_rng(3).standard_normal((60, d)) + 5 * (np.arange(60)[:, None] % 3)
    gmm = GaussianMixture(n_components=k, n_features=d, covariance_type=covariance_type, random_state=0).fit(X)
    log_joint = reference_log_densities(gmm, X)
    np.testing.assert_allclose(gmm.score_samples(X), logsumexp(log_joint, axis=1), rtol=1e-9)
    np.testing.assert_allclose(gmm.predict_proba(X), softmax(log_joint, axis=1), atol=1e-9)


def test_one_row(fitted, new_rows):
    np.testing.assert_allclose(fitted.score_samples(new_rows[:1]), fitted.score_samples(new_rows)[:1], rtol=1e-12)
    assert fitted.predict(new_rows[:1]).shape == (1,)
    assert fitted.predict_proba(new_rows[:1]).shape == (1, 3)


def test_many_rows_predict_as_their_pieces_do(fitted):
    X = np.random.default_rng(9).normal(0, 4, (70_000, 3))
    pieces = np.array_split(X, 7)
    np.testing.assert_allclose(
        fitted.score_samples(X), np.concatenate([fitted.score_samples(p) for p in pieces]), rtol=1e-11
    )
    np.testing.assert_allclose(
        fitted.predict_proba(X), np.concatenate([fitted.predict_proba(p) for p in pieces]), atol=1e-11
    )


def test_float32_predictions_are_as_accurate_as_their_type(blobs, new_rows):
    gmm = GaussianMixture(n_components=3, random_state=0).fit(blobs.astype(np.float32))
    rows = new_rows.astype(np.float32)
    log_joint = reference_log_densities(gmm, rows.astype(np.float64))
    log_density = gmm.score_samples(rows)
    assert log_density.dtype == np.float32
    np.testing.assert_allclose(log_density, logsumexp(log_joint, axis=1), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(gmm.predict_proba(rows), softmax(log_joint, axis=1), atol=1e-4)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_components_without_weight_are_never_predicted(far_blobs, covariance_type):
    X, labels, _ = far_blobs
    responsibilities = np.eye(5)[labels]
    responsibilities[0] = [0.6, 0, 0, 0, 0.4]
    gmm = GaussianMixture(n_components=5, covariance_type=covariance_type, weight_concentration_prior=[1, 1, 1, 1, 0.3])
    gmm.fit(X, init_responsibilities=responsibilities)
    rows = np.concatenate([X, [[1e3, -1e3], [50.0, 50.0]]])
    probabilities = gmm.predict_proba(rows)
    assert (probabilities[:, 4] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert np.isfinite(gmm.score_samples(rows)).all()
    assert 4 not in gmm.predict(rows)


@pytest.mark.parametrize("cem", [False, True], ids=["em", "cem"])
def test_cem_predicts_with_the_mixture(blobs, cem):
    gmm = GaussianMixture(n_components=3, cem=cem, random_state=0).fit(blobs)
    np.testing.assert_allclose(
        gmm.predict_proba(blobs), softmax(reference_log_densities(gmm, blobs), axis=1), rtol=1e-7, atol=1e-12
    )


def test_predictions_of_tensors_equal_those_of_arrays(fitted, new_rows):
    rows = torch.as_tensor(new_rows)
    np.testing.assert_array_equal(fitted.predict(rows).numpy(), fitted.predict(new_rows))
    np.testing.assert_array_equal(fitted.predict_proba(rows).numpy(), fitted.predict_proba(new_rows))
    np.testing.assert_array_equal(fitted.score_samples(rows).numpy(), fitted.score_samples(new_rows))
    assert fitted.score(rows) == fitted.score(new_rows)
    for criterion in ("aic", "bic", "icl"):
        assert getattr(fitted, criterion)(rows) == getattr(fitted, criterion)(new_rows)


# --- rows far away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e10, 1e100, 1e200, 1e308], ids=str)
def test_rows_far_away(fitted, size):
    rows = np.concatenate([size * np.eye(3), -size * np.eye(3), np.full((1, 3), size), np.zeros((1, 3))])
    log_density = fitted.score_samples(rows)
    assert not np.isnan(log_density).any()
    assert not np.isposinf(log_density).any()
    assert np.isfinite(log_density[-1])
    probabilities = fitted.predict_proba(rows)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    labels = fitted.predict(rows)
    assert ((labels >= 0) & (labels < 3)).all()
    np.testing.assert_array_equal(probabilities[np.arange(len(rows)), labels], probabilities.max(axis=1))
