"""The posterior predictive law: its density integrates to 1, and draws have it."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest
from support import COVARIANCE_TYPES

from tgmm import BayesianGaussianMixture

ROWS = np.concatenate([np.random.default_rng(0).normal(-2, 1, 15), np.random.default_rng(1).normal(3, 0.5, 10)])[
    :, None
]


def fitted(name, X=ROWS, **settings):
    settings = {"n_components": 3, "covariance_type": name, "random_state": 0, **settings}
    return BayesianGaussianMixture(**settings).fit(X)


@pytest.mark.parametrize("name", COVARIANCE_TYPES)
def test_the_density_integrates_to_one(name):
    model = fitted(name)
    total, _ = quad(
        lambda x: np.exp(model.score_samples([[x]])[0]), -np.inf, np.inf, epsabs=1e-10, epsrel=1e-10, limit=300
    )
    assert total == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("name", COVARIANCE_TYPES)
def test_draws_have_the_predictive_law(name):
    X = np.column_stack([ROWS[:, 0], ROWS[::-1, 0] * 0.3 + ROWS[:, 0] ** 2])
    model = fitted(name, X)
    drawn, components = model.sample(4000, posterior=True, random_state=1)
    assert drawn.shape == (4000, 2)
    assert np.bincount(components, minlength=3) / 4000 == pytest.approx(model.weights_, abs=0.03)
    # Over draws from one density the ratio of another to it is 1 on average.
    ratio = np.exp(model.mixture_.score_samples(drawn) - model.score_samples(drawn))
    assert ratio.mean() == pytest.approx(1, abs=0.05)


def test_the_law_of_one_feature_is_that_of_its_draws():
    model = fitted("full")
    drawn, _ = model.sample(3000, posterior=True, random_state=0)
    grid = np.linspace(-40, 40, 40001)
    mass = np.exp(model.score_samples(grid[:, None])).cumsum() * (grid[1] - grid[0])
    assert kstest(drawn[:, 0], lambda x: np.interp(x, grid, mass)).pvalue > 1e-3


def test_one_component_alone_and_bounds():
    model = fitted("diag")
    _, components = model.sample(100, component=1, posterior=True, random_state=0)
    assert set(components.tolist()) == {1}
    with pytest.raises(ValueError, match="posterior=True"):
        model.sample(10, posterior=True, confidence=0.5)
    inside, _ = model.sample(50, component=0, confidence=0.5, random_state=0)
    assert inside.shape == (50, 1)


def test_draws_repeat_with_their_seed():
    model = fitted("spherical")
    one, other = (model.sample(50, posterior=True, random_state=5)[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [1e150, 1e200, 1e300])
def test_rows_far_away_have_a_log_density(size):
    """That of the heaviest tail, a power: Student's with the fewest degrees of freedom."""
    model = fitted("full")
    near, far = model.score_samples([[-1e140], [-size]])
    power = model.degrees_of_freedom_.min() + 1
    assert near - far == pytest.approx(np.log(size / 1e140) * power, rel=1e-6)


def test_one_value_far_away_leaves_the_law_of_the_other_features():
    """With variances of their own, features are independent in a component."""
    X = np.column_stack([ROWS[:, 0], ROWS[::-1, 0] * 0.3])
    model = fitted("diag", X, n_components=1)
    one, other, far, both = model.score_samples([[1.0, 0.5], [1.0, 0.7], [1e200, 0.5], [1e200, 0.7]])
    assert far - both == pytest.approx(one - other, rel=1e-9)
