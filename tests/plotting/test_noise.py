"""Pictures of mixtures with noise."""

import numpy as np
import pytest

from tgmm import GaussianMixture
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
