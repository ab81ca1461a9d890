"""Data and starts with nothing to estimate: a proper model and one warning, or an error that names the remedy."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from support import (
    ASPHERICAL_TYPES,
    COVARIANCE_TYPES,
    FULL_TYPES,
    STARTS,
    TIED_TYPES,
    UNTIED_TYPES,
    assert_same_fit,
    assert_valid,
    messages,
    unit_covariances,
    warnings_of,
)

from tgmm import GaussianMixture

every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
every_start = pytest.mark.parametrize("start", STARTS)
em_and_cem = pytest.mark.parametrize("cem", [False, True], ids=["em", "cem"])


def assert_one_warning(gmm, X, **keywords):
    gmm, caught = warnings_of(gmm.fit, X, **keywords)
    assert len(caught) == 1, messages(caught)
    assert issubclass(caught[0].category, UserWarning)
    reasons = str(caught[0].message).split("; ")
    assert len(set(reasons)) == len(reasons), reasons
    assert_valid(gmm, X)
    return gmm


def assert_no_warning(gmm, X, **keywords):
    gmm, caught = warnings_of(gmm.fit, X, **keywords)
    assert not caught, messages(caught)
    assert_valid(gmm, X)
    return gmm


# --- data with nothing to estimate ------------------------------------------------------------------------------


@every_type
@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("value", [0.0, 4.0, -1e6], ids=str)
def test_all_rows_identical(covariance_type, n_components, value):
    X = np.full((20, 2), value)
    gmm = GaussianMixture(n_components=n_components, covariance_type=covariance_type, random_state=0)
    assert_one_warning(gmm, X)
    np.testing.assert_allclose(gmm.means_, np.full((n_components, 2), value), atol=1e-2 * max(1, abs(value)))


@every_start
def test_all_rows_identical_from_every_start(start):
    gmm = GaussianMixture(n_components=3, init_means=start, random_state=0)
    assert_one_warning(gmm, np.full((20, 2), 4.0))


@every_type
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_one_row(covariance_type, dtype):
    X = np.array([[3.0, -2.0, 1.0]], dtype=dtype)
    gmm = assert_one_warning(GaussianMixture(covariance_type=covariance_type), X)
    np.testing.assert_allclose(gmm.means_, X, rtol=1e-6)
    assert gmm.weights_.tolist() == [1.0]
    assert gmm.predict(X).tolist() == [0]


@every_type
@pytest.mark.parametrize("n_components", [1, 2])
def test_a_constant_feature(covariance_type, n_components):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal(60) + 6 * (np.arange(60) % 2), np.full(60, 5.0), rng.standard_normal(60)])
    gmm = GaussianMixture(n_components=n_components, covariance_type=covariance_type, random_state=0, max_iter=1000)
    assert_one_warning(gmm, X)
    np.testing.assert_allclose(gmm.means_[:, 1], 5.0, rtol=1e-6)


@every_type
@pytest.mark.parametrize("n_components", [4, 6])
def test_more_components_than_distinct_rows(covariance_type, n_components):
    X = np.repeat([[0.0, 0.0], [1.0, 5.0], [8.0, 2.0]], 7, axis=0)
    gmm = GaussianMixture(n_components=n_components, covariance_type=covariance_type, random_state=0)
    assert_one_warning(gmm, X)


@every_start
def test_more_components_than_distinct_rows_from_every_start(start):
    X = np.repeat([[0.0, 0.0], [1.0, 5.0], [8.0, 2.0]], 7, axis=0)
    assert_one_warning(GaussianMixture(n_components=5, init_means=start, random_state=0), X)


@every_type
def test_as_many_components_as_rows(covariance_type):
    X = np.random.default_rng(0).standard_normal((6, 2))
    gmm = GaussianMixture(n_components=6, covariance_type=covariance_type, random_state=0)
    gmm, caught = warnings_of(gmm.fit, X)
    assert len(caught) <= 1, messages(caught)
    assert_valid(gmm, X)


@pytest.mark.parametrize("covariance_type", FULL_TYPES)
@pytest.mark.parametrize("n_components", [1, 2])
def test_more_features_than_rows(covariance_type, n_components):
    X = np.random.default_rng(0).standard_normal((5, 12))
    gmm = GaussianMixture(n_components=n_components, covariance_type=covariance_type, random_state=0, max_iter=1000)
    assert_one_warning(gmm, X)


@pytest.mark.parametrize("covariance_type", sorted(set(COVARIANCE_TYPES) - set(FULL_TYPES)))
def test_more_features_than_rows_is_nothing_special_without_correlations(covariance_type):
    X = np.random.default_rng(0).standard_normal((5, 12))
    assert_no_warning(GaussianMixture(covariance_type=covariance_type), X)


@em_and_cem
def test_several_runs_on_degenerate_data_warn_once(cem):
    gmm = GaussianMixture(n_components=4, n_init=5, cem=cem, init_means="random", random_state=0)
    assert_one_warning(gmm, np.repeat([[0.0, 0.0], [1.0, 5.0], [8.0, 2.0]], 7, axis=0))


def test_degenerate_tensors():
    gmm = GaussianMixture(n_components=2, random_state=0)
    fitted, caught = warnings_of(gmm.fit, torch.full((10, 2), 3.0))
    assert len(caught) == 1, messages(caught)
    assert np.isfinite(np.asarray(fitted.covariances_)).all()
    assert torch.isfinite(fitted.predict_proba(torch.full((4, 2), 3.0))).all()


@every_type
def test_a_covariance_prior_needs_no_regularisation(covariance_type):
    gmm = GaussianMixture(covariance_type=covariance_type, reg_covar=0, degrees_of_freedom_prior=3.0)
    gmm.set_params(covariance_prior=unit_covariances(covariance_type, 1, 2))
    fitted, _ = warnings_of(gmm.fit, np.full((10, 2), 4.0))
    assert_valid(fitted, np.full((10, 2), 4.0))


# --- components that lose their rows ----------------------------------------------------------------------------


@em_and_cem
@every_type
def test_a_mean_far_from_every_row(blobs, covariance_type, cem):
    start = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, -3.0], [1e6, 1e6, 1e6]])
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, init_means=start, cem=cem, max_iter=2000)
    assert_one_warning(gmm, blobs)
    assert (gmm.weights_ > 0).all()
    assert (np.asarray(gmm.means_) >= blobs.min(axis=0)).all()
    assert (np.asarray(gmm.means_) <= blobs.max(axis=0)).all()
    assert set(gmm.predict(blobs)) == {0, 1, 2}


@every_type
def test_a_mean_far_from_every_row_with_all_of_the_start_given(blobs, covariance_type):
    start = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, -3.0], [1e6, 1e6, 1e6]])
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, init_means=start, max_iter=2000)
    gmm.set_params(init_weights=[0.4, 0.4, 0.2], init_covariances=unit_covariances(covariance_type, 3, 3))
    assert_one_warning(gmm, blobs)
    assert (gmm.weights_ > 0).all()
    assert set(gmm.predict(blobs)) == {0, 1, 2}


@every_type
def test_a_label_that_no_row_has(blobs, covariance_type):
    labels = np.repeat([0, 2], 75)
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, max_iter=2000)
    assert_one_warning(gmm, blobs, init_responsibilities=labels)
    assert (gmm.weights_ > 0).all()


def test_a_component_is_seeded_again_on_the_rows_that_are_worst_explained():
    rng = np.random.default_rng(3)
    lonely = np.array([40.0, 40.0]) + rng.standard_normal((30, 2))
    X = np.concatenate([rng.standard_normal((100, 2)), lonely])
    start = np.array([[0.0, 0.0], [1e7, -1e7]])
    gmm = GaussianMixture(n_components=2, init_means=start, init_weights=[0.5, 0.5], init_covariances=np.eye(2))
    assert_one_warning(gmm, X)
    np.testing.assert_allclose(gmm.means_[1], lonely.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(gmm.weights_, [100 / 130, 30 / 130], rtol=1e-3)


def test_several_components_lose_their_rows_with_one_warning(blobs):
    start = np.array([[0.0, 0.0, 0.0], [1e6, 1e6, 1e6], [-1e6, 1e6, 1e6]])
    gmm = GaussianMixture(n_components=3, init_means=start, max_iter=2000)
    assert_one_warning(gmm, blobs)
    assert (gmm.weights_ > 0).all()
    assert len({tuple(m) for m in gmm.means_.tolist()}) == 3


def test_one_row_outweighs_all_others(blobs):
    weights = np.ones(150)
    weights[0] = 1e20
    gmm = GaussianMixture(n_components=2, random_state=0, max_iter=2000)
    assert_one_warning(gmm, blobs, sample_weight=weights)
    np.testing.assert_allclose(gmm.means_[gmm.weights_.argmax()], blobs[0], rtol=1e-9)


def test_the_objective_falls_only_where_a_component_is_seeded_again(blobs):
    start = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, -3.0], [1e6, 1e6, 1e6]])
    gmm, _ = warnings_of(GaussianMixture(n_components=3, init_means=start, max_iter=2000).fit, blobs)
    assert (np.diff(gmm.objective_history_) < -1e-10).sum() <= 1
    assert gmm.objective_history_[-1] == pytest.approx(gmm.lower_bound_, rel=1e-12)
    assert gmm.lower_bound_ == pytest.approx(gmm.score(blobs), rel=1e-12)


# --- weights that the prior sets to zero ------------------------------------------------------------------------


@em_and_cem
@every_type
def test_a_weight_that_the_dirichlet_prior_sets_to_zero_stays_there(far_blobs, covariance_type, cem):
    X, labels, _ = far_blobs
    responsibilities = np.eye(5)[labels]
    responsibilities[7] = [0.7, 0, 0, 0, 0.3]
    gmm = GaussianMixture(n_components=5, covariance_type=covariance_type, cem=cem)
    gmm.set_params(weight_concentration_prior=[1.0, 1.0, 1.0, 1.0, 0.5])
    assert_no_warning(gmm, X, init_responsibilities=responsibilities)
    assert gmm.weights_[4] == 0
    np.testing.assert_allclose(gmm.weights_[:4], 0.25, rtol=1e-6)
    np.testing.assert_allclose(gmm.means_[:4], [X[labels == k].mean(axis=0) for k in range(4)], rtol=1e-4, atol=1e-4)
    assert (gmm.predict_proba(X)[:, 4] == 0).all()


def test_a_sparse_dirichlet_prior_prunes_components(far_blobs):
    X = far_blobs[0]
    gmm = GaussianMixture(n_components=8, covariance_type="spherical", weight_concentration_prior=1e-3)
    soft = np.random.default_rng(0).dirichlet(np.full(8, 0.1), len(X))
    gmm.set_params(max_iter=5000, tol=1e-10)
    assert_no_warning(gmm, X, init_responsibilities=soft)
    used = gmm.predict_proba(X).sum(axis=0) > 0
    np.testing.assert_array_equal(used, np.asarray(gmm.weights_) > 0)


def test_a_weight_given_as_zero_with_a_prior_stays_there(far_blobs):
    X, _, centres = far_blobs
    means = np.concatenate([centres, [[50.0, 50.0]]])
    gmm = GaussianMixture(n_components=5, init_means=means, init_weights=[0.25, 0.25, 0.25, 0.25, 0.0])
    gmm.set_params(weight_concentration_prior=[1.0, 1.0, 1.0, 1.0, 0.5], init_covariances=np.eye(2))
    assert_no_warning(gmm, X)
    assert gmm.weights_[4] == 0


# --- covariances that collapse without regularisation -----------------------------------------------------------


def rows_with_an_outlier():
    rng = np.random.default_rng(4)
    return np.concatenate([rng.normal(0, 1, (40, 2)), [[50.0, 50.0]], rng.normal([9, -9], 1, (39, 2))])


@em_and_cem
@pytest.mark.parametrize("covariance_type", UNTIED_TYPES)
def test_a_component_on_one_row_collapses(covariance_type, cem):
    X = rows_with_an_outlier()
    labels = (np.arange(80) == 40).astype(int)
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0, cem=cem)
    with pytest.raises(ValueError, match=r"(?i)component 1\b") as error:
        gmm.fit(X, init_responsibilities=labels)
    assert "reg_covar" in str(error.value)
    assert "covariance_prior" in str(error.value)
    assert not hasattr(gmm, "fitted_")


@pytest.mark.parametrize("covariance_type", TIED_TYPES)
def test_the_tied_covariance_collapses_on_identical_rows(covariance_type):
    gmm = GaussianMixture(covariance_type=covariance_type, reg_covar=0)
    with pytest.raises(ValueError, match="reg_covar") as error:
        gmm.fit(np.full((10, 2), 3.0))
    assert "covariance_prior" in str(error.value)


@pytest.mark.parametrize("covariance_type", TIED_TYPES)
def test_an_outlier_does_not_collapse_a_tied_covariance(covariance_type):
    X = rows_with_an_outlier()
    labels = (np.arange(80) == 40).astype(int)
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0)
    with pytest.warns(UserWarning, match=r"component 1 is degenerate \(on too few different rows"):
        gmm.fit(X, init_responsibilities=labels)
    assert_valid(gmm, X)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n_init", [1, 3])
def test_identical_rows_without_regularisation(covariance_type, n_init):
    with pytest.raises(ValueError, match="reg_covar"):
        GaussianMixture(covariance_type=covariance_type, reg_covar=0, n_init=n_init).fit(np.full((10, 2), 3.0))


@pytest.mark.parametrize("covariance_type", ASPHERICAL_TYPES)
def test_a_constant_feature_without_regularisation(blobs, covariance_type):
    X = np.column_stack([blobs, np.full(len(blobs), 2.0)])
    with pytest.raises(ValueError, match="reg_covar"):
        GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0, random_state=0).fit(X)


@pytest.mark.parametrize("covariance_type", UNTIED_TYPES)
def test_the_run_that_collapses_is_lost_and_the_others_count(covariance_type):
    X = rows_with_an_outlier()
    collapsing = np.array([[4.0, -4.0], [50.0, 50.0]])
    sound = np.array([[0.0, 0.0], [9.0, -9.0]])
    expected = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0)
    expected.set_params(init_means=lambda X, K, g: sound).fit(X)
    for order in ([collapsing, sound], [sound, collapsing], [collapsing, sound, collapsing]):
        remaining = iter(order)
        gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0, n_init=len(order))
        gmm.set_params(init_means=lambda X, K, g, remaining=remaining: next(remaining))
        gmm, caught = warnings_of(gmm.fit, X)
        assert len(caught) <= 1, messages(caught)
        assert_valid(gmm, X)
        assert_same_fit(gmm, expected)


@pytest.mark.parametrize("covariance_type", UNTIED_TYPES)
def test_every_run_collapses(covariance_type):
    collapsing = np.array([[4.0, -4.0], [50.0, 50.0]])
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0, n_init=3, init_means=collapsing)
    with pytest.raises(ValueError, match="reg_covar"):
        gmm.fit(rows_with_an_outlier())


@pytest.mark.parametrize("covariance_type", UNTIED_TYPES)
def test_regularisation_saves_a_component_on_one_row(covariance_type):
    X = rows_with_an_outlier()
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=1e-6, max_iter=2000)
    gmm, caught = warnings_of(gmm.fit, X, init_responsibilities=(np.arange(80) == 40).astype(int))
    assert len(caught) <= 1, messages(caught)
    assert_valid(gmm, X)


@pytest.mark.parametrize("covariance_type", UNTIED_TYPES)
def test_a_covariance_prior_saves_a_component_on_one_row(covariance_type):
    X = rows_with_an_outlier()
    psi = unit_covariances(covariance_type, 2, 2)
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0, max_iter=2000)
    gmm.set_params(covariance_prior=psi, degrees_of_freedom_prior=3.0)
    assert_no_warning(gmm, X, init_responsibilities=(np.arange(80) == 40).astype(int))


def test_a_collapse_after_some_iterations_is_found_too():
    X = np.concatenate([np.random.default_rng(0).standard_normal((60, 1)), np.full((10, 1), 1.5)])
    near = np.where(np.abs(X - 1.5) < 0.3, 0.9, 0.02)
    gmm = GaussianMixture(n_components=2, reg_covar=0, max_iter=5000, tol=1e-12)
    with pytest.raises(ValueError, match=r"(?i)component 1\b.*reg_covar"):
        gmm.fit(X, init_responsibilities=np.hstack([1 - near, near]))


# --- not converged ----------------------------------------------------------------------------------------------


@em_and_cem
@every_type
def test_not_converged(blobs, covariance_type, cem):
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, max_iter=1, tol=1e-12, cem=cem)
    gmm, caught = warnings_of(gmm.fit, blobs, init_responsibilities=np.arange(150) % 3)
    assert sum(issubclass(each.category, ConvergenceWarning) for each in caught) == 1, messages(caught)
    assert gmm.converged_ is False
    assert_valid(gmm, blobs)


@pytest.mark.parametrize("covariance_type", FULL_TYPES)
def test_a_covariance_prior_carries_more_features_than_rows_without_a_word(covariance_type):
    X = np.random.default_rng(4).standard_normal((3, 5))
    gmm = GaussianMixture(covariance_type=covariance_type, covariance_prior=np.eye(5), degrees_of_freedom_prior=7)
    fitted, caught = warnings_of(gmm.fit, X)
    assert not caught, messages(caught)
    assert np.isfinite(np.asarray(fitted.covariances_)).all()
