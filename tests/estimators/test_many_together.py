"""Small problems are fitted together, and each fit is the one alone to 1e-8: whatever befalls the others."""

import pickle
import re
import warnings

import numpy as np
import pytest
import torch
from support import COVARIANCE_TYPES

from tgmm import GaussianMixture, fit_many
from tgmm.covariance import STRUCTURES
from tgmm.estimators import many, together
from tgmm.start.views import Views

K, D = 3, 2
N_PROBLEMS = 6
COLUMNS = ("weights_", "means_", "covariances_", "lower_bound_")


def problem(rng, n_rows, n_features=D, spread=2.5):
    """Return rows of components that overlap, so that EM takes many steps, in a unit and at a place of their own."""
    centres = spread * rng.normal(size=(K, n_features))
    rows = centres[rng.integers(K, size=n_rows)] + rng.normal(size=(n_rows, n_features)) * rng.uniform(
        0.5, 2, n_features
    )
    return 10.0 ** rng.integers(-3, 4) * (rows + rng.normal(size=n_features))


def ragged(seed=0, n_features=D):
    rng = np.random.default_rng(seed)
    return [problem(rng, n_rows, n_features) for n_rows in rng.integers(70, 95, size=N_PROBLEMS)]


@pytest.fixture
def nobody_alone(monkeypatch):
    """Let no problem be fitted alone by `fit_many`."""

    def alone(settings, place, problem):
        raise AssertionError(f"Problem {place} was to be fitted alone.")

    monkeypatch.setattr(many, "_alone", alone)


def assert_same_fit(mixture, alone):
    scale = np.abs(alone.means_).max()
    units = {"means_": scale, "covariances_": scale**2}
    for name in COLUMNS:
        unit = units.get(name, 1.0)
        np.testing.assert_allclose(getattr(mixture, name) / unit, getattr(alone, name) / unit, rtol=1e-8, atol=1e-8)
    assert (mixture.n_iter_, mixture.converged_) == (alone.n_iter_, alone.converged_)
    np.testing.assert_allclose(mixture.objective_history_, alone.objective_history_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(mixture.reg_covar_, alone.reg_covar_, rtol=1e-8)
    assert [run[1:] for run in mixture.runs_] == [run[1:] for run in alone.runs_]


def assert_each_is_alone(tables, settings, per_problem=(), **data):
    """Assert that each of many fits is that of its table; data, and settings per problem, have an entry for each."""
    mixtures = fit_many(tables, **settings, **data)
    for b, (mixture, rows) in enumerate(zip(mixtures, tables, strict=True)):
        own = {name: value[b] if name in per_problem else value for name, value in settings.items()}
        alone, given = GaussianMixture(**own), {name: value[b] for name, value in data.items()}
        if b in mixtures.failures_:
            with pytest.raises(ValueError, match=re.escape(mixtures.failures_[b].removeprefix("ValueError: "))):
                alone.fit(rows, **given)
        else:
            assert_same_fit(mixture, alone.fit(rows, **given))


def priors(name, n_features=D):
    found = {"weight_concentration_prior": 2.0, "mean_prior": np.zeros(n_features), "mean_precision_prior": 0.1}
    alone = STRUCTURES[name].form.shape_of_one(n_features)
    psi = np.eye(n_features) if len(alone) == 2 else np.ones(alone)
    return found | {"covariance_prior": psi, "degrees_of_freedom_prior": n_features + 2.0}


every_structure = pytest.mark.parametrize("name", COVARIANCE_TYPES)
pytestmark = pytest.mark.filterwarnings("ignore")  # some do not converge, and in some a component is degenerate


@pytest.mark.parametrize("name", ["full", "tied_diag", "VEI", "VEE", "VEV"])
@pytest.mark.parametrize("start", ["kmeans", "kpp", "random", "maxdist"])
def test_each_is_the_fit_alone_from_every_start(name, start):
    assert_each_is_alone(ragged(), {"n_components": K, "covariance_type": name, "init_means": start, "random_state": 1})


def test_rows_half_way_between_centres_go_where_they_go_alone():
    drawn = (np.random.default_rng(seed).normal(size=(40, 1)) for seed in (44, 59, 90))
    tables = [np.round(2 * rows).astype(np.float32) for rows in drawn]
    settings = {"n_components": 2, "init_means": "kmeans", "random_state": 0}
    for mixture, rows in zip(fit_many(tables, **settings), tables, strict=True):
        alone = GaussianMixture(**settings).fit(rows)
        np.testing.assert_allclose(mixture.lower_bound_, alone.lower_bound_, atol=1e-8)
        np.testing.assert_allclose(mixture.means_, alone.means_, atol=1e-6)


@every_structure
@pytest.mark.parametrize("weighted", [False, True])
def test_each_is_the_fit_alone_with_priors_and_weights(name, weighted):
    tables, rng = ragged(1), np.random.default_rng(0)
    data = {"sample_weight": [rng.uniform(0, 2, len(rows)) for rows in tables]} if weighted else {}
    settings = {"n_components": K, "covariance_type": name, "init_means": "kpp", "random_state": 2, **priors(name)}
    assert_each_is_alone(tables, settings, **data)


@every_structure
def test_each_is_the_fit_alone_with_weights_of_0(name):
    tables, rng = ragged(2), np.random.default_rng(0)
    weights = [rng.integers(0, 3, len(rows)) for rows in tables]
    settings = {"n_components": K, "covariance_type": name, "init_means": "kpp", "random_state": 2}
    assert_each_is_alone(tables, settings, sample_weight=weights)


@every_structure
def test_each_is_the_fit_alone_from_given_responsibilities(name):
    tables, rng = ragged(3), np.random.default_rng(0)
    settings = {"n_components": K, "covariance_type": name}
    labels = [rng.integers(K, size=len(rows)) for rows in tables]
    assert_each_is_alone(tables, settings, init_responsibilities=labels)
    shares = [rng.dirichlet(np.ones(K), size=len(rows)) for rows in tables]
    assert_each_is_alone(tables, settings, init_responsibilities=shares)


@every_structure
def test_each_is_the_fit_alone_from_given_parameters(name):
    tables = ragged(4)
    means = np.stack([rows[:K] for rows in tables])
    weights = np.tile([0.2, 0.3, 0.5], (N_PROBLEMS, 1))
    common = {"n_components": K, "covariance_type": name, "init_means": means}
    assert_each_is_alone(tables, common, ("init_means",))
    assert_each_is_alone(tables, {**common, "init_weights": weights}, ("init_means", "init_weights"))
    covariances = np.stack([GaussianMixture(1, covariance_type=name).fit(rows).covariances_ for rows in tables])
    if not STRUCTURES[name].shared:
        covariances = np.repeat(covariances, K, axis=1)
    given = {**common, "init_weights": weights, "init_covariances": covariances}
    assert_each_is_alone(tables, given, ("init_means", "init_weights", "init_covariances"))


@pytest.mark.parametrize(
    "settings",
    [
        {"accelerate": None},
        {"cem": True},
        {"tol": 1e-6},
        {"max_iter": 3},
        {"max_iter": 0},
        {"reg_covar": 0.1},
        {"reg_covar": 0.0},
        {"n_components": 1, "init_means": "auto"},
        {"n_components": 7, "weight_concentration_prior": 0.5},
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["full", "tied_diag", "spherical"])
def test_each_is_the_fit_alone_with_other_settings(name, settings):
    common = {"n_components": K, "covariance_type": name, "init_means": "kpp", "random_state": 0}
    assert_each_is_alone(ragged(5), common | settings)


@pytest.mark.parametrize("n_features", [1, 6])
def test_each_is_the_fit_alone_with_other_numbers_of_features(n_features):
    settings = {"n_components": K, "init_means": "kmeans", "random_state": 0}
    assert_each_is_alone(ragged(6, n_features), settings)


def test_problems_of_any_sizes_are_fitted_together(nobody_alone):
    rng = np.random.default_rng(0)
    tables = [problem(rng, n_rows) for n_rows in (50, 400, 55, 1000, 380, 52)]
    assert_each_is_alone(tables, {"n_components": 2, "init_means": "kpp", "random_state": 0})


# --- where something befalls one of them ---------------------------------------------------------------------------


def line(rng, n_rows):
    x = rng.normal(size=(n_rows, 1))
    return np.concatenate([x, 2 * x + 1], 1)


SPECIAL = {
    "constant feature": lambda rng: np.column_stack([rng.normal(size=80), np.ones(80)]),
    "linear features": lambda rng: line(rng, 80),
    "all alike": lambda rng: np.ones((80, 2)),
    "few different rows": lambda rng: np.repeat(rng.normal(size=(2, 2)), 40, axis=0),
    "rounded": lambda rng: rng.normal(size=(80, 2)).round(1),
    "whole numbers": lambda rng: rng.integers(3, size=(80, 2)).astype(float),
    "far from 0": lambda rng: 1e9 + rng.normal(size=(80, 2)),
    "a row far away": lambda rng: np.concatenate([rng.normal(size=(79, 2)), [[1e12, -1e12]]]),
    "tight beside wide": lambda rng: np.concatenate([1e-6 * rng.normal(size=(40, 2)), 1e6 * rng.normal(size=(40, 2))]),
    "repeated rows": lambda rng: np.concatenate([rng.normal(size=(40, 2)), np.zeros((40, 2))]),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", ["full", "tied_diag"])
def test_what_befalls_one_problem_is_what_befalls_it_alone(kind, name):
    tables = ragged(7)
    tables[3] = SPECIAL[kind](np.random.default_rng(0))
    settings = {"n_components": K, "covariance_type": name, "init_means": "kpp", "random_state": 0}
    assert_each_is_alone(tables, settings)
    mixtures = fit_many(tables, **settings)
    for b, rows in enumerate(tables):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            GaussianMixture(**settings).fit(rows)
        said = [str(each.message) for each in caught if each.category is UserWarning]
        assert said == ([mixtures.notes_[b]] if b in mixtures.notes_ else [])


def test_a_component_that_loses_its_rows_is_seeded_again_in_its_problem():
    tables = ragged(8)
    means = np.stack([rows[:K] for rows in tables])
    means[3, 0] = 1e6 * np.abs(tables[3]).max()
    assert_each_is_alone(tables, {"n_components": K, "init_means": means}, ("init_means",))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_problems_that_fail_spoil_no_other(bad):
    tables = ragged(9)
    tables[4] = tables[4].copy()
    tables[4][7, 1] = bad
    settings = {"n_components": K, "init_means": "kpp", "random_state": 0}
    mixtures = fit_many(tables, **settings)
    assert list(mixtures.failures_) == [4]
    for b, rows in enumerate(tables):
        if b != 4:
            assert_same_fit(mixtures[b], GaussianMixture(**settings).fit(rows))


def test_views_that_cannot_be_made_of_one_table_spoil_no_other(monkeypatch):
    tables, make = ragged(), Views.of
    unspoilt = fit_many(tables, n_components=K, random_state=0)

    def of(chunk, *rest):
        if torch.equal(chunk.rows, torch.from_numpy(tables[2])):
            raise ValueError("There is no view.")
        return make(chunk, *rest)

    monkeypatch.setattr(Views, "of", of)
    with pytest.warns(UserWarning, match="There is no view"):
        mixtures = fit_many(tables, n_components=K, random_state=0)
    assert list(mixtures.failures_) == [2]
    for b in {0, 1, 3, 4, 5}:
        assert_same_fit(mixtures[b], unspoilt[b])


def test_faults_of_the_program_are_not_taken_for_those_of_a_table(monkeypatch):
    monkeypatch.setattr(Views, "of", lambda *_: _.no_such_attribute)
    with pytest.raises(AttributeError, match="no_such_attribute"):
        fit_many(ragged(), n_components=K, random_state=0)


def test_settings_that_no_problem_can_have_are_refused():
    with pytest.raises(ValueError, match="degrees_of_freedom_prior"):
        fit_many(ragged(), n_components=K, init_means="kpp", covariance_prior=np.eye(D), degrees_of_freedom_prior=0.0)


# --- how they are put together does not matter -----------------------------------------------------------------------


def stacked(mixtures):
    return [getattr(mixtures, name) for name in COLUMNS]


@pytest.mark.parametrize("numbers", [1, 3000, 10000])
def test_batches_of_any_size_give_the_same(monkeypatch, numbers):
    settings = {"n_components": K, "init_means": "kpp", "random_state": 0}
    expected = stacked(fit_many(ragged(), **settings))
    monkeypatch.setattr(together, "NUMBERS", numbers)
    for found, values in zip(stacked(fit_many(ragged(), **settings)), expected, strict=True):
        np.testing.assert_allclose(found, values, rtol=1e-9)


def test_the_order_of_problems_is_that_of_results():
    settings, order = {"n_components": K, "init_means": "kpp", "random_state": 0}, np.random.default_rng(0)
    order = order.permutation(N_PROBLEMS)
    tables = ragged()
    expected = stacked(fit_many(tables, **settings))
    for found, values in zip(stacked(fit_many([tables[b] for b in order], **settings)), expected, strict=True):
        np.testing.assert_allclose(found, values[order], rtol=1e-9)


def test_the_same_seed_gives_the_same_bits():
    settings = {"n_components": K, "init_means": "kpp", "random_state": 3}
    for one, other in zip(
        stacked(fit_many(ragged(), **settings)), stacked(fit_many(ragged(), **settings)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, np.asfortranarray, lambda rows: rows.tolist()])
def test_tables_may_be_of_any_kind(nobody_alone, kind):
    settings = {"n_components": K, "init_means": "kpp", "random_state": 0}
    tables = ragged()
    mixtures = fit_many([kind(rows) for rows in tables], **settings)
    assert type(mixtures[0].means_) is (torch.Tensor if kind is torch.tensor else np.ndarray)
    assert_same_fit(mixtures[0], GaussianMixture(**settings).fit(tables[0]))


@pytest.mark.parametrize("start", ["kpp", "kmeans"])
def test_float32_is_fitted_together_in_float64(nobody_alone, start):
    tables = [rows.astype(np.float32) for rows in ragged()]
    mixtures = fit_many(tables, n_components=2, init_means=start, random_state=0)
    assert mixtures.means_.dtype == np.float32
    for mixture, rows in zip(mixtures, tables, strict=True):
        assert_same_fit(mixture, GaussianMixture(2, init_means=start, random_state=0).fit(rows))


def test_several_runs_are_fits_alone():
    assert_each_is_alone(ragged(), {"n_components": 2, "init_means": "kpp", "n_init": 2, "random_state": 0})
    assert_each_is_alone(ragged(), {"n_components": 2, "init_means": lambda X, K, generator: X[:K], "random_state": 0})


def test_results_can_be_pickled():
    settings = {"n_components": K, "init_means": "kpp", "random_state": 0}
    tables = [*ragged(), ragged()[0].astype(np.float16)]
    mixtures = fit_many(tables, **settings)
    again = pickle.loads(pickle.dumps(mixtures))
    for found, values in zip(stacked(again), stacked(mixtures), strict=True):
        np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(again[2].predict(tables[2]), mixtures[2].predict(tables[2]))


def test_models_go_on_as_those_fitted_alone():
    rows, settings = ragged()[0], {"n_components": K, "init_means": "kpp", "random_state": 0}
    model, alone = fit_many(ragged(), **settings)[0], GaussianMixture(**settings).fit(rows)
    np.testing.assert_allclose(model.predict_proba(rows), alone.predict_proba(rows), rtol=0, atol=1e-8)
    for each in (model, alone):
        each.partial_fit(rows[:30])
    np.testing.assert_allclose(model.means_, alone.means_, rtol=1e-8)
