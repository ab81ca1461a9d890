"""The chi law, truncated: quantiles that are exact however far out the interval lies.

The distance of a standard normal vector in d dimensions from its mean is chi distributed, and half its square t is
Gamma(d/2). Where neither tail of the interval underflows, scipy inverts the incomplete gamma functions; beyond that
the equation is solved in logarithms, by Newton's method on the log of the survival function or of the distribution
function. The first is concave in r and the second in log r, so that Newton's method converges from any point
(Bagnoli & Bergstrom 2005, Economic Theory 26: log-concave densities have log-concave tails).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv

Array = NDArray[np.float64]

# Tail probabilities below this lose digits, and then vanish.
UNDERFLOW = 1e-200
# From here on the part of the tail that a float64 can tell from its beginning holds nothing.
POINT_MASS = 1e9
EPS = float(np.finfo(np.float64).eps)
STEPS = 100


def chi_quantile(probability: float, n_features: int) -> float:
    """Return the radius of the ball that holds this probability of a standard normal vector."""
    return float(np.sqrt(2 * gammaincinv(n_features / 2, probability)))


def equal_tails(squares: Array, n_features: int, n_target: int) -> Array:
    """Return what n_target squared standard normals exceed in sum as often as n_features of them exceed squares.

    Beyond tails of 1e-200 it grows as the squares do; what overflowed is infinite.
    """
    if n_features == 0:
        return np.zeros_like(squares)
    shape, target, t = n_features / 2, n_target / 2, np.where(np.isnan(squares), np.inf, squares) / 2
    edge = gammainccinv(shape, UNDERFLOW)
    inner = np.minimum(t, edge)
    below, above = gammainc(shape, inner), gammaincc(shape, inner)
    return 2 * (np.where(below < 0.5, gammaincinv(target, below), gammainccinv(target, above)) + (t - inner))


def truncated_chi_quantiles(probabilities: Array, n_features: int, low: float, high: float) -> Array:
    """Return the quantiles of the chi law with n_features degrees of freedom, truncated to [low, high].

    Parameters
    ----------
    probabilities : array of shape (n,)
        In [0, 1).
    n_features : int
        d.
    low, high : float
        0 <= low < high; high may be infinite.
    """
    shape, first, last = n_features / 2, low * low / 2, high * high / 2
    if gammaincc(shape, first) < UNDERFLOW:
        radii = _upper_tail(probabilities, n_features, low, high)
    elif gammainc(shape, last) < UNDERFLOW:
        radii = _lower_tail(probabilities, n_features, low, high)
    else:
        radii = _centre(probabilities, shape, first, last)
    return np.clip(radii, low, high)


def _centre(probabilities: Array, shape: float, first: float, last: float) -> Array:
    """Invert whichever of the distribution and the survival function is the smaller, so that neither rounds to 1."""
    ends = np.array([first, last])
    below, above = gammainc(shape, ends), gammaincc(shape, ends)
    cumulative = below[0] + probabilities * (below[1] - below[0])
    survival = above[1] + (1 - probabilities) * (above[0] - above[1])
    left = cumulative < 0.5
    t = np.empty_like(probabilities)
    t[left] = gammaincinv(shape, cumulative[left])
    t[~left] = gammainccinv(shape, survival[~left])
    return np.sqrt(2 * t)


def _upper_tail(probabilities: Array, n_features: int, low: float, high: float) -> Array:
    """Solve S(r) / S(low) = 1 - probability (1 - S(high) / S(low)) in logarithms."""
    if low > POINT_MASS:
        return np.full_like(probabilities, low)
    at_low = _upper_fraction(np.array(low), n_features)

    def fall(radii: Array) -> tuple[Array, Array]:
        """Return log S(low) - log S(r), and its derivative, from S(r) ~ r^d exp(-r^2/2) C(r)."""
        fraction = _upper_fraction(radii, n_features)
        change = (radii - low) * (radii + low) / 2 - n_features * np.log(radii / low) - np.log(fraction / at_low)
        return change, 2 / (radii * fraction)

    whole = fall(np.array(high))[0] if np.isfinite(high) else np.inf
    falls = -np.log1p(probabilities * np.expm1(-whole))
    return _newton(fall, falls, np.full_like(probabilities, low))


def _lower_tail(probabilities: Array, n_features: int, low: float, high: float) -> Array:
    """Solve F(r) / F(high) = 1 - (1 - probability) (1 - F(low) / F(high)) in logarithms, for log(high / r)."""
    at_high = _lower_series(np.array(high), n_features)

    def fall(depth: Array) -> tuple[Array, Array]:
        """Return log F(high) - log F(r), and its derivative, from F(r) ~ r^d exp(-r^2/2) M(r)."""
        radii = high * np.exp(-depth)
        series = _lower_series(radii, n_features)
        change = n_features * depth - (high - radii) * (high + radii) / 2 - np.log(series / at_high)
        return change, n_features / series

    whole = fall(np.array(np.log(high / low)))[0] if low > 0 else np.inf
    # A probability of 0 stands for those below the resolution of float64: its own radius would be log(0).
    falls = -np.log1p((1 - np.maximum(probabilities, EPS / 2)) * np.expm1(-whole))
    return high * np.exp(-_newton(fall, falls, np.zeros_like(probabilities)))


def _newton(function: Callable[[Array], tuple[Array, Array]], targets: Array, start: Array) -> Array:
    """Return where the function, convex and increasing, takes the values of targets."""
    x = start
    for _ in range(STEPS):
        values, slopes = function(x)
        step = (targets - values) / slopes
        x = x + step
        if (np.abs(step) <= 4 * EPS * np.abs(x)).all():
            break
    return x


def _upper_fraction(radii: Array, n_features: int) -> Array:
    """Return Gamma(s, t) t^-s e^t with s = d/2 and t = r^2/2 (DLMF 8.9.2, by the modified Lentz method)."""
    shape = n_features / 2
    b = radii * radii / 2 + 1 - shape
    d = 1 / b
    c = np.full_like(b, np.inf)
    value = d
    for n in range(1, 100_000):
        a = -n * (n - shape)
        b = b + 2
        d = 1 / (a * d + b)
        c = b + a / c
        value = value * c * d
        if (np.abs(c * d - 1) < EPS).all():
            break
    return value


def _lower_series(radii: Array, n_features: int) -> Array:
    """Return gamma(s, t) s t^-s e^t with s = d/2 and t = r^2/2 (DLMF 8.7.1)."""
    t, shape = radii * radii / 2, n_features / 2
    term = total = np.ones_like(t)
    for n in range(1, 100_000):
        term = term * t / (shape + n)
        total = total + term
        if (term < EPS * total).all():
            break
    return total
