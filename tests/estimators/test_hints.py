"""Names of scikit-learn and of earlier versions: the error says what to write here."""

import copy
from inspect import signature

import numpy as np
import pytest
import sklearn.mixture
from sklearn.base import clone

from tgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureClassifier,
    MixtureImputer,
    MixtureOutlierDetector,
    MixtureRegressor,
    select,
)
from tgmm.estimators.hints import ATTRIBUTES, LACKING, PARAMETERS

X = np.concatenate([np.random.default_rng(0).normal(size=(40, 2)), np.random.default_rng(1).normal(8, 1, (40, 2))])
MEANT = {  # what each message must name
    "init_params": "init_means",
    "means_init": "init_means",
    "weights_init": "init_weights",
    "precisions_init": "init_covariances",
    "n_jobs": "set_num_threads",
    "precisions_": "to_sklearn",
    "precisions_cholesky_": "to_sklearn",
    "lower_bounds_": "objective_history_",
    "log_likelihood_history_": "objective_history_",
    "n_components_": "n_components",
    "labels_": "predict",
    "state_dict": "save_state_dict",
    "to_dict": "save_state_dict",
    "initial_means_": "init_means",
    "eval": "to_module",
}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_parameter_of_another_name_is_refused_wherever_it_is_given(name):
    meant = MEANT.get(name, "")
    takers = [GaussianMixture, MixtureOutlierDetector]
    if name not in signature(select).parameters:
        takers.append(lambda **given: select(X, **given))
    for give in takers:
        with pytest.raises(TypeError, match=f"{name}.*{meant}"):
            give(**{name: 1})
    with pytest.raises(ValueError, match=f"{name}.*{meant}"):
        GaussianMixture().set_params(**{name: 1})


@pytest.mark.parametrize("kind", [MixtureClassifier, MixtureRegressor, MixtureImputer])
def test_an_estimator_of_mixtures_says_where_their_settings_go(kind):
    wanted = rf"{kind.__name__}\(GaussianMixture\(n_components=2, tol=0.1\)\)"
    with pytest.raises(TypeError, match=wanted):
        kind(n_components=2, tol=0.1)
    with pytest.raises(TypeError, match="sigma"):
        kind(sigma=1)


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_an_attribute_of_another_name_says_ours(name):
    for gmm in (GaussianMixture(2), GaussianMixture(2, random_state=0).fit(X)):
        assert not hasattr(gmm, name)
        with pytest.raises(AttributeError, match=rf"{name}: .*{MEANT.get(name, '')}"):
            getattr(gmm, name)
        with pytest.raises(AttributeError, match="from_parameters"):
            setattr(gmm, name, 1)


@pytest.mark.parametrize("name", ["weights_", "means_", "covariances_", "converged_", "lower_bound_", "n_iter_"])
def test_what_a_fit_has_found_cannot_be_set(name):
    for gmm in (GaussianMixture(2), GaussianMixture(2, random_state=0).fit(X)):
        with pytest.raises(AttributeError, match=f"{name} cannot be set.*from_parameters"):
            setattr(gmm, name, np.ones(2))


def test_any_other_name_is_as_ever():
    gmm = GaussianMixture(2)
    with pytest.raises(AttributeError, match="'GaussianMixture' object has no attribute 'banana'"):
        _ = gmm.banana
    with pytest.raises(AttributeError, match="not fitted"):
        _ = gmm.means_
    with pytest.raises(TypeError, match="banana"):
        GaussianMixture(banana=1)
    with pytest.raises(ValueError, match="Invalid parameter 'banana'"):
        gmm.set_params(banana=1)
    assert copy.deepcopy(gmm).get_params() == gmm.get_params()


def test_a_slip_of_the_pen_is_recognised():
    with pytest.raises(TypeError, match="GaussianMixture has no parameter 'n_component'. Did you mean 'n_components'?"):
        GaussianMixture(n_component=2)
    with pytest.raises(TypeError, match="MixtureOutlierDetector .* 'contaminaton'. Did you mean 'contamination'?"):
        MixtureOutlierDetector(contaminaton=0.1)
    with pytest.raises(TypeError, match="select has no parameter 'criterium'. Did you mean 'criterion'?"):
        select(X, 2, criterium="aic")


def test_what_the_bayesian_mixture_lacks_is_said_with_what_has_it():
    shared = BayesianGaussianMixture().get_params().keys()
    assert not shared & LACKING["BayesianGaussianMixture"].keys()
    for name in GaussianMixture().get_params().keys() - shared:
        with pytest.raises(TypeError, match=f"BayesianGaussianMixture has no parameter '{name}': [a-z]"):
            BayesianGaussianMixture(**{name: None})


def test_select_names_the_parameter_for_structures():
    with pytest.raises(TypeError, match="select has no parameter 'covariance_type'.*covariance_types"):
        select(X, 2, covariance_type="diag")


@pytest.mark.parametrize("name", ["frozen_means", "frozen_covariances", "frozen_components", "fixed_weights"])
def test_names_of_0_4_3_for_what_is_fixed_lead_to_fixed(name):
    with pytest.raises(TypeError, match=f"has no parameter '{name}': .*fixed="):
        GaussianMixture(2, **{name: [1]})


def test_arguments_by_place():
    with pytest.raises(TypeError, match=r"3 positional arguments.*4 were given.*from 100 on by keyword"):
        GaussianMixture(2, None, "full", 100)
    with pytest.raises(ValueError, match="n_features.*covariance_type='diag'"):
        GaussianMixture(2, "diag").fit(X)


def test_a_clone_of_the_best_of_a_selection_takes_another_number_of_components():
    best = select(X, [1, 2], ["full", "diag"], random_state=0).best_
    assert clone(best).set_params(n_components=3).fit(X).means_.shape == (3, 2)


@pytest.mark.parametrize("criterion", ["BIC", "Icl", "AIC", "HELD_OUT"])
def test_criteria_in_capital_letters(criterion):
    assert select(X, [1], "diag", criterion, random_state=0).criterion == criterion.lower()


@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("start", ["auto", "kmeans", "random"])
def test_no_iterations_return_the_start(n_components, start, recwarn):
    gmm = GaussianMixture(n_components, init_means=start, max_iter=0, random_state=0).fit(X)
    assert all("degenerate" in str(warning.message) for warning in recwarn.list)  # a random start of few rows
    assert gmm.n_iter_ == 0
    assert gmm.objective_history_ == [pytest.approx(gmm.score(X), abs=1e-12)]
    assert not gmm.converged_


def test_no_iterations_return_the_start_that_was_given():
    means, covariances = X[[0, 79]], np.full((2, 2), 3.0)
    start = {"init_means": means, "init_weights": [0.3, 0.7], "init_covariances": covariances}
    gmm = GaussianMixture(2, covariance_type="diag", max_iter=0, reg_covar=0, **start).fit(X)
    np.testing.assert_allclose(gmm.means_, means, rtol=1e-12)
    np.testing.assert_allclose(gmm.weights_, [0.3, 0.7], rtol=1e-12)
    np.testing.assert_allclose(gmm.covariances_, covariances, rtol=1e-12)


@pytest.mark.parametrize("max_iter", [2, 3, 4, 5, 50])
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_a_fit_at_rest_has_converged_though_tol_is_zero(accelerate, max_iter, recwarn):
    gmm = GaussianMixture(1, tol=0, max_iter=max_iter, accelerate=accelerate).fit(X)
    assert gmm.converged_
    assert not recwarn.list
    assert gmm.n_iter_ == max_iter


def test_a_fit_that_still_moves_has_not_converged_though_tol_is_zero():
    rows = np.random.default_rng(0).normal(size=(300, 3))
    with pytest.warns(match="not converged"):
        assert not GaussianMixture(3, tol=0, max_iter=30, random_state=0).fit(rows).converged_


# --- random states ------------------------------------------------------------------------------------------------


def fitted(random_state):
    return GaussianMixture(2, random_state=0).fit(X).set_params(random_state=random_state)


def test_draws_follow_the_seed_of_the_constructor():
    first, second = (fitted(7).sample(5)[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(first, fitted(None).sample(5, random_state=7)[0])
    assert not np.array_equal(first, fitted(7).sample(5, random_state=8)[0])
    other = GaussianMixture.from_parameters([1.0], [[1.0, 1.0]], [1.0], "spherical")
    assert fitted(7).kl_divergence(other) == fitted(7).kl_divergence(other)
    assert fitted(7).entropy() == fitted(7).entropy()


def test_without_a_seed_draws_are_fresh():
    assert not np.array_equal(fitted(None).sample(5)[0], fitted(None).sample(5)[0])
    mixture = fitted(7).mixture_
    assert not np.array_equal(mixture.sample(5)[0], mixture.sample(5)[0])


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState], ids=["Generator", "RandomState"])
def test_numpy_generators_move_on_by_one_number(make):
    generator, other = make(3), make(3)
    gmm = fitted(generator)
    draws = [gmm.sample(5)[0] for _ in range(2)]
    assert not np.array_equal(*draws)
    seeds = [other.integers(2**31 - 1) if hasattr(other, "integers") else other.randint(2**31 - 1) for _ in range(2)]
    assert np.array_equal(draws[1], gmm.sample(5, random_state=int(seeds[1]))[0])
    gmm.fit(X)
    after = make(3)
    for _ in range(3):
        _ = after.integers(2**31 - 1) if hasattr(after, "integers") else after.randint(2**31 - 1)
    assert generator.random() == after.random() if hasattr(after, "integers") else generator.rand() == after.rand()


# --- devices ------------------------------------------------------------------------------------------------------


def test_to_a_device():
    gmm = fitted(0)
    expected = gmm.predict_proba(X)
    assert gmm.to("cpu") is gmm
    assert gmm.device == "cpu"
    np.testing.assert_array_equal(gmm.predict_proba(X), expected)
    assert GaussianMixture(2).to("cpu").device == "cpu"
    with pytest.raises(ValueError, match="device='banana'"):
        gmm.to("banana")
    assert gmm.device == "cpu"


def test_scikit_learn_s_model_is_taken_over_as_numpy():
    other = sklearn.mixture.GaussianMixture(2, random_state=0).fit(X)
    np.testing.assert_allclose(GaussianMixture.from_sklearn(other).means_, other.means_)
    assert type(GaussianMixture.from_sklearn(other).means_) is np.ndarray
