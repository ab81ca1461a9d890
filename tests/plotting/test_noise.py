"""Pictures of mixtures with noise."""

import numpy as np
import pytest

from tgmm import GaussianMixture
from tgmm.plotting import plot_density, plot_histogram, plot_pairs, style
from tgmm.plotting.view import discriminants


@pytest.fixture(scope="module")
def noisy():
    """Two clusters whose means differ in the first two of three features, and a third of noise."""
    rng = np.random.default_rng(0)
    clusters = rng.normal(size=(400, 3)) + np.repeat([[0.0, 0.0, 0.0], [6.0, 4.0, 0.0]], 200, axis=0)
    X = np.concatenate([clusters, rng.uniform(-100, 100, size=(200, 3))])
    return GaussianMixture(2, noise=True, random_state=0).fit(X), X


def test_discriminants_do_not_depend_on_the_origin(noisy):
    model, X = noisy
    shifted = GaussianMixture(2, noise=True, random_state=0).fit(X + 500)
    np.testing.assert_allclose(discriminants(shifted)[:, 0], discriminants(model)[:, 0], atol=1e-4)


def test_discriminants_are_those_of_the_components_alone(noisy):
    model, _ = noisy
    alone = GaussianMixture.from_parameters(model.weights_ / model.weights_.sum(), model.means_, model.covariances_)
    np.testing.assert_allclose(discriminants(model)[:, 0], discriminants(alone)[:, 0])


@pytest.fixture(scope="module")
def flat():
    """Two clusters in the plane, and noise over a hundred of their widths."""
    rng = np.random.default_rng(0)
    clusters = rng.normal(size=(400, 2)) + np.repeat([[0.0, 0.0], [6.0, 6.0]], 200, axis=0)
    X = np.concatenate([clusters, rng.uniform(-100, 100, size=(80, 2))])
    return GaussianMixture(2, noise=True, random_state=0).fit(X), X


@pytest.mark.parametrize(
    "legend",
    [
        lambda *data: plot_histogram(*data).get_legend(),
        lambda *data: plot_pairs(*data)[0, 0].figure.legends[0],
        lambda *data: plot_pairs(*data, features=[0])[0, 0].figure.legends[0],
    ],
    ids=["histogram", "pairs", "one feature"],
)
def test_legends_of_curves_say_how_much_is_noise(flat, legend):
    model, X = flat
    expected = f"noise ({style.percent(model.noise_weight_)}, no curve)"
    for data in ([model], [model, X]):
        assert legend(*data).get_texts()[-1].get_text() == expected
    without = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [1.0], "spherical")
    assert legend(without).get_texts()[-1].get_text() == "mixture"


@pytest.mark.parametrize("kind", ["contour", "shading"])
def test_far_noise_does_not_squeeze_the_density(flat, kind):
    model, X = flat
    ax = plot_density(model, X, kind=kind)
    assert np.ptp(ax.get_xlim()) < 30 and np.ptp(ax.get_ylim()) < 30
    drawn = len(ax.collections[-1].get_offsets())
    assert 400 <= drawn < len(X)
    assert ax.get_title("right") == f"data ({len(X) - drawn} of {len(X)} outside)"
    assert not plot_density(model, X[:400], kind=kind).get_title("right")
    assert len(plot_density(model, X[-2:], kind=kind).collections[-1].get_offsets()) == 2  # nothing but noise
