"""Stepwise EM against its definition in NumPy, against EM steps, and against the fit of all rows."""

import warnings

import numpy as np
import pytest
import torch
from cases import PRIORS, assert_same_parameters, fit_quietly, mixture, parameters, prior_keywords
from naive_em import assign, maximise
from scipy.spatial.distance import cdist
from structures import SPECS
from support import COVARIANCE_TYPES, assert_same_fit, assert_valid, dense_covariances

from tgmm import GaussianMixture
from tgmm.covariance import STRUCTURES, Factors
from tgmm.estimators.base import solution_of
from tgmm.files.store import checksum

K, D = 3, 3
structures = pytest.mark.parametrize("structure", COVARIANCE_TYPES)


def model(structure="full", **settings):
    return GaussianMixture(K, covariance_type=structure, **({"reg_covar": 0.0, "random_state": 0} | settings))


def batches(sizes=(150, 90, 200, 1, 60), seed=2):
    """Unequal batches of one mixture, with weights."""
    X, _ = mixture(seed, sum(sizes), D, K)
    weights = np.random.default_rng(seed).uniform(0.2, 3, len(X))
    ends = np.cumsum(sizes)[:-1]
    return list(zip(np.split(X, ends), np.split(weights, ends), strict=True))


def naive_stepwise(first, given, structure, prior, step=None):
    """Stepwise EM with weights on all rows so far, in place of statistics; ``first`` are the first parameters."""
    rows, responsibilities, shares = np.empty((0, D)), np.empty((0, K)), np.empty(0)
    current, seen, remembered = first, 0.0, 0.0
    for t, (X, weights) in enumerate(given):
        seen += weights.sum()
        size = (t + 2) ** -0.6 if step is None else step
        odds = np.inf if t == 0 or size == 1 else size / (1 - size) * weights.sum() / (seen / (t + 1))
        share = 1.0 if odds == np.inf else odds / (1 + odds)
        remembered = (seen - weights.sum() if step is None else (1 - share) * remembered) + weights.sum()
        rows = np.concatenate([rows, X])
        responsibilities = np.concatenate([responsibilities, assign(X, *current, structure)])
        shares = np.concatenate([(1 - share) * shares, share * weights / weights.sum()])
        current = maximise(rows, responsibilities, shares * remembered, structure, prior)
    return current


@structures
@pytest.mark.parametrize("combination", PRIORS)
def test_steps_are_those_of_the_definition(structure, combination):
    prior = prior_keywords(combination, structure, K, D)
    given = batches()
    start = parameters(fit_quietly(model(structure, max_iter=3), given[0][0]))
    names = ("init_weights", "init_means", "init_covariances")
    for step in (None, 0.3):
        gmm = model(structure, **prior, **dict(zip(names, start, strict=True)))
        for X, weights in given:
            gmm.partial_fit(X, sample_weight=weights, step=step)
        expected = naive_stepwise(start, given, structure, prior, step)
        assert_same_parameters(parameters(gmm), expected, structure, 1e-9)
        assert gmm.n_iter_ == len(gmm.objective_history_) == len(given)
        assert not gmm.converged_


@structures
def test_the_first_batch_is_one_em_step_from_the_start(structure):
    X, weights = batches()[0]
    settings = {"reg_covar": 1e-6, "init_means": "kmeans"}  # not so near the end that nothing but reg_covar moves it
    online = model(structure, **settings).partial_fit(X, sample_weight=weights)
    in_one_go = fit_quietly(model(structure, max_iter=1, **settings), X, sample_weight=weights)
    assert_same_fit(online, in_one_go, rtol=1e-9)
    np.testing.assert_allclose(online.reg_covar_, in_one_go.reg_covar_, rtol=1e-12)


@structures
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_fit_counts_as_one_batch(structure, scale):
    (X, w), (Y, v) = batches()[:2]
    gmm = fit_quietly(model(structure, max_iter=500, tol=1e-13), X, sample_weight=scale * w)
    start = parameters(gmm)
    gmm.partial_fit(Y, sample_weight=scale * v)
    expected = naive_stepwise(start, [(X, w), (Y, v)], structure, {})
    assert_same_parameters(parameters(gmm), expected, structure, 1e-6)


@structures
def test_a_fixed_point_stays(structure):
    X, weights = batches()[0]
    gmm = fit_quietly(model(structure, max_iter=1000, tol=1e-14), X, sample_weight=weights)
    before = parameters(gmm)
    for step in (None, 0.5, 1.0):
        gmm.partial_fit(X, sample_weight=weights, step=step)
    assert_same_parameters(parameters(gmm), before, structure, 1e-6)


def test_a_weight_of_two_is_the_row_twice():
    X, _ = batches()[0]
    Y, _ = batches()[2]
    weights = np.random.default_rng(0).integers(0, 3, len(Y))
    weighted, repeated = model().partial_fit(X), model().partial_fit(X)
    weighted.partial_fit(Y, sample_weight=weights)
    repeated.partial_fit(np.repeat(Y, weights, axis=0))
    assert_same_fit(weighted, repeated, rtol=1e-10)


@pytest.mark.parametrize("structure", ["full", "tied_diag"])
@pytest.mark.parametrize("prior", [{}, {"mean_prior": np.zeros(D), "mean_precision_prior": 500.0}], ids=["ml", "map"])
def test_a_long_stream_converges_to_the_fit_of_all_rows(structure, prior):
    def distance(fit):
        order = cdist(gmm.means_, fit.means_).argmin(0)
        return float(np.abs(gmm.means_[order] - fit.means_).max())

    X, _ = mixture(2, 60000, D, K, separation=3)
    at_once = fit_quietly(model(structure, **prior), X)
    rng = np.random.default_rng(1)
    gmm = model(structure, init_means=X[:K], **prior)
    for batch in np.split(X, np.sort(rng.choice(np.arange(300, len(X)), 300, replace=False))):
        gmm.partial_fit(batch)
    assert distance(at_once) < 0.1  # a standard deviation is 1 or more
    if prior:
        assert distance(at_once) < 0.7 * distance(fit_quietly(model(structure), X))
    assert gmm.score(X) == pytest.approx(at_once.score(X), abs=1e-2)
    assert gmm.lower_bound_ == pytest.approx(at_once.lower_bound_, abs=0.05)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@structures
def test_a_constant_step_follows_a_drift_however_far(structure, dtype):
    rng = np.random.default_rng(1)
    centres = np.array([[0.0] * D, [20.0] * D, [-20.0] * D])
    gmm = model(structure, init_means=centres, reg_covar=1e-6)
    spread = np.array([1.0] * D)
    for t in range(150):
        X = np.concatenate([c + spread * rng.standard_normal((100, D)) for c in centres]) + 2.0 * t
        gmm.partial_fit(X.astype(dtype), step=0.7)
    np.testing.assert_allclose(gmm.means_, centres + 2.0 * 149, atol=2.5)
    drifted = gmm.means_.astype(np.float64)
    for _ in range(20):
        X = np.concatenate([c + spread * rng.standard_normal((100, D)) for c in drifted])
        gmm.partial_fit(X.astype(dtype), step=0.5)
    variances = np.diagonal(dense_covariances(gmm.covariances_, structure, K, D), axis1=1, axis2=2)
    np.testing.assert_allclose(variances, np.ones((K, D)), rtol=0.3)


def test_precision_far_from_the_first_frame():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 1))
    gmm = GaussianMixture(1, covariance_type="diag", reg_covar=0.0).partial_fit(X)
    for _ in range(30):
        gmm.partial_fit(X + 1e7, step=0.9)
    far = GaussianMixture(1, covariance_type="diag", reg_covar=0.0).fit(X + 1e7)
    np.testing.assert_allclose(gmm.covariances_, far.covariances_, rtol=1e-6)
    np.testing.assert_allclose(gmm.means_ - 1e7, far.means_ - 1e7, atol=1e-6)


def test_parameters_count_as_a_batch_as_heavy_as_the_first():
    (X, _), (Y, v) = batches()[:2]
    fitted = fit_quietly(model(max_iter=500, tol=1e-13), X)
    given = GaussianMixture.from_parameters(fitted.weights_, fitted.means_, fitted.covariances_).set_params(reg_covar=0)
    given.partial_fit(Y, sample_weight=v)
    assert given.lower_bound_ == pytest.approx(fitted.score(Y, sample_weight=v))  # of the batch, by what it began with
    expected = naive_stepwise(parameters(fitted), [(X, np.full(len(X), v.sum() / len(X))), (Y, v)], "full", {})
    assert_same_parameters(parameters(given), expected, "full", 1e-6)


def test_cem_takes_hard_steps():
    X, _ = batches()[0]
    gmm = model(cem=True).partial_fit(X)
    in_one_go = fit_quietly(model(cem=True, max_iter=1), X)
    assert_same_fit(gmm, in_one_go, rtol=1e-9)


def test_a_source_is_one_batch():
    (X, _), (Y, _) = batches()[:2]
    streamed, in_memory = model().partial_fit(X), model().partial_fit(X)
    streamed.partial_fit(np.array_split(Y, 4))
    in_memory.partial_fit(Y)
    assert_same_fit(streamed, in_memory, rtol=1e-10)


def test_fit_forgets_the_stream():
    X, _ = batches()[0]
    gmm = model().partial_fit(X).partial_fit(X)
    assert_same_fit(fit_quietly(gmm, X), fit_quietly(model(), X))


@pytest.mark.parametrize("step", [0, -0.1, 1.5, np.nan, "fast"])
def test_steps_out_of_range(step):
    with pytest.raises(ValueError, match="step"):
        model().partial_fit(batches()[0][0], step=step)


@pytest.mark.parametrize(
    ("change", "X", "message"),
    [
        ({}, [[np.nan] * D], "NaN"),
        ({}, [[1.0] * (D + 1)], "features"),
        ({}, [[1e200] * D], "so far"),
        ({"n_components": 2}, [[1.0] * D], "partial_fit continues"),
        ({"covariance_type": "diag"}, [[1.0] * D], "partial_fit continues"),
    ],
)
def test_what_is_refused_leaves_the_model_as_it_was(change, X, message):
    gmm = model().partial_fit(batches()[0][0])
    before = parameters(gmm)
    memory = solution_of(gmm).continuation
    gmm.set_params(**change)
    with pytest.raises(ValueError, match=message):
        gmm.partial_fit(X)
    for left, right in zip(parameters(gmm), before, strict=True):
        np.testing.assert_array_equal(left, right)
    assert solution_of(gmm).continuation is memory


def test_fewer_rows_than_components():
    with pytest.raises(ValueError, match="at least as many rows"):
        model().partial_fit([[1.0] * D] * 2)


def test_degenerate_first_batches_give_a_valid_model_and_one_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gmm = model(reg_covar=1e-6).partial_fit(np.ones((5, D)))
    assert len(caught) == 1
    assert_valid(gmm, np.ones((5, D)))


def test_a_component_that_gets_no_rows_is_seeded_again():
    X, _ = batches()[0]
    with pytest.warns(UserWarning, match="re-seeded"):
        gmm = model(init_means=[[0.0] * D, [1.0] * D, [1e4] * D], reg_covar=1e-6).partial_fit(X)
    for X, _ in batches():
        gmm.partial_fit(X)
    assert_valid(gmm, X)
    assert np.abs(gmm.means_).max() < 100


def test_float_types():
    X, _ = batches()[0]
    gmm = model().partial_fit(X.astype(np.float32))
    assert gmm.mixture_.dtype == torch.float32
    assert gmm.partial_fit(X.astype(np.float32)).mixture_.dtype == torch.float32
    assert gmm.partial_fit(X).mixture_.dtype == torch.float64


@structures
@pytest.mark.parametrize("step", [None, 0.2])
def test_a_loaded_model_goes_on_with_its_weight(structure, step, tmp_path):
    (X, w), (Y, v), (Z, u) = batches()[:3]
    gmm = fit_quietly(model(structure, max_iter=500, tol=1e-13), X, sample_weight=w)
    gmm.partial_fit(Y, sample_weight=v, step=step)
    gmm.save(tmp_path / "model.pth")
    loaded = GaussianMixture.load(tmp_path / "model.pth")
    loaded.partial_fit(Z, sample_weight=u, step=step)
    gmm.partial_fit(Z, sample_weight=u, step=step)
    assert_same_fit(loaded, gmm, rtol=1e-9)
    assert loaded.lower_bound_ == pytest.approx(gmm.lower_bound_, rel=1e-9)
    assert solution_of(loaded).continuation.memory.seen == pytest.approx(w.sum() + v.sum() + u.sum())


@pytest.mark.parametrize("name", SPECS)
def test_sums_that_parameters_do_not_tell_are_kept_in_files(name, tmp_path):
    """What a prior, a restriction or `reg_covar` did to the parameters is not done once more."""
    structure = STRUCTURES[name]
    prior = {"mean_prior": [0.0] * D, "mean_precision_prior": 30.0, "weight_concentration_prior": 4.0}
    settings = {"n_factors": 1} if isinstance(structure, Factors) else {}
    gmm = model(structure.name, reg_covar=1e-2, **prior, **settings)
    for number, (X, weights) in enumerate(batches()[:3]):
        gmm.partial_fit(X, sample_weight=weights)
        gmm.save(tmp_path / f"{number}.pth")
    loaded = GaussianMixture.load(tmp_path / "0.pth")
    for X, weights in batches()[1:3]:
        loaded.partial_fit(X, sample_weight=weights)
    assert_same_fit(loaded, gmm, rtol=1e-12)
    assert loaded.lower_bound_ == pytest.approx(gmm.lower_bound_, rel=1e-12)


@pytest.mark.parametrize("name", ["low_rank", "factor"])
def test_a_fit_by_sums_over_factors_goes_on(name, tmp_path):
    X = np.random.default_rng(0).normal(size=(300, 130)) + np.repeat([[0.0], [4.0]], 150, 0)
    gmm = GaussianMixture(2, covariance_type=name, n_factors=2, random_state=0).fit(X)
    gmm.save(tmp_path / "model.pth")
    before = gmm.score(X)
    loaded = GaussianMixture.load(tmp_path / "model.pth").partial_fit(X[::2])
    assert_same_fit(loaded, gmm.partial_fit(X[::2]), rtol=1e-9)
    assert gmm.score(X) == pytest.approx(before, abs=0.5)


FORGED = {
    "memory_": (lambda old: -old, "memory_ must be three positive numbers"),
    "memory_frame_": (lambda old: 0 * old, "memory_frame_ must be an origin and positive units"),
    "memory_mass_": (lambda old: 2 * old, "memory_mass_ must not be negative, nor"),
    "memory_first_": (lambda old: old[:1], r"memory_first_ must be finite numbers of shape \(3, 3\)"),
    "memory_second_": (
        lambda old: old * np.nan,
        r"memory_second_ must be finite numbers of shape \(1, 6\) or \(3, 6\)",
    ),
    "memory_centre_": (lambda old: None, "it lacks memory_centre_"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_saved_memory_is_checked(name):
    forge, message = FORGED[name]
    state = model().partial_fit(batches()[0][0]).save_state_dict()
    state = {key: value for key, value in (state | {name: forge(state[name])}).items() if value is not None}
    state["checksum"] = checksum(state)
    with pytest.raises(ValueError, match=message):
        model().load_state_dict(state)


@pytest.mark.parametrize(
    ("X", "keywords", "message"),
    [
        ([[np.nan] * D] * 9, {}, "NaN"),
        ([[1.0] * D] * 2, {}, "at least as many rows"),
        ([[1.0] * D] * 9, {"step": 2.0}, "step"),
        ([[1.0] * D] * 9, {"sample_weight": [1.0]}, "sample_weight"),
    ],
)
def test_a_first_batch_that_is_refused_leaves_nothing_behind(X, keywords, message):
    gmm = model()
    before = dict(vars(gmm))
    with pytest.raises(ValueError, match=message):
        gmm.partial_fit(X, **keywords)
    assert vars(gmm) == before
    assert not any(hasattr(gmm, name) for name in ("n_features_in_", "feature_names_in_", "means_", "fitted_"))
    one_feature = batches()[0][0][:, :1]
    assert gmm.partial_fit(one_feature).n_features_in_ == 1  # of any number of features


def test_the_history_does_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr("tgmm.em.online.HISTORY", 5)
    gmm, (X, _) = model(), batches()[0]
    for n_batches in range(1, 9):
        gmm.partial_fit(X)
        assert gmm.n_iter_ == n_batches
        assert len(gmm.objective_history_) == min(n_batches, 5)
