"""Every constructor parameter: what it does, and what `fit` (never the constructor) refuses, with which words."""

import logging
import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from structures import SPECS
from support import (
    COVARIANCE_TYPES,
    FULL_TYPES,
    SPHERICAL_TYPES,
    STARTS,
    TIED_TYPES,
    UNTIED_TYPES,
    assert_same_fit,
    assert_valid,
    covariance_shape,
    dense_covariances,
    grouped_parameters,
    messages,
    reference_log_densities,
    reference_score,
    structured_covariances,
    warnings_of,
    weighted_log_densities,
)

from tgmm import GaussianMixture, Mixture
from tgmm.covariance import CODES

LABELS = np.repeat([0, 1, 2], 50)
KINDS = {"array": np.asarray, "list": lambda a: np.asarray(a).tolist(), "tensor": torch.tensor}
every_type = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def mixture(**parameters):
    return GaussianMixture(**{"n_components": 3, "random_state": 0, **parameters})


def fit_quietly(gmm, X, **keywords):
    """Fit, and let it warn that it did not converge."""
    return warnings_of(gmm.fit, X, **keywords)[0]


def some_covariances(covariance_type, n_components=3, n_features=3, seed=0):
    """Proper covariances in the type's shape, all different."""
    factors = np.random.default_rng(seed).standard_normal((n_components, n_features, n_features))
    dense = factors @ factors.transpose(0, 2, 1) + 2 * np.eye(n_features)
    return structured_covariances(dense, np.full(n_components, 1 / n_components), covariance_type)


# --- values that are refused ------------------------------------------------------------------------------------


BAD_SCALARS = {
    "n_components": [0, -1, 1.5, "three", None],
    "n_features": [0, -2, 2.5, "three"],
    "covariance_type": ["banana", "Full", None, 3],
    "max_iter": [-1, 2.5, "many", None],
    "tol": [-1e-3, np.nan, "small", None],
    "reg_covar": [-1e-6, np.nan, np.inf, "small", None],
    "n_init": [0, -1, 1.5, None],
    "init_means": ["banana", 3],
    "random_state": ["banana", 1.5],
    "warm_start": ["yes"],
    "cem": ["yes"],
    "weight_concentration_prior": [0, -1.0, np.nan, np.inf, "flat"],
    "verbose_interval": [0, -1, 1.5],
    "device": ["banana"],
}
BAD_SCALAR_CASES = [(name, value) for name, values in BAD_SCALARS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), BAD_SCALAR_CASES, ids=[f"{n}={v!r}" for n, v in BAD_SCALAR_CASES])
def test_bad_values_are_refused_at_fit_by_name(blobs, name, value):
    gmm = mixture(**{name: value})
    with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b") as error:
        gmm.fit(blobs)
    assert str(value) in str(error.value)
    assert not hasattr(gmm, "fitted_")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("covariance_type", "banana", "tied_spherical"),
        ("init_means", "banana", "maxdist"),
        ("n_components", 0, "1|positive"),
        ("tol", -1.0, "0|non-?negative"),
        ("reg_covar", -1.0, "0|non-?negative"),
        ("max_iter", -1, "0|non-?negative"),
    ],
)
def test_the_message_says_what_is_wanted(blobs, name, value, remedy):
    with pytest.raises(ValueError, match=rf"(?s){name}.*({remedy})"):
        mixture(**{name: value}).fit(blobs)


BAD_STARTS = {
    "init_means with too few rows": ("init_means", np.zeros((2, 3)), "(3, 3)"),
    "init_means with too many features": ("init_means", np.zeros((3, 4)), "(3, 3)"),
    "init_means 1-D": ("init_means", np.zeros(3), "(3, 3)"),
    "init_means nan": ("init_means", np.full((3, 3), np.nan), "must be finite; got [[nan"),
    "init_means inf": ("init_means", np.full((3, 3), np.inf), "must be finite; got [[inf"),
    "init_means complex": ("init_means", np.zeros((3, 3), dtype=complex), "got complex values"),
    "init_means strings": ("init_means", np.full((3, 3), "a"), "got string values"),
    "init_weights too short": ("init_weights", [0.5, 0.5], "(3,)"),
    "init_weights scalar": ("init_weights", 0.5, "(3,)"),
    "init_weights negative": ("init_weights", [1.2, -0.5, 0.3], "must be >= 0 and sum to 1; got [1.2, -0.5, 0.3]"),
    "init_weights all zero": ("init_weights", [0.0, 0.0, 0.0], "must be >= 0 and sum to 1"),
    "init_weights nan": ("init_weights", [0.5, np.nan, 0.5], "must be >= 0 and sum to 1"),
    "init_weights inf": ("init_weights", [0.5, np.inf, 0.5], "must be >= 0 and sum to 1"),
}


@pytest.mark.parametrize("what", BAD_STARTS)
def test_bad_starts_are_refused_by_name(blobs, what):
    name, value, words = BAD_STARTS[what]
    with pytest.raises(ValueError, match=rf"\b{name}\b") as error:
        mixture(**{name: value}).fit(blobs)
    assert words in str(error.value)


def improper(covariance_type, flaw):
    """Covariances in the type's shape for K = 2, d = 3, with a flaw in the last of them."""
    value = np.array(some_covariances(covariance_type, 2), dtype=float)
    if flaw == "shape":
        return np.ones((5, 4, 7))
    if flaw == "asymmetric":
        value[..., 0, 1] += 3.0
        return value
    bad = {"negative": -1.0, "zero": 0.0, "nan": np.nan, "inf": np.inf}[flaw]
    if covariance_type in FULL_TYPES:
        value[..., 2, :] = value[..., :, 2] = 0
        value[..., 2, 2] = bad
    elif value.ndim:
        value[..., -1] = bad
    else:
        value = np.array(bad)
    return value


FLAWS = [(t, f) for t in COVARIANCE_TYPES for f in ("shape", "negative", "zero", "nan", "inf")]
FLAWS += [(t, "asymmetric") for t in FULL_TYPES]
every_flaw = pytest.mark.parametrize(("covariance_type", "flaw"), FLAWS)


def shape_of(covariance_type):
    return str(covariance_shape(covariance_type, 2, 3))


@every_flaw
def test_bad_init_covariances_are_refused_by_name(blobs, covariance_type, flaw):
    gmm = GaussianMixture(
        n_components=2, covariance_type=covariance_type, init_covariances=improper(covariance_type, flaw)
    )
    with pytest.raises(ValueError, match="init_covariances") as error:
        gmm.fit(blobs)
    assert flaw != "shape" or shape_of(covariance_type) in str(error.value)


# --- priors that are refused ------------------------------------------------------------------------------------


@every_flaw
def test_bad_covariance_priors_are_refused_by_name(blobs, covariance_type, flaw):
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, degrees_of_freedom_prior=6.0)
    gmm.set_params(covariance_prior=improper(covariance_type, flaw))
    with pytest.raises(ValueError, match=r"\bcovariance_prior\b") as error:
        gmm.fit(blobs)
    assert flaw != "shape" or shape_of(covariance_type) in str(error.value)


PAIRS = {
    "mean_prior": (np.zeros(3), "mean_precision_prior"),
    "mean_precision_prior": (1.0, "mean_prior"),
    "covariance_prior": (np.eye(3), "degrees_of_freedom_prior"),
    "degrees_of_freedom_prior": (5.0, "covariance_prior"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_one_of_a_pair_names_its_partner(blobs, name):
    value, partner = PAIRS[name]
    with pytest.raises(ValueError, match=rf"\b{partner}\b") as error:
        mixture(**{name: value}).fit(blobs)
    assert name in str(error.value)


BAD_PRIORS = {
    "alpha zero for one": ("weight_concentration_prior", [1.0, 0.0, 1.0], ""),
    "alpha negative for one": ("weight_concentration_prior", [1.0, 2.0, -1.0], ""),
    "alpha nan for one": ("weight_concentration_prior", [1.0, np.nan, 1.0], ""),
    "alpha too short": ("weight_concentration_prior", [1.0, 1.0], "(3,)"),
    "alpha 2-D": ("weight_concentration_prior", [[1.0, 1.0, 1.0]], "(3,)"),
    "m of too few features": ("mean_prior", np.zeros(2), "(3,)"),
    "m of too many components": ("mean_prior", np.zeros((4, 3)), "(3, 3)"),
    "m nan": ("mean_prior", np.array([0.0, np.nan, 0.0]), ""),
    "m inf": ("mean_prior", np.array([0.0, np.inf, 0.0]), ""),
    "m of strings": ("mean_prior", ["a", "b", "c"], ""),
    "kappa zero": ("mean_precision_prior", 0.0, ""),
    "kappa negative": ("mean_precision_prior", -1.0, ""),
    "kappa nan": ("mean_precision_prior", np.nan, ""),
    "kappa inf": ("mean_precision_prior", np.inf, ""),
    "kappa zero for one": ("mean_precision_prior", [1.0, 0.0, 1.0], ""),
    "kappa too short": ("mean_precision_prior", [1.0, 1.0], "(3,)"),
    "nu nan": ("degrees_of_freedom_prior", np.nan, ""),
    "nu inf": ("degrees_of_freedom_prior", np.inf, ""),
    "nu too short": ("degrees_of_freedom_prior", [5.0, 5.0], "(3,)"),
    "nu too small for one": ("degrees_of_freedom_prior", [5.0, 2.0, 5.0], ""),
}


@pytest.mark.parametrize("what", BAD_PRIORS)
def test_bad_priors_are_refused_by_name(blobs, what):
    name, value, shape = BAD_PRIORS[what]
    pairs = {"mean_prior": np.zeros(3), "mean_precision_prior": 1.0}
    pairs |= {"covariance_prior": np.eye(3), "degrees_of_freedom_prior": 5.0}
    with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b") as error:
        mixture(**{**pairs, name: value}).fit(blobs)
    assert shape in str(error.value)


@every_type
def test_degrees_of_freedom_have_the_type_s_limit(blobs, covariance_type):
    limit = 2.0 if covariance_type in FULL_TYPES else 0.0  # d - 1 or 0
    gmm = mixture(covariance_type=covariance_type, covariance_prior=some_covariances(covariance_type))
    for nu in (limit, limit - 0.5):
        with pytest.raises(ValueError, match="degrees_of_freedom_prior") as error:
            gmm.set_params(degrees_of_freedom_prior=nu).fit(blobs)
        assert str(nu) in str(error.value)
    assert_valid(gmm.set_params(degrees_of_freedom_prior=limit + 0.01).fit(blobs), blobs)


# --- priors: forms that mean the same ---------------------------------------------------------------------------


@every_kind
@every_type
def test_priors_broadcast(blobs, covariance_type, kind):
    psi = np.array(some_covariances(covariance_type))
    shared = psi if SPECS[covariance_type].tied else psi[0]
    per_component = psi if SPECS[covariance_type].tied else np.stack([psi[0]] * 3)
    one = mixture(
        covariance_type=covariance_type,
        weight_concentration_prior=2.0,
        mean_prior=KINDS[kind](np.array([1.0, 2.0, 3.0])),
        mean_precision_prior=0.5,
        covariance_prior=KINDS[kind](shared),
        degrees_of_freedom_prior=4.0,
    ).fit(blobs)
    each = mixture(
        covariance_type=covariance_type,
        weight_concentration_prior=KINDS[kind](np.full(3, 2.0)),
        mean_prior=KINDS[kind](np.array([[1.0, 2.0, 3.0]] * 3)),
        mean_precision_prior=KINDS[kind](np.full(3, 0.5)),
        covariance_prior=KINDS[kind](per_component),
        degrees_of_freedom_prior=4.0 if SPECS[covariance_type].tied else KINDS[kind](np.full(3, 4.0)),
    ).fit(blobs)
    assert_same_fit(one, each)


def test_priors_of_float32_and_integers(blobs):
    parameters = {"mean_precision_prior": 2, "degrees_of_freedom_prior": 5}
    as_integers = mixture(mean_prior=[0, 1, 2], covariance_prior=np.eye(3, dtype=int), **parameters).fit(blobs)
    as_float32 = mixture(
        mean_prior=torch.tensor([0.0, 1.0, 2.0]), covariance_prior=torch.eye(3, dtype=torch.float32), **parameters
    ).fit(blobs)
    assert as_float32.mixture_.dtype == torch.float64
    assert_same_fit(as_integers, as_float32)


# --- starts -----------------------------------------------------------------------------------------------------


@every_type
@pytest.mark.parametrize("start", STARTS)
def test_every_start_gives_a_proper_model(blobs, start, covariance_type):
    gmm = mixture(init_means=start, covariance_type=covariance_type).fit(blobs)
    assert_valid(gmm, blobs)
    assert np.diff(gmm.objective_history_).min() > -1e-10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("start", ["kmeans", "kpp", "maxdist"])
def test_spread_out_starts_find_clusters_far_apart(far_blobs, start, seed):
    X, labels, _ = far_blobs
    gmm = GaussianMixture(n_components=4, init_means=start, random_state=seed).fit(X)
    predicted = gmm.predict(X)
    assert len(set(zip(labels, predicted, strict=True))) == len(set(predicted)) == 4


@pytest.mark.parametrize(("one", "other"), [("kpp", "k-means++"), ("random", "points")])
def test_aliases_of_starts(blobs, one, other):
    assert_same_fit(mixture(init_means=one, n_init=2).fit(blobs), mixture(init_means=other, n_init=2).fit(blobs))


def test_starts_differ_with_the_seed(blobs):
    fits = [fit_quietly(mixture(init_means="random", max_iter=1, random_state=s), blobs) for s in range(4)]
    assert len({tuple(gmm.means_.flatten().tolist()) for gmm in fits}) == 4


def given_start(covariance_type):
    weights = np.array([0.2, 0.3, 0.5])
    means = np.array([[0.0, 1.0, 0.0], [3.0, 1.0, -2.0], [-2.0, 3.0, 1.0]])
    return weights, means, some_covariances(covariance_type)


@every_kind
@every_type
def test_parameters_given_are_where_the_run_starts(blobs, covariance_type, kind):
    weights, means, covariances = given_start(covariance_type)
    gmm = mixture(covariance_type=covariance_type, reg_covar=0, max_iter=1, tol=0)
    gmm.set_params(init_weights=KINDS[kind](weights), init_means=KINDS[kind](means))
    fit_quietly(gmm.set_params(init_covariances=KINDS[kind](covariances)), blobs)
    log_joint = weighted_log_densities(blobs, weights, means, dense_covariances(covariances, covariance_type, 3, 3))
    log_density = np.logaddexp.reduce(log_joint, axis=1)
    responsibilities = np.exp(log_joint - log_density[:, None])
    masses = responsibilities.sum(axis=0)
    assert gmm.objective_history_[0] == pytest.approx(log_density.mean(), rel=1e-10)
    np.testing.assert_allclose(gmm.weights_, masses / len(blobs), rtol=1e-8)
    np.testing.assert_allclose(gmm.means_, responsibilities.T @ blobs / masses[:, None], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("covariance_type", UNTIED_TYPES)
def test_init_covariances_broadcast(blobs, covariance_type):
    _, means, covariances = given_start(covariance_type)
    shared = covariances[0]
    gmm = mixture(covariance_type=covariance_type, init_means=means, init_covariances=shared).fit(blobs)
    stacked = np.stack([shared] * 3)
    assert_same_fit(
        gmm, mixture(covariance_type=covariance_type, init_means=means, init_covariances=stacked).fit(blobs)
    )


@every_kind
def test_init_means_of_every_kind(blobs, kind):
    means = given_start("full")[1]
    assert_same_fit(mixture(init_means=KINDS[kind](means)).fit(blobs), mixture(init_means=means).fit(blobs))


def test_init_means_decide_the_order_of_the_components(far_blobs):
    X, labels, centres = far_blobs
    order = [3, 1, 0, 2]
    gmm = GaussianMixture(n_components=4, init_means=centres[order]).fit(X)
    np.testing.assert_allclose(gmm.means_, [X[labels == k].mean(axis=0) for k in order], rtol=1e-6)


@pytest.mark.parametrize("returns", KINDS)
def test_a_callable_gets_rows_number_and_generator(blobs, returns):
    means, calls = given_start("full")[1], []

    def start(X, n_components, generator):
        calls.append((torch.as_tensor(X).cpu().numpy().copy(), n_components, generator))
        return KINDS[returns](means)

    gmm = mixture(init_means=start).fit(blobs)
    assert len(calls) == 1
    rows, n_components, generator = calls[0]
    np.testing.assert_allclose(rows, blobs, rtol=1e-12, atol=1e-12)
    assert n_components == 3
    assert isinstance(generator, torch.Generator)
    assert_same_fit(gmm, mixture(init_means=means).fit(blobs))


def test_a_callable_s_generator_follows_random_state(blobs):
    def start(X, n_components, generator):
        drawn.append(torch.rand(2, generator=generator).tolist())
        return given_start("full")[1]

    drawn = []
    for seed in (0, 0, 1):
        mixture(init_means=start, n_init=2, random_state=seed).fit(blobs)
    assert len(drawn) == 6
    assert drawn[0] != drawn[1]
    assert drawn[:2] == drawn[2:4]
    assert drawn[:2] != drawn[4:]


CALLABLE_RESULTS = {
    "too few rows": (np.zeros((2, 3)), "(3, 3)"),
    "too few features": (np.zeros((3, 2)), "(3, 3)"),
    "1-D": (np.zeros(3), "(3, 3)"),
    "nan": (np.full((3, 3), np.nan), "nan"),
    "None": (None, "got shape ()"),
    "string": ("kmeans", "kmeans"),
}


@pytest.mark.parametrize("what", CALLABLE_RESULTS)
def test_a_callable_s_bad_result_is_refused_by_name(blobs, what):
    found, word = CALLABLE_RESULTS[what]
    with pytest.raises(ValueError, match="init_means") as error:
        mixture(init_means=lambda X, K, generator: found).fit(blobs)
    assert word in str(error.value)


def test_a_callable_s_own_error_comes_through(blobs):
    def start(X, n_components, generator):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        mixture(init_means=start).fit(blobs)


# --- init_responsibilities --------------------------------------------------------------------------------------


RESPONSIBILITIES = {
    "labels, array": LABELS,
    "labels, int8": LABELS.astype(np.int8),
    "labels, list": LABELS.tolist(),
    "labels, tensor": torch.as_tensor(LABELS),
    "one-hot, array": np.eye(3)[LABELS],
    "one-hot, int": np.eye(3, dtype=int)[LABELS],
    "one-hot, list": np.eye(3)[LABELS].tolist(),
    "one-hot, float32 tensor": torch.eye(3)[LABELS],
}


@pytest.mark.parametrize("kind", RESPONSIBILITIES)
def test_init_responsibilities_of_every_kind(blobs, kind):
    gmm = mixture().fit(blobs, init_responsibilities=RESPONSIBILITIES[kind])
    assert_same_fit(gmm, mixture().fit(blobs, init_responsibilities=LABELS), rtol=1e-10, atol=1e-12)
    from_tensor = mixture().fit(torch.as_tensor(blobs), init_responsibilities=RESPONSIBILITIES[kind])
    assert_same_fit(from_tensor, gmm)


@every_type
def test_init_responsibilities_start_with_an_m_step(blobs, covariance_type):
    gmm = mixture(covariance_type=covariance_type, reg_covar=0).fit(blobs, init_responsibilities=LABELS)
    weights, means, covariances = grouped_parameters(blobs, LABELS, 3, covariance_type)
    log_joint = weighted_log_densities(blobs, weights, means, dense_covariances(covariances, covariance_type, 3, 3))
    assert gmm.objective_history_[0] == pytest.approx(np.logaddexp.reduce(log_joint, axis=1).mean(), rel=1e-10)


def test_soft_init_responsibilities_start_with_an_m_step(blobs):
    soft = np.random.default_rng(2).dirichlet(np.ones(3), len(blobs))
    gmm = mixture(reg_covar=0).fit(blobs, init_responsibilities=soft)
    masses = soft.sum(axis=0)
    means = soft.T @ blobs / masses[:, None]
    scatters = np.stack([np.cov(blobs, rowvar=False, bias=True, aweights=r) for r in soft.T])
    log_joint = weighted_log_densities(blobs, masses / len(blobs), means, scatters)
    assert gmm.objective_history_[0] == pytest.approx(np.logaddexp.reduce(log_joint, axis=1).mean(), rel=1e-10)


def test_init_responsibilities_go_before_init_means(blobs):
    def start(X, n_components, generator):
        raise AssertionError("init_means was used")

    gmm = mixture(init_means=start).fit(blobs, init_responsibilities=LABELS)
    assert_same_fit(gmm, mixture().fit(blobs, init_responsibilities=LABELS))


def spoiled(array, index, value):
    array = np.array(array, dtype=float)
    array[index] = value
    return array


BAD_RESPONSIBILITIES = {
    "label too large": np.where(np.arange(150) == 4, 3, LABELS),
    "label negative": np.where(np.arange(150) == 4, -1, LABELS),
    "labels that are no integers": LABELS + 0.5,
    "label nan": spoiled(LABELS, 4, np.nan),
    "labels too short": LABELS[:-1],
    "labels too long": np.r_[LABELS, 0],
    "labels as strings": LABELS.astype(str),
    "too few columns": np.eye(2)[LABELS % 2],
    "too many columns": np.eye(4)[LABELS],
    "too few rows": np.eye(3)[LABELS][:-1],
    "negative": spoiled(np.eye(3)[LABELS], (4, slice(None)), [-0.5, 1.5, 0.0]),
    "nan": spoiled(np.eye(3)[LABELS], (4, 1), np.nan),
    "inf": spoiled(np.eye(3)[LABELS], (4, 1), np.inf),
    "a row of zeros": spoiled(np.eye(3)[LABELS], 4, 0.0),
    "3-D": np.eye(3)[LABELS][None],
    "scalar": 0,
}


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("what", BAD_RESPONSIBILITIES)
def test_bad_init_responsibilities_are_refused_by_name(blobs, what, kind):
    if kind == "tensor" and what == "labels as strings":
        pytest.skip("there are no tensors of strings")
    words = {
        "labels as strings": "must be an array of real numbers: got string values",
        **dict.fromkeys(["negative", "nan", "inf", "a row of zeros"], "must be >= 0 with rows that sum to 1; row 4 is"),
        **dict.fromkeys(
            ["label too large", "label negative", "label nan", "labels that are no integers"],
            "as labels must be integers from 0 to n_components - 1 = 2; got",
        ),
    }
    message = f"init_responsibilities {words.get(what, 'must be labels of shape (n_samples,) = (150,)')}"
    with pytest.raises(ValueError, match=re.escape(message)):
        mixture().fit(KINDS[kind](blobs), init_responsibilities=KINDS[kind](BAD_RESPONSIBILITIES[what]))


# --- stopping ---------------------------------------------------------------------------------------------------


@every_type
@pytest.mark.parametrize("tol", [1e-2, 1e-5])
def test_it_stops_once_the_last_change_and_the_gain_to_be_foreseen_are_below_tol(blobs, covariance_type, tol):
    settings = {"covariance_type": covariance_type, "init_means": "random", "accelerate": None}
    gmm = mixture(tol=tol, max_iter=2000, **settings).fit(blobs)
    changes = np.diff(gmm.objective_history_)
    before, last = changes[:-1], changes[1:]
    foreseen = np.where(before > last, last**2 / (before - last), np.inf)  # Aitken's
    small = (np.abs(last) < tol) & (foreseen < tol)
    assert gmm.converged_ is True
    assert gmm.n_iter_ == len(changes)
    assert small[-1]
    assert not small[:-1].any()


@pytest.mark.parametrize("max_iter", [1, 2, 17])
@pytest.mark.parametrize("cem", [False, True], ids=["em", "cem"])
def test_tol_zero_runs_to_max_iter(blobs, max_iter, cem):
    gmm = fit_quietly(mixture(tol=0, max_iter=max_iter, cem=cem), blobs)
    assert gmm.n_iter_ == max_iter
    assert len(gmm.objective_history_) == max_iter + 1


def test_history_does_not_depend_on_where_it_ends(blobs):
    short, long = (fit_quietly(mixture(tol=0, max_iter=m), blobs) for m in (4, 9))
    np.testing.assert_array_equal(short.objective_history_, long.objective_history_[:5])


def test_not_converged_is_one_warning(blobs):
    gmm, caught = warnings_of(mixture(max_iter=1, tol=1e-12, init_means="random").fit, blobs)
    assert len(caught) == 1, messages(caught)
    assert issubclass(caught[0].category, ConvergenceWarning)
    assert "max_iter" in str(caught[0].message)
    assert gmm.converged_ is False
    assert gmm.n_iter_ == 1


def test_not_converged_in_any_of_several_runs_is_one_warning(blobs):
    gmm, caught = warnings_of(mixture(max_iter=1, tol=1e-12, init_means="random", n_init=4).fit, blobs)
    assert len(caught) == 1, messages(caught)
    assert issubclass(caught[0].category, ConvergenceWarning)
    assert gmm.converged_ is False


@every_type
@pytest.mark.parametrize("start", STARTS)
def test_an_ordinary_fit_is_silent(far_blobs, covariance_type, start, capfd):
    X = far_blobs[0]
    gmm, caught = warnings_of(mixture(covariance_type=covariance_type, init_means=start, max_iter=2000).fit, X)
    assert not caught, messages(caught)
    assert gmm.converged_
    assert capfd.readouterr() == ("", "")


# --- several runs -----------------------------------------------------------------------------------------------


def given(*starts):
    """A start for each run in turn."""
    remaining = iter(starts)
    return lambda X, n_components, generator: next(remaining)


def test_the_best_of_several_runs_wins(far_blobs):
    X, _, centres = far_blobs
    bad = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 100.0], [100.0, 50.0]])
    starts = [bad, centres, bad + 1]
    alone = [fit_quietly(GaussianMixture(n_components=4, init_means=given(s), max_iter=20), X) for s in starts]
    bounds = [gmm.lower_bound_ for gmm in alone]
    assert bounds[1] > max(bounds[0], bounds[2])
    gmm = GaussianMixture(n_components=4, init_means=given(*starts), n_init=3, max_iter=20)
    fit_quietly(gmm, X)
    assert gmm.lower_bound_ == max(bounds)
    assert gmm.n_iter_ == alone[1].n_iter_
    assert len(gmm.objective_history_) == gmm.n_iter_ + 1
    assert_same_fit(gmm, alone[1])


def test_the_best_of_several_runs_is_the_best_posterior_with_priors(far_blobs):
    X, _, _ = far_blobs
    priors = {"mean_prior": [100.0, 100.0], "mean_precision_prior": 30.0, "max_iter": 50}
    rng = np.random.default_rng(0)
    starts = [rng.uniform(0, 100, (4, 2)) for _ in range(6)]
    alone = [fit_quietly(GaussianMixture(n_components=4, init_means=given(s), **priors), X) for s in starts]
    objectives = [gmm.objective_history_[-1] for gmm in alone]
    assert len(set(objectives)) > 1
    gmm = GaussianMixture(n_components=4, init_means=given(*starts), n_init=6, **priors)
    fit_quietly(gmm, X)
    assert gmm.objective_history_[-1] == max(objectives)


def test_several_runs_are_never_worse_than_one(blobs):
    one = mixture(init_means="random", n_components=5).fit(blobs)
    many = mixture(init_means="random", n_components=5, n_init=8).fit(blobs)
    assert many.lower_bound_ >= one.lower_bound_


# --- warm start -------------------------------------------------------------------------------------------------


@every_type
def test_warm_start_continues_as_if_never_stopped(blobs, covariance_type):
    settings = {
        "covariance_type": covariance_type,
        "init_means": "random",
        "tol": 0,
        "reg_covar": 0,
        "accelerate": None,
    }
    whole = fit_quietly(mixture(max_iter=12, **settings), blobs)
    split = fit_quietly(mixture(max_iter=5, warm_start=True, **settings), blobs)
    first = np.array(split.objective_history_)
    fit_quietly(split.set_params(max_iter=7), blobs)
    assert split.n_iter_ == 7
    assert_same_fit(split, whole, rtol=1e-9, atol=1e-10)
    joined = np.r_[first, split.objective_history_[1:]]
    np.testing.assert_allclose(joined, whole.objective_history_, rtol=1e-11)


@every_type
def test_warm_start_from_a_converged_solution_stays(blobs, covariance_type):
    gmm = mixture(covariance_type=covariance_type, warm_start=True, reg_covar=0, tol=1e-9, max_iter=5000).fit(blobs)
    bound = gmm.lower_bound_
    gmm.fit(blobs)
    assert gmm.n_iter_ == 1
    assert gmm.lower_bound_ == pytest.approx(bound, abs=1e-8)


def test_warm_start_does_not_use_the_start_again(blobs):
    calls = []

    def start(X, n_components, generator):
        calls.append(n_components)
        return given_start("full")[1]

    gmm = mixture(init_means=start, warm_start=True).fit(blobs)
    gmm.fit(blobs)
    assert calls == [3]
    gmm.set_params(warm_start=False).fit(blobs)
    assert calls == [3, 3]


def test_warm_start_moves_to_other_rows(blobs):
    gmm = mixture(warm_start=True).fit(blobs)
    gmm.fit(blobs + 0.1)
    np.testing.assert_allclose(gmm.means_, mixture().fit(blobs).means_ + 0.1, atol=0.05)


def test_without_warm_start_a_fit_starts_over(blobs):
    gmm = fit_quietly(mixture(init_means="random", max_iter=2), blobs)
    first = gmm.objective_history_[0]
    fit_quietly(gmm, blobs)
    assert gmm.objective_history_[0] == first


# --- classification EM ------------------------------------------------------------------------------------------


@every_type
def test_cem_climbs_the_classification_likelihood(blobs, covariance_type):
    gmm = mixture(covariance_type=covariance_type, cem=True, reg_covar=0, init_means=blobs[[0, 50, 100]]).fit(blobs)
    assert np.diff(gmm.objective_history_).min() > -1e-10
    assert gmm.objective_history_[-1] == pytest.approx(
        reference_log_densities(gmm, blobs).max(axis=1).mean(), rel=1e-10
    )
    assert gmm.lower_bound_ == pytest.approx(reference_score(gmm, blobs), rel=1e-10)


@every_type
def test_cem_ends_with_the_parameters_of_its_groups(blobs, covariance_type):
    gmm = mixture(covariance_type=covariance_type, cem=True, reg_covar=0, tol=1e-12).fit(blobs)
    weights, means, covariances = grouped_parameters(blobs, gmm.predict(blobs), 3, covariance_type)
    np.testing.assert_allclose(gmm.weights_, weights, rtol=1e-9)
    np.testing.assert_allclose(gmm.means_, means, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(gmm.covariances_, covariances, rtol=1e-8, atol=1e-9)


def test_cem_differs_from_em_where_clusters_overlap(blobs):
    em, cem = mixture().fit(blobs), mixture(cem=True).fit(blobs)
    assert em.lower_bound_ > cem.lower_bound_


# --- the rest ---------------------------------------------------------------------------------------------------


def test_tied_means_tied_full(blobs):
    tied, tied_full = mixture(covariance_type="tied").fit(blobs), mixture(covariance_type="tied_full").fit(blobs)
    assert tied.covariance_type == "tied"
    assert_same_fit(tied, tied_full)
    for method in ("predict", "predict_proba", "score_samples", "aic", "bic", "icl"):
        np.testing.assert_array_equal(getattr(tied, method)(blobs), getattr(tied_full, method)(blobs))


def test_n_features_that_agrees_changes_nothing(blobs):
    assert_same_fit(mixture(n_features=3).fit(blobs), mixture().fit(blobs))


def test_integers_of_numpy_are_integers(blobs):
    gmm = mixture(n_components=np.int64(3), n_features=np.int32(3), max_iter=np.int64(200), n_init=np.int8(1)).fit(
        blobs
    )
    assert_same_fit(gmm, mixture().fit(blobs))


# --- reg_covar --------------------------------------------------------------------------------------------------


@every_type
def test_reg_covar_is_in_units_of_the_smallest_variance_at_the_start(blobs, covariance_type):
    weights, means, covariances = given_start(covariance_type)
    gmm = mixture(covariance_type=covariance_type, reg_covar=0.01, init_weights=weights, init_means=means)
    gmm.set_params(init_covariances=covariances).fit(blobs)
    expected = 0.01 * np.einsum("kjj->kj", dense_covariances(covariances, covariance_type, 3, 3)).min(0)
    if covariance_type in SPHERICAL_TYPES:
        expected = expected[0]
    assert gmm.reg_covar_.shape == np.shape(expected)
    np.testing.assert_allclose(gmm.reg_covar_, expected, rtol=1e-10)


@every_type
def test_reg_covar_of_a_start_from_labels(blobs, covariance_type):
    gmm = mixture(covariance_type=covariance_type, reg_covar=0.05).fit(blobs, init_responsibilities=LABELS)
    within = np.stack([blobs[k == LABELS].var(axis=0) for k in range(3)])
    within = within.mean(1) if covariance_type in SPHERICAL_TYPES else within
    expected = 0.05 * (within.mean(0) if covariance_type in TIED_TYPES else within.min(0))
    np.testing.assert_allclose(gmm.reg_covar_, expected, rtol=1e-10)


@every_type
@pytest.mark.parametrize("reg_covar", [1e-6, 0.3, 2.0])
def test_reg_covar_is_added_to_every_variance(blobs, covariance_type, reg_covar):
    gmm = GaussianMixture(covariance_type=covariance_type, reg_covar=reg_covar).fit(blobs)
    plain = GaussianMixture(covariance_type=covariance_type, reg_covar=0).fit(blobs)
    added = dense_covariances(gmm.covariances_ - plain.covariances_, covariance_type, 1, 3)[0]
    variances = np.diag(dense_covariances(plain.covariances_, covariance_type, 1, 3)[0])
    np.testing.assert_allclose(added, np.diag(reg_covar * variances), rtol=1e-5, atol=1e-12 * variances.max())
    np.testing.assert_allclose(np.broadcast_to(gmm.reg_covar_, 3), reg_covar * variances, rtol=1e-10)
    assert (plain.reg_covar_ == 0).all()


@every_type
def test_reg_covar_of_features_without_variance_within_the_start(covariance_type):
    # Feature 0 varies within the groups, 1 only between them, 2 not at all.
    labels = np.repeat([0, 1], 40)
    rows = np.random.default_rng(0).standard_normal(80)
    X = np.column_stack([rows, np.where(labels == 0, -3.0, 3.0), np.full(80, 7.0)])
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0.01)
    gmm, _ = warnings_of(gmm.fit, X, init_responsibilities=labels)
    within = [rows[labels == k].var() for k in (0, 1)]
    within = np.mean(within) if covariance_type in TIED_TYPES else min(within)
    expected = within / 3 if covariance_type in SPHERICAL_TYPES else np.array([within, 9.0, 1.0])
    np.testing.assert_allclose(gmm.reg_covar_, 0.01 * expected, rtol=1e-6)


@pytest.mark.parametrize("covariance_type", SPHERICAL_TYPES)
def test_reg_covar_of_spherical_types_without_variance_within_the_start(covariance_type):
    labels = np.repeat([0, 1], 40)
    X = np.where(labels == 0, -1.0, 1.0)[:, None] * [1.0, 3.0]
    gmm = GaussianMixture(n_components=2, covariance_type=covariance_type, reg_covar=0.01)
    gmm, _ = warnings_of(gmm.fit, X, init_responsibilities=labels)
    np.testing.assert_allclose(gmm.reg_covar_, 0.01 * 5.0, rtol=1e-6)


@every_type
def test_reg_covar_of_rows_that_are_all_the_same(covariance_type):
    X = np.full((20, 3), 4.0)
    gmm, _ = warnings_of(GaussianMixture(covariance_type=covariance_type, reg_covar=0.01).fit, X)
    np.testing.assert_allclose(gmm.reg_covar_, 0.01 * np.ones(() if covariance_type in SPHERICAL_TYPES else 3))
    assert_valid(gmm, X)


# --- progress ---------------------------------------------------------------------------------------------------


def progress(gmm, X, caplog):
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="tgmm"):
        fit_quietly(gmm, X)
    return [r for r in caplog.records if r.name.split(".")[0] == "tgmm" and r.levelno >= logging.INFO]


def test_verbose_logs_progress_every_interval(blobs, caplog):
    every = progress(mixture(verbose=True, verbose_interval=1, tol=0, max_iter=12), blobs, caplog)
    every_fourth = progress(mixture(verbose=True, verbose_interval=4, tol=0, max_iter=12), blobs, caplog)
    assert len(every) >= 12
    assert 3 <= len(every_fourth) <= len(every) - 8
    assert any("12" in r.getMessage() for r in every)


def test_verbose_off_logs_nothing(blobs, caplog, capfd):
    assert not progress(mixture(tol=0, max_iter=12), blobs, caplog)
    assert capfd.readouterr() == ("", "")


def test_verbose_shows_a_tqdm_bar(blobs, caplog, capfd):
    pytest.importorskip("tqdm")
    progress(mixture(verbose=True, tol=0, max_iter=12), blobs, caplog)
    shown = capfd.readouterr()
    assert "12" in shown.err
    assert shown.out == ""


def test_verbose_works_without_tqdm(blobs, caplog, capfd, monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "tqdm"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert progress(mixture(verbose=True, verbose_interval=5, tol=0, max_iter=12), blobs, caplog)
    assert capfd.readouterr().out == ""


def test_verbose_changes_no_result(blobs, caplog):
    loud = mixture(verbose=True, verbose_interval=1, n_init=2)
    progress(loud, blobs, caplog)
    assert_same_fit(loud, mixture(n_init=2).fit(blobs))


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_a_fit_that_fails_leaves_the_model_as_it_was(blobs, kind):
    gmm = mixture().fit(KINDS[kind](blobs))
    before = gmm.predict(blobs)
    with pytest.raises(ValueError, match="NaN"):
        gmm.fit(KINDS[kind](np.full((20, 2), np.nan)))
    np.testing.assert_array_equal(gmm.predict(blobs), before)


@pytest.mark.parametrize(("code", "name"), CODES.items())
def test_mclusts_codes_are_names(code, name, blobs, tmp_path):
    settings = {"n_components": 2, "random_state": 0, "max_iter": 3, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = GaussianMixture(covariance_type=code, **settings).fit(blobs)
        expected = GaussianMixture(covariance_type=name, **settings).fit(blobs)
    np.testing.assert_array_equal(found.covariances_, expected.covariances_)
    assert (found.covariance_type, found.mixture_.covariance_type) == (code, name)
    found.save(tmp_path / "model.pth")
    assert GaussianMixture.load(tmp_path / "model.pth").covariance_type == code
    assert Mixture(found.weights_, found.means_, found.covariances_, code).covariance_type == name


def test_a_warm_start_wants_the_columns_of_the_last_fit_in_their_order(blobs):
    frame = pd.DataFrame(blobs[:, :2], columns=["a", "b"])
    model = GaussianMixture(2, warm_start=True, random_state=0).fit(frame)
    before = model.means_
    with pytest.raises(ValueError, match=r"the columns \['a', 'b'\], but X has \['b', 'a'\]: .* warm_start=False"):
        model.fit(frame[["b", "a"]])
    np.testing.assert_array_equal(model.means_, before)
    assert model.fit(frame).lower_bound_ >= GaussianMixture(2, random_state=0).fit(frame).lower_bound_ - 1e-9
    assert model.set_params(warm_start=False).fit(frame[["b", "a"]]).feature_names_in_.tolist() == ["b", "a"]
