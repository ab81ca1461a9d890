"""Accelerated EM and short runs: the same limits, never a fall, less work."""

import math

import numpy as np
import pytest
from cases import mixture

from tgmm import GaussianMixture
from tgmm.covariance import STRUCTURES
from tgmm.em import restarts
from tgmm.em.state import RunState
from tgmm.em.step import EM

PRIORS = {
    "ml": {},
    "map": {"weight_concentration_prior": 2.0, "mean_prior": np.zeros(2), "mean_precision_prior": 0.1},
}


def fit(X, labels, structure, accelerate, **kwargs):
    settings = {"tol": 1e-11, "max_iter": 20000, "reg_covar": 0} | kwargs
    return GaussianMixture(3, covariance_type=structure, accelerate=accelerate, **settings).fit(
        X, init_responsibilities=labels
    )


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("priors", PRIORS)
def test_the_limit_is_that_of_plain_em(structure, priors):
    X, labels = mixture(3, n=400, d=2, n_components=3, separation=1.5)
    plain = fit(X, labels, structure, None, **PRIORS[priors])
    fast = fit(X, labels, structure, "squarem", **PRIORS[priors])
    assert fast.converged_
    assert fast.objective_history_[-1] == pytest.approx(plain.objective_history_[-1], abs=1e-7)
    assert (np.diff(fast.objective_history_) >= -1e-10).all()
    assert len(fast.objective_history_) == fast.n_iter_ + 1
    assert fast.lower_bound_ == pytest.approx(fast.score(X), abs=1e-12)


def overlapping(seed, d):
    """Three unit balls close together, and the components that the rows came from."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=1000)
    return rng.standard_normal((3, d))[labels] * 1.2 + rng.standard_normal((1000, d)), labels


def steps_to_the_limit(X, labels):
    """EM steps of plain and accelerated runs until 1e-7 below the higher of their limits."""
    models = [fit(X, labels, "tied_full", accelerate) for accelerate in (None, "squarem")]
    limit = max(model.objective_history_[-1] for model in models) - 1e-7
    return [int((np.array(model.objective_history_) < limit).sum()) for model in models]


def test_overlapping_components_need_half_the_steps_or_fewer():
    plain, fast = np.sum([steps_to_the_limit(*overlapping(seed, d=2)) for seed in range(4)], axis=0)
    assert plain > 200
    assert fast <= plain / 2


@pytest.mark.parametrize("settings", [{"cem": True}, {"reg_covar": 0.1}, {"weight_concentration_prior": 0.5}])
def test_it_never_falls_with(settings):
    X, labels = mixture(5, n=300, d=2, n_components=3, separation=1.0)
    model = fit(X, labels, "full", "squarem", **settings)
    assert (np.diff(model.objective_history_) >= -1e-10).all()


def test_float32_ends_where_float64_does():
    X, labels = mixture(6, n=1000, d=2, n_components=3, separation=1.5)
    X = X.astype(np.float32)
    narrow, wide = fit(X, labels, "diag", "squarem"), fit(X.astype(float), labels, "diag", "squarem")
    assert narrow.lower_bound_ == pytest.approx(wide.lower_bound_, abs=1e-6)


def run_all(X, monkeypatch, **settings):
    """A fit of which no run is given up."""
    with monkeypatch.context() as patch:
        patch.setattr(restarts, "OPTIMISM", 1e9)
        return GaussianMixture(**settings).fit(X)


def steps_of(monkeypatch):
    """A list that grows by one with every EM step of any run."""
    steps, step = [], EM.step

    def counting(self, state, **kwargs):
        steps.append(state.objective)
        return step(self, state, **kwargs)

    monkeypatch.setattr(EM, "step", counting)
    return steps


def test_runs_that_cannot_catch_up_are_given_up(monkeypatch):
    X, _ = mixture(8, n=600, d=5, n_components=6, separation=4.0)
    settings = {"n_components": 6, "n_init": 10, "init_means": "random", "random_state": 1, "tol": 1e-11}
    settings |= {
        "accelerate": None,
        "max_iter": 20_000,
        "reg_covar": 0.0,
    }  # which depends on the start: equal optima are equal
    steps = steps_of(monkeypatch)
    everything = run_all(X, monkeypatch, **settings)
    n_everything = len(steps)
    steps.clear()
    raced = GaussianMixture(**settings).fit(X)
    assert raced.lower_bound_ == pytest.approx(everything.lower_bound_, abs=1e-9)
    assert len(steps) < n_everything / 2


@pytest.mark.parametrize("tol", [1e-8, 1e-9])
def test_accelerated_runs_stop_as_near_to_their_limit_as_tol_says(tol):
    """Though the first steps after a jump shrink fast, whatever remains."""
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(0, 1, (1000, 1)), rng.normal(1.5, 1.3, (1000, 1))])
    settings = {"init_means": "kmeans", "max_iter": 20_000, "random_state": 0}
    limit = GaussianMixture(2, tol=1e-12, accelerate=None, **settings).fit(X).objective_history_[-1]
    assert limit - GaussianMixture(2, tol=tol, **settings).fit(X).objective_history_[-1] < 10 * tol


def test_the_gain_that_is_foreseen_is_that_of_a_geometric_series():
    X, labels = mixture(3, n=400, d=2, n_components=3, separation=1.5)
    model = fit(X, labels, "full", None)
    run = RunState(None, None, tuple(model.objective_history_[:-20]))
    assert run.foreseen_gain == pytest.approx(model.objective_history_[-1] - run.history[-1], rel=0.2)
    assert RunState(None, None, (0.0, 1.0, 3.0)).foreseen_gain == math.inf
