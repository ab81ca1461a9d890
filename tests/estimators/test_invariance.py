"""Properties of every fit, over random data: what must not change it, and how the objective moves.

Data are multiples of 1/256, so that an integer offset and a power of two as unit change no digit of them.
"""

from unittest import mock

import numpy as np
import pytest
from cases import as_numpy, assert_same_parameters, fit_quietly, parameters, prior_keywords
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from naive_em import STRUCTURES
from structures import SPECS

from tgmm import GaussianMixture

settings.register_profile("oracle", derandomize=True, deadline=None, max_examples=40)
quickly = settings(settings.get_profile("oracle"))

recipes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "structure": st.sampled_from(STRUCTURES),
        "n": st.integers(50, 80),
        "d": st.integers(1, 3),
        "n_components": st.integers(1, 3),
        "overlap": st.booleans(),
        "cem": st.booleans(),
    }
)
seeds = st.integers(0, 10_000)


def cook(seed, structure, n, d, n_components, overlap, cem):
    """Rows on a grid, soft responsibilities, positive weights.

    Where clusters overlap the start knows nothing of them. Hard assignments are for clusters apart and a start near
    the truth alone: elsewhere they may empty a component.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_components
    apart = cem or not overlap
    mixing = np.eye(d) + 0.3 * rng.standard_normal((d, d))
    X = (1 + 0.5 * labels[:, None]) * rng.standard_normal((n, d)) @ mixing + (12 if apart else 2) * labels[:, None]
    responsibilities = rng.dirichlet(np.ones(n_components), n) + (10 if apart else 0) * np.eye(n_components)[labels]
    return {
        "X": np.round(X * 256) / 256,
        "responsibilities": responsibilities / responsibilities.sum(axis=1, keepdims=True),
        "sample_weight": rng.uniform(0.1, 3, n),
        "structure": structure,
        "cem": cem,
    }


def fitted(problem, *, iterations=5, prior=None, **changes):
    """A model after a few iterations without regularisation; ``changes`` replace parts of the problem."""
    problem = problem | changes
    model = GaussianMixture(
        n_components=problem["responsibilities"].shape[1],
        covariance_type=problem["structure"],
        max_iter=iterations,
        tol=0,
        reg_covar=problem.get("reg_covar", 0),
        cem=problem["cem"],
        **(prior or {}),
    )
    return fit_quietly(
        model,
        problem["X"],
        sample_weight=problem["sample_weight"],
        init_responsibilities=problem["responsibilities"],
    )


@quickly
@given(recipe=recipes, power=st.integers(0, 20), reg_covar=st.sampled_from([0, 1e-3]))
def test_an_offset_moves_the_means_alone(recipe, power, reg_covar):
    problem = cook(**recipe)
    d = problem["X"].shape[1]
    offset = 2.0**power * np.arange(1, d + 1) * (-1) ** np.arange(d)
    model = fitted(problem, reg_covar=reg_covar)
    moved = fitted(problem, X=problem["X"] + offset, reg_covar=reg_covar)
    weights, means, covariances = parameters(model)
    expected = (weights, means + offset, covariances)
    slack = np.spacing(np.abs(offset).max())  # the means as they are stored
    assert_same_parameters(parameters(moved), expected, problem["structure"], 1e-8, mean_slack=slack)
    np.testing.assert_allclose(moved.objective_history_, model.objective_history_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(as_numpy(moved.reg_covar_), as_numpy(model.reg_covar_), rtol=1e-8)


@quickly
@given(recipe=recipes, powers=st.lists(st.integers(-40, 40), min_size=3, max_size=3))
def test_units_scale_the_parameters(recipe, powers):
    """Each feature has its own unit; the spherical structures, which compare features, have one for all."""
    problem = cook(**recipe)
    structure, d = problem["structure"], problem["X"].shape[1]
    units = 2.0 ** np.array(powers[:d])
    if SPECS[structure].knows_units:
        units[:] = units[0]
    model = fitted(problem, reg_covar=1e-3)
    scaled = fitted(problem, X=problem["X"] * units, reg_covar=1e-3)
    weights, means, covariances = parameters(model)
    squares = [units[0] ** 2, units**2, np.outer(units, units)][SPECS[structure].n_axes]
    expected = (weights, means * units, covariances * squares)
    assert_same_parameters(parameters(scaled), expected, structure, 1e-9)
    history = as_numpy(model.objective_history_) - np.log(units).sum()
    np.testing.assert_allclose(scaled.objective_history_, history, rtol=0, atol=1e-9)
    reg = as_numpy(model.reg_covar_) * (units[0] ** 2 if SPECS[structure].knows_units else units**2)
    np.testing.assert_allclose(as_numpy(scaled.reg_covar_), reg, rtol=1e-9)


@quickly
@given(recipe=recipes, seed=seeds)
def test_the_order_of_rows_and_the_chunks_do_not_matter(recipe, seed):
    problem = cook(**recipe)
    model = fitted(problem)
    order = np.random.default_rng(seed).permutation(len(problem["X"]))
    rows = {name: problem[name][order] for name in ("X", "responsibilities", "sample_weight")}
    shuffled = fitted(problem, **rows)
    with mock.patch("tgmm.kernels.chunking.rows_per_chunk", lambda *args, **kwargs: 1 + seed % 13):
        chunked = fitted(problem)
        predictions = chunked.predict_proba(problem["X"])
    for other in (shuffled, chunked):
        assert_same_parameters(parameters(other), parameters(model), problem["structure"], 1e-9)
        np.testing.assert_allclose(other.objective_history_, model.objective_history_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(predictions, model.predict_proba(problem["X"]), rtol=0, atol=1e-8)


@quickly
@given(recipe=recipes, seed=seeds)
def test_a_weight_is_a_repetition(recipe, seed):
    problem = cook(**recipe)
    counts = np.random.default_rng(seed).integers(0, 4, len(problem["X"]))
    weighted = fitted(problem, reg_covar=1e-3, sample_weight=counts)
    rows = {name: np.repeat(problem[name], counts, axis=0) for name in ("X", "responsibilities")}
    repeated = fitted(problem, reg_covar=1e-3, sample_weight=None, **rows)
    assert_same_parameters(parameters(repeated), parameters(weighted), problem["structure"], 1e-9)
    np.testing.assert_allclose(repeated.objective_history_, weighted.objective_history_, rtol=0, atol=1e-9)
    score = weighted.score(problem["X"], sample_weight=counts)
    assert repeated.score(rows["X"]) == pytest.approx(score, abs=1e-9)


@quickly
@given(recipe=recipes, start=st.sampled_from(["kmeans", "k-means++", "random", "maxdist"]), seed=seeds)
def test_the_librarys_own_starts_know_neither_repetition_nor_order(recipe, start, seed):
    X, K = cook(**recipe)["X"], recipe["n_components"]
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, len(X))
    order = rng.permutation(counts.sum())

    def fit_with(rows, weights):
        model = GaussianMixture(
            K,
            covariance_type=recipe["structure"],
            init_means=start,
            random_state=seed,
            max_iter=5,
            tol=0,
            reg_covar=1e-3,
        )
        return parameters(fit_quietly(model, rows, sample_weight=weights))

    weighted, repeated = fit_with(X, counts), fit_with(np.repeat(X, counts, axis=0)[order], None)
    assert_same_parameters(repeated, weighted, recipe["structure"], 1e-8)


@quickly
@given(recipe=recipes, power=st.integers(-30, 30))
def test_the_scale_of_the_weights_does_not_matter(recipe, power):
    problem = cook(**recipe)
    model = fitted(problem, reg_covar=1e-3)
    scaled = fitted(problem, reg_covar=1e-3, sample_weight=problem["sample_weight"] * 3.0**power)
    assert_same_parameters(parameters(scaled), parameters(model), problem["structure"], 1e-9)
    np.testing.assert_allclose(scaled.objective_history_, model.objective_history_, rtol=0, atol=1e-9)


@quickly
@given(recipe=recipes, seed=seeds)
def test_rows_of_weight_0_are_not_there(recipe, seed):
    problem = cook(**recipe)
    rng = np.random.default_rng(seed)
    weight = problem["sample_weight"] * (rng.random(len(problem["X"])) < 0.8)
    kept = weight > 0
    X = np.where(kept[:, None], problem["X"], 1e3)  # far out, so that any share of them would show
    whole = fitted(problem, X=X, sample_weight=weight, reg_covar=1e-3)
    rows = {"X": X[kept], "responsibilities": problem["responsibilities"][kept], "sample_weight": weight[kept]}
    assert_same_parameters(
        parameters(whole), parameters(fitted(problem, reg_covar=1e-3, **rows)), problem["structure"], 1e-8
    )


@quickly
@given(
    recipe=recipes,
    start=st.sampled_from(["kmeans", "k-means++", "random", "maxdist"]),
    powers=st.lists(st.integers(-30, 30), min_size=3, max_size=3),
)
def test_the_librarys_own_starts_know_neither_offset_nor_units(recipe, start, powers):
    structure, K, d = recipe["structure"], recipe["n_components"], recipe["d"]
    X = cook(**recipe)["X"]
    units = 2.0 ** np.array(powers[:d])
    if SPECS[structure].knows_units:
        units[:] = units[0]
    model = GaussianMixture(
        K, covariance_type=structure, init_means=start, random_state=recipe["seed"], max_iter=5, tol=0, reg_covar=1e-3
    )
    weights, means, covariances = parameters(fit_quietly(model, X))
    squares = [units[0] ** 2, units**2, np.outer(units, units)][SPECS[structure].n_axes]
    moved = parameters(fit_quietly(model, (X + 1024) * units))
    expected = (weights, (means + 1024) * units, covariances * squares)
    assert_same_parameters(moved, expected, structure, 1e-8)


@quickly
@given(
    recipe=recipes,
    priors=st.sampled_from(["none", "weights", "means", "covariance", "all"]),
    reg_covar=st.sampled_from([0, 1e-6]),
)
def test_the_objective_never_falls(recipe, priors, reg_covar):
    problem = cook(**recipe)
    assume(not problem["cem"] or priors in ("none", "weights"))  # strong priors too may empty a component
    structure, d = problem["structure"], problem["X"].shape[1]
    prior = prior_keywords(priors, structure, problem["responsibilities"].shape[1], d)
    model = fitted(problem, iterations=30, prior=prior, reg_covar=reg_covar)
    history = as_numpy(model.objective_history_)
    assert np.diff(history).min() > -1e-10
    assert len(history) == model.n_iter_ + 1


@quickly
@given(recipe=recipes, priors=st.sampled_from(["none", "all"]), seed=seeds)
def test_relabelled_components_stay_relabelled(recipe, priors, seed):
    problem = cook(**recipe)
    structure, d, K = problem["structure"], problem["X"].shape[1], problem["responsibilities"].shape[1]
    tied = SPECS[structure].tied
    order = np.random.default_rng(seed).permutation(K)
    prior = prior_keywords(priors, structure, K, d)
    relabelled_prior = {
        name: value if tied and name in ("covariance_prior", "degrees_of_freedom_prior") else np.asarray(value)[order]
        for name, value in prior.items()
    }
    weights, means, covariances = parameters(fitted(problem, prior=prior))
    relabelled = fitted(problem, prior=relabelled_prior, responsibilities=problem["responsibilities"][:, order])
    expected = (weights[order], means[order], covariances if tied else covariances[order])
    assert_same_parameters(parameters(relabelled), expected, structure, 1e-9)


@quickly
@given(
    recipe=recipes,
    priors=st.sampled_from(["none", "all"]),
    tol=st.sampled_from([0, 1e-2, 1e-4]),
    reg_covar=st.sampled_from([1e-6, 1e-2]),
)
def test_the_reported_likelihood_is_that_of_the_stored_parameters(recipe, priors, tol, reg_covar):
    problem = cook(**recipe)
    assume(not problem["cem"] or priors in ("none", "weights"))  # strong priors too may empty a component
    structure, d, K = problem["structure"], problem["X"].shape[1], problem["responsibilities"].shape[1]
    model = GaussianMixture(
        K,
        covariance_type=structure,
        tol=tol,
        max_iter=12,
        reg_covar=reg_covar,
        cem=problem["cem"],
        **prior_keywords(priors, structure, K, d),
    )
    weight = problem["sample_weight"]
    fit_quietly(model, problem["X"], sample_weight=weight, init_responsibilities=problem["responsibilities"])
    assert model.lower_bound_ == pytest.approx(model.score(problem["X"], sample_weight=weight), abs=1e-10)
    assert model.lower_bound_ == pytest.approx(np.average(model.score_samples(problem["X"]), weights=weight), abs=1e-10)
    history = as_numpy(model.objective_history_)
    assert history.shape == (model.n_iter_ + 1,)
    assert 1 <= model.n_iter_ <= 12
    if priors == "none" and not problem["cem"]:
        assert history[-1] == pytest.approx(model.lower_bound_, abs=1e-12)
    if model.converged_:
        assert abs(history[-1] - history[-2]) < tol or (tol == 0 and history[-1] == history[-2])
    else:
        assert model.n_iter_ == 12
