"""`MixtureImputer` as a transformer of scikit-learn: pipelines, searches, frames and files."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from tgmm import GaussianMixture, MixtureImputer, ModelFileError


@pytest.fixture
def X():
    """Two clusters of correlated features, a fifth of the values missing."""
    rng = np.random.default_rng(0)
    whole = np.repeat([[0.0, 0.0, 0.0], [6.0, 0.0, 6.0]], 150, axis=0)
    whole = whole + rng.multivariate_normal(np.zeros(3), 0.8 + 0.2 * np.eye(3), 300)
    return np.where(rng.random(whole.shape) < 0.2, np.nan, whole)


def test_it_is_the_mixtures_own_imputation(X):
    imputer = MixtureImputer(GaussianMixture(2, random_state=0)).fit(X)
    model = GaussianMixture(2, random_state=0, missing="em").fit(X)
    np.testing.assert_array_equal(imputer.transform(X), model.impute(X))
    np.testing.assert_array_equal(imputer.transform(X)[~np.isnan(X)], X[~np.isnan(X)])
    assert imputer.estimator.missing == "error"  # what was given stays as it is


def test_rows_without_gaps_stay_as_they_are(X):
    whole = X[~np.isnan(X).any(1)]
    np.testing.assert_array_equal(MixtureImputer().fit(X).transform(whole), whole)


def test_it_works_in_pipelines_and_searches(X):
    y = np.nansum(X, axis=1)
    pipeline = make_pipeline(MixtureImputer(GaussianMixture(2, random_state=0)), LinearRegression())
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(pipeline, {"mixtureimputer__estimator__n_components": [1, 2]}, cv=folds).fit(X, y)
    for n_components, found in zip((1, 2), search.cv_results_["mean_test_score"], strict=True):
        expected = 0.0
        for train, test in folds.split(X):
            model = GaussianMixture(n_components, missing="em", random_state=0).fit(X[train])
            line = LinearRegression().fit(model.impute(X[train]), y[train])
            expected += line.score(model.impute(X[test]), y[test]) / 3
        assert found == pytest.approx(expected, rel=1e-12)


def test_frames_go_in_and_out():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.standard_normal((40, 2)), columns=["a", "b"], index=range(100, 140))
    frame.loc[100, "a"] = None
    imputer = MixtureImputer(GaussianMixture(1)).set_output(transform="pandas").fit(frame)
    out = imputer.transform(frame)
    assert list(out.columns) == ["a", "b"] and (out.index == frame.index).all() and not out.isna().any().any()
    assert imputer.get_feature_names_out().tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        imputer.transform(frame[["b", "a"]])


def test_tensors_stay_tensors(X):
    out = MixtureImputer().fit_transform(torch.tensor(X))
    torch.testing.assert_close(out, torch.tensor(MixtureImputer().fit_transform(X)), rtol=1e-12, atol=1e-12)


def test_weights_equal_repetition(X):
    counts = np.arange(len(X)) % 3
    settings = GaussianMixture(2, random_state=0, tol=1e-10, max_iter=1000)
    one = MixtureImputer(settings).fit(X, sample_weight=counts).transform(X)
    other = MixtureImputer(settings).fit(np.repeat(X, counts, axis=0)).transform(X)
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_saved_imputer_fills_in_the_same_bits(X, suffix, tmp_path):
    imputer = MixtureImputer(GaussianMixture(2, covariance_type="tied_full", random_state=0)).fit(X)
    imputer.save(tmp_path / f"imputer{suffix}")
    loaded = MixtureImputer.load(tmp_path / f"imputer{suffix}")
    np.testing.assert_array_equal(loaded.transform(X), imputer.transform(X))
    assert loaded.estimator.get_params() == imputer.estimator.get_params()
    with pytest.raises(ModelFileError):
        GaussianMixture.load(tmp_path / f"imputer{suffix}")


def test_errors_say_what_is_wrong(X):
    with pytest.raises(NotFittedError):
        MixtureImputer().transform(X)
    with pytest.raises(ValueError, match="no value in feature"):
        MixtureImputer().fit(np.column_stack([X, np.full(len(X), np.nan)]))
    with pytest.raises(ValueError, match="must be a tgmm.GaussianMixture"):
        MixtureImputer("mean").fit(X)
    with pytest.raises(ValueError, match="infinity"):
        MixtureImputer().fit(np.where(np.isnan(X), np.inf, X))


@pytest.mark.filterwarnings("error:Determining the")
def test_lazy_frames_are_fitted_and_refused_with_what_to_do():
    polars = pytest.importorskip("polars")
    rows = np.random.default_rng(0).normal(size=(50, 2))
    frame = polars.DataFrame(np.where(np.arange(100).reshape(50, 2) == 7, np.nan, rows), schema=["a", "b"])
    imputer = MixtureImputer(GaussianMixture(1)).fit(frame.lazy())
    with pytest.raises(ValueError, match=r"X is a LazyFrame, but this needs rows in memory: pass X.collect\(\)"):
        imputer.transform(frame.lazy())
    assert not np.isnan(imputer.transform(frame.lazy().collect())).any()
