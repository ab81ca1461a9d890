"""Quantiles of the truncated chi law against mpmath's incomplete gamma functions in 60 digits."""

import mpmath
import numpy as np
import pytest
from scipy.stats import chi, chi2

from tgmm.mixture.chi import chi_quantile, equal_tails, truncated_chi_quantiles

INF = float("inf")
PROBABILITIES = np.array([0.0, 1e-12, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-12, 1 - 2.0**-53])

INTERVALS = [
    (1, 0, INF),
    (1, 3, INF),
    (1, 40, INF),
    (2, 0, 2),
    (2, 29, INF),
    (2, 31, INF),
    (2, 40, INF),
    (2, 500, 500.1),
    (2, 0, 1e-150),
    (1, 1e-220, 1e-210),
    (3, 0, 1e-60),
    (5, 2, 30),
    (20, 0, 1e-6),
    (50, 31, INF),
    (100, 20, INF),
    (100, 0, 3),
    (1000, 0, 3),
    (1000, 3, 5),
    (1000, 0, 31),
    (1000, 10, 20),
    (1000, 60, 61),
    (10000, 0, 60),
    (10000, 150, INF),
]


def truncated_cdf(radius, n_features, low, high):
    """The distribution function of the truncated law, in 60 digits, from the tail that does not cancel."""
    with mpmath.workdps(60):
        shape = mpmath.mpf(n_features) / 2
        upper = low**2 > n_features

        def tail(x):
            t = mpmath.mpf(x) ** 2 / 2
            return mpmath.gammainc(shape, t) if upper else -mpmath.gammainc(shape, 0, t)

        return float((tail(low) - tail(radius)) / (tail(low) - tail(high)))


@pytest.mark.parametrize(("n_features", "low", "high"), INTERVALS)
def test_quantiles_have_the_probabilities_they_were_asked_for(n_features, low, high):
    with np.errstate(all="raise", under="ignore"):
        radii = truncated_chi_quantiles(PROBABILITIES, n_features, low, high)
    assert np.isfinite(radii).all()
    assert (np.diff(radii) >= 0).all()
    assert (radii >= low).all()
    assert (radii <= high).all()
    # A rounding of a radius moves the probability by r eps times the density, which reaches r far out, d / r far in;
    # a tail probability p has the relative rounding of exp(log p), and is used down to log p = -460.
    rounding = 4 * np.finfo(float).eps * max(low**2, n_features, 460)
    actual = [truncated_cdf(float(radius), n_features, low, high) for radius in radii]
    np.testing.assert_allclose(actual, PROBABILITIES, rtol=0, atol=rounding)


def test_without_bounds_it_is_the_chi_law():
    np.testing.assert_allclose(
        truncated_chi_quantiles(PROBABILITIES[1:], 7, 0, INF), chi.ppf(PROBABILITIES[1:], 7), rtol=1e-10
    )


@pytest.mark.parametrize("low", [1e6, 1e8, 1e10, 1e200])
def test_radii_far_beyond_the_resolution_of_the_law_are_finite(low):
    radii = truncated_chi_quantiles(PROBABILITIES, 3, low, INF)
    assert np.isfinite(radii).all()
    np.testing.assert_allclose(radii, low, rtol=1e-10)


@pytest.mark.parametrize("probability", [1e-12, 0.5, 0.95, 1 - 1e-12])
def test_the_ball_of_a_probability_holds_it(probability):
    assert chi2.cdf(chi_quantile(probability, 5) ** 2, 5) == pytest.approx(probability, rel=1e-12)


@pytest.mark.parametrize(("n_features", "n_target"), [(1, 4), (4, 1), (3, 3), (2, 500)])
def test_equal_tails(n_features, n_target):
    squares = np.concatenate([[0.0], np.logspace(-8, 3, 40)])
    found = equal_tails(squares, n_features, n_target)
    inside = chi2.sf(squares, n_features) > 1e-200
    np.testing.assert_allclose(
        chi2.logsf(found[inside], n_target), chi2.logsf(squares[inside], n_features), rtol=1e-9, atol=1e-12
    )
    assert (np.diff(found) > 0).all()
    assert equal_tails(np.array([np.inf, np.nan]), n_features, n_target).tolist() == [INF, INF]
    assert equal_tails(squares, 0, n_target).tolist() == [0.0] * 41
