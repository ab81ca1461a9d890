"""`tgmm.Mixture`: a frozen object that anyone can make, to which estimators delegate, and which computes once."""

import copy
import inspect
import pickle
import threading

import numpy as np
import pytest
import torch
from cases import mixture, random_covariances
from scipy.special import logsumexp
from sklearn.exceptions import NotFittedError
from support import COVARIANCE_TYPES, dense_covariances, n_parameters, weighted_log_densities

from tgmm import ConditionalMixture, GaussianMixture, Mixture, ModelFileError
from tgmm.covariance.full import Full

K, D = 3, 4
CHAIN = [[1e10, 0, 0, 0], [0, 1, 0.5, 0], [0, 0.5, 1, -0.5], [0, 0, -0.5, 1]]
TURNED = [[[1e10, 0, 0], [0, 1, sign * 0.5], [0, sign * 0.5, 2]] for sign in (1, -1)]
# What a mixture does that needs no training, SPEC of the estimator and of the mixture alike.
VERBS = [
    "predict",
    "predict_proba",
    "score_samples",
    "score",
    "aic",
    "bic",
    "icl",
    "sample",
    "condition",
    "regress",
    "mean",
    "covariance",
    "entropy",
    "kl_divergence",
    "kl_upper_bound",
    "mahalanobis",
    "to_distribution",
    "to_module",
    "log_prob",
]
every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)


def parameters(covariance_type, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(K, 5.0))
    return weights, 3 * rng.standard_normal((K, D)), random_covariances(rng, covariance_type, K, D)


def made(covariance_type="full", seed=0):
    return Mixture(*parameters(covariance_type, seed), covariance_type)


@pytest.fixture
def X():
    return mixture(1, n=60, d=D, n_components=K)[0]


@every_type
def test_its_densities_are_those_of_its_parameters(covariance_type, X):
    weights, means, covariances = parameters(covariance_type)
    dense = dense_covariances(covariances, covariance_type, K, D)
    joint = weighted_log_densities(X, weights, means, dense)
    model = made(covariance_type)
    np.testing.assert_allclose(model.score_samples(X), logsumexp(joint, axis=1), rtol=1e-10)
    np.testing.assert_allclose(model.predict_proba(X), np.exp(joint - logsumexp(joint, axis=1)[:, None]), atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), joint.argmax(axis=1))
    total, count = logsumexp(joint, axis=1).sum(), n_parameters(covariance_type, K, D)
    certainty = (joint.max(axis=1) - logsumexp(joint, axis=1)).sum()
    assert model.n_parameters == count
    assert model.score(X) == pytest.approx(total / len(X), rel=1e-12)
    assert model.aic(X) == pytest.approx(-2 * total + 2 * count, rel=1e-12)
    assert model.bic(X) == pytest.approx(-2 * total + count * np.log(len(X)), rel=1e-12)
    assert model.icl(X) == pytest.approx(-2 * total + count * np.log(len(X)) - 2 * certainty, rel=1e-12)


@every_type
def test_its_attributes_are_what_it_was_made_from(covariance_type):
    weights, means, covariances = parameters(covariance_type)
    model = made(covariance_type)
    np.testing.assert_allclose(model.weights, weights, rtol=1e-15)
    np.testing.assert_array_equal(model.means, means)
    np.testing.assert_allclose(model.covariances, covariances, rtol=1e-15)
    assert model.covariance_type == covariance_type
    assert (model.n_components, model.n_features, model.feature_names) == (K, D, None)
    assert repr(model) == f"Mixture(n_components=3, n_features=4, covariance_type={covariance_type!r})"


@pytest.mark.parametrize("verb", VERBS)
def test_estimators_delegate_to_it(verb, X):
    gmm = GaussianMixture(K, random_state=0).fit(X)
    assert type(gmm.mixture_) is Mixture
    arguments = {
        "sample": {"n_samples": 5, "random_state": 1},
        "condition": {"x_observed": X[:, :2], "dims": [0, 1]},
        "regress": {"X_observed": X[:, :2], "dims": [0, 1]},
        "entropy": {"random_state": 1},
        "kl_divergence": {"other": made(), "random_state": 1},
        "kl_upper_bound": {"other": gmm},
        "log_prob": {"x": torch.tensor(X)},
    }
    for name in ("predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl", "mahalanobis"):
        arguments[name] = {"X": X}
    keywords = arguments.get(verb, {})
    asked, answered = (getattr(holder, verb)(**keywords) for holder in (gmm, gmm.mixture_))
    if isinstance(asked, ConditionalMixture):
        asked, answered = asked.mean(), answered.mean()
    elif verb == "to_distribution":
        asked, answered = asked.log_prob(torch.tensor(X)), answered.log_prob(torch.tensor(X))
    elif verb == "to_module":
        asked, answered = asked(torch.tensor(X)), answered(torch.tensor(X))
    for one, other in zip(*((x if isinstance(x, tuple) else (x,)) for x in (asked, answered)), strict=True):
        np.testing.assert_array_equal(np.asarray(one.detach() if isinstance(one, torch.Tensor) else one), other)


@pytest.mark.parametrize("verb", VERBS)
def test_a_delegated_verb_shows_its_signature_and_its_words(verb):
    own, asked = getattr(Mixture, verb), getattr(GaussianMixture, verb)
    assert inspect.getdoc(asked) == inspect.getdoc(own)
    assert list(inspect.signature(asked).parameters)[1:] == list(inspect.signature(own).parameters)[1:]
    assert asked.__name__ == verb
    assert pickle.loads(pickle.dumps(asked)) is asked


@pytest.mark.parametrize("verb", VERBS)
def test_before_a_fit_estimators_say_so(verb):
    with pytest.raises(NotFittedError, match="GaussianMixture"):
        getattr(GaussianMixture(), verb)(*([[0.0]],) * (verb not in ("mean", "covariance", "entropy")))
    assert not hasattr(GaussianMixture(), "mixture_")


def test_nothing_changes_it(X):
    arrays = [np.array([0.5, 0.5]), np.array([[0.0, 0.0], [4.0, 4.0]]), np.array([1.0, 2.0])]
    tensors = [torch.from_numpy(array) for array in arrays]
    model = Mixture(*tensors, "spherical")
    before = model.score_samples(X[:, :2])
    for array in arrays:
        array += 1.0  # and with it the tensor
    for name in ("weights", "means", "covariances"):
        getattr(model, name).fill_(7.0)
    np.testing.assert_array_equal(Mixture.score_samples(model, X[:, :2]), before)
    np.testing.assert_array_equal(copy.deepcopy(model).score_samples(X[:, :2]), before)
    for name in ("weights", "parameters", "anything"):
        with pytest.raises(AttributeError):
            setattr(model, name, 1.0)


@every_type
def test_copies_give_the_same_bits(covariance_type, X, tmp_path):
    model = made(covariance_type)
    expected = model.score_samples(X)
    model.save(tmp_path / "mixture.pth")
    for other in (pickle.loads(pickle.dumps(model)), copy.copy(model), Mixture.load(tmp_path / "mixture.pth")):
        np.testing.assert_array_equal(other.score_samples(X), expected)
        assert other.covariance_type == covariance_type


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_estimators_and_mixtures_read_each_others_files(suffix, X, tmp_path):
    gmm = GaussianMixture(K, covariance_type="tied_diag", random_state=0).fit(X)
    gmm.save(tmp_path / f"gmm{suffix}")
    of_the_estimator = Mixture.load(tmp_path / f"gmm{suffix}")
    of_the_estimator.save(tmp_path / f"mixture{suffix}")
    again = GaussianMixture.load(tmp_path / f"mixture{suffix}")
    for model in (of_the_estimator, again):
        np.testing.assert_array_equal(model.score_samples(X), gmm.score_samples(X))
    assert (again.n_components, again.covariance_type, again.n_iter_) == (K, "tied_diag", 0)
    (tmp_path / f"other{suffix}").write_bytes(b"something else")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        Mixture.load(tmp_path / f"other{suffix}")


@every_type
def test_a_marginal_of_a_mixture_is_a_mixture(covariance_type, X):
    model, dims = made(covariance_type), [2, 0]
    marginal = model.marginal(dims)
    assert type(marginal) is Mixture
    dense = dense_covariances(model.covariances, covariance_type, K, D)[:, dims][:, :, dims]
    joint = weighted_log_densities(X[:, dims], model.weights, model.means[:, dims], dense)
    np.testing.assert_allclose(marginal.score_samples(X[:, dims]), logsumexp(joint, axis=1), rtol=1e-10)
    of_the_estimator = GaussianMixture.from_parameters(*parameters(covariance_type), covariance_type).marginal(dims)
    assert type(of_the_estimator) is GaussianMixture
    np.testing.assert_array_equal(of_the_estimator.means_, marginal.means)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.6], [[0.0], [1.0]], [1.0, 1.0], "spherical"), "weights must be >= 0 and sum to 1"),
        (([1.0], [0.0], [1.0], "spherical"), r"means must have shape \(n_components, n_features\)"),
        (([1.0], [[np.nan]], [1.0], "spherical"), "means must be finite"),
        (([1.0], np.array([["1.5"]], dtype=object), [1.0], "spherical"), "means must hold numbers; got '1.5'"),
        (([0.5, 0.5], [[0, 1], [0, 1e155]], [[1, 1]] * 2, "diag"), r"means reach from 1 to 1e\+155 in feature 1"),
        (([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]]), "covariances must be positive definite"),
        (([1.0], [[0.0, 0.0]], [[1.0, 1.0]]), "covariances must have shape"),
        (([1.0], [[0.0]], [1.0], "round"), "covariance_type must be one of"),
        # One feature has far larger units than the others.
        (([1.0], [[0.0] * 3], [[[1e10, 0, 0], [0, 1, 0.9], [0, -0.9, 1]]]), "covariances must be symmetric"),
        (([1.0], [[0.0] * 3], [np.diag([1e10, 1, 1.5])], "low_rank"), "all eigenvalues of each .* are the same"),
        (([1.0], [[0.0] * 4], [CHAIN], "factor"), "each covariance is the sum of n_factors factors"),
        (([0.5, 0.5], [[0.0] * 3] * 2, TURNED, "VVE"), "covariances must have the structure of"),
    ],
)
def test_parameters_of_no_mixture_are_refused(arguments, message):
    n_factors = 1 if arguments[-1] in ("low_rank", "factor") else None
    with pytest.raises(ValueError, match=message):
        Mixture(*arguments, n_factors=n_factors)


def test_rows_that_do_not_fit_are_refused(X):
    with pytest.raises(ValueError, match="X has 2 features, but Mixture is expecting 4 features"):
        made().predict(X[:, :2])
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixture is expecting 4 features"):
        GaussianMixture().fit(X).predict(X[:, :2])


def test_a_float32_mixture_answers_in_float32(X):
    model = Mixture(*(np.asarray(part, np.float32) for part in parameters("diag")), "diag")
    assert model.means.dtype == np.float32
    assert model.sample(3, random_state=0)[0].dtype == np.float32
    assert model.score_samples(X.astype(np.float32)).dtype == np.float32


def test_the_device_of_an_estimator_may_change_after_the_fit(X):
    gmm = GaussianMixture(K, random_state=0).fit(X)
    expected = gmm.predict(X)
    gmm.set_params(device="cpu")
    assert gmm.mixture_ is gmm.mixture_
    np.testing.assert_array_equal(gmm.predict(X), expected)
    with pytest.raises(ValueError, match="device='nonsense' cannot be used"):
        gmm.set_params(device="nonsense").predict(X)


def test_covariances_are_factored_once(X, monkeypatch):
    """Whatever is asked of a mixture, and however often."""
    factored, cholesky = [], torch.linalg.cholesky_ex
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda *args: (factored.append(1), cholesky(*args))[1])
    model = made("full")
    for _ in range(3):
        model.predict(X), model.score(X), model.mahalanobis(X), model.sample(3), model.entropy(10)
        model.log_prob(torch.tensor(X))
    assert len(factored) <= 3  # when it was checked, in the user's units, and in its own frame
    factored.clear()
    monkeypatch.setattr("tgmm.mixture.conditional._Law.rows_per_chunk", 7)
    model.regress(X[:, :2], [0, 1])
    n_first = len(factored)
    model.regress(X[:, :2], [0, 1]), model.condition(X[:, :2], [0, 1])
    assert n_first <= 2  # the features in another order, and the marginal of those observed
    assert len(factored) == n_first


def test_threads_share_what_it_keeps(X):
    """Rows of many threads through one mixture give what each thread alone would get."""
    model, rng = made("full"), np.random.default_rng(0)
    parts = [rng.standard_normal((4000, D)) for _ in range(8)]
    expected = [made("full").score_samples(part) for part in parts]
    found = [None] * len(parts)
    barrier = threading.Barrier(len(parts))

    def work(i):
        barrier.wait()
        for _ in range(5):
            found[i] = model.score_samples(parts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_what_is_kept_in_inference_mode_can_be_differentiated_through_later(X):
    model = made("full")
    with torch.inference_mode():
        model.predict(torch.tensor(X)), model.log_prob(torch.tensor(X)), model.mahalanobis(torch.tensor(X))
    x = torch.tensor(X, requires_grad=True)
    model.log_prob(x).sum().backward()
    other = torch.tensor(X, requires_grad=True)
    made("full").log_prob(other).sum().backward()
    assert x.grad.abs().min() > 0
    torch.testing.assert_close(x.grad, other.grad)


def test_what_follows_from_it_does_not_pile_up():
    model = Mixture([1.0], [np.zeros(60)], [np.ones(60)], "diag")
    for i in range(60):
        model.regress(np.zeros((1, 1)), [i])
    assert len(vars(model)["_derived"]) <= 32


def test_pickles_hold_no_more_than_the_mixture(X):
    model = made("full")
    fresh = len(pickle.dumps(model))
    model.predict(X), model.log_prob(torch.tensor(X))
    assert len(pickle.dumps(model)) == fresh


def test_values_of_a_form_are_the_structures(X):
    """A structure's rule makes values; everything else sees these alone."""
    assert isinstance(made("full").parameters.covariances, Full)
    assert isinstance(made("tied_full").parameters.covariances, Full)
    assert made("tied_full").parameters.covariances.shared
