"""Marginals, conditionals and regression against numerical integration, torch.distributions and dense algebra."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import random_covariances
from scipy.integrate import quad
from scipy.special import softmax
from scipy.stats import chisquare, kstest, norm
from sklearn.exceptions import NotFittedError
from support import COVARIANCE_TYPES, dense_covariances, weighted_log_densities
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from tgmm import GaussianMixture

WEIGHTS = np.array([0.5, 0.3, 0.2])


def mixture(covariance_type, d, dtype=torch.float64, seed=0):
    rng = np.random.default_rng(seed)
    means = torch.tensor(2 * rng.standard_normal((3, d)), dtype=dtype)
    return GaussianMixture.from_parameters(
        WEIGHTS, means, random_covariances(rng, covariance_type, 3, d), covariance_type
    )


def dense(gmm):
    return dense_covariances(gmm.covariances_, gmm.covariance_type, *gmm.means_.shape)


def conditional_by_blocks(gmm, x, dims):
    """Weights (K,), means (K, r) and covariances (K, r, r) given one observation, by Schur complements."""
    covariances, means = dense(gmm), np.asarray(gmm.means_, dtype=np.float64)
    rest = [i for i in range(means.shape[1]) if i not in dims]
    weights = softmax(weighted_log_densities(x[None], WEIGHTS, means[:, dims], covariances[:, dims][:, :, dims])[0])
    new_means, new_covariances = [], []
    for mean, covariance in zip(means, covariances, strict=True):
        slopes = covariance[np.ix_(rest, dims)] @ np.linalg.inv(covariance[np.ix_(dims, dims)])
        new_means.append(mean[rest] + slopes @ (x - mean[dims]))
        new_covariances.append(covariance[np.ix_(rest, rest)] - slopes @ covariance[np.ix_(dims, rest)])
    return weights, np.array(new_means), np.array(new_covariances)


# --- marginal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_marginal_density_is_the_joint_one_integrated(covariance_type):
    gmm = mixture(covariance_type, 2)
    marginal = gmm.marginal([1])
    for y in (-2.0, 0.3, 1.7):
        integral, _ = quad(lambda x, y=y: np.exp(gmm.score_samples([[x, y]])[0]), -25, 25, epsabs=1e-12, limit=200)
        assert np.exp(marginal.score_samples([[y]])[0]) == pytest.approx(integral, rel=1e-8)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_marginal_has_the_blocks_in_the_order_asked_for(covariance_type):
    gmm = mixture(covariance_type, 4, torch.float32)
    marginal = gmm.marginal((3, 1))
    assert isinstance(marginal, GaussianMixture)
    assert marginal.covariance_type == covariance_type
    assert marginal.mixture_.dtype == torch.float32
    assert torch.equal(marginal.means_, gmm.means_[:, [3, 1]])
    assert np.array_equal(marginal.weights_, gmm.weights_)
    np.testing.assert_array_equal(dense(marginal), dense(gmm)[:, [3, 1]][:, :, [3, 1]])


def test_a_marginal_keeps_the_names_of_its_features():
    X = pd.DataFrame(np.random.default_rng(0).standard_normal((50, 3)), columns=["a", "b", "c"])
    marginal = GaussianMixture(random_state=0).fit(X).marginal([2, 0])
    assert marginal.feature_names_in_.tolist() == ["c", "a"]
    marginal.score_samples(X[["c", "a"]])
    with pytest.raises(ValueError, match="feature names"):
        marginal.score_samples(X[["a", "c"]])


# --- condition --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_conditional_by_numerical_integration(covariance_type):
    gmm = mixture(covariance_type, 2)
    x = 0.4

    def joint(y, power=0):
        return y**power * np.exp(gmm.score_samples([[x, y]])[0])

    evidence, first, second = (quad(joint, -25, 25, args=(p,), epsabs=1e-12, limit=200)[0] for p in range(3))
    conditional = gmm.condition([x], dims=[0])
    assert conditional.mean().item() == pytest.approx(first / evidence, rel=1e-7)
    assert conditional.covariance().item() == pytest.approx(second / evidence - (first / evidence) ** 2, rel=1e-6)
    for y in (-1.0, 2.5):
        assert np.exp(conditional.log_prob([[y]])[0]) == pytest.approx(joint(y) / evidence, rel=1e-8)


@pytest.mark.parametrize("dims", [[0], [2, 1], [3, 0, 1]])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_conditional_by_torch_s_distributions(covariance_type, dims):
    gmm = mixture(covariance_type, 4)
    rng = np.random.default_rng(1)
    observations, values = 2 * rng.standard_normal((5, len(dims))), 2 * rng.standard_normal((5, 4 - len(dims)))
    batch = gmm.condition(observations, dims)
    log_prob = batch.log_prob(values)
    for i, x in enumerate(observations):
        weights, means, covariances = (torch.from_numpy(part) for part in conditional_by_blocks(gmm, x, dims))
        reference = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))
        single = gmm.condition(x, dims)
        np.testing.assert_allclose(single.weights_, weights, rtol=1e-9)
        np.testing.assert_allclose(single.means_, means, rtol=1e-9)
        np.testing.assert_allclose(single.mean(), reference.mean, rtol=1e-9)
        np.testing.assert_allclose(single.covariance().diagonal(), reference.variance, rtol=1e-9)
        np.testing.assert_allclose(single.log_prob(values), reference.log_prob(torch.from_numpy(values)), rtol=1e-9)
        np.testing.assert_allclose(log_prob[i], single.log_prob(values)[i], rtol=1e-12)
        np.testing.assert_allclose(batch.mean()[i], single.mean(), rtol=1e-12)
        np.testing.assert_allclose(batch.covariance()[i], single.covariance(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_joint_density_is_marginal_times_conditional(covariance_type):
    gmm = mixture(covariance_type, 4)
    X, _ = gmm.sample(50, random_state=0)
    parts = gmm.marginal([2, 0]).score_samples(X[:, [2, 0]]) + gmm.condition(X[:, [2, 0]], [2, 0]).log_prob(
        X[:, [1, 3]]
    )
    np.testing.assert_allclose(parts, gmm.score_samples(X), rtol=1e-10)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_samples_follow_the_conditional_law(covariance_type):
    gmm = mixture(covariance_type, 3)
    observations = np.array([[0.5, -1.0], [2.0, 1.0]])
    batch = gmm.condition(observations, [0, 2])
    X, components = batch.sample(5000, random_state=3)
    assert X.shape == (2, 5000, 1)
    assert components.shape == (2, 5000)
    for x, values, drawn in zip(observations, X, components, strict=True):
        weights, means, covariances = conditional_by_blocks(gmm, x, [0, 2])
        deviations = np.sqrt(covariances[:, 0, 0])

        def cdf(y, weights=weights, means=means, deviations=deviations):
            return norm.cdf(y[:, None], means[:, 0], deviations) @ weights

        assert kstest(values[:, 0].numpy(), cdf).pvalue > 1e-3
        likely = weights > 1e-3
        counts = drawn.bincount(minlength=3).numpy()[likely]
        assert chisquare(counts, weights[likely] / weights[likely].sum() * counts.sum()).pvalue > 1e-3


def test_samples_of_one_observation_have_no_batch_dimension():
    conditional = mixture("full", 3).condition(torch.tensor([0.1, 0.2]), [1, 2])
    X, components = conditional.sample(7, random_state=0)
    assert X.shape == (7, 1)
    assert components.shape == (7,)
    assert conditional.weights_.shape == (3,)
    assert conditional.means_.shape == (3, 1)
    assert conditional.covariances_.shape == (3, 1, 1)
    assert torch.equal(X, conditional.sample(7, random_state=0)[0])


def test_components_of_vanishing_probability_still_count_where_only_they_reach():
    gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [60.0, 60.0]], [1.0, 1.0], "tied_diag")
    # Given x = 0 the second component has probability exp(-1800); it alone reaches y = 1000.
    log_prob = gmm.condition([0.0], [0]).log_prob([[1000.0]])[0]
    assert log_prob == pytest.approx(-1800 + norm.logpdf(1000, 60), rel=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_an_observation_far_away_gives_finite_weights_and_means(covariance_type):
    conditional = mixture(covariance_type, 3).condition([1e160, -1e160], [0, 1])
    assert conditional.weights_.sum().item() == pytest.approx(1)
    assert torch.isfinite(conditional.mean()).all()


@pytest.mark.parametrize("scale", [1.0, 1e8, 1e16, 1e160])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_weights_are_the_posterior_probabilities_of_the_marginal(covariance_type, scale):
    gmm = mixture(covariance_type, 3)
    X = scale * np.random.default_rng(5).standard_normal((20, 2))
    expected = gmm.marginal([0, 2]).predict_proba(X)
    np.testing.assert_allclose(gmm.condition(X, [0, 2]).weights_, expected, rtol=1e-6, atol=1e-9)


def test_a_correlation_near_one_keeps_the_conditional_positive_definite():
    correlation = 1 - 1e-12
    gmm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [[[1.0, correlation], [correlation, 1.0]]])
    conditional = gmm.condition([3.0], [0])
    assert conditional.mean().item() == pytest.approx(3, rel=1e-9)
    assert conditional.covariance().item() == pytest.approx(1 - correlation**2, rel=1e-3)


# --- regress ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_regression_is_the_conditional_mean_and_its_standard_deviation(covariance_type, monkeypatch):
    monkeypatch.setattr("tgmm.mixture.conditional._Law.rows_per_chunk", 4)
    gmm = mixture(covariance_type, 4)
    X = np.random.default_rng(2).standard_normal((11, 2))
    mean, deviation = gmm.regress(X, [3, 1])
    assert mean.shape == deviation.shape == (11, 2)
    batch = gmm.condition(X, [3, 1])
    np.testing.assert_allclose(mean, batch.mean(), rtol=1e-12)
    np.testing.assert_allclose(deviation**2, batch.covariance().diagonal(dim1=1, dim2=2), rtol=1e-10)


def test_regression_recovers_a_curve():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 3000)
    y = np.sin(x) + 0.1 * rng.standard_normal(3000)
    gmm = GaussianMixture(n_components=8, random_state=0, tol=1e-3).fit(np.column_stack([x, y]))
    grid = np.linspace(-2.5, 2.5, 50)[:, None]
    mean, deviation = gmm.regress(grid, [0])
    assert np.abs(mean - np.sin(grid)).max() < 0.1
    assert deviation.mean() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_come_as_the_input_did_in_the_model_s_float_type(dtype):
    gmm = mixture("full", 3, dtype)
    mean, deviation = gmm.regress([[0.0, 1.0]], [0, 1])
    assert isinstance(mean, np.ndarray)
    assert mean.dtype == deviation.dtype == np.dtype(str(dtype).removeprefix("torch."))
    mean, _ = gmm.regress(torch.zeros(2, 2), [0, 1])
    assert mean.dtype == dtype
    conditional = gmm.condition([0.0, 1.0], [0, 1])
    assert conditional.mean().dtype == conditional.covariance().dtype == conditional.sample()[0].dtype == dtype
    assert isinstance(conditional.log_prob([[0.0]]), np.ndarray)
    assert isinstance(conditional.log_prob(torch.zeros(1, 1)), torch.Tensor)


def test_data_frames_are_checked_by_name():
    X = pd.DataFrame(np.random.default_rng(0).standard_normal((50, 3)), columns=["a", "b", "c"])
    gmm = GaussianMixture(random_state=0).fit(X)
    mean, _ = gmm.regress(X[["a", "c"]], [0, 2])
    np.testing.assert_allclose(mean, gmm.regress(X[["c", "a"]], [2, 0])[0], rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        gmm.regress(X[["c", "a"]], [0, 2])


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [[], [0, 0], [3], [-1], [0.5], ["a"], [True, False, False], 1, None, "01", [[0]]])
@pytest.mark.parametrize("method", ["marginal", "condition", "regress"])
def test_bad_dims_are_named(method, dims):
    gmm = mixture("full", 3)
    arguments = (dims,) if method == "marginal" else (np.zeros((2, 1)), dims)
    with pytest.raises(ValueError, match="dims"):
        getattr(gmm, method)(*arguments)


def test_dims_may_be_an_array_or_a_tensor():
    gmm = mixture("full", 3)
    for dims in (np.array([2, 0]), torch.tensor([2, 0]), (2, 0), range(2, -1, -2)):
        assert torch.equal(gmm.marginal(dims).means_, gmm.means_[:, [2, 0]])


@pytest.mark.parametrize("method", ["condition", "regress"])
def test_something_must_be_left_to_predict(method):
    with pytest.raises(ValueError, match="dims must leave"):
        getattr(mixture("full", 2), method)(np.zeros((1, 2)), [0, 1])


def test_observations_that_do_not_fit_are_refused():
    gmm = mixture("full", 3)
    with pytest.raises(ValueError, match="3 features"):
        gmm.condition(np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match="NaN"):
        gmm.condition([np.nan, 0.0], [0, 1])
    with pytest.raises(ValueError, match="2D|array"):
        gmm.condition(np.zeros((2, 2, 2)), [0, 1])
    with pytest.raises(ValueError, match="one row for each of the 2 observations"):
        gmm.condition(np.zeros((2, 2)), [0, 1]).log_prob(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="n_samples"):
        gmm.condition(np.zeros(2), [0, 1]).sample(0)


@pytest.mark.parametrize("call", [lambda m: m.marginal([0]), lambda m: m.condition([0.0], [0]), lambda m: m.mean()])
def test_unfitted_models_say_so(call):
    with pytest.raises(NotFittedError):
        call(GaussianMixture())


# --- features by name ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named():
    """A model of named features, and rows of theirs."""
    X = np.random.default_rng(0).standard_normal((200, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]])
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    return GaussianMixture(2, random_state=0).fit(frame), frame


OBSERVED = {
    "list": lambda frame: frame[["c", "a"]].iloc[0].tolist(),
    "array": lambda frame: frame[["c", "a"]].iloc[0].to_numpy(),
    "tensor": lambda frame: torch.tensor(frame[["c", "a"]].iloc[0].tolist(), dtype=torch.float64),
    "series": lambda frame: frame[["c", "a"]].iloc[0],
    "rows": lambda frame: frame[["c", "a"]].iloc[:1].to_numpy(),
    "frame": lambda frame: frame[["c", "a"]].iloc[:1],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("observed", OBSERVED)
@pytest.mark.parametrize("dims", [["c", "a"], [2, 0], ["c", 0], pd.Index(["c", "a"]), np.array([2, 0])], ids=repr)
def test_features_are_named_or_counted_and_no_word_is_said(named, observed, dims):
    gmm, frame = named
    bare = GaussianMixture.from_parameters(gmm.weights_, gmm.means_, gmm.covariances_)
    expected = bare.condition(frame[["c", "a"]].to_numpy()[0], [2, 0])
    found = gmm.condition(OBSERVED[observed](frame), dims)
    np.testing.assert_allclose(np.ravel(found.mean()), expected.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.log_prob([[0.3]]), expected.log_prob([[0.3]]), rtol=1e-12)
    np.testing.assert_allclose(gmm.marginal(dims).means_, gmm.means_[:, [2, 0]])
    if observed in ("rows", "frame"):
        np.testing.assert_allclose(gmm.regress(OBSERVED[observed](frame), dims)[0][0], expected.mean(), rtol=1e-12)


@pytest.mark.parametrize("order", [["a", "c"], ["a", "b"]])
def test_names_that_are_not_those_of_dims_are_refused(named, order):
    gmm, frame = named
    for observed in (frame[order], frame[order].iloc[0]):
        with pytest.raises(ValueError, match="names|same order"):
            gmm.condition(observed, ["c", "a"])


@pytest.mark.parametrize("dims", [["z"], ["a", "a"], ["a", 0], "a", [3], [-1], [True], [1.0], [None], []], ids=repr)
def test_features_that_do_not_exist_are_refused(named, dims):
    gmm, _ = named
    for verb in (lambda: gmm.condition([[0.0]], dims), lambda: gmm.regress([[0.0]], dims), lambda: gmm.marginal(dims)):
        with pytest.raises(ValueError, match="dims must"):
            verb()


def test_names_are_unknown_where_the_data_had_none():
    with pytest.raises(ValueError, match="dims must .* from 0 to 2; got 'a'"):
        mixture("full", 3).condition([0.0], ["a"])


def test_a_batch_of_one_takes_any_number_of_values():
    gmm = mixture("full", 3)
    values = np.random.default_rng(0).standard_normal((7, 2))
    expected = gmm.condition([0.5], [0]).log_prob(values)
    np.testing.assert_allclose(gmm.condition([[0.5]], [0]).log_prob(values), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="one row for each of the 2 observations; got 7"):
        gmm.condition([[0.5], [0.6]], [0]).log_prob(values)
