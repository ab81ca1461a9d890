"""Moves of a run that has converged: they raise the bound, and find what steps alone do not."""

import numpy as np
import pytest
from structures import SPECS
from support import COVARIANCE_TYPES

from tgmm import BayesianGaussianMixture

SETTINGS = {"max_iter": 2000, "tol": 1e-6, "random_state": 0}


def clusters(seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=300)
    return np.array([[0.0, 0], [7, 0], [0, 7]])[labels] + rng.standard_normal((300, 2)), labels


def split_in(X, labels, n_components, seed=1):
    """Responsibilities that begin with several components in each cluster."""
    del X
    own = np.random.default_rng(seed).integers(n_components // 3, size=len(labels))
    return own * 3 + labels


@pytest.mark.parametrize("name", COVARIANCE_TYPES)
def test_components_that_share_a_cluster_become_one(name):
    X, labels = clusters()
    kinds = ["dirichlet_process", "dirichlet_distribution"]
    kind = kinds[SPECS[name].tied]
    model = BayesianGaussianMixture(6, covariance_type=name, weight_concentration_prior_type=kind, **SETTINGS)
    start = split_in(X, labels, 6)
    plain = model.set_params(moves=False).fit(X, init_responsibilities=start).lower_bound_
    model.set_params(moves=True).fit(X, init_responsibilities=start)
    assert model.n_components_ == 3
    assert model.lower_bound_ >= plain
    assert np.diff(model.objective_history_).min() > -1e-9


def test_components_of_a_process_come_in_order():
    X, labels = clusters()
    sizes = np.bincount(labels)
    rare_first = np.argsort(np.argsort(sizes))[labels]
    model = BayesianGaussianMixture(3, weight_concentration_prior=0.1, **SETTINGS)
    plain = model.set_params(moves=False).fit(X, init_responsibilities=rare_first).lower_bound_
    model.set_params(moves=True).fit(X, init_responsibilities=rare_first)
    assert model.lower_bound_ > plain
    assert (np.diff(model.weights_) < 0).all()


def test_a_component_whose_rows_others_explain_goes():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 2))
    thirds = np.digitize(X[:, 0], [-0.4, 0.4])
    model = BayesianGaussianMixture(3, **SETTINGS).fit(X, init_responsibilities=thirds)
    assert model.n_components_ == 1


def test_moves_are_made_only_once_a_run_has_converged():
    X, labels = clusters()
    start = split_in(X, labels, 6)
    histories = []
    for moves in (False, True):
        model = BayesianGaussianMixture(6, **SETTINGS, moves=moves).fit(X, init_responsibilities=start)
        histories.append(model.objective_history_)
    plain, moved = histories
    assert moved[: len(plain) - 1] == plain[:-1]
