"""What is thin keeps its width, whatever is wide beside it, and what is degenerate is said to be."""

import re
import warnings

import numpy as np
import pytest
from cases import as_numpy
from sklearn.datasets import load_digits

from tgmm import GaussianMixture, select
from tgmm.data import FrameSource

every_unit = pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
every_float = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def fitted(X, n_components, **settings):
    """A fit that has nothing to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return GaussianMixture(n_components, **({"random_state": 0} | settings)).fit(X)


def said(X, n_components, **settings):
    """What a fit says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GaussianMixture(n_components, **({"random_state": 0} | settings)).fit(X)
    return [str(each.message) for each in caught]


def deviations(model):
    """The standard deviations of the features in each component, (K, d)."""
    covariances = as_numpy(model.covariances_)
    return np.sqrt(np.diagonal(covariances, axis1=1, axis2=2) if covariances.ndim == 3 else covariances)


@every_unit
@every_float
@pytest.mark.parametrize("width", [0.01, 1e-3])
def test_a_line_on_a_continuum_keeps_its_width(unit, dtype, width):
    rng = np.random.default_rng(0)
    line = rng.normal(20, width, 1000)
    X = (unit * np.concatenate([rng.normal(0, 100, 1000), line])[:, None]).astype(dtype)
    model = fitted(X, 2, init_means=unit * np.array([[0.0], [20.0]]), tol=1e-8, max_iter=1000)
    assert deviations(model).min() == pytest.approx(unit * line.std(), rel=0.01)


def test_the_default_start_finds_a_line_on_a_continuum():
    rng = np.random.default_rng(0)
    line = rng.normal(20, 0.01, 1000)
    model = fitted(np.concatenate([rng.normal(0, 100, 1000), line])[:, None], 2)
    assert deviations(model).min() == pytest.approx(line.std(), rel=0.01)


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_cells_without_a_marker_beside_bright_ones_keep_their_spread(structure):
    rng = np.random.default_rng(0)
    dim, bright = rng.normal(50, 19.6, (3000, 2)), np.exp(rng.normal(10, 0.8, (3000, 2)))
    model = fitted(np.concatenate([dim, bright]), 2, covariance_type=structure)
    np.testing.assert_allclose(deviations(model).min(0), dim.std(0), rtol=0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("structure", ["full", "diag", "spherical"])
def test_one_glitch_widens_no_cluster_and_is_said_to_be_one(structure, seed):
    rng = np.random.default_rng(seed)
    clusters = [rng.normal(0, 1, (500, 2)), rng.normal(8, 1, (500, 2))]
    X = np.concatenate([*clusters, [[1e6, 0.0]]])
    with pytest.warns(UserWarning, match=r"component \d is degenerate \(on too few"):
        model = GaussianMixture(3, covariance_type=structure, random_state=seed).fit(X)
    heavy = as_numpy(model.weights_) > 0.1
    found = deviations(model).reshape(3, -1)[heavy]
    expected = [cluster.std(0) if found.shape[1] == 2 else [np.sqrt(cluster.var(0).mean())] for cluster in clusters]
    order = as_numpy(model.means_)[heavy][:, 0].argsort()
    np.testing.assert_allclose(found[order], expected, rtol=0.01)


@every_unit
@every_float
def test_the_next_value_of_a_series_has_the_residual_deviation_of_least_squares(unit, dtype):
    rng = np.random.default_rng(0)
    level = unit * (np.linspace(0, 1000, 4000) + np.cumsum(rng.normal(0, 0.01, 4000)))
    X = np.column_stack([level[:-1], level[1:]]).astype(dtype)
    wide = X.astype(np.float64)
    residual = (wide[:, 1] - np.polyval(np.polyfit(wide[:, 0], wide[:, 1], 1), wide[:, 0])).std()
    _, sd = fitted(X, 1).regress(X[:1, :1], [0])
    assert float(sd[0, 0]) == pytest.approx(residual, rel=0.01)


def test_a_wide_component_on_a_plane_beside_a_thin_one_is_valid():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 300)
    X = np.concatenate([np.column_stack([x, 2 * x]), rng.normal(0, 1e-3, (300, 2))])
    labels = np.repeat([0, 1], 300)
    model = GaussianMixture(2)
    with pytest.warns(UserWarning, match=r"component 0 is degenerate.*reg_covar"):
        model.fit(X, init_responsibilities=labels)
    np.testing.assert_allclose(deviations(model)[1], X[labels == 1].std(0), rtol=0.01)
    assert np.isfinite(model.score_samples(X)).all()


def test_too_many_components_for_the_rows_are_reported_once():
    X = np.random.default_rng(0).normal(size=(100, 2))
    notes = said(X, 30)
    assert len(notes) == 1
    assert "are degenerate" in notes[0]
    assert "fit fewer components" in notes[0]


def test_a_component_on_equal_values_is_reported():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=100), np.full(10, 10.0)])[:, None]
    notes = said(X, 2)
    assert len(notes) == 1
    assert "reg_covar" in notes[0]


def test_components_on_equal_rounded_values_are_reported():
    rng = np.random.default_rng(0)
    X = np.round(np.concatenate([rng.normal(0, 2, 200), rng.normal(15, 2, 200)]))[:, None]
    assert said(X, 2) == []
    assert ["are degenerate" in note for note in said(X, 6)] == [True]


def test_a_shared_covariance_of_rows_on_points_is_reported():
    X = np.repeat(np.random.default_rng(0).normal(size=(3, 2)), 20, axis=0)
    (note,) = said(X, 3, covariance_type="tied_diag")
    assert "the covariance that all components share is degenerate" in note


@pytest.fixture
def two_balls():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 2)) + 6 * rng.integers(0, 2, size=(300, 1))


DEPENDENT = {
    "constant": lambda X: np.full(len(X), 3.0),
    "copy": lambda X: X[:, 0],
    "rescaled copy": lambda X: 3 * X[:, 0] + 7,
    "sum": lambda X: X.sum(1),
}


@pytest.mark.parametrize("feature", DEPENDENT.values(), ids=DEPENDENT)
@pytest.mark.parametrize("batches", [False, True], ids=["rows", "batches"])
def test_select_names_a_feature_that_depends_on_others_and_judges_without_it(two_balls, feature, batches):
    X = np.column_stack([two_balls, feature(two_balls)])
    with pytest.warns(UserWarning, match=r"feature 2 is constant or a linear function"):
        found = select([X[:100], X[100:]] if batches else X, range(1, 4), random_state=0, n_init=1)
    assert (found.best_.covariance_type, found.best_.n_components) == ("tied_spherical", 2)
    assert {cell.status for cell in found.cells} == {"converged"}
    assert found.best_.means_.shape == (2, 3)
    plain = select(two_balls, range(1, 4), random_state=0, n_init=1)
    assert found.best_cell.bic == pytest.approx(plain.best_cell.bic, abs=0.01)


def test_fit_names_a_feature_that_is_a_function_of_others(two_balls):
    (note,) = said(np.column_stack([two_balls, two_balls.sum(1)]), 2)
    assert note == "feature 2 is a linear function of others: variances are determined by reg_covar"


@pytest.mark.parametrize("structure", ["full", "diag"])
def test_a_feature_of_one_value_within_components_is_named_and_no_component_is_called_degenerate(two_balls, structure):
    kind = (two_balls.sum(1) > 6).astype(float)
    (note,) = said(np.column_stack([two_balls, kind]), 2, covariance_type=structure)
    assert note.startswith("feature 2 has one value in all rows of one or more of components [0, 1]: ")
    assert "reg_covar" in note and "Leave such features out" in note and "degenerate" not in note


def test_a_feature_of_one_value_within_every_component_is_named_where_they_share_a_covariance(two_balls):
    kind = (two_balls.sum(1) > 6).astype(float)
    (note,) = said(np.column_stack([two_balls, kind]), 2, covariance_type="tied_diag")
    assert note.startswith("feature 2 has one value in all rows of every component: ")


def test_pixels_that_are_blank_in_some_digits_are_named_in_one_short_message():
    X = load_digits().data
    (note,) = said(X, 10, covariance_type="diag")
    assert re.search(r"features \[(\d+, ){8}\.\.\.\] \(\d+ in all\) each have one value", note)
    assert re.search(r"of components? \[?(\d, )*\d\]?: ", note)
    assert "degenerate" not in note and len(note) < 500


def test_an_opinion_of_one_to_five_is_not_called_degenerate():
    rng = np.random.default_rng(0)
    kind = rng.integers(-1, 2, 600)
    X = np.clip(np.round(3 + rng.normal(size=(600, 6)) + kind[:, None]), 1, 5)
    for structure in ("full", "diag"):
        assert said(X, 3, covariance_type=structure) == []


def test_a_component_on_a_point_is_degenerate_beside_one_with_a_feature_of_one_value(two_balls):
    kind = (two_balls.sum(1) > 6).astype(float)
    X = np.concatenate([np.column_stack([two_balls, kind]), np.tile([[30.0, 30.0, 0.0]], (40, 1))])
    (note,) = said(X, 3, covariance_type="diag")
    assert "feature 2 has one value" in note
    assert re.search(r"component \d is degenerate", note)


@pytest.mark.parametrize("lazy", [False, True], ids=["a frame", "a source"])
def test_features_are_called_by_name_where_they_have_one(two_balls, lazy):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(two_balls, columns=["a", "b"])
    frame = frame.assign(fixed=1.0, total=frame.sum(axis=1), kind=(frame.sum(axis=1) > 6) * 1.0)
    source = (lambda names: FrameSource(frame[names])) if lazy else (lambda names: frame[names])
    assert said(source(["a", "b", "total"]), 2)[0].startswith("feature 'total' is a linear function")
    assert said(source(["a", "fixed"]), 2)[0].startswith("feature 'fixed' is constant")
    assert said(source(["a", "b", "kind"]), 2)[0].startswith("feature 'kind' has one value")
    with pytest.warns(UserWarning, match=r"features \['fixed', 'total'\] are constant or linear functions"):
        select(source(["a", "b", "fixed", "total"]), 2, random_state=0, n_init=1)
    with pytest.raises(ValueError, match=r"in feature 'b': their variance leaves the range"):
        GaussianMixture().fit(frame.assign(b=frame["b"] * 1e160)[["a", "b"]])


def test_cells_of_select_call_features_as_the_user_does(two_balls):
    kind = (two_balls.sum(1) > 6).astype(float)
    X = np.column_stack([np.ones(len(kind)), two_balls, kind])
    with pytest.warns(UserWarning, match=r"feature 0 is constant"):
        found = select(X, 2, ["diag"], random_state=0, n_init=1)
    assert "feature '3' has one value" in found.cells[0].reason


@pytest.mark.parametrize("n_rows", [8, 13])
def test_densities_of_fewer_rows_than_features_do_not_show_the_rounding_of_their_sums(n_rows):
    X = np.random.default_rng(0).standard_normal((n_rows, 12))
    fits = [GaussianMixture(1).fit(rows) for rows in (X, np.repeat(X[::-1], 2, axis=0))]
    once, twice = (fit.score_samples(X) for fit in fits)
    if n_rows > 12:
        assert fits[0].reg_covar_.max() < 2e-12
    np.testing.assert_allclose(once, twice, rtol=1e-7)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.filterwarnings("ignore:.*degenerate", "ignore:.*constant", "ignore:.*did not converge")
def test_features_that_are_constant_in_a_component_but_for_rounding_leave_a_fit(seed):
    X = load_digits().data
    model = GaussianMixture(10, covariance_type="diag", random_state=seed, max_iter=20).fit(X)
    R = model.predict_proba(X)
    means = R.T @ X / R.sum(0)[:, None]
    variances = np.stack([r @ (X - mean) ** 2 / r.sum() for r, mean in zip(R.T, means, strict=True)])
    assert (variances < 1e-9).sum() > 100  # the ends of an M-step, of which rounding has none
    np.testing.assert_allclose(model.means_, means, atol=0.05)
    np.testing.assert_allclose(model.covariances_, variances + model.reg_covar_, rtol=0.02)
