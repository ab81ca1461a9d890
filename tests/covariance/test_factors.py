"""Few factors and noise: scikit-learn's factor analysis, Tipping & Bishop's closed form, EM by hand, many features."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FactorAnalysis
from support import weighted_log_densities

from tgmm import GaussianMixture, Mixture, select
from tgmm.covariance import factors
from tgmm.covariance.low_rank import least_eigenvalue

every_kind = pytest.mark.parametrize("kind", ["low_rank", "factor"])


def rows_of(n=600, d=9, q=2, n_components=3, seed=0):
    """Rows of components with q factors and noise, labels, loadings and noise variances."""
    rng = np.random.default_rng(seed)
    labels, means = rng.integers(0, n_components, n), 2 * rng.standard_normal((n_components, d))
    W, noise = rng.standard_normal((n_components, d, q)), rng.uniform(0.2, 1.5, (n_components, d))
    X = means[labels] + np.einsum("nij,nj->ni", W[labels], rng.standard_normal((n, q)))
    return X + np.sqrt(noise[labels]) * rng.standard_normal((n, d)), labels


@pytest.fixture
def streamed(monkeypatch):
    stream(monkeypatch)


def stream(monkeypatch):
    """Sums over rows and factors even where features are few."""
    monkeypatch.setattr(factors, "STREAMED", 1)
    monkeypatch.setattr(factors, "FEATURES_PER_FACTOR", 1)


def closely(kind, X, labels, **settings):
    settings = {"tol": 1e-13, "max_iter": 5000, "reg_covar": 0.0, "n_factors": 2} | settings
    return GaussianMixture(labels.max() + 1, covariance_type=kind, **settings).fit(X, init_responsibilities=labels)


# --- what others have computed ----------------------------------------------------------------------------------


def test_one_component_is_scikit_learns_factor_analysis():
    X, _ = rows_of(seed=1, n_components=1)
    model = GaussianMixture(1, covariance_type="factor", n_factors=2, reg_covar=0.0).fit(X)
    other = FactorAnalysis(2, tol=1e-15, max_iter=100_000, svd_method="lapack").fit(X)
    assert model.score(X) == pytest.approx(other.score(X), rel=1e-10)
    np.testing.assert_allclose(model.noise_variances_[0], other.noise_variance_, rtol=1e-4)
    np.testing.assert_allclose(model.covariances_[0], other.get_covariance(), rtol=1e-4, atol=1e-4)


def test_one_component_is_the_closed_form_of_tipping_and_bishop():
    X, _ = rows_of(seed=2, n_components=1)
    model = GaussianMixture(1, covariance_type="low_rank", n_factors=2, reg_covar=0.0).fit(X)
    values, axes = np.linalg.eigh(np.cov(X, rowvar=False, bias=True))
    noise = values[:-2].mean()
    W = axes[:, :-3:-1] * np.sqrt(values[:-3:-1] - noise)
    np.testing.assert_allclose(model.noise_variances_, [noise], rtol=1e-10)
    np.testing.assert_allclose(model.covariances_[0], W @ W.T + noise * np.eye(9), rtol=1e-8, atol=1e-10)
    other = PCA(2).fit(X)  # with n - 1 in the place of n
    np.testing.assert_allclose(
        np.abs(model.factor_loadings_[0].T @ other.components_.T).round(6)[[0, 1], [1, 0]], 0, atol=1e-5
    )


@every_kind
@pytest.mark.parametrize("sums", ["matrices", "factors"])
def test_a_fit_is_where_em_by_hand_stays(kind, sums, request):
    if sums == "factors":
        request.getfixturevalue("streamed")
    X, labels = rows_of(n=1500, d=6)
    model = closely(kind, X, labels, tol=1e-12, max_iter=1000)
    assert (np.diff(model.objective_history_) > -1e-11).all()
    weights, means, covariances = em_by_hand(X, model, kind)
    np.testing.assert_allclose(model.weights_, weights, rtol=1e-5)
    np.testing.assert_allclose(model.means_, means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.covariances_, covariances, rtol=1e-4, atol=1e-4)


def em_by_hand(X, model, kind, steps=20):
    """Ghahramani & Hinton's EM for mixtures of factor analysers, with whole scatter matrices, one step of it a pass."""
    x, d = torch.as_tensor(X), X.shape[1]
    weights, means, W = (torch.as_tensor(a) for a in (model.weights_, model.means_, model.factor_loadings_))
    K, q = len(means), W.shape[2]
    noise = torch.as_tensor(model.noise_variances_).reshape(K, -1).expand(K, d)
    for _ in range(steps):
        covariances = W @ W.mT + torch.diag_embed(noise)
        R = (weights.log() + torch.distributions.MultivariateNormal(means, covariances).log_prob(x[:, None])).softmax(1)
        weights, means = R.mean(0), (R.T @ x) / R.sum(0)[:, None]
        gaps = x - means[:, None]
        S = (gaps * R.T[..., None]).mT @ gaps / R.sum(0)[:, None, None]
        beta = W.mT @ torch.linalg.inv(covariances)
        W = S @ beta.mT @ torch.linalg.inv(torch.eye(q) - beta @ W + beta @ S @ beta.mT)
        noise = (S - W @ beta @ S).diagonal(dim1=1, dim2=2)
        if kind == "low_rank":
            noise = noise.mean(1, keepdim=True).expand(K, d)
    return weights, means, W @ W.mT + torch.diag_embed(noise)


def test_as_many_factors_as_there_can_be_are_full_covariances():
    X, labels = rows_of(d=4)
    low_rank, full = closely("low_rank", X, labels, n_factors=3), closely("full", X, labels, n_factors=None)
    assert low_rank.score(X) == pytest.approx(full.score(X), rel=1e-10)
    assert low_rank.mixture_.n_parameters == full.mixture_.n_parameters


# --- what they are -----------------------------------------------------------------------------------------------


@every_kind
def test_loadings_are_identified(kind):
    X, labels = rows_of()
    model = closely(kind, X, labels)
    W, noise = model.factor_loadings_, model.noise_variances_
    assert W.shape == (3, 9, 2) and noise.shape == ((3,) if kind == "low_rank" else (3, 9))
    psi = np.broadcast_to(noise.reshape(3, -1), (3, 9))
    products = np.einsum("kij,ki,kil->kjl", W, 1 / psi, W)
    np.testing.assert_allclose(products[:, 0, 1], 0, atol=1e-9)
    assert (products[:, 0, 0] > products[:, 1, 1]).all()
    largest = np.take_along_axis(W, np.abs(W).argmax(1, keepdims=True), 1)
    assert (largest > 0).all()
    np.testing.assert_allclose(W @ W.swapaxes(1, 2) + psi[:, None] * np.eye(9), model.covariances_, rtol=1e-10)


def test_a_rotation_is_nothing_to_low_rank_and_units_are_nothing_to_factor():
    X, labels = rows_of()
    turn, units = np.linalg.qr(np.random.default_rng(3).standard_normal((9, 9)))[0], np.geomspace(1e-3, 1e3, 9)
    for kind, moved, changes in (("low_rank", X @ turn, False), ("factor", X @ turn, True)):
        gain = closely(kind, moved, labels).score(moved) - closely(kind, X, labels).score(X)
        assert (abs(gain) > 1e-4) == changes
    for kind, changes in (("low_rank", True), ("factor", False)):
        gain = closely(kind, X * units, labels).score(X * units) + np.log(units).sum()
        assert (abs(gain - closely(kind, X, labels).score(X)) > 1e-4) == changes


def test_numbers_of_factors_that_cannot_be_are_refused():
    X, _ = rows_of(d=4)
    for kind, q, most in (("low_rank", 4, 3), ("factor", 2, 1)):
        with pytest.raises(ValueError, match=f"n_factors={q} is too many .* 4 features.* at most {most}"):
            GaussianMixture(1, covariance_type=kind, n_factors=q).fit(X)
    with pytest.raises(
        ValueError, match="n_factors=2 is the number of factors of covariance_type='low_rank' or 'factor'"
    ):
        GaussianMixture(1, n_factors=2).fit(X)
    with pytest.raises(ValueError, match="n_factors must be"):
        GaussianMixture(1, covariance_type="factor", n_factors=0).fit(X)
    with pytest.raises(ValueError, match="n_factors=3 applies only to"):
        select(X, 1, "full", n_factors=3)
    with pytest.raises(AttributeError, match="factor_loadings"):
        _ = GaussianMixture(1).fit(X).factor_loadings_


def test_the_least_eigenvalue_is_that_of_the_matrix():
    generator = torch.Generator().manual_seed(0)
    diagonal = torch.rand(4, 9, dtype=torch.float64, generator=generator) ** 4 + 1e-9
    roots = torch.randn(4, 9, 3, dtype=torch.float64, generator=generator)
    expected = torch.linalg.eigvalsh(torch.diag_embed(diagonal) + roots @ roots.mT)[:, 0]
    torch.testing.assert_close(least_eigenvalue(diagonal, roots), expected, rtol=1e-9, atol=0)


# --- many features -----------------------------------------------------------------------------------------------


@every_kind
def test_sums_over_factors_are_those_over_rows_however_these_come(kind, streamed, tmp_path):
    X, _ = rows_of(n=900)
    settings = {"max_iter": 8, "tol": 0.0, "n_factors": 2, "covariance_type": kind, "init_means": X[:3]}

    def covariances(rows, weights=None, **others):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return GaussianMixture(3, **settings | others).fit(rows, sample_weight=weights).covariances_

    whole = covariances(X)
    np.testing.assert_allclose(covariances(np.array_split(X, 5)), whole, rtol=1e-7, atol=1e-9)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    repeated = covariances(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(covariances(X, weights), repeated, rtol=1e-6, atol=1e-8)
    path = tmp_path / "checkpoint.pth"
    covariances(X, max_iter=4, checkpoint=path)
    model = GaussianMixture(3, **settings | {"checkpoint": path})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (model.fit(X, resume=True).covariances_ == whole).all()


@every_kind
def test_float32_is_as_float64(kind, streamed):
    X, labels = rows_of(n=2000)
    X = (1e3 + X).astype(np.float32)
    narrow = closely(kind, X, labels, tol=1e-9)
    wide = closely(kind, X.astype(np.float64), labels, tol=1e-9)
    deviations = np.sqrt(np.diagonal(wide.covariances_, axis1=1, axis2=2))
    assert (np.abs(narrow.means_ - wide.means_) < 1e-4 * deviations).all()
    error = np.abs(narrow.covariances_ - wide.covariances_) / (deviations[:, :, None] * deviations[:, None])
    assert error.max() < 1e-4


@every_kind
def test_more_features_than_rows(kind):
    X, labels = rows_of(n=200, d=1000, q=3)
    model = GaussianMixture(3, covariance_type=kind, n_factors=3, random_state=0).fit(X)
    assert model.converged_ and model.factor_loadings_.shape == (3, 1000, 3)
    assert len(set(zip(labels, model.predict(X), strict=True))) == 3
    part = model.marginal(range(40))
    expected = weighted_log_densities(X[:, :40], model.weights_, model.means_[:, :40], model.covariances_[:, :40, :40])
    assert part.covariance_type == kind and part.n_factors == 3
    np.testing.assert_allclose(part.score_samples(X[:, :40]), logsumexp(expected, axis=1), rtol=1e-8)


@every_kind
def test_missing_values_priors_and_fixed_parameters_where_sums_are_over_factors(kind, monkeypatch):
    """The fits are those of sums over pairs of features."""
    X, labels = rows_of()
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.05, np.nan, X)
    means = np.stack([X[labels == k].mean(0) for k in range(3)])
    cases = (
        ({"missing": "em"}, gaps),
        ({"mean_prior": X.mean(0), "mean_precision_prior": 1.0}, X),
        ({"noise": True}, X),
        ({"fixed": "means", "init_means": means}, X),
        ({"cem": True}, X),
    )

    def fits():
        for settings, rows in cases:
            model = GaussianMixture(3, covariance_type=kind, n_factors=2, **settings)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield model.fit(rows, init_responsibilities=None if "fixed" in settings else labels)

    expected = list(fits())
    stream(monkeypatch)
    for one, other in zip(fits(), expected, strict=True):
        assert (np.diff(one.objective_history_) > -1e-9).all()
        assert one.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-3)
        np.testing.assert_allclose(one.means_, other.means_, atol=0.05)


def test_held_out_digits_are_likelier_than_under_full_and_diag():
    """Of whole numbers, which would have a density as large as one likes, uniform noise makes continuous ones."""
    digits = load_digits().data
    X = (digits + np.random.default_rng(0).random(digits.shape))[:900]
    scores = {}
    for kind, settings in (("full", {}), ("diag", {}), ("factor", {"n_factors": 6})):
        model = GaussianMixture(5, covariance_type=kind, init_means="kmeans", random_state=0, tol=1e-2, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores[kind] = model.fit(X[::2]).score(X[1::2])
    assert scores["factor"] > max(scores["full"], scores["diag"]) + 1


def test_features_without_variance_have_no_loadings():
    """Rounding in their place would pass for a variance, which `reg_covar` is in units of."""
    X, labels = load_digits(n_class=2, return_X_y=True)  # many pixels are white in all images of a digit
    model = GaussianMixture(2, covariance_type="factor", n_factors=2, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, init_responsibilities=labels)
    assert model.reg_covar_.min() > 1e-20
    assert model.lower_bound_ == pytest.approx(model.score(X), rel=1e-8)
    for k in range(2):
        white = X[labels == k].std(0) == 0
        assert white.sum() > 10
        assert np.abs(model.factor_loadings_[k][white]).max() < 1e-15
        np.testing.assert_allclose(model.noise_variances_[k][white], model.reg_covar_[white], rtol=1e-6)


# --- users ---------------------------------------------------------------------------------------------------------


def test_select_finds_the_number_of_factors():
    X, _ = rows_of(n=500, n_components=1, seed=4)
    found = select(X, 1, ["diag", "factor"], n_factors=range(1, 5), n_init=1, random_state=0)
    assert found.best_.n_factors == 2 and found.best_cell.structure == "factor q=2"
    assert [cell.structure for cell in found.cells] == ["diag", *(f"factor q={q}" for q in range(1, 5))]
    assert "factor q=3" in repr(found)


@every_kind
def test_files_and_parameters_keep_the_number_of_factors(kind, tmp_path):
    X, labels = rows_of()
    model = closely(kind, X, labels)
    model.save(tmp_path / "model.safetensors")
    loaded = GaussianMixture.load(tmp_path / "model.safetensors")
    assert loaded.n_factors == 2 and (loaded.score_samples(X) == model.score_samples(X)).all()
    made = Mixture(model.weights_, model.means_, model.covariances_, kind, n_factors=2)
    np.testing.assert_allclose(made.factor_loadings, model.factor_loadings_, rtol=1e-4, atol=1e-5)
    assert made.n_parameters == model.mixture_.n_parameters
    with pytest.raises(ValueError, match=f"covariances must have the structure of covariance_type='{kind}'"):
        Mixture(model.weights_, model.means_, model.covariances_, kind, n_factors=1)


@pytest.mark.filterwarnings("ignore")  # of two rows there is little to say
def test_fewer_features_that_vary_than_factors_are_judged_too():
    X = np.random.default_rng(0).normal(size=(2, 12))
    model = GaussianMixture(2, covariance_type="low_rank", n_factors=1, random_state=0).fit(X)
    np.testing.assert_allclose(sorted(model.means_.tolist()), sorted(X.tolist()), rtol=1e-12)
    np.testing.assert_allclose(model.noise_variances_, np.full(2, model.reg_covar_), rtol=1e-9)  # each is on one row
    np.testing.assert_array_equal(model.factor_loadings_, 0.0)
    expected = np.log(0.5) - 6 * np.log(2 * np.pi * model.reg_covar_)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-9)
