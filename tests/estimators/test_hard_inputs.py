"""Where the textbook formulas lose their digits: far from 0, tight and far apart, odd units, point masses, overflow.

The truth is the naive EM on the stored values, in float64 and centred on each component, or exact arithmetic. Float32
is held to the contract's 1e-4 standard deviations and 1e-4 relative variance, plus half a unit in the last place of
the mean, because the means are handed out as float32 too.
"""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from cases import as_numpy, assert_same_parameters, mixture, parameters
from naive_em import STRUCTURES, as_matrices, log_joint, naive_em
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from structures import SPECS
from support import ASPHERICAL_TYPES, TIED_TYPES

from tgmm import GaussianMixture

K, ITERATIONS = 3, 5

every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_float = pytest.mark.parametrize("dtype", ["float64", "float32"])


def fit(X, structure, labels=None, *, n_components=K, **keywords):
    """From labels (a fixed number of steps) or from the library's own start; warnings are other tests' business.

    With so much on every variance that the naive steps can tell it from their rounding.
    """
    keywords = {"reg_covar": 1e-6} | keywords
    if labels is not None:
        keywords = {"max_iter": ITERATIONS, "tol": 0} | keywords
    model = GaussianMixture(n_components, covariance_type=structure, random_state=0, accelerate=None, **keywords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, init_responsibilities=labels)


def assert_right(model, naive, structure, tolerance=1e-4, order=None):
    """Compare with the naive fit, its components in ``order``; half an ulp of the means is free in their own type."""
    weights, means, covariances = parameters(model)
    for values in (weights, means, covariances, as_numpy(model.reg_covar_)):
        assert np.isfinite(values).all()
    assert np.isfinite(model.lower_bound_)
    if order is not None:
        weights, means = weights[order], means[order]
        covariances = covariances if SPECS[structure].tied else covariances[order]
    half_ulp = np.spacing(np.abs(naive.means).astype(np.asarray(model.means_).dtype)).astype(np.float64) / 2
    expected = (naive.weights, naive.means, naive.covariances)
    assert_same_parameters((weights, means, covariances), expected, structure, tolerance, mean_slack=half_ulp)


def order_of(model, labels, X):
    """The model's component that holds most rows of each label."""
    predicted = model.predict(X)
    order = [np.bincount(predicted[labels == k], minlength=K).argmax() for k in range(K)]
    assert sorted(order) == list(range(K)), "two clusters share a component"
    return order


# Offsets and units


@every_structure
@every_float
@pytest.mark.parametrize("deviations", [1e2, 1e4])
def test_far_from_the_origin(structure, dtype, deviations):
    X, labels = mixture(40, d=2, n_components=K)
    X = (X + deviations * np.array([1, -1])).astype(dtype)
    model = fit(X, structure, labels)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    assert_right(model, naive, structure)

    # stored means are off by half a float32 ulp, 5e-4 deviations at 1e4 of them, times a few deviations of a row
    joint = log_joint(X, naive.weights, naive.means, naive.covariances, structure)
    density = logsumexp(joint, axis=1)
    np.testing.assert_allclose(model.score_samples(X), density, rtol=0, atol=5e-3)
    np.testing.assert_allclose(model.predict_proba(X), np.exp(joint - density[:, None]), rtol=0, atol=5e-3)
    assert model.lower_bound_ == pytest.approx(density.mean(), abs=1e-4)
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=1e-4)


@every_structure
def test_far_from_the_origin_in_float64(structure):
    """1e8 deviations off, where E[x^2] - E[x]^2 has no digit left in float64."""
    X, labels = mixture(41, d=2, n_components=K)
    X = X + np.array([1e8, -1e8])
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    assert_right(fit(X, structure, labels), naive, structure, tolerance=1e-7)


@every_structure
@every_float
@pytest.mark.parametrize(
    "units",
    [[1e-12, 1, 1e12], [1e-8] * 3, [1e8] * 3],
    ids=["1e-12_and_1_and_1e12", "1e-8", "1e8"],
)
def test_units(structure, dtype, units):
    X, labels = mixture(42, d=3, n_components=K)
    X = (X * units).astype(dtype)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    model = fit(X, structure, labels)
    assert_right(model, naive, structure)
    joint = log_joint(X, naive.weights, naive.means, naive.covariances, structure)
    np.testing.assert_allclose(model.score_samples(X), logsumexp(joint, axis=1), rtol=1e-3)


@every_structure
@pytest.mark.parametrize(
    ("dtype", "unit"),
    [("float64", 1e150), ("float64", 1e-150), ("float32", 1e18), ("float32", 1e-18)],
    ids=["float64_1e150", "float64_1e-150", "float32_1e18", "float32_1e-18"],
)
def test_units_whose_squares_just_fit(structure, dtype, unit):
    X, labels = mixture(43, d=2, n_components=K)
    X = (X * unit).astype(dtype)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    assert_right(fit(X, structure, labels), naive, structure)


# Tight and far apart


def tight_clusters(tightness, dtype):
    """Three clusters about 1 apart whose deviations are about ``tightness``, as stored in ``dtype``."""
    rng = np.random.default_rng(44)
    labels = np.arange(120) % K
    centres = np.array([[0.3, -0.4], [1.1, 0.2], [-0.2, 0.9]])
    mixing = np.array([[1.0, 0.4], [-0.3, 0.8]])
    X = centres[labels] + tightness * (1 + labels[:, None]) * rng.standard_normal((120, 2)) @ mixing
    return X.astype(dtype), labels


@every_structure
@pytest.mark.parametrize(
    ("dtype", "tightness"),
    [("float32", 1e-3), ("float32", 1e-6), ("float64", 1e-6), ("float64", 1e-9)],
    ids=["float32_1e-3", "float32_1e-6", "float64_1e-6", "float64_1e-9"],
)
@pytest.mark.parametrize("start", ["labels", "kmeans", "k-means++", "maxdist"])
def test_tight_and_far_apart(structure, dtype, tightness, start):
    X, labels = tight_clusters(tightness, dtype)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    if start == "labels":
        assert_right(fit(X, structure, labels), naive, structure)
    else:
        model = fit(X, structure, init_means=start)
        assert_right(model, naive, structure, order=order_of(model, labels, X))


@every_structure
@every_float
def test_a_tight_component_inside_a_broad_one(structure, dtype):
    rng = np.random.default_rng(45)
    labels = np.repeat([0, 1], [100, 60])
    X = rng.standard_normal((160, 2)) @ np.array([[1.0, 0.3], [0.0, 0.7]])
    X[labels == 1] = [1.0, 0.5] + 1e-5 * X[labels == 1]
    X = X.astype(dtype)
    naive = naive_em(X, structure, np.eye(2)[labels], ITERATIONS, reg_covar=1e-9)
    model = fit(X, structure, labels, n_components=2, reg_covar=1e-9)
    assert_right(model, naive, structure)


@every_structure
@every_float
@pytest.mark.parametrize("power", [3, 6, 9])
def test_outliers_far_away(structure, dtype, power):
    """One component holds a few rows 10^power deviations off; they stretch the data's own scale, not the other two."""
    X, labels = mixture(46, d=2, n_components=K)
    X = X.copy()
    X[labels == 2] += 10.0**power
    X = X.astype(dtype)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    assert_right(fit(X, structure, labels), naive, structure)


@every_structure
@every_float
@pytest.mark.parametrize("sentinel", [1e6, 1e12, 1e15, 1e18])
def test_a_sentinel_value(structure, dtype, sentinel):
    """Four rows of a code for "missing", a component of their own: the others are right, a warning names it."""
    X, labels = mixture(53, d=2, n_components=K)
    X = np.concatenate([X, np.full((4, 2), sentinel)]).astype(dtype)
    labels = np.concatenate([labels, np.full(4, K)])
    naive = naive_em(X, structure, np.eye(K + 1)[labels], ITERATIONS, reg_covar=1e-6)
    model = GaussianMixture(K + 1, covariance_type=structure, max_iter=ITERATIONS, tol=0, accelerate=None)
    with (
        pytest.warns(UserWarning, match=f"component {K} is degenerate"),
        pytest.warns(ConvergenceWarning, match="has not converged"),
    ):
        model.fit(X, init_responsibilities=labels)
    weights, means, covariances = parameters(model)
    expected = (naive.weights[:K], naive.means[:K], naive.covariances)
    if not SPECS[structure].tied:
        covariances, expected = covariances[:K], (*expected[:2], naive.covariances[:K])
    assert_same_parameters((weights[:K], means[:K], covariances), expected, structure, 1e-4)
    assert as_numpy(model.means_)[K] == pytest.approx(sentinel)
    assert weights[K] == pytest.approx(4 / len(X))


# Point masses and too few rows


@every_structure
@every_float
@pytest.mark.parametrize("start", ["labels", "kmeans"])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_point_masses(structure, dtype, start, offset):
    """As many distinct rows as components: their places are the means, reg_covar alone is the variance."""
    points = np.array([[0.25, -1.0], [3.5, 2.0], [-2.0, 4.75]]) + offset
    labels = np.repeat([0, 1, 2], [20, 15, 25])
    X = points[labels].astype(dtype)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    if start == "labels":
        model = fit(X, structure, labels)
        assert_right(model, naive, structure)
    else:
        model = fit(X, structure, init_means=start)
        assert_right(model, naive, structure, order=order_of(model, labels, X))
    np.testing.assert_allclose(as_numpy(model.reg_covar_), naive.reg_covar, rtol=1e-5)
    variance = X.astype(np.float64).var(axis=0)
    variance = variance.mean() if (SPECS[structure].n_axes == 0) else variance
    np.testing.assert_allclose(naive.reg_covar, 1e-6 * variance, rtol=1e-12)


@every_structure
@every_float
def test_a_point_mass_beside_a_cluster(structure, dtype):
    rng = np.random.default_rng(47)
    labels = np.repeat([0, 1], [80, 40])
    X = rng.standard_normal((120, 2))
    X[labels == 1] = [6.0, -5.0]
    X = X.astype(dtype)
    naive = naive_em(X, structure, np.eye(2)[labels], ITERATIONS, reg_covar=1e-6)
    model = fit(X, structure, labels, n_components=2)
    assert_right(model, naive, structure)


@pytest.mark.parametrize("structure", ASPHERICAL_TYPES)
@every_float
@pytest.mark.parametrize("n_components", [1, 2])
def test_fewer_rows_than_features(structure, dtype, n_components):
    rng = np.random.default_rng(48)
    labels = np.arange(8) % n_components
    X = (rng.standard_normal((8, 12)) + 10 * labels[:, None]).astype(dtype)
    naive = naive_em(X, structure, np.eye(n_components)[labels], ITERATIONS, reg_covar=1e-6)
    model = fit(X, structure, labels, n_components=n_components)
    assert_right(model, naive, structure)
    assert np.isfinite(model.score_samples(X)).all()
    np.testing.assert_array_equal(model.predict(X), labels)


@every_structure
@every_float
def test_a_constant_feature(structure, dtype):
    X, labels = mixture(49, d=3, n_components=K)
    X[:, 1] = 7.5
    X = X.astype(dtype)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6)
    model = fit(X, structure, labels)
    assert_right(model, naive, structure)
    np.testing.assert_allclose(as_numpy(model.means_)[:, 1], 7.5, rtol=1e-6)
    if not SPECS[structure].knows_units:
        assert as_numpy(model.reg_covar_)[1] == pytest.approx(1e-6)  # nothing varies: the unit is 1


# Beyond the float type


def beyond(dtype, unit, where):
    """Rows whose squares leave the float type, all of them, those of a feature or those of a row; and their labels."""
    X, labels = mixture(50, d=2, n_components=K)
    X[{"everywhere": ..., "one_feature": (..., 1), "one_row": 0}[where]] *= unit
    return X.astype(dtype), labels


@pytest.mark.parametrize("structure", ["full", "spherical", "tied_diag"])  # rows are looked at whatever it is
@pytest.mark.parametrize(
    ("where", "unit"),
    [
        ("everywhere", "large"),
        ("one_feature", "large"),
        ("one_row", "large"),
        ("everywhere", "small"),
        ("one_feature", "small"),
    ],
)
@every_float
def test_squares_that_leave_the_float_type(structure, dtype, unit, where):
    size = {"float64": 1e200, "float32": 1e25}[dtype]
    X, labels = beyond(dtype, size if unit == "large" else 1 / size, where)
    feature = 1 if where == "one_feature" else 0  # the first that is beyond
    message = rf"^X has values from .* in feature {feature}: their variance leaves the range of {dtype}\."
    for start in (labels, None):
        with pytest.raises(ValueError, match=message):
            fit(X, structure, start)


every_small_unit = pytest.mark.parametrize(("dtype", "unit"), [("float64", 1e-200), ("float32", 1e-25)])


@every_structure
@every_small_unit
def test_a_row_whose_squares_underflow(structure, dtype, unit):
    """Nothing is out of the ordinary: it is as good as 0."""
    X, labels = beyond(dtype, unit, "one_row")
    assert (X[0] != 0).all()
    assert (X[0] ** 2 == 0).all()
    model = fit(X, structure, labels)
    assert_right(model, naive_em(X, structure, np.eye(K)[labels], ITERATIONS, reg_covar=1e-6), structure)
    probabilities = model.predict_proba(X)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@every_small_unit
def test_the_default_start_with_a_row_whose_squares_underflow(dtype, unit):
    X, _ = beyond(dtype, unit, "one_row")
    model, expected = (fit(rows, "spherical") for rows in (X, np.concatenate([0 * X[:1], X[1:]])))
    assert_same_parameters(parameters(model), parameters(expected), "spherical", 1e-5)
    assert model.lower_bound_ == pytest.approx(expected.lower_bound_, abs=1e-6)


def exact_winner(row, model, structure):
    """The most probable component of a far row, by exact arithmetic on the stored parameters.

    Far out the smallest Mahalanobis distance wins: what weights and determinants say is at most a few nats.
    """
    _, means, covariances = parameters(model)
    x, y = (Fraction(float(value)) for value in row)
    halves = []
    for mean, matrix in zip(means, as_matrices(covariances, structure, *means.shape), strict=True):
        u, v = x - Fraction(mean[0]), y - Fraction(mean[1])
        a, b, c = Fraction(matrix[0, 0]), Fraction(matrix[0, 1]), Fraction(matrix[1, 1])
        halves.append((c * u * u - 2 * b * u * v + a * v * v) / (a * c - b * b) / 2)
    best, second = sorted(halves)[:2]
    assert second - best > 1000
    return halves.index(best)


@every_structure
@every_float
@pytest.mark.parametrize("distance", [1e6, 1e8, 1e12, 1e16, 1e25, 1e100, 1e200, 1e300])
def test_rows_far_away_at_predict(structure, dtype, distance):
    X, labels = mixture(51, d=2, n_components=K)
    model = fit(X.astype(dtype), structure, labels)
    directions = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, 1], [0.3, -1], [-0.7, -0.2]])
    rows = distance * directions  # float64, also to a float32 model: what it is asked must not depend on its type
    if distance < 1e38:
        rows = rows.astype(dtype)
    winners = [exact_winner(row, model, structure) for row in rows]

    density = model.score_samples(rows)
    assert not np.isnan(density).any()
    assert (density < -1000).all()
    probabilities = model.predict_proba(rows)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), winners)
    np.testing.assert_array_equal(model.predict(rows), winners)
    # near rows in the same call keep their own values
    both = np.concatenate([X, rows])
    np.testing.assert_allclose(model.score_samples(both)[: len(X)], model.score_samples(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(both)[: len(X)], model.predict_proba(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("structure", TIED_TYPES)
@every_float
def test_far_rows_between_two_tied_components(structure, dtype):
    """Where two components are equally probable, far out: the squares that all share are 1e6 and cancel."""
    X, labels = mixture(54, d=2, n_components=2)
    model = fit(X.astype(dtype), structure, labels, n_components=2)
    weights, means, covariances = parameters(model)
    precision = np.linalg.inv(as_matrices(covariances, structure, 2, 2)[0])
    normal = precision @ (means[1] - means[0])
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    middle = means.mean(axis=0) - np.log(weights[1] / weights[0]) * normal / (normal @ (means[1] - means[0]))
    rows = (middle + np.array([[-1000.0], [300.0], [1000.0]]) * along).astype(dtype)
    logits = np.log(weights[1] / weights[0]) + (rows.astype(np.float64) - means.mean(axis=0)) @ normal
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(model.predict_proba(rows)[:, 1], expected, rtol=0, atol=2e-3)


@every_structure
def test_far_rows_beside_a_pruned_component(structure):
    """A weight of 0 keeps its probability of 0 however far the row."""
    X, labels = mixture(52, d=2, n_components=2)
    responsibilities = np.column_stack([0.995 * np.eye(2)[labels], np.full(len(X), 0.005)])
    model = fit(X, structure, responsibilities, weight_concentration_prior=[1, 1, 0.01])
    probabilities = model.predict_proba(np.array([[1e200, 0], [0, -1e200], [1e8, 1e8]]))
    assert as_numpy(model.weights_)[2] == 0
    assert (probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
