"""Rows that are special: the gradient of the likelihood of what is known is zero in every free parameter."""

import numpy as np
import pytest
import torch
from cases import mixture, parameters
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from special_rows import gradient, log_likelihood
from structures import SPECS

from tgmm import GaussianMixture

K, D = 3, 3
FREE_STRUCTURES = [name for name, spec in SPECS.items() if not spec.restricted]


def data(seed=0, n=90):
    """Rows of a mixture, rows with gaps (some without any value), labels of some, and rows of noise at the end."""
    X, components = mixture(seed, n=n, d=D, n_components=K, separation=4)
    rng = np.random.default_rng(seed)
    X = np.concatenate([X, rng.uniform(-15, 15, (15, D))])
    components = np.append(components, np.full(15, -1))
    gaps = rng.random(X.shape) < 0.2
    gaps[:2] = True
    labels = np.where(rng.random(len(X)) < 0.2, components, -1)
    return X, components, np.where(gaps, np.nan, X), labels


def fitted(X, components, structure, *, labels=None, **settings):
    """A fit at its fixed point, from the true components."""
    model = GaussianMixture(K, covariance_type=structure, reg_covar=0, tol=1e-13, max_iter=5000, **settings)
    starts = {} if "fixed" in settings else {"init_responsibilities": np.maximum(components, 0)}
    model.fit(X, labels=labels, **starts)
    assert model.converged_
    assert np.diff(model.objective_history_).min(initial=0) > -1e-9
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=1e-10) or labels is not None
    return model


def sides(model, X):
    """The sides of the box of the noise, where there is some."""
    if not model.noise:
        return None
    ranges = np.nanmax(X, axis=0) - np.nanmin(X, axis=0)
    return ranges * (model.noise_volume_ / ranges.prod()) ** (1 / len(ranges))


def some_fixed(structure, X, components):
    """A start, and which of it is fixed: one weight, one mean, one covariance (or all of them, where they are tied)."""
    spec = SPECS[structure]
    one = np.arange(K) == 1
    matrices = np.stack([np.eye(D) * (1.0 if spec.tied else 1 + k) for k in range(K)])
    means = np.stack([X[components == k].mean(0) for k in range(K)]) + 0.3
    start = {"init_weights": [0.2, 0.3, 0.5], "init_means": means, "init_covariances": spec.public(matrices)}
    every = np.ones(K, bool)
    return start, {"weights": one, "means": np.arange(K) == 2, "covariances": every if spec.tied else one}


CASES = [
    *((structure, what) for structure in FREE_STRUCTURES for what in ("missing", "noise", "fixed", "all")),
    *((structure, what) for structure in ("full", "tied_diag") for what in ("labels", "odds")),  # the same for each
]


@pytest.mark.parametrize(("structure", "what"), CASES)
def test_the_fit_is_stationary(structure, what):
    X, components, with_gaps, labels = data()
    settings, rows, fixed = {}, {}, {}
    sample_weight = None
    if what in ("missing", "all"):
        X, settings = with_gaps, {"missing": "em"}
    if what in ("labels", "all"):
        rows["labels"] = labels
    if what == "odds":
        rows["labels"] = np.random.default_rng(1).uniform(0, 2, (len(X), K)).round(1) + 0.1
    if what in ("noise", "all"):
        settings["noise"] = True
    if what in ("fixed", "all"):
        start, fixed = some_fixed(structure, data()[0], components)
        settings |= start | {"fixed": fixed}
    model = fitted(X, components, structure, labels=rows.get("labels"), **settings)
    rows["noise_sides"] = sides(model, X)
    found = gradient(X, *parameters(model), structure, fixed, sample_weight=sample_weight, **rows)
    for name, values in found.items():
        assert np.abs(values).max() < 2e-3, f"gradient in the {name}: {np.abs(values).max():.3g}"
    matrices = torch.as_tensor(SPECS[structure].dense(np.asarray(parameters(model)[2]), K, D))
    total = log_likelihood(X, *map(torch.as_tensor, parameters(model)[:2]), matrices, **rows)
    assert model.lower_bound_ == pytest.approx(float(total) / len(X), abs=1e-9)
    for name, mask in fixed.items():
        kept, wanted = np.asarray(getattr(model, f"{name}_")), np.asarray(settings[f"init_{name}"])
        mask = ... if name == "covariances" and SPECS[structure].tied else mask
        np.testing.assert_allclose(kept[mask], wanted[mask], rtol=1e-12)


def test_one_gaussian_with_gaps_is_the_maximum_that_an_optimiser_finds():
    rng = np.random.default_rng(3)
    X = rng.multivariate_normal([1.0, -2.0], [[2.0, 0.9], [0.9, 1.0]], 60)
    X[rng.random(X.shape) < 0.25] = np.nan
    model = GaussianMixture(1, missing="em", reg_covar=0, tol=1e-13, max_iter=2000).fit(X)

    def loss(theta):
        root = torch.stack([torch.stack([theta[2].exp(), theta[3] * 0]), torch.stack([theta[3], theta[4].exp()])])
        return -log_likelihood(X, torch.ones(1, dtype=torch.float64), theta[None, :2], (root @ root.T)[None])

    def value_and_slope(theta):
        theta = torch.tensor(theta, requires_grad=True)
        value = loss(theta)
        return float(value.detach()), torch.autograd.grad(value, theta)[0].numpy()

    best = minimize(value_and_slope, np.zeros(5), jac=True, method="BFGS", options={"gtol": 1e-9})
    assert model.lower_bound_ * len(X) == pytest.approx(-best.fun, abs=1e-7)
    np.testing.assert_allclose(model.means_[0], best.x[:2], atol=1e-5)


def test_a_monotone_pattern_has_a_closed_form():
    """The second feature missing for some: Anderson 1957 (J. American Statistical Association 52)."""
    rng = np.random.default_rng(4)
    X = rng.multivariate_normal([1.0, -2.0], [[2.0, 0.9], [0.9, 1.0]], 80)
    X[50:, 1] = np.nan
    model = GaussianMixture(1, missing="em", reg_covar=0, tol=0, max_iter=100).fit(X)
    both = X[:50]
    slope = np.cov(both.T, bias=True)[0, 1] / both[:, 0].var()
    mean, variance = X[:, 0].mean(), X[:, 0].var()
    second = both[:, 1].mean() + slope * (mean - both[:, 0].mean())
    rest = both[:, 1].var() - slope**2 * both[:, 0].var()
    np.testing.assert_allclose(model.means_[0], [mean, second], rtol=1e-8)
    expected = [[variance, slope * variance], [slope * variance, rest + slope**2 * variance]]
    np.testing.assert_allclose(model.covariances_[0], expected, rtol=1e-7)


@pytest.mark.parametrize("structure", ["full", "tied_diag"])
def test_without_anything_special_it_is_the_plain_fit_bit_for_bit(structure):
    X, _, _, _ = data()
    plain = GaussianMixture(K, covariance_type=structure, random_state=0).fit(X)
    nothing = np.zeros(K, bool)
    other = GaussianMixture(K, covariance_type=structure, random_state=0, missing="em", fixed={"means": nothing}).fit(X)
    for one, same in zip(parameters(plain), parameters(other), strict=True):
        np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(plain.predict_proba(X), other.predict_proba(X))


def test_labels_of_all_rows_need_one_m_step():
    X, components = mixture(0, n=150, d=D, n_components=K, separation=1)
    model = GaussianMixture(K, reg_covar=0).fit(X, labels=components)
    for k in range(K):
        own = X[components == k]
        np.testing.assert_allclose(model.means_[k], own.mean(0), atol=1e-10)
        np.testing.assert_allclose(model.covariances_[k], np.cov(own.T, bias=True), atol=1e-10)
    np.testing.assert_allclose(model.weights_, np.bincount(components) / len(X))


def test_components_begin_at_their_labelled_rows():
    """However the start has numbered its clusters, each is the component of its labels; the others are new ones."""
    X, components = mixture(5, n=300, d=2, n_components=K, separation=8)
    for seed in range(3):
        labels = np.full(len(X), -1)
        for k, row in enumerate(np.random.default_rng(seed).permutation(K)[:2]):
            labels[np.flatnonzero(components == row)[:3]] = 2 - k
        model = GaussianMixture(K, random_state=seed).fit(X, labels=labels)
        known = labels >= 0
        np.testing.assert_array_equal(model.predict(X)[known], labels[known])
        assert model.score(X) == pytest.approx(GaussianMixture(K, random_state=0).fit(X).score(X), abs=1e-4)


@pytest.mark.parametrize("what", ["masks", "odds"])
def test_components_are_those_that_masks_and_odds_fit_best(what):
    X, components = mixture(6, n=300, d=2, n_components=K, separation=8)
    true = np.eye(K)[components]
    if what == "masks":  # one other component is possible too
        known = np.maximum(true, np.eye(K)[(components + np.random.default_rng(0).integers(1, K, len(X))) % K])
    else:
        known = 1 + 0.5 * true
    for seed in range(4):
        model = GaussianMixture(K, random_state=seed).fit(X, labels=known)
        assert (model.predict(X) == components).mean() > 0.95


@pytest.mark.parametrize("structure", ["full", "diag", "tied_full"])
def test_rows_without_any_value_count_for_their_number_alone(structure):
    with_gaps = data()[2][2:]
    more = np.concatenate([with_gaps, np.full((30, D), np.nan)])
    settings = {"covariance_type": structure, "missing": "em", "random_state": 0, "tol": 1e-10, "max_iter": 2000}
    one, other = (GaussianMixture(K, **settings).fit(rows) for rows in (with_gaps, more))
    for a, b in zip(parameters(one), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)  # tol is in nats a row
    assert other.lower_bound_ * len(more) == pytest.approx(one.lower_bound_ * len(with_gaps), rel=1e-9)
    np.testing.assert_allclose(other.predict_proba(more[-1:])[0], other.weights_)


@pytest.mark.parametrize("structure", FREE_STRUCTURES)
def test_weights_are_repetitions(structure):
    _, components, X, labels = data()
    counts = np.random.default_rng(0).integers(1, 4, len(X))
    settings = {"covariance_type": structure, "missing": "em", "noise": True, "tol": 1e-11, "max_iter": 3000}
    starts = np.maximum(components, 0)
    one = GaussianMixture(K, **settings).fit(X, sample_weight=counts, labels=labels, init_responsibilities=starts)
    again = np.repeat(np.arange(len(X)), counts)
    other = GaussianMixture(K, **settings).fit(X[again], labels=labels[again], init_responsibilities=starts[again])
    for a, b in zip(parameters(one), parameters(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_noise_does_not_widen_clusters_and_is_labelled():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(8, 1, (200, 2)), rng.uniform(-30, 30, (60, 2))])
    model = GaussianMixture(2, noise=True, random_state=0).fit(X)
    assert np.sqrt(np.linalg.det(model.covariances_)).max() < 1.3
    assert (model.predict(X)[-60:] == -1).mean() > 0.9
    assert model.noise_weight_ == pytest.approx(60 / 460, abs=0.03)
    assert model.weights_.sum() == pytest.approx(1 - model.noise_weight_)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (460, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    drawn, where = model.sample(5000, random_state=0)
    assert np.mean(np.asarray(where) == -1) == pytest.approx(model.noise_weight_, abs=0.03)
    assert (np.asarray(drawn[where == -1]) >= np.asarray(X).min(0)).all()


def test_map_adaptation_of_a_background_model_is_reynolds_formula():
    """Reynolds, Quatieri & Dunn 2000 (Digital Signal Processing 10): means move by n / (n + r) towards the rows'."""
    rng = np.random.default_rng(0)
    background = GaussianMixture(4, covariance_type="diag", random_state=0).fit(rng.normal(0, 3, (500, 2)))
    X, r = rng.normal(1, 2, (60, 2)), 16.0
    adapted = GaussianMixture(
        4,
        covariance_type="diag",
        fixed=["weights", "covariances"],
        init_weights=background.weights_,
        init_means=background.means_,
        init_covariances=background.covariances_,
        mean_prior=background.means_,
        mean_precision_prior=r,
        max_iter=1,
        accelerate=None,
    )
    with pytest.warns(ConvergenceWarning, match="not converged"):
        adapted.fit(X)
    shares = background.predict_proba(X)
    n = shares.sum(0)[:, None]
    expected = n / (n + r) * (shares.T @ X / n) + (1 - n / (n + r)) * background.means_
    np.testing.assert_allclose(adapted.means_, expected, rtol=1e-9)
    np.testing.assert_allclose(adapted.covariances_, background.covariances_)


def clusters_in_noise():
    rng = np.random.default_rng(0)
    clusters = [rng.normal(0, 0.1, (100, 2)), rng.normal(10, 0.1, (100, 2))]
    return np.concatenate([*clusters, rng.uniform(-2, 12, (10, 2))])


@pytest.mark.parametrize("name", ["full", "diag", "spherical", "tied_full", "factor", "low_rank", "VEI"])
def test_components_that_lose_all_rows_to_noise_are_found_again(name):
    """From given means that are far from the rows in units of the clusters, noise takes all of them at first."""
    X = clusters_in_noise()
    means = np.array([[0.0, 0.0], [10.0, 10.0]])
    expected = GaussianMixture(2, covariance_type=name, noise=True, random_state=0).fit(X)
    with pytest.warns(UserWarning, match=r"components \[0, 1\] lost all rows and were re-seeded"):
        found = GaussianMixture(2, covariance_type=name, noise=True, init_means=means - 1).fit(X)
    assert found.lower_bound_ == pytest.approx(expected.lower_bound_, abs=0.02)
    assert found.noise_weight_ == pytest.approx(expected.noise_weight_, abs=0.01)


def test_components_that_are_found_again_leave_noise_its_share():
    X = clusters_in_noise()
    model = GaussianMixture(2, noise=True, random_state=0, warm_start=True).fit(X)
    with pytest.warns(UserWarning, match="re-seeded|all rows are noise"):
        model.fit(X + 5)
    density = np.exp(model.score_samples(X + 5))
    slope = (1 / model.noise_volume_ / density).mean() - 1  # of the likelihood in the weight of noise
    assert model.noise_weight_ > 0 and abs(slope) < 1e-2


def test_noise_beside_a_prior_that_holds_means_far_away_fits():
    X = np.random.default_rng(0).normal(10, 1, (100, 2))
    with pytest.warns(UserWarning, match=r"is so small that all rows are noise.*lost all rows and was re-seeded"):
        model = GaussianMixture(1, noise=True, mean_prior=[0, 0], mean_precision_prior=2.0).fit(X)
    assert model.noise_weight_ > 0.99
    density = model.noise_weight_ / model.noise_volume_
    assert model.lower_bound_ == pytest.approx(np.log(density), abs=0.02)


def test_fixed_weights_that_leave_rows_to_noise_need_noise():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(100, 2)), rng.uniform(-9, 9, size=(40, 2))])
    model = GaussianMixture(1, noise=True, random_state=0).fit(X)
    model.set_params(noise=False, warm_start=True, fixed="weights")
    with pytest.raises(ValueError, match=r"fixed weights with the sum 0\.\d+ leave the rest to noise: give noise=True"):
        model.fit(X)


@pytest.mark.parametrize("given", [{"noise_volume": 3.0}, {"noise_init": 0.2}, {"noise_init": [True] + [False] * 59}])
def test_settings_of_noise_without_noise_are_noticed(given):
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.warns(UserWarning, match=f"{next(iter(given))} has no effect without noise=True"):
        GaussianMixture(1, **given).fit(X)
