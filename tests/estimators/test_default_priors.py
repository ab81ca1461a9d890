"""The data's own weak priors (Fraley & Raftery 2007): what they are, and what fits with them are where rows are few."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from structures import SPECS
from support import assert_valid

from tgmm import GaussianMixture, fit_many, select
from tgmm.covariance import MCLUST

K, D = 3, 4
DEFAULT = {"mean_prior": "default", "covariance_prior": "default"}
WITH_PRIOR = [name for name, spec in SPECS.items() if spec.has_prior]


def rows(n=90, d=D, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + 4 * rng.integers(0, K, n)[:, None]) * 2 + 1


def numbers(name, X, n_components=K):
    """The same as numbers."""
    d = X.shape[1]
    psi = np.cov(X, rowvar=False) if SPECS[name].n_axes == 2 else X.var(axis=0, ddof=1).mean()
    shape = SPECS[name].shape(n_components, d)
    one = shape if SPECS[name].tied else shape[1:]
    return {
        "mean_prior": X.mean(axis=0),
        "mean_precision_prior": 0.01,
        "covariance_prior": np.broadcast_to(psi / n_components ** (2 / d), one),
        "degrees_of_freedom_prior": d + 2,
    }


def fitted(name, X, n_components=K, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianMixture(n_components, covariance_type=name, random_state=0, max_iter=30, **settings)
        return model.fit(X)


@pytest.mark.parametrize("name", WITH_PRIOR)
def test_they_are_mclusts_numbers(name):
    X = rows()
    found, expected = fitted(name, X, **DEFAULT), fitted(name, X, **numbers(name, X))
    np.testing.assert_allclose(found.means_, expected.means_, rtol=1e-8)
    np.testing.assert_allclose(found.covariances_, expected.covariances_, rtol=1e-7, atol=1e-9)
    assert found.covariance_prior == "default"


@pytest.mark.parametrize("name", [name for name in SPECS if name not in WITH_PRIOR])
def test_structures_without_a_prior_of_covariances_say_so(name):
    with pytest.raises(ValueError, match=f"covariance_prior is not defined for covariance_type='{name}'"):
        fitted(name, rows(), covariance_prior="default")
    assert_valid(fitted(name, rows(), mean_prior="default"), rows())


def test_each_alone_and_one_component():
    X = rows()
    given = numbers("full", X, 1)
    for name, partner in (
        ("mean_prior", "mean_precision_prior"),
        ("covariance_prior", "degrees_of_freedom_prior"),
    ):
        found = fitted("full", X, 1, **{name: "default"})
        expected = fitted("full", X, 1, **{name: given[name], partner: given[partner]})
        np.testing.assert_allclose(found.covariances_, expected.covariances_, rtol=1e-10)


def test_weights_count_as_rows_and_sources_are_read_once_more():
    X = rows()
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    start = {"init_means": X[:K], "tol": 0.0, **DEFAULT}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = GaussianMixture(K, max_iter=5, **start)
        weighted = model.fit(X, sample_weight=weights).covariances_
        repeated = model.fit(np.repeat(X, weights, axis=0)).covariances_
        in_memory, streamed = (model.fit(source).covariances_ for source in (X, np.array_split(X, 4)))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)
    np.testing.assert_allclose(streamed, in_memory, rtol=1e-9)


def test_rows_that_lack_values():
    X = rows()
    X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    model = fitted("full", X, missing="em", **DEFAULT)
    assert np.isfinite(model.covariances_).all()
    assert (np.linalg.eigvalsh(model.covariances_) > 0).all()


@pytest.mark.parametrize(
    ("name", "d"),
    [("full", 1000), ("diag", 1000), ("tied_full", 1000), ("VEV", 220), ("EEV", 220), ("EVI", 220), ("spherical", 220)],
)
def test_fewer_rows_than_features(name, d):
    """Two clusters of 100 rows, in features some of which are constant."""
    labels = np.repeat([0, 1], 100)
    X = np.random.default_rng(0).standard_normal((200, d)) + labels[:, None]
    X[:, :3] = 7.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fitted(name, X, 2, **DEFAULT)
    assert_valid(model, X)
    assert adjusted_rand_score(labels, model.predict(X)) == 1


@pytest.mark.parametrize(("init_means", "least_variance"), [("kmeans", 0), ("auto", 0.5)])
def test_full_covariances_of_the_digits(init_means, least_variance):
    """Pixels that are white but for a few images, where whole numbers have no density, make the best mode another."""
    X, y = load_digits(return_X_y=True)
    X = X[:, X.var(axis=0) >= least_variance]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianMixture(10, random_state=0, init_means=init_means, **DEFAULT).fit(X)
    assert_valid(model, X)
    assert adjusted_rand_score(y, model.predict(X)) > 0.45


def test_models_with_default_priors_are_saved(tmp_path):
    X = rows()
    model = fitted("full", X, **DEFAULT)
    model.save(tmp_path / "model.pth")
    loaded = GaussianMixture.load(tmp_path / "model.pth")
    assert loaded.covariance_prior == loaded.mean_prior == "default"
    np.testing.assert_array_equal(loaded.covariances_, model.covariances_)


def test_selections_and_many_mixtures_have_each_their_own():
    X = rows()
    found = select(X, [2, 3], "mclust", random_state=0, n_init=1, **DEFAULT)
    failed = {cell.covariance_type for cell in found.cells if cell.status == "failed"}
    assert failed == {name for name in MCLUST if name in SPECS and name not in WITH_PRIOR}
    tables = [X, rows(seed=1)]
    many = fit_many(tables, n_components=2, random_state=0, **DEFAULT)
    for table, model in zip(tables, many, strict=True):
        alone = GaussianMixture(2, random_state=0, **DEFAULT).fit(table)
        np.testing.assert_allclose(model.covariances_, alone.covariances_, rtol=1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean_prior": "weak"}, "mean_prior must be an array, None or 'default'; got 'weak'"),
        ({"covariance_prior": "default", "degrees_of_freedom_prior": 9}, "brings its own degrees_of_freedom_prior"),
        ({"mean_prior": "default", "mean_precision_prior": 1}, "brings its own mean_precision_prior"),
    ],
)
def test_what_is_no_default_prior_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(K, **settings).fit(rows())


def test_online_learning_does_not_know_all_rows():
    with pytest.raises(ValueError, match="partial_fit cannot be combined with covariance_prior='default'"):
        GaussianMixture(K, covariance_prior="default").partial_fit(rows())


EMPTY = r"components \[0, 1, 2\] have a share of less than one row, which leaves 1 of 4 to describe the data"


def wide_rows(n=60, d=300):
    """Two clusters of so few rows that priors weigh more than these."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, d))[np.arange(n) % 2] + rng.standard_normal((n, d))


@pytest.mark.parametrize("settings", [{}, {"weight_concentration_prior": 2.0}])
def test_components_that_priors_leave_without_rows_are_told(settings):
    with pytest.warns(UserWarning, match=EMPTY):
        GaussianMixture(4, covariance_type="diag", random_state=0, **DEFAULT, **settings).fit(wide_rows())


def test_components_without_rows_are_told_of_many_mixtures():
    X = wide_rows()
    starts = X[:4] + 100 * np.arange(4)[:, None]
    with pytest.warns(UserWarning, match="2 of 2 problems.*less than one row"):
        fit_many([X, X], n_components=4, covariance_type="diag", init_means=starts, random_state=0, **DEFAULT)


def test_components_that_are_meant_to_go_are_not_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = GaussianMixture(4, covariance_type="diag", weight_concentration_prior=0.5, random_state=0, **DEFAULT)
        assert (model.fit(wide_rows()).weights_ == 0).sum() == 3
