"""Pictures, by what is on them: artists, extents, colours, labels."""

import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
import torch
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from matplotlib.patches import Ellipse
from matplotlib.text import Text
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal, norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from support import COVARIANCE_TYPES, dense_covariances

from tgmm import (
    GaussianMixture,
    Mixture,
    MixtureClassifier,
    MixtureImputer,
    MixtureOutlierDetector,
    MixtureRegressor,
    select,
)
from tgmm.plotting import (
    MixtureDisplay,
    plot,
    plot_components,
    plot_density,
    plot_fit,
    plot_histogram,
    plot_history,
    plot_pairs,
    plot_profiles,
    plot_responsibilities,
    plot_selection,
    plot_uncertainty,
    style,
)
from tgmm.plotting.view import Regions, View, discriminants, ellipse


@pytest.fixture(scope="module")
def flat():
    """Two components in the plane, and rows of theirs."""
    rng = np.random.default_rng(3)
    covariances = np.array([[[1.0, 0.6], [0.6, 2.0]], [[0.5, 0.0], [0.0, 0.5]]])
    model = GaussianMixture.from_parameters([0.25, 0.75], [[0.0, 0.0], [6.0, 5.0]], covariances)
    X = np.concatenate([rng.multivariate_normal(m, c, 40) for m, c in zip([[0, 0], [6, 5]], covariances, strict=True)])
    return model, X


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(5)
    centres = np.array([[0.0, 0.0, 0.0, 0.0], [5.0, 1.0, 0.0, 0.0], [0.0, 6.0, 0.0, 1.0]])
    X = np.repeat(centres, 40, axis=0) + rng.standard_normal((120, 4))
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    return GaussianMixture(3, random_state=0).fit(frame), frame


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.95])
def test_an_ellipse_holds_its_share_of_the_component(probability):
    covariance = np.array([[2.0, -1.2], [-1.2, 1.0]])
    patch = Ellipse((1.0, 2.0), *ellipse(covariance, probability)[:2], angle=ellipse(covariance, probability)[2])
    draws = np.random.default_rng(0).multivariate_normal([1.0, 2.0], covariance, 40_000)
    outline = patch.get_patch_transform().transform_path(patch.get_path())
    assert outline.contains_points(draws).mean() == pytest.approx(probability, abs=0.01)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_components_have_the_models_own_ellipses(blobs, covariance_type):
    X = blobs[:, :2]
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    ax = plot_components(model, X, levels=[0.5])
    dense = dense_covariances(model.covariances_, covariance_type, 3, 2)
    assert len(ellipses(ax)) == 3
    for k, patch in enumerate(ellipses(ax)):
        outline = patch.get_patch_transform().transform(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]))
        centred = outline - np.asarray(model.means_[k])
        distances = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(dense[k]), centred)
        np.testing.assert_allclose(distances, 2 * np.log(2), rtol=1e-6)  # the median of chi-square with 2 degrees


def test_rows_have_the_colour_and_marker_of_their_component(flat):
    model, X = flat
    ax = plot_components(model, X)
    labels = model.predict(X)
    assert len(ax.collections) == 2
    for k, points in enumerate(ax.collections):
        np.testing.assert_array_equal(points.get_offsets(), X[labels == k])
        np.testing.assert_allclose(points.get_facecolor()[0, :3], plt.matplotlib.colors.to_rgb(style.COLOURS[k]))
    assert legend_texts(ax) == ["component 0 (25%)", "component 1 (75%)", "holds 50%", "holds 95%"]


def test_the_legend_is_outside_the_data(flat):
    model, X = flat
    for ax in (plot_components(model, X), plot_uncertainty(model, X), plot_histogram(model, X)):
        ax.figure.canvas.draw()
        assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_everything_is_inside_the_axes_and_drawn_where_asked(flat):
    model, X = flat
    _, (left, right) = plt.subplots(1, 2)
    assert plot_components(model, X, ax=right) is right
    assert not left.has_data()
    (x0, x1), (y0, y1) = right.get_xlim(), right.get_ylim()
    assert x0 < X[:, 0].min() and X[:, 0].max() < x1
    for patch in ellipses(right):
        box = patch.get_extents().transformed(right.transData.inverted())
        assert x0 <= box.x0 and box.x1 <= x1 and y0 <= box.y0 and box.y1 <= y1


def test_labels_are_the_names_of_features(fitted):
    model, frame = fitted
    ax = plot_components(model, frame, features=["d", 1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("d", "b")
    offsets = np.concatenate([points.get_offsets() for points in ax.collections])
    assert sorted(offsets[:, 0]) == sorted(frame["d"]) and sorted(offsets[:, 1]) == sorted(frame["b"])


def test_more_features_are_seen_along_the_discriminants(fitted):
    model, frame = fitted
    ax = plot_components(model, frame)
    unit = "(in standard deviations within components)"
    assert ax.get_xlabel() == f"discriminant 0, mostly b and a\n{unit}"
    assert ax.get_ylabel() == f"discriminant 1, mostly a and b\n{unit}"
    assert len(ellipses(ax)) == 6


def test_discriminants_are_those_of_discriminant_analysis(fitted):
    model, frame = fitted
    labels = model.predict(frame)
    reference = LinearDiscriminantAnalysis(solver="eigen").fit(frame.to_numpy(), labels).scalings_[:, :2]
    ours = discriminants(model)
    cosines = (ours * reference).sum(0) / np.linalg.norm(ours, axis=0) / np.linalg.norm(reference, axis=0)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-3)
    within = np.einsum("k,kij->ij", model.weights_, model.covariances_)
    np.testing.assert_allclose(ours.T @ within @ ours, np.eye(2), atol=1e-9)


def test_a_view_is_the_marginal_mixture(fitted):
    model, _ = fitted
    view = View.of(model, [3, 1])
    x = np.array([[0.3, -0.2]])
    expected = sum(
        float(w) * multivariate_normal(m[[3, 1]], c[np.ix_([3, 1], [3, 1])]).pdf(x)
        for w, m, c in zip(model.weights_, np.asarray(model.means_), np.asarray(model.covariances_), strict=True)
    )
    assert np.exp(view.mixture().score_samples(x))[0] == pytest.approx(expected)


def test_uncertain_rows_are_large(flat):
    model, _ = flat
    line = np.linspace(0, 1, 60)[:, None] * [[6.0, 5.0]]
    ax = plot_uncertainty(model, line)
    uncertainty = 1 - model.predict_proba(line).max(1)
    points = ax.collections[:2]
    drawn = {tuple(at): size for c in points for at, size in zip(c.get_offsets(), c.get_sizes(), strict=True)}
    sizes = np.array([drawn[tuple(row)] for row in line])
    np.testing.assert_allclose(np.argsort(sizes, kind="stable"), np.argsort(uncertainty, kind="stable"))
    assert sizes.max() > 10 * sizes.min()
    assert "uncertainty 0.5" in legend_texts(ax)


def test_shares_are_those_of_one_gaussian():
    model = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [1.0], "spherical")
    radii = np.array([0.5, 1.0, 2.0, 3.0])
    rows = np.column_stack([radii, np.zeros(4)])
    np.testing.assert_allclose(Regions(model).shares(rows), 1 - np.exp(-(radii**2) / 2), atol=0.01)


def test_contours_hold_their_share(flat):
    model, _ = flat
    contour = plot_density(model, kind="shading").collections[1]  # no labels interrupt these lines
    draws, _ = model.sample(20_000, random_state=1)
    for level, path in zip(contour.levels, contour.get_paths(), strict=True):
        inside = np.zeros(len(draws), dtype=bool)
        path.should_simplify = False
        for polygon in path.to_polygons():
            inside ^= plt.matplotlib.path.Path(polygon).contains_points(draws)
        assert inside.mean() == pytest.approx(level, abs=0.015)


def test_shading_has_a_scale_and_rows_on_top(flat):
    model, X = flat
    ax = plot_density(model, X, kind="shading")
    scale = ax.figure.axes[1]
    assert [text.get_text() for text in scale.get_yticklabels()] == ["10%", "25%", "50%", "75%", "90%", "95%", "99%"]
    np.testing.assert_array_equal(ax.collections[-1].get_offsets(), X)


def test_a_histogram_has_area_one_under_the_components_and_their_sum(flat):
    model, X = flat
    ax = plot_histogram(model, X, feature=1)
    bars = [patch for patch in ax.patches if patch.get_width() > 0]
    assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1)
    first, second, total = ax.lines
    x = total.get_xdata()
    np.testing.assert_allclose(first.get_ydata(), 0.25 * norm.pdf(x, 0, np.sqrt(2)))
    np.testing.assert_allclose(total.get_ydata(), first.get_ydata() + second.get_ydata())
    assert trapezoid(total.get_ydata(), x) == pytest.approx(1, abs=1e-3)
    assert ax.get_xlabel() == "feature 1"
    assert legend_texts(ax) == ["data", "component 0 (25%)", "component 1 (75%)", "mixture"]


def test_a_narrow_component_is_not_missed():
    model = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [3.0]], [1.0, 1e-8], "spherical")
    total = plot_histogram(model).lines[-1].get_ydata()
    assert total.max() == pytest.approx(0.5 * norm.pdf(0, 0, 1e-4), rel=1e-3)


def test_pairs_share_ranges_and_name_the_outer_axes(fitted):
    model, frame = fitted
    grid = plot_pairs(model, frame, features=["a", "c", "b"])
    assert grid.shape == (3, 3)
    assert [ax.get_xlabel() for ax in grid[-1]] == ["a", "c", "b"]
    assert [ax.get_ylabel() for ax in grid[:, 0]] == ["a", "c", "b"]
    for j in range(3):
        assert len({ax.get_xlim() for ax in grid[:, j]}) == 1
    assert grid[0, 1].get_ylim() == grid[0, 0].get_xlim()
    assert len(ellipses(grid[2, 0])) == 6 and not ellipses(grid[0, 2])
    x, y = grid[2, 0].collections[0].get_offsets().T
    assert set(x) <= set(frame["a"]) and set(y) <= set(frame["b"])


def test_pairs_on_given_axes(fitted):
    model, frame = fitted
    _, axes = plt.subplots(2, 2)
    assert plot_pairs(model, frame, features=[0, 1], ax=axes)[1, 1] is axes[1, 1]
    with pytest.raises(ValueError, match=r"ax must be axes of shape \(3, 3\)"):
        plot_pairs(model, features=[0, 1, 2], ax=axes)


def test_selection_curves_show_every_value_and_ring_the_best(blobs):
    selection = select(blobs, [1, 2, 3], ["full", "tied_diag"], random_state=0)
    with pytest.raises(ValueError, match=r"must be what tgmm.select returns; got a GaussianMixture"):
        plot_selection(selection.best_)
    ax = plot_selection(selection)
    best = selection.best_cell
    for line, name in zip(ax.lines, ["full", "tied_diag"], strict=True):
        expected = [cell.bic - best.bic for cell in selection.cells if cell.covariance_type == name]
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert ax.collections[-1].get_offsets().tolist() == [[best.n_components, 0.0]]
    assert legend_texts(ax) == ["full", "tied_diag", f"best: {best.covariance_type}, {best.n_components}"]
    assert f"{best.bic:.2f}" in ax.get_ylabel()


def test_whole_numbers_alone_are_ticks_where_there_is_one_number(blobs):
    ax = plot_selection(select(blobs, [3], "diag", random_state=0))
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [3]


def test_the_scale_of_one_cell_reaches_to_a_decisive_difference(blobs):
    ax = plot_selection(select(blobs, [3], "diag", random_state=0))
    low, high = ax.get_ylim()
    assert low == -1 and 10 < high < 12
    assert [tick for tick in ax.get_yticks() if low <= tick <= high] == [0, 10]


def test_selection_leaves_failures_out_and_draws_degenerate_cells_hollow():
    X = np.concatenate([np.zeros((5, 2)), np.random.default_rng(0).normal(6, 1, size=(60, 2))])
    selection = select(X, [1, 2, 66], ["full"], random_state=0)
    with pytest.raises(ValueError, match=r"must be what tgmm.select returns; got a GaussianMixture"):
        plot_selection(selection.best_)
    ax = plot_selection(selection)
    values = ax.lines[0].get_ydata()
    assert np.isnan(values[2]) and values[1] < 0 and values[0] == 0
    hollow = ax.collections[0].get_facecolors()
    assert hollow[1].tolist() == [1, 1, 1, 1]
    assert ax.get_ylim()[0] < values[1]
    assert "hollow: degenerate" in legend_texts(ax)


def test_selection_by_held_out_shows_the_values_themselves(blobs):
    selection = select(blobs, [1, 3], "diag", "held_out", cv=3, random_state=0)
    with pytest.raises(ValueError, match=r"must be what tgmm.select returns; got a GaussianMixture"):
        plot_selection(selection.best_)
    ax = plot_selection(selection)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [cell.held_out for cell in selection.cells])
    assert ax.get_ylabel() == "held-out log-likelihood (higher is better)"
    assert plot_selection(selection, criterion="aic").get_ylabel().startswith("AIC")


def test_history_and_responsibilities(fitted):
    model, frame = fitted
    ax = plot_history(model)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), model.objective_history_)
    assert ax.get_title("right").startswith("converged")
    for row in (frame.iloc[7], frame.iloc[[7]], frame.iloc[7].tolist(), torch.tensor(frame.iloc[7].to_numpy())):
        bars = plot_responsibilities(model, row).patches
        np.testing.assert_allclose([bar.get_width() for bar in bars], model.predict_proba(frame.iloc[[7]])[0])


def test_what_has_no_history_says_so(blobs):
    with pytest.raises(ValueError, match="which has a history; got a MixtureOutlierDetector"):
        plot_history(MixtureOutlierDetector().fit(blobs))


def test_long_names_are_broken_so_that_those_of_pairs_do_not_meet():
    names = ["od280/od315_of_diluted_wines", "nonflavanoid_phenols", "a name that goes on and on, as if it had no end"]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=names)
    grid = plot_pairs(GaussianMixture(1).fit(frame), frame)
    assert [cell.get_xlabel() for cell in grid[-1]] == [
        "od280/od315_of_\ndiluted_wines",
        "nonflavanoid_\nphenols",
        "a name that goes\non and on, as if\N{HORIZONTAL ELLIPSIS}",
    ]
    grid[0, 0].figure.canvas.draw()
    below = [cell.xaxis.label.get_window_extent() for cell in grid[-1]]
    beside = [cell.yaxis.label.get_window_extent() for cell in grid[:, 0]]
    assert all(one.x1 < other.x0 for one, other in pairwise(below))
    assert all(one.y0 > other.y1 for one, other in pairwise(beside))
    assert style.narrow("x" * 40) == "x" * 17 + "\N{HORIZONTAL ELLIPSIS}"


@pytest.mark.parametrize("kind", ["components", "uncertainty", "density", "histogram", "pairs", "profiles"])
@pytest.mark.parametrize("names", [["$$", "a" * 43 + "$_" * 40], ["a_$_per_$", "b ($)", r"c\$"]])
def test_dollars_in_names_are_no_formulas(kind, names):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, len(names))), columns=names)
    display = MixtureDisplay.from_estimator(GaussianMixture(1).fit(frame), frame, kind=kind)
    display.figure_.canvas.draw()
    texts = {text.get_text() for text in display.figure_.findobj(Text) if "$" in text.get_text()}
    assert texts and not any(is_math_text(text) for text in texts)
    if kind == "profiles":
        assert {text.replace(r"\$", "$") for text in texts} == set(names)  # as matplotlib draws them


@pytest.mark.parametrize("kind", ["components", "uncertainty", "density", "histogram", "pairs", "profiles"])
def test_a_display_draws_every_kind_and_draws_it_again(flat, kind):
    model, X = flat
    display = MixtureDisplay.from_estimator(model, torch.from_numpy(X), kind=kind)
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first
    assert display.figure_.axes


def test_a_display_chooses_by_the_number_of_features(flat):
    line = GaussianMixture.from_parameters([1.0], [[0.0]], [1.0], "spherical")
    assert MixtureDisplay.from_estimator(line).kind == "histogram"
    assert MixtureDisplay.from_estimator(flat[0]).kind == "components"


def test_components_without_weight_have_no_ellipse():
    model = GaussianMixture.from_parameters([1.0, 0.0], [[0.0, 0.0], [50.0, 50.0]], [1.0, 1.0], "spherical")
    ax = plot_components(model)
    assert len(ellipses(ax)) == 2
    assert ax.get_xlim()[1] < 10
    assert "component 1 (0.0%)" in legend_texts(ax)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda model, X: plot_components(model, X, features=[0]), "needs two features"),
        (lambda model, X: plot_components(model, X, features=[0, "x"]), "features must be different.* 0 to 1"),
        (lambda model, X: plot_histogram(model, X, feature=2), "got 2"),
        (lambda model, X: plot_histogram(model, X, feature=1.7), "features must be different features.*got 1.7"),
        (lambda model, X: plot_profiles(model, X, features=[True]), "features must be different features.*got True"),
        (lambda model, X: plot_pairs(model, X, features=[1, 1]), r"features must be different features; got \[1, 1\]"),
        (lambda model, X: plot_components(model, X, features=1), "features must be a sequence of features, such as"),
        (lambda model, X: plot_density(model, X, kind="surface"), "kind must be 'contour' or 'shading'; got 'surface'"),
        (lambda model, X: plot_components(model, X, levels=[0.5, 1.0]), r"levels must be shares.*got \[0.5, 1.0\]"),
        (lambda model, X: plot_components(model, X, levels=[95]), r"such as 0.95 for 95%; got \[95\]"),
        (lambda model, X: plot_components(model, X, levels=["half"]), "levels must be shares"),
        (lambda model, X: plot_components(model, X, levels=0.5), r"levels must be a sequence.*write \[0.5\]"),
        (lambda model, X: plot_history(model), "no history"),
        (lambda model, X: plot_responsibilities(model, X[:2]), "row must be one row; got 2"),
        (lambda model, X: plot_components(model, X[:, :1]), "features"),
        (lambda model, X: MixtureDisplay.from_estimator(model, X, kind="pie"), "kind must be one of"),
    ],
)
def test_what_cannot_be_drawn_is_a_clear_error(flat, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(*flat)


def test_mixtures_of_scikit_learn_are_to_be_converted(flat):
    fit = sklearn.mixture.GaussianMixture().fit(flat[1])
    with pytest.raises(ValueError, match=r"got a sklearn.mixture.GaussianMixture. Convert it by tgmm.Mixture.from_skl"):
        plot(fit)
    with pytest.raises(ValueError, match=r"got a sklearn.mixture.BayesianGaussianMixture.$"):
        plot(sklearn.mixture.BayesianGaussianMixture().fit(flat[1]))
    with pytest.raises(ValueError, match=r"got a int.$"):
        plot(3)
    assert plot(Mixture.from_sklearn(fit)).get_xlabel() == "feature 0"


def test_levels_may_be_an_array(flat):
    assert len(ellipses(plot_components(flat[0], levels=np.array([0.5, 0.9, 0.99])))) == 6
    assert not ellipses(plot_components(flat[0], levels=()))


def test_one_feature_has_no_plane_and_many_have_no_pairs():
    line = GaussianMixture.from_parameters([1.0], [[0.0]], [1.0], "spherical")
    with pytest.raises(ValueError, match="use plot_histogram"):
        plot_components(line)
    wide = GaussianMixture.from_parameters([1.0], [[0.0] * 13], [1.0], "spherical")
    with pytest.raises(ValueError, match="choose some with features="):
        plot_pairs(wide)


def test_without_matplotlib_the_error_says_how_to_install_it(flat, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        plot_components(flat[0])


# --- many components, narrow axes, rows of data frames ------------------------------------------------------------


def many(n_components, n_features=2):
    rng = np.random.default_rng(0)
    means = rng.uniform(-20, 20, (n_components, n_features))
    weights = np.full(n_components, 1 / n_components)
    return GaussianMixture.from_parameters(weights, means, np.ones(n_components), "spherical")


PICTURES = {
    "components": lambda gmm, **on: plot_components(gmm, **on),
    "uncertainty": lambda gmm, **on: plot_uncertainty(gmm, gmm.sample(50, random_state=0)[0], **on),
    "histogram": lambda gmm, **on: plot_histogram(gmm, **on),
}


@pytest.mark.parametrize("n_components", [2, 15, 40])
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("place", ["own figure", "one of four"])
def test_the_whole_legend_is_seen(picture, n_components, place):
    axes = plt.subplots(2, 2, layout="constrained")[1] if place == "one of four" else None
    ax = PICTURES[picture](many(n_components), **({} if axes is None else {"ax": axes[0, 0]}))
    figure = ax.figure
    figure.canvas.draw()
    legend, whole = ax.get_legend().get_window_extent(), figure.bbox
    assert len(ax.get_legend().get_texts()) >= n_components
    assert whole.x0 <= legend.x0 and legend.x1 <= whole.x1 + 1
    assert whole.y0 <= legend.y0 + 1 and legend.y1 <= whole.y1 + 1
    assert ax.bbox.width > 30
    if axes is not None and n_components <= 15:  # nor does it lie on what is beside or below
        assert legend.x1 <= axes[0, 1].bbox.x0
        assert legend.y0 >= axes[1, 0].bbox.y1


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("n_components", "n_features"), [(3, 2), (25, 2), (40, 2), (60, 1)])
def test_the_whole_legend_of_pairs_is_seen(n_components, n_features, given):
    axes = plt.subplots(n_features, n_features, squeeze=False, layout="constrained")[1] if given else None
    grid = plot_pairs(many(n_components, n_features), ax=axes)
    figure = grid[0, 0].figure
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.y0 <= legend.y0 and legend.y1 <= figure.bbox.y1
    assert max(ax.bbox.x1 for ax in grid.flat) <= legend.x0 and legend.x1 <= figure.bbox.x1
    assert grid[0, 0].bbox.width > (20 if given else 90)


def test_components_are_told_apart_however_many():
    gmm = many(18)
    ax = plot_components(gmm)
    assert len({patch.get_edgecolor() for patch in ellipses(ax)}) == 18
    assert len({(style.colour(k), style.line(k)) for k in range(50)}) == 50
    assert len({(style.colour(k), style.marker(k)) for k in range(80)}) == 80


def test_components_are_drawn_before_the_sum_that_hides_none():
    *components, total = plot_histogram(many(3, 1)).lines
    assert total.get_label() == "mixture"
    assert all(line.get_zorder() > total.get_zorder() for line in components)
    assert all(line.get_linewidth() < total.get_linewidth() for line in components)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "row",
    [lambda f: f.iloc[0], lambda f: f.iloc[[0]], lambda f: f.iloc[0].tolist(), lambda f: torch.tensor(f.to_numpy()[0])],
    ids=["series", "frame", "list", "tensor"],
)
def test_probabilities_of_a_row_of_any_kind(fitted, row):
    model, frame = fitted
    widths = [bar.get_width() for bar in plot_responsibilities(model, row(frame)).patches]
    np.testing.assert_allclose(widths, model.predict_proba(frame.iloc[[0]])[0], rtol=1e-9)


def test_a_series_of_other_names_is_refused(fitted):
    model, frame = fitted
    with pytest.raises(ValueError, match="names"):
        plot_responsibilities(model, frame.iloc[0][["b", "a", "c", "d"]])


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "0"),
        (2.66e-44, "< 0.001"),
        (4e-4, "< 0.001"),
        (0.001, "0.001"),
        (0.5, "0.5"),
        (0.9996, "> 0.999"),
        (1, "1"),
    ],
)
def test_probabilities_are_shown_in_three_decimals(probability, text):
    assert style.shown(probability) == text


def test_a_fit_may_be_a_model_and_what_is_none_is_refused(fitted):
    model, frame = fitted
    for one in (model, model.mixture_):
        assert len(plot_fit(one, frame).axes) == 1
    for draw in (plot_fit, plot_components, plot_histogram):
        with pytest.raises(ValueError, match="must be a tgmm.GaussianMixture.*got a pandas.*DataFrame"):
            draw(frame, model)


# --- many features, and one picture of any mixture ----------------------------------------------------------------


def bars(ax):
    """The means, places and standard deviations that are drawn of each component, each an array (K, m)."""
    found = []
    for container in ax.containers:
        points, _, (lines,) = container.lines
        ends = np.array([segment[:, 0] for segment in lines.get_segments()])
        found.append((points.get_xdata(), points.get_ydata(), np.diff(ends)[:, 0] / 2))
    return (np.array(part) for part in zip(*found, strict=True))


def test_profiles_are_means_and_deviations_in_units_of_the_mixture(fitted):
    model, frame = fitted
    ax = plot_profiles(model, frame, features=["d", "a"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["d", "a"]
    means, places, deviations = bars(ax)
    scale, chosen = np.sqrt(np.diag(model.covariance())), [3, 0]
    np.testing.assert_allclose(means, ((model.means_ - model.mean()) / scale)[:, chosen])
    np.testing.assert_allclose(deviations, np.sqrt(model.covariances_[:, chosen, chosen]) / scale[chosen])
    assert (np.abs(places - [0, 1]) < 0.5).all() and len(np.unique(places)) == 6
    points = np.concatenate([c.get_offsets() for c in ax.collections if len(c.get_offsets()) > 1])
    drawn = np.sort(((frame - model.mean()) / scale)[["d", "a"]].to_numpy().ravel())
    np.testing.assert_allclose(np.sort(points[:, 0]), drawn)


def test_profiles_show_the_features_that_differ_most_and_fit_on_a_page():
    rng = np.random.default_rng(0)
    means = 0.1 * rng.standard_normal((12, 60))
    means[:, [7, 50]] += 5 * rng.standard_normal((12, 2))
    gmm = GaussianMixture.from_parameters(np.full(12, 1 / 12), means, 1.0, "tied_spherical")
    ax = plot_profiles(gmm)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert {"feature 7", "feature 50"} <= set(names) and len(names) < 20
    assert ax.figure.get_figheight() < 10
    assert ax.get_title().startswith(f"{len(names)} of 60 features")
    ax = plot_profiles(gmm, features=range(60))
    assert len(ax.get_yticklabels()) == 60 and not ax.get_title()


def test_profiles_draw_no_spread_of_a_feature_that_is_constant():
    X = np.random.default_rng(0).normal(size=(100, 3))
    X[:50] += 6
    X[:, 1], X[0] = 5.0, np.nan
    with pytest.warns(UserWarning, match="constant"):
        gmm = GaussianMixture(2, missing="em", random_state=0).fit(X)
    ax = plot_profiles(gmm, X)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["feature 0", "feature 1 (constant)", "feature 2"]
    deviations = list(bars(ax))[2]
    assert (deviations[:, 1] == 0).all() and (deviations[:, [0, 2]] > 0.1).all()
    assert (list(bars(plot_profiles(gmm, X[[1]])))[2] > 0).all()  # of one row nothing varies


def test_profiles_have_the_weight_of_noise():
    X = np.random.default_rng(0).normal(size=(100, 3))
    gmm = GaussianMixture(noise=True, random_state=0).fit(X)
    entry = plot_profiles(gmm, X).get_legend().get_texts()[-1].get_text()
    assert entry == f"noise ({style.percent(gmm.noise_weight_)}, not drawn)"


def test_profiles_of_one_component_and_of_one_without_weight():
    one = GaussianMixture.from_parameters([1.0], [[0.0, 5.0, 1.0]], [1.0], "spherical")
    assert len(plot_profiles(one, [[0.0, 5.0, 1.0]]).containers) == 1
    two = GaussianMixture.from_parameters([1.0, 0.0], [[0.0] * 3, [1e9] * 3], [1.0, 1.0], "spherical")
    assert plot_profiles(two).get_xlim()[1] < 5


@pytest.mark.parametrize(("n_features", "label"), [(1, "feature 0"), (2, "feature 0"), (5, "standard deviations")])
def test_one_picture_of_any_mixture(n_features, label):
    gmm = many(3, n_features)
    X = gmm.sample(50, random_state=0)[0]
    _, given = plt.subplots()
    ax = plot(gmm, X, ax=given)
    assert ax is given and ax.get_xlabel().startswith(label)
    assert plot(gmm.mixture_) is not ax


def test_other_models_are_drawn_by_what_they_hold(blobs):
    selection = select(blobs, [1, 2], "diag", random_state=0)
    assert plot(selection).get_xlabel() == "number of components"
    for model in (
        selection,
        MixtureOutlierDetector(n_components=2, random_state=0).fit(blobs),
        MixtureImputer(GaussianMixture(2, random_state=0)).fit(blobs),
    ):
        assert plot(model, blobs).get_xlabel().startswith("standard deviations")
    with pytest.raises(ValueError, match=r"plot\(model.estimators_\[0\]"):
        plot(MixtureClassifier())
    with pytest.raises(ValueError, match=r"plot\(model.estimator_, numpy.column_stack"):
        plot(MixtureRegressor())
    with pytest.raises(NotFittedError):
        plot(MixtureOutlierDetector())


def test_far_noise_does_not_squeeze_histograms_and_pairs(flat):
    _, X = flat
    far = np.array([[900.0, 3.0], [4.0, -1200.0], [3.0, 11.0]])
    gmm = GaussianMixture(2, noise=True, noise_volume=1e6, random_state=0).fit(np.concatenate([X, far]))
    ax = plot_histogram(gmm, np.concatenate([X, far]), feature=1)
    assert f"data (1 of {len(X) + 3} outside)" in legend_texts(ax)
    assert np.ptp(ax.get_xlim()) < 50
    grid = plot_pairs(gmm, np.concatenate([X, far]))
    assert f"data (2 of {len(X) + 3} outside)" in [text.get_text() for text in grid[0, 0].figure.legends[0].texts]
    assert all(np.ptp(ax.get_xlim()) < 50 for ax in grid.flat)
    assert "data" in legend_texts(plot_histogram(gmm, far, feature=1))  # nothing but noise is drawn as it is


@pytest.mark.parametrize("draw", [plot_components, plot_uncertainty])
def test_far_noise_does_not_squeeze_the_rest(flat, draw):
    _, X = flat
    far = np.array([[900.0, 3.0], [4.0, -1200.0], [3.0, 11.0]])
    gmm = GaussianMixture(2, noise=True, noise_volume=1e6, random_state=0).fit(np.concatenate([X, far]))
    assert (gmm.predict(far) == -1).all()
    ax = draw(gmm, np.concatenate([X, far]))
    assert "noise (2 of 3 outside)" in legend_texts(ax)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert right - left < 40 and high - low < 50
    assert left < X[:, 0].min() and X[:, 0].max() < right
    assert low < X[:, 1].min() and high > 11
    assert "noise" in legend_texts(draw(gmm, np.concatenate([X, far[2:]])))
