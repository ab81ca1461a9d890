"""The regressor: against least squares and closed forms, and what it takes, gives, refuses, saves."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tgmm import GaussianMixture, MixtureRegressor, ModelFileError, select

SUFFIXES = [".pth", ".safetensors"]


@pytest.fixture(scope="module")
def bent():
    """Two features, and two targets that are lines with a kink, with noise of different size on either side."""
    rng = np.random.default_rng(5)
    X = rng.uniform(-3, 3, size=(400, 2))
    noise = rng.standard_normal((400, 2)) * np.where(X[:, :1] < 0, 0.1, 0.4)
    return X, np.column_stack([np.abs(X[:, 0]), X[:, 1] - np.maximum(X[:, 0], 0)]) + noise


# --- oracles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_targets", [0, 1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_full_component_is_least_squares(bent, n_targets, weighted):
    X, y = bent[0], bent[1][:, :n_targets] if n_targets else bent[1][:, 0]
    weights = np.random.default_rng(0).uniform(0, 2, len(X)) if weighted else None
    found = MixtureRegressor(GaussianMixture(1)).fit(X, y, sample_weight=weights)
    line = LinearRegression().fit(X, y, sample_weight=weights)
    mean, deviation = found.predict(X, return_std=True)
    assert mean.shape == deviation.shape == y.shape
    np.testing.assert_allclose(mean, line.predict(X), rtol=1e-9, atol=1e-9)
    expected = np.sqrt(np.average((y - line.predict(X)) ** 2, axis=0, weights=weights))
    np.testing.assert_allclose(deviation, np.broadcast_to(expected, y.shape), rtol=1e-9)
    assert found.score(X, y, weights) == pytest.approx(line.score(X, y, weights), rel=1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "tied_full", "diag", "spherical", "VEV"])
def test_mean_and_deviation_are_those_of_the_conditional_mixture(bent, covariance_type):
    """By the formulas of Sung 2004, 2.1, row by row and component by component."""
    X, y = bent
    found = MixtureRegressor(GaussianMixture(3, covariance_type=covariance_type, random_state=0)).fit(X, y)
    means, deviations = found.predict(X, return_std=True)
    joint = found.estimator_
    dense = [
        joint.mixture_.parameters.covariances.dense[k % len(joint.mixture_.parameters.covariances.dense)].numpy()
        for k in range(3)
    ]
    for row in range(0, 400, 25):
        weights, centres, seconds = np.zeros(3), np.zeros((3, 2)), np.zeros((3, 2))
        for k in range(3):
            mu, sigma = joint.means_[k], dense[k]
            weights[k] = joint.weights_[k] * multivariate_normal(mu[:2], sigma[:2, :2]).pdf(X[row])
            slopes = sigma[2:, :2] @ np.linalg.inv(sigma[:2, :2])
            centres[k] = mu[2:] + slopes @ (X[row] - mu[:2])
            seconds[k] = np.diag(sigma[2:, 2:] - slopes @ sigma[:2, 2:]) + centres[k] ** 2
        weights /= weights.sum()
        np.testing.assert_allclose(means[row], weights @ centres, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(deviations[row] ** 2, weights @ seconds - (weights @ centres) ** 2, rtol=1e-7)


def test_it_follows_a_curve_and_its_noise(bent):
    X, y = bent
    found = MixtureRegressor(GaussianMixture(2, random_state=0)).fit(X, y)
    assert found.score(X, y) > 0.94 > 0.75 > LinearRegression().fit(X, y).score(X, y)
    mean, deviation = found.predict([[-2.0, 1.0], [2.0, 1.0]], return_std=True)
    np.testing.assert_allclose(mean, [[2.0, 1.0], [2.0, -1.0]], atol=0.1)
    np.testing.assert_allclose(deviation, [[0.1, 0.1], [0.4, 0.4]], rtol=0.3)


def test_a_weight_of_two_is_the_row_twice_and_of_zero_not_there(bent):
    X, y = bent
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    model = MixtureRegressor(GaussianMixture(2, random_state=0))
    weighted = clone(model).fit(X, y, sample_weight=weights).predict(X, return_std=True)
    repeated = clone(model).fit(np.repeat(X, weights, 0), np.repeat(y, weights, 0)).predict(X, return_std=True)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-7, atol=1e-9)


# --- settings and surroundings ------------------------------------------------------------------------------------


def test_settings_of_the_mixture_are_settings_of_the_regressor(bent):
    names = {f"estimator__{name}" for name in GaussianMixture().get_params()}
    assert MixtureRegressor().get_params().keys() == {"estimator", *names}
    assert MixtureRegressor().get_params()["estimator__n_components"] == 3
    assert MixtureRegressor().fit(*bent).estimator_.n_components == 3
    found = MixtureRegressor().set_params(estimator__n_components=2, estimator__covariance_type="diag")
    assert clone(found).fit(*bent).estimator_.get_params() == found.estimator.get_params()


def test_the_number_of_components_by_bic(bent):
    X, y = bent
    search = partial(select, n_components=range(1, 4), covariance_types="full", random_state=0)
    found = MixtureRegressor(search).fit(X, y)
    assert (
        found.estimator_.n_components
        == select(np.hstack([X, y]), range(1, 4), "full", random_state=0).best_.n_components
    )
    assert found.score(X, y) > 0.94


def test_it_is_scikit_learn_s(bent):
    X, y = bent
    assert is_regressor(MixtureRegressor())
    grid = {"mixtureregressor__estimator__n_components": [1, 2]}
    pipeline = make_pipeline(StandardScaler(), MixtureRegressor())
    search = GridSearchCV(pipeline, grid, error_score="raise").fit(X, y)
    assert search.best_params_ == {"mixtureregressor__estimator__n_components": 2}
    frame = pd.DataFrame(X, columns=["a", "b"])
    found = MixtureRegressor(GaussianMixture(2, random_state=0)).fit(frame, pd.DataFrame(y, columns=["c", "d"]))
    assert (found.n_features_in_, found.feature_names_in_.tolist()) == (2, ["a", "b"])
    np.testing.assert_array_equal(found.predict(frame), clone(found).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        found.predict(frame[["b", "a"]])
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(frame), found.predict(frame))
    assert not hasattr(found.fit(X, y), "feature_names_in_")


def test_tensors_in_tensors_out(bent):
    X, y = (torch.as_tensor(values, dtype=torch.float32) for values in bent)
    found = MixtureRegressor(GaussianMixture(2, random_state=0)).fit(X, y)
    assert isinstance(found.estimator_.means_, torch.Tensor)
    mean, deviation = found.predict(X, return_std=True)
    for result in (mean, deviation):
        assert isinstance(result, torch.Tensor)
        assert result.dtype == torch.float32
        assert result.shape == (400, 2)
    in_double = clone(found).fit(*bent).predict(bent[0])
    np.testing.assert_allclose(mean.numpy(), in_double, atol=1e-3)
    assert found.score(X, y) > 0.94
    one = clone(found).fit(X, y[:, 0])
    assert one.predict(X).shape == (400,)


def test_bfloat16_targets_and_weights_of_any_kind(bent):
    X, y = bent[0], torch.from_numpy(bent[1][:, 0]).bfloat16()
    found = MixtureRegressor(GaussianMixture(2, random_state=0)).fit(X, y.requires_grad_())
    plain = found.score(X, y)
    assert plain == found.score(X, y, sample_weight=2.0)
    assert plain == found.score(X, y, sample_weight=torch.ones(len(X), requires_grad=True))


def test_a_feature_may_have_the_name_that_a_target_would_get(bent):
    X, y = pd.DataFrame(bent[0], columns=["target", "b"]), bent[1][:, 0] + 100
    means = MixtureRegressor().fit(X, y).summary().to_frame()["mean"]
    assert list(means) == ["target", "b", "target (y)"]
    assert means["target"].abs().max() < 5 and means["target (y)"].min() > 90


def test_features_and_targets_of_two_float_types_are_computed_in_the_wider_one(bent):
    X, y = bent
    assert MixtureRegressor().fit(X.astype(np.float32), y.astype(np.float32)).predict(X).dtype == np.float32
    assert MixtureRegressor().fit(X.astype(np.float32), y).predict(X.astype(np.float32)).dtype == np.float64
    assert MixtureRegressor().fit(X, y[:, 0].round().astype(int)).predict(X).dtype == np.float64


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (np.zeros(399), "inconsistent numbers of samples"),
        (np.zeros((400, 1, 1)), "3"),
        (np.zeros((400, 0)), "y must have shape|0 feature"),
        (
            np.where(np.arange(400) == 7, np.nan, 0.0),
            "Input y contains NaN at row 7.*missing='em'",
        ),
        (torch.full((400, 2), torch.inf), "Input y contains infinity .* at row 0, column 0"),
        (torch.zeros(400, dtype=torch.complex64), "y must be real numbers"),
        (np.full(400, "a"), "could not convert|dtype='numeric'"),
    ],
)
def test_bad_targets_are_refused(bent, y, message):
    with pytest.raises(ValueError, match=message):
        MixtureRegressor().fit(bent[0], y)


def test_rows_that_are_yet_to_be_read_are_refused_with_what_to_do(bent):
    polars = pytest.importorskip("polars")
    X, y = bent
    model, lazy = MixtureRegressor().fit(X, y), polars.DataFrame(X).lazy()
    with pytest.raises(ValueError, match=r"X is a LazyFrame, but this needs rows in memory: pass X.collect\(\)"):
        model.predict(lazy)
    with pytest.raises(ValueError, match="X is a LazyFrame, a source that is read in batches"):
        MixtureRegressor().fit(lazy, y)
    with pytest.raises(ValueError, match="X is the path 'rows.csv', but this needs rows in memory: read the file"):
        model.predict("rows.csv")
    with pytest.raises(ValueError, match="X is a generator, which yields batches, but this needs rows in memory"):
        model.predict(batch for batch in [X])


@pytest.mark.parametrize(
    ("y", "message"), [(None, "requires y to be passed"), (np.full(400, np.nan), "y contains NaN")]
)
def test_scores_need_targets(bent, y, message):
    with pytest.raises(ValueError, match=message):
        MixtureRegressor().fit(*bent).score(bent[0], y)


def test_bad_input_is_named(bent, tmp_path):
    X, y = bent
    with pytest.raises(ValueError, match="a source that is read in batches, which have no targets"):
        MixtureRegressor().fit([X[:200], X[200:]], y)
    with pytest.raises(ValueError, match="NaN at row 0, column 1"):
        MixtureRegressor().fit(np.where(np.arange(2) == 1, np.nan, X), y)
    with pytest.raises(ValueError, match="X has 3 features, but MixtureRegressor is expecting 2"):
        MixtureRegressor().fit(X, y).predict(np.ones((1, 3)))
    with pytest.raises(ValueError, match="estimator must be a tgmm.GaussianMixture"):
        MixtureRegressor([GaussianMixture()]).fit(X, y)
    for verb in (lambda r: r.predict(X), lambda r: r.save(tmp_path / "r.pth")):
        with pytest.raises(NotFittedError):
            verb(MixtureRegressor())


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_targets", [0, 1, 2])
def test_a_loaded_regressor_is_the_saved_one(bent, suffix, dtype, n_targets, tmp_path):
    frame = pd.DataFrame(bent[0].astype(dtype), columns=["a", "b"])
    y = (bent[1][:, :n_targets] if n_targets else bent[1][:, 0]).astype(dtype)
    model = MixtureRegressor(GaussianMixture(2, random_state=0)).fit(frame, y)
    model.save(tmp_path / f"r{suffix}")
    loaded = MixtureRegressor.load(tmp_path / f"r{suffix}")
    for before, after in zip(model.predict(frame, True), loaded.predict(frame, True), strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert loaded.get_params()["estimator__n_components"] == 2
    assert (loaded.n_features_in_, loaded.feature_names_in_.tolist()) == (2, ["a", "b"])
    np.testing.assert_array_equal(clone(loaded).fit(frame, y).predict(frame), model.predict(frame))


def test_the_default_comes_back_as_the_default(bent, tmp_path):
    MixtureRegressor().fit(*bent).save(tmp_path / "r.pth")
    loaded = MixtureRegressor.load(tmp_path / "r.pth")
    assert loaded.estimator is None
    assert not hasattr(loaded, "feature_names_in_")
    with pytest.raises(ModelFileError):
        GaussianMixture.load(tmp_path / "r.pth")


def test_noise_is_refused_before_and_after_the_fit(bent):
    X, y = bent
    functions = partial(select, n_components=[1], covariance_types="full", noise=True)
    for estimator in (GaussianMixture(2, noise=True), functions):
        with pytest.raises(ValueError, match="does not support noise=True"):
            MixtureRegressor(estimator).fit(X, y)
