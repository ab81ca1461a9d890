"""Pictures of rows that lack values: every value that a picture is of is in it."""

import numpy as np
import pytest

from tgmm import GaussianMixture
from tgmm.plotting import MixtureDisplay, plot_components, plot_density, plot_histogram, plot_pairs, plot_uncertainty

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def half():
    """Rows that lack the second of two features wherever the first is positive."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=1000)
    b = a + 0.5 * rng.normal(size=1000)
    b[a > 0] = np.nan
    X = np.column_stack([a, b])
    return GaussianMixture(1, missing="em").fit(X), X


@pytest.fixture(scope="module")
def wide():
    """Rows of five features, which lack one of the last three."""
    X = np.random.default_rng(0).normal(size=(300, 5))
    X[np.arange(300), 2 + np.arange(300) % 3] = np.nan
    return GaussianMixture(1, missing="em").fit(X), X


def bars(ax):
    return [bar for bar in ax.patches if bar.get_width() > 0]


def counts(ax, n_rows):
    """The numbers of rows in the bars of a histogram of area 1."""
    return [bar.get_height() * bar.get_width() * n_rows for bar in bars(ax)]


@pytest.mark.parametrize("draw", [plot_histogram, lambda *data: plot_pairs(*data)[0, 0]], ids=["histogram", "pairs"])
def test_a_histogram_has_all_values_of_its_feature(half, draw):
    model, X = half
    ax = draw(model, X)
    expected, edges = np.histogram(X[:, 0], bins="auto")
    np.testing.assert_allclose([bar.get_x() for bar in bars(ax)], edges[:-1])
    np.testing.assert_allclose(counts(ax, len(X)), expected)


def offsets(collections):
    points = np.concatenate([np.ma.filled(points.get_offsets(), np.nan) for points in collections])
    return points[~np.isnan(points).any(1)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda model, X: plot_components(model, X, features=[0, 1]),
        lambda model, X: plot_uncertainty(model, X, features=[0, 1]),
        lambda model, X: plot_density(model, X, features=[0, 1]),
        lambda model, X: MixtureDisplay.from_estimator(model, X, features=[0, 1]).ax_,
        lambda model, X: plot_pairs(model, X, features=[0, 1])[1, 0],
    ],
    ids=["components", "uncertainty", "density", "display", "pairs"],
)
def test_rows_that_lack_other_features_are_drawn(wide, draw):
    model, X = wide
    drawn = offsets(draw(model, X).collections[-1:])  # the rows lie above contours
    np.testing.assert_array_equal(drawn, X[:, :2])


@pytest.mark.parametrize("draw", [plot_histogram, plot_pairs, plot_components, plot_density, plot_uncertainty])
def test_a_feature_without_values_is_drawn_without_rows(half, draw):
    model, X = half
    missing = X[:50].copy()
    missing[:, 1] = np.nan
    settings = {"feature": 1} if draw is plot_histogram else {}
    axes = np.ravel(draw(model, missing, **settings))
    axes[0].figure.canvas.draw()
    if draw in (plot_histogram, plot_pairs):
        assert not bars(axes[-1]) and axes[-1].lines
