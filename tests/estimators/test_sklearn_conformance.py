"""The estimator is a scikit-learn estimator: its own checks, and its tools, without an exception."""

import copy
import pickle

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone, is_clusterer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted
from support import COVARIANCE_TYPES, assert_same_fit

from tgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureClassifier,
    MixtureImputer,
    MixtureOutlierDetector,
    MixtureRegressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CHECKED = [
    GaussianMixture(),
    *(GaussianMixture(n_components=2, covariance_type=t) for t in ("full", "spherical", "tied_diag")),
    GaussianMixture(n_components=2, cem=True),
    GaussianMixture(
        n_components=2,
        covariance_type="spherical",
        weight_concentration_prior=1.5,
        covariance_prior=0.5,
        degrees_of_freedom_prior=3.0,
    ),
    # By default what these say of 15 rows of 30 features is what rounding leaves of 1e9, not equal to 1e-7.
    MixtureOutlierDetector(reg_covar=1e-6),
    MixtureRegressor(GaussianMixture(reg_covar=1e-6)),
    MixtureOutlierDetector(n_components=2, covariance_type="diag"),
    MixtureClassifier(),
    MixtureRegressor(),
    MixtureImputer(),
    MixtureImputer(GaussianMixture()),
    GaussianMixture(n_components=2, missing="em"),
    BayesianGaussianMixture(),
    BayesianGaussianMixture(3, covariance_type="tied_diag", weight_concentration_prior_type="dirichlet_distribution"),
    MixtureClassifier(GaussianMixture(missing="em")),
]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(CHECKED)
def test_estimator_check(estimator, check):
    assert check(estimator) is None  # a check that fails raises


# --- parameters -------------------------------------------------------------------------------------------------


DEFAULTS = {
    "n_components": 1,
    "n_features": None,
    "covariance_type": "full",
    "max_iter": 200,
    "tol": 1e-4,
    "reg_covar": 1e-12,
    "n_init": 1,
    "init_means": "auto",
    "init_weights": None,
    "init_covariances": None,
    "random_state": None,
    "warm_start": False,
    "cem": False,
    "weight_concentration_prior": None,
    "mean_prior": None,
    "mean_precision_prior": None,
    "covariance_prior": None,
    "degrees_of_freedom_prior": None,
    "verbose": False,
    "verbose_interval": 10,
    "device": None,
}


def test_the_contract_s_parameters_have_its_defaults():
    parameters = GaussianMixture().get_params()
    assert {name: parameters.get(name, "missing") for name in DEFAULTS} == DEFAULTS


def test_constructor_stores_parameters_as_given():
    means = torch.zeros(2, 3)
    prior = [1.0, 2.0]
    gmm = GaussianMixture(n_components=2, init_means=means, weight_concentration_prior=prior, covariance_type="tied")
    assert gmm.init_means is means
    assert gmm.weight_concentration_prior is prior
    assert gmm.covariance_type == "tied"


def test_set_params_changes_the_next_fit(blobs):
    gmm = GaussianMixture(n_components=2, random_state=0).fit(blobs)
    assert gmm.set_params(n_components=3, covariance_type="diag") is gmm
    gmm.fit(blobs)
    assert gmm.means_.shape == (3, 3)
    assert gmm.covariances_.shape == (3, 3)


def test_set_params_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="n_clusters"):
        GaussianMixture().set_params(n_clusters=3)


def test_fit_leaves_parameters_alone(blobs):
    gmm = GaussianMixture(n_components=3, covariance_type="tied", random_state=0)
    before = gmm.get_params()
    gmm.fit(blobs)
    assert gmm.get_params() == before


def test_clone_is_unfitted_and_equal(blobs):
    gmm = GaussianMixture(n_components=3, covariance_type="tied_diag", tol=1e-3, random_state=0).fit(blobs)
    copied = clone(gmm)
    assert copied.get_params() == gmm.get_params()
    assert not [name for name in vars(copied) if name.endswith("_")]
    assert_same_fit(copied.fit(blobs), gmm)


@pytest.mark.parametrize(
    "value",
    [np.zeros((2, 3)), torch.zeros(2, 3), [[0.0] * 3] * 2],
    ids=["ndarray", "tensor", "list"],
)
def test_clone_copies_array_parameters(value):
    gmm = GaussianMixture(n_components=2, init_means=value)
    copied = clone(gmm)
    assert type(copied.init_means) is type(value)
    np.testing.assert_array_equal(np.asarray(copied.init_means), np.asarray(value))


def test_clone_copies_a_callable_and_a_generator():
    def start(X, n_components, generator):
        return X[:n_components]

    gmm = GaussianMixture(init_means=start, random_state=torch.Generator().manual_seed(3))
    copied = clone(gmm)
    assert copied.init_means is start
    assert copied.random_state.initial_seed() == 3


def test_repr_shows_what_differs_from_the_defaults():
    text = repr(GaussianMixture(n_components=4, covariance_type="diag"))
    assert "n_components=4" in text
    assert "covariance_type='diag'" in text
    assert "max_iter" not in text


def test_repr_with_array_parameters():
    assert "init_means" in repr(GaussianMixture(n_components=2, init_means=torch.zeros(2, 2)))


# --- tags and attributes ----------------------------------------------------------------------------------------


def test_tags(blobs):
    tags = get_tags(GaussianMixture())
    assert tags.estimator_type == "density_estimator"
    assert not tags.target_tags.required
    assert not tags.input_tags.sparse
    assert not tags.input_tags.allow_nan
    assert not is_clusterer(GaussianMixture())


def test_fitted_state():
    gmm = GaussianMixture()
    assert not hasattr(gmm, "fitted_")
    gmm.fit([[0.0], [1.0], [2.0]])
    check_is_fitted(gmm)
    assert gmm.fitted_
    assert not hasattr(gmm, "labels_")


def test_n_features_in_and_feature_names_in(blobs):
    pandas = pytest.importorskip("pandas")
    gmm = GaussianMixture().fit(blobs)
    assert gmm.n_features_in_ == 3
    assert not hasattr(gmm, "feature_names_in_")
    gmm.fit(pandas.DataFrame(blobs, columns=["a", "b", "c"]))
    assert list(gmm.feature_names_in_) == ["a", "b", "c"]
    gmm.fit(blobs[:, :2])
    assert gmm.n_features_in_ == 2
    assert not hasattr(gmm, "feature_names_in_")


# --- tools ------------------------------------------------------------------------------------------------------


def test_grid_search_with_the_default_scorer(far_blobs):
    X = far_blobs[0]
    folds = KFold(4, shuffle=True, random_state=0)
    grid = {"n_components": [1, 2, 4], "covariance_type": ["full", "spherical", "tied_diag"]}
    search = GridSearchCV(GaussianMixture(random_state=0), grid, cv=folds, error_score="raise").fit(X)
    assert search.best_params_["n_components"] == 4
    assert search.best_estimator_.means_.shape == (4, 2)
    again = cross_val_score(GaussianMixture(random_state=0, **search.best_params_), X, cv=folds)
    assert search.best_score_ == pytest.approx(again.mean(), rel=1e-12)
    assert search.score(X) == pytest.approx(search.best_estimator_.score_samples(X).mean(), rel=1e-9)


def test_pipeline_equals_its_steps_by_hand(blobs):
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(n_components=3, random_state=0)).fit(blobs)
    scaled = StandardScaler().fit_transform(blobs)
    by_hand = GaussianMixture(n_components=3, random_state=0).fit(scaled)
    assert_same_fit(pipeline[-1], by_hand)
    np.testing.assert_array_equal(pipeline.predict(blobs), by_hand.predict(scaled))
    np.testing.assert_array_equal(pipeline.predict_proba(blobs), by_hand.predict_proba(scaled))
    assert pipeline.score(blobs) == by_hand.score(scaled)
    np.testing.assert_array_equal(
        make_pipeline(StandardScaler(), GaussianMixture(n_components=3, random_state=0)).fit_predict(blobs),
        by_hand.predict(scaled),
    )


def test_pipeline_passes_sample_weight(blobs):
    weights = np.arange(1.0, 151.0)
    pipeline = Pipeline([("gmm", GaussianMixture(n_components=2, random_state=0))])
    pipeline.fit(blobs, gmm__sample_weight=weights)
    assert_same_fit(pipeline[-1], GaussianMixture(n_components=2, random_state=0).fit(blobs, sample_weight=weights))


def test_metadata_routing_of_sample_weight(blobs):
    weights = np.arange(1.0, 151.0)
    with sklearn.config_context(enable_metadata_routing=True):
        gmm = GaussianMixture(n_components=2, random_state=0)
        gmm.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = Pipeline([("gmm", gmm)]).fit(blobs, sample_weight=weights)
        score = pipeline.score(blobs, sample_weight=weights)
        search = GridSearchCV(gmm, {"n_components": [1, 2]}, cv=KFold(3, shuffle=True, random_state=0))
        search.fit(blobs, sample_weight=weights)
    by_hand = GaussianMixture(n_components=2, random_state=0).fit(blobs, sample_weight=weights)
    assert_same_fit(pipeline[-1], by_hand)
    assert score == by_hand.score(blobs, sample_weight=weights)
    by_hand.set_params(**search.best_params_).fit(blobs, sample_weight=weights)
    assert_same_fit(search.best_estimator_, by_hand)


def test_set_output_configuration_changes_nothing(blobs):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(blobs, columns=["a", "b", "c"])
    plain = GaussianMixture(n_components=2, random_state=0).fit(frame)
    with sklearn.config_context(transform_output="pandas"):
        gmm = GaussianMixture(n_components=2, random_state=0).fit(frame)
        probabilities = gmm.predict_proba(frame)
    assert type(probabilities) is np.ndarray
    np.testing.assert_array_equal(probabilities, plain.predict_proba(frame))


def needs_array_api_dispatch():
    """Skip where this scikit-learn cannot dispatch: the oldest ones want a package of their own for it."""
    try:
        with sklearn.config_context(array_api_dispatch=True):
            pass
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("as_tensor", [False, True], ids=["ndarray", "tensor"])
def test_array_api_dispatch_changes_nothing(blobs, as_tensor):
    needs_array_api_dispatch()
    X = torch.as_tensor(blobs) if as_tensor else blobs
    plain = GaussianMixture(n_components=2, random_state=0).fit(X)
    with sklearn.config_context(array_api_dispatch=True):
        gmm = GaussianMixture(n_components=2, random_state=0).fit(X)
        probabilities = gmm.predict_proba(X)
    assert type(probabilities) is type(X)
    assert_same_fit(gmm, plain)


# --- copies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate", [lambda g: pickle.loads(pickle.dumps(g)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_copies_predict_bit_for_bit(blobs, covariance_type, duplicate):
    gmm = GaussianMixture(n_components=3, covariance_type=covariance_type, random_state=0).fit(blobs)
    copied = duplicate(gmm)
    np.testing.assert_array_equal(copied.predict(blobs), gmm.predict(blobs))
    np.testing.assert_array_equal(copied.predict_proba(blobs), gmm.predict_proba(blobs))
    np.testing.assert_array_equal(copied.score_samples(blobs), gmm.score_samples(blobs))
    assert copied.get_params() == gmm.get_params()
    assert copied.lower_bound_ == gmm.lower_bound_
    assert_same_fit(copied, gmm)


def test_pickle_of_an_unfitted_estimator():
    gmm = GaussianMixture(n_components=5, covariance_type="diag", init_means="maxdist")
    assert pickle.loads(pickle.dumps(gmm)).get_params() == gmm.get_params()


def test_refit_forgets_the_first_fit(blobs):
    gmm = GaussianMixture(n_components=3, init_means="random", max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning):
        gmm.fit(blobs)
    gmm.set_params(n_components=2, max_iter=200, init_means="auto").fit(blobs[:, :2])
    fresh = GaussianMixture(n_components=2, random_state=0).fit(blobs[:, :2])
    assert_same_fit(gmm, fresh)
    assert gmm.n_iter_ == fresh.n_iter_
    assert len(gmm.objective_history_) == gmm.n_iter_ + 1


def test_subclasses_may_add_names_of_settings():
    class Named(GaussianMixture):
        @classmethod
        def _get_param_names(cls):
            names = super()._get_param_names()
            names.append("more")
            return names

    assert Named._get_param_names() == Named._get_param_names() == [*GaussianMixture._get_param_names(), "more"]
