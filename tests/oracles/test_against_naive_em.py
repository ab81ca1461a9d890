"""Every structure, prior, float type and chunk size against the naive EM after the same number of iterations."""

import numpy as np
import pytest
import torch
from cases import (
    PRIORS,
    as_numpy,
    assert_same_parameters,
    explicit_start,
    fit_quietly,
    mixture,
    parameters,
    prior_keywords,
    round_to_float32,
    soft_responsibilities,
)
from naive_em import STRUCTURES, assign, log_joint, maximise, naive_em, objective
from scipy.special import logsumexp
from structures import SPECS

from tgmm import GaussianMixture

K, D, N, ITERATIONS = 3, 3, 150, 4
PLAIN = {"accelerate": None}  # step by step what the naive EM does
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}  # standard deviations, and relative for variances

every_structure = pytest.mark.parametrize("structure", STRUCTURES)
every_prior = pytest.mark.parametrize("priors", PRIORS)
every_float = pytest.mark.parametrize("dtype", ["float64", "float32"])


@pytest.fixture
def chunks(request, monkeypatch):
    """Rows per chunk: many small chunks with a short last one (150 = 21 * 7 + 3), where the library would take one."""
    monkeypatch.setattr("tgmm.kernels.chunking.rows_per_chunk", lambda *args, **kwargs: request.param)


small_chunks = pytest.mark.parametrize("chunks", [7, 64], indirect=True)


def stored(dtype, seed=0, **keywords):
    """Data as the library gets it (in ``dtype``) and the labels it was drawn with."""
    X, labels = mixture(seed, n=N, d=D, n_components=K, **keywords)
    return X.astype(dtype), labels


def fit_from_responsibilities(X, structure, responsibilities, iterations=ITERATIONS, *, sample_weight=None, **keywords):
    settings = PLAIN | {"reg_covar": 0, "tol": 0} | keywords
    model = GaussianMixture(K, covariance_type=structure, max_iter=iterations, **settings)
    return fit_quietly(model, X, sample_weight=sample_weight, init_responsibilities=responsibilities)


def assert_same_fit(model, naive, structure, dtype, *, has_prior=False):
    """Parameters, the float type, and the history: its values, or its differences where constants may be dropped."""
    for fitted in (model.weights_, model.means_, model.covariances_):
        assert fitted.dtype == dtype
    expected = (naive.weights, naive.means, naive.covariances)
    assert_same_parameters(parameters(model), expected, structure, TOLERANCE[dtype])
    assert model.n_iter_ == len(naive.history) - 1
    history, expected_history = np.asarray(model.objective_history_, dtype=np.float64), naive.history
    assert history.shape == expected_history.shape
    if has_prior:
        history, expected_history = history - history[0], expected_history - expected_history[0]
    np.testing.assert_allclose(history, expected_history, rtol=0, atol=TOLERANCE[dtype])


@every_structure
@every_prior
@every_float
def test_same_as_the_naive_em(structure, priors, dtype):
    assert_same_as_the_naive_em(structure, priors, dtype)


@every_structure
@every_float
@small_chunks
def test_same_as_the_naive_em_in_chunks(structure, dtype, chunks):
    """With all priors: these are the M-step's, which is given the sums and not the chunks."""
    assert_same_as_the_naive_em(structure, "all", dtype)


def assert_same_as_the_naive_em(structure, priors, dtype):
    X, labels = stored(dtype)
    responsibilities = soft_responsibilities(1, labels, K)
    sample_weight = round_to_float32(np.random.default_rng(2).uniform(0.1, 3, N))
    prior = prior_keywords(priors, structure, K, D)
    model = fit_from_responsibilities(X, structure, responsibilities, sample_weight=sample_weight, **prior)
    naive = naive_em(X, structure, responsibilities, ITERATIONS, sample_weight=sample_weight, **prior)
    assert_same_fit(model, naive, structure, dtype, has_prior=bool(prior))


@every_structure
@pytest.mark.parametrize("priors", ["none", "all"])
@every_float
@pytest.mark.parametrize("d", [1, 2, 17, 40])
def test_same_as_the_naive_em_in_other_dimensions(structure, priors, dtype, d):
    X, labels = mixture(14, n=400, d=d, n_components=4, separation=1.0)
    X = X.astype(dtype)
    responsibilities = soft_responsibilities(15, labels, 4)
    prior = prior_keywords(priors, structure, 4, d)
    model = GaussianMixture(4, covariance_type=structure, max_iter=3, tol=0, reg_covar=0, **PLAIN, **prior)
    fit_quietly(model, X, init_responsibilities=responsibilities)
    naive = naive_em(X, structure, responsibilities, 3, **prior)
    assert_same_fit(model, naive, structure, dtype, has_prior=bool(prior))


@every_structure
@every_prior
@every_float
def test_same_as_the_naive_classification_em(structure, priors, dtype):
    X, labels = stored(dtype, separation=4)
    start = np.where(np.random.default_rng(3).random(N) < 0.2, np.random.default_rng(4).integers(K, size=N), labels)
    prior = prior_keywords(priors, structure, K, D)
    model = fit_from_responsibilities(X, structure, start, cem=True, **prior)
    naive = naive_em(X, structure, np.eye(K)[start], ITERATIONS, cem=True, **prior)
    assert_same_fit(model, naive, structure, dtype, has_prior=bool(prior))
    # what is reported as the likelihood stays the mixture's, whatever was climbed
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=TOLERANCE[dtype])


@every_structure
@every_float
def test_labels_are_responsibilities_of_0_and_1(structure, dtype):
    X, labels = stored(dtype)
    naive = naive_em(X, structure, np.eye(K)[labels], ITERATIONS)
    for start in (labels, torch.as_tensor(labels), np.eye(K)[labels]):
        model = fit_from_responsibilities(X, structure, start)
        assert_same_fit(model, naive, structure, dtype)


@every_structure
@every_float
def test_an_explicit_start(structure, dtype):
    X, _ = stored(dtype)
    weights, means, covariances = explicit_start(5, X, structure, K)
    model = GaussianMixture(
        K,
        **PLAIN,
        covariance_type=structure,
        init_weights=weights,
        init_means=means,
        init_covariances=covariances,
        max_iter=ITERATIONS,
        tol=0,
        reg_covar=0,
    )
    fit_quietly(model, X)
    naive = naive_em(X, structure, (weights, means, covariances), ITERATIONS)
    assert_same_fit(model, naive, structure, dtype)


@every_structure
@every_float
@pytest.mark.parametrize("priors", ["none", "all"])
@pytest.mark.parametrize("reg_covar", [1e-6, 0.05])
def test_reg_covar_is_a_share_of_the_within_variance_of_the_start(structure, priors, reg_covar, dtype):
    """Resolved once, from the start, and added to every variance after the mode; the features differ in scale."""
    X, labels = mixture(6, n=N, d=D, n_components=K)
    X = (X * [1, 20, 0.05] + [0, 50, 0]).astype(dtype)
    responsibilities = soft_responsibilities(7, labels, K)
    prior = prior_keywords(priors, structure, K, D)
    model = fit_from_responsibilities(X, structure, responsibilities, reg_covar=reg_covar, **prior)
    naive = naive_em(X, structure, responsibilities, ITERATIONS, reg_covar=reg_covar, **prior)
    assert_same_fit(model, naive, structure, dtype, has_prior=bool(prior))
    assert as_numpy(model.reg_covar_).shape == naive.reg_covar.shape
    np.testing.assert_allclose(as_numpy(model.reg_covar_), naive.reg_covar, rtol=TOLERANCE[dtype])


@every_structure
def test_reg_covar_of_an_explicit_start(structure):
    X, _ = stored("float64")
    start = explicit_start(8, X, structure, K)
    model = GaussianMixture(
        K,
        **PLAIN,
        covariance_type=structure,
        init_weights=start[0],
        init_means=start[1],
        init_covariances=start[2],
        max_iter=ITERATIONS,
        tol=0,
        reg_covar=0.05,
    )
    fit_quietly(model, X)
    naive = naive_em(X, structure, start, ITERATIONS, reg_covar=0.05)
    assert_same_fit(model, naive, structure, "float64")
    np.testing.assert_allclose(as_numpy(model.reg_covar_), naive.reg_covar, rtol=1e-12)


@every_structure
@pytest.mark.parametrize("cem", [False, True], ids=["soft", "hard"])
@every_float
def test_a_weight_is_a_repetition(structure, cem, dtype):
    X, labels = stored(dtype)
    counts = np.random.default_rng(9).integers(0, 4, N)
    weighted = fit_from_responsibilities(X, structure, labels, sample_weight=counts, cem=cem)
    repeated = fit_from_responsibilities(np.repeat(X, counts, axis=0), structure, np.repeat(labels, counts), cem=cem)
    assert_same_parameters(parameters(weighted), parameters(repeated), structure, TOLERANCE[dtype])
    np.testing.assert_allclose(weighted.objective_history_, repeated.objective_history_, rtol=0, atol=TOLERANCE[dtype])
    assert weighted.score(X, sample_weight=counts) == pytest.approx(
        repeated.score(np.repeat(X, counts, axis=0)), abs=TOLERANCE[dtype]
    )


@every_structure
@every_prior
def test_one_component_is_a_closed_form(structure, priors):
    """K = 1: one M-step is the answer, and the mean and covariance are those of the table of section 3."""
    X, _ = mixture(10, n=40, d=D, n_components=1)
    prior = prior_keywords(priors, structure, 1, D)
    model = GaussianMixture(covariance_type=structure, reg_covar=0, max_iter=3, tol=0, **PLAIN, **prior)
    fit_quietly(model, X)

    n, xbar = len(X), X.mean(axis=0)
    scatter = (X - xbar).T @ (X - xbar)
    mean, prior_count, mean_count = xbar, 0, 0
    n_axes = SPECS[structure].n_axes
    if "mean_prior" in prior:
        m, kappa = prior["mean_prior"][0], prior["mean_precision_prior"][0]
        mean = (n * xbar + kappa * m) / (n + kappa)
        scatter = scatter + n * kappa / (n + kappa) * np.outer(xbar - m, xbar - m)
        mean_count = D if n_axes == 0 else 1
    Psi = 0.0
    if "covariance_prior" in prior:
        Psi = np.reshape(prior["covariance_prior"], (D,) * n_axes)
        prior_count = np.squeeze(prior["degrees_of_freedom_prior"]) + (D + 1 if n_axes == 2 else 2)
    scatter = [np.trace(scatter), np.diag(scatter), scatter][n_axes]
    deviations = n * D if n_axes == 0 else n
    covariance = (Psi + scatter) / (deviations + prior_count + mean_count)
    if not SPECS[structure].tied:
        covariance = covariance[np.newaxis]

    assert_same_parameters(parameters(model), (np.ones(1), mean[np.newaxis], covariance), structure, 1e-10)
    assert model.lower_bound_ == pytest.approx(objective(X, *parameters(model), structure), abs=1e-10)


@every_structure
@pytest.mark.parametrize("cem", [False, True], ids=["soft", "hard"])
def test_a_dirichlet_below_one_prunes(structure, cem):
    """alpha - 1 < 0 takes a whole component's mass away: its weight is 0 from then on, the rest follows the mode."""
    X, labels = mixture(11, n=N, d=D, n_components=2, separation=4)
    responsibilities = np.column_stack([0.995 * soft_responsibilities(12, labels, 2), np.full(N, 0.005)])
    assert 0.5 < responsibilities[:, 2].sum() < 1 - 0.01
    model = fit_from_responsibilities(X, structure, responsibilities, cem=cem, weight_concentration_prior=[1, 1, 0.01])
    naive = naive_em(
        X, structure, responsibilities, ITERATIONS, cem=cem, weight_concentration_prior=np.array([1, 1, 0.01])
    )
    assert naive.weights[2] == 0
    weights, means, covariances = parameters(model)
    assert weights[2] == 0
    assert np.isfinite(means).all()
    assert np.isfinite(covariances).all()
    tied = SPECS[structure].tied
    assert_same_parameters(
        (weights[:2], means[:2], covariances if tied else covariances[:2]),
        (naive.weights[:2], naive.means[:2], naive.covariances if tied else naive.covariances[:2]),
        structure,
        TOLERANCE["float64"],
    )
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=1e-10)
    probabilities = as_numpy(model.predict_proba(X))
    assert (probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


@every_structure
@every_float
def test_predictions_are_those_of_the_stored_parameters(structure, dtype):
    assert_predictions(structure, dtype)


@every_structure
@every_float
@small_chunks
def test_predictions_in_chunks(structure, dtype, chunks):
    assert_predictions(structure, dtype)


def assert_predictions(structure, dtype):
    """Densities, probabilities and labels, also of rows the fit has never seen, some of them 50 deviations away."""
    X, labels = stored(dtype)
    model = fit_from_responsibilities(X, structure, labels)
    rng = np.random.default_rng(13)
    new = np.concatenate([X, (20 * rng.standard_normal((50, D))).astype(dtype), np.full((1, D), 50, dtype)])
    joint = log_joint(new, *parameters(model), structure)
    density = logsumexp(joint, axis=1)
    rtol = 1e-12 if dtype == "float64" else 1e-5

    scores = model.score_samples(new)
    assert isinstance(scores, np.ndarray)
    assert scores.dtype == dtype
    np.testing.assert_allclose(scores, density, rtol=rtol, atol=100 * rtol)
    probabilities = model.predict_proba(new)
    assert probabilities.dtype == dtype
    # a probability is as good as the log-densities that it compares
    np.testing.assert_allclose(probabilities, np.exp(joint - density[:, None]), rtol=0, atol=rtol * abs(joint).max())
    np.testing.assert_array_equal(model.predict(new), joint.argmax(axis=1))
    assert model.score(X) == pytest.approx(density[:N].mean(), rel=rtol, abs=100 * rtol)
    weights = rng.uniform(size=len(new))
    expected = np.average(density, weights=weights)
    assert model.score(new, sample_weight=weights) == pytest.approx(expected, rel=rtol, abs=100 * rtol)


@every_structure
def test_tensors_in_tensors_out(structure):
    X, labels = stored("float32")
    model = fit_from_responsibilities(torch.as_tensor(X), structure, torch.as_tensor(labels))
    reference = fit_from_responsibilities(X, structure, labels)
    assert_same_parameters(parameters(model), parameters(reference), structure, 1e-6)
    for result in (model.predict(torch.as_tensor(X)), model.predict_proba(torch.as_tensor(X))):
        assert isinstance(result, torch.Tensor)
    assert model.score_samples(torch.as_tensor(X)).dtype == torch.float32
    assert isinstance(model.predict_proba(X), np.ndarray)


@every_structure
def test_the_last_parameters_are_one_m_step_of_the_ones_before(structure):
    """A restart from the stored parameters goes on where the fit stopped: nothing hidden is carried along."""
    X, labels = stored("float64")
    first = fit_from_responsibilities(X, structure, labels, iterations=2)
    second = fit_from_responsibilities(X, structure, labels, iterations=3)
    responsibilities = assign(X, *parameters(first), structure)
    expected = maximise(X, responsibilities, np.ones(N), structure, {})
    assert_same_parameters(parameters(second), expected, structure, 1e-10)
    resumed = GaussianMixture(
        K,
        **PLAIN,
        covariance_type=structure,
        init_weights=first.weights_,
        init_means=first.means_,
        init_covariances=first.covariances_,
        reg_covar=0,
        max_iter=1,
        tol=0,
    )
    fit_quietly(resumed, X)
    assert_same_parameters(parameters(resumed), expected, structure, 1e-10)
