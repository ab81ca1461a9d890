"""Many mixtures at once over rows in memory: the statistics of each are those of the dense formulas."""

import numpy as np
import pytest
import torch
from batches import covariances_of, members, tensor
from kernel_kinds import TOLD_APART
from naive_em import assign, log_joint
from scipy.special import logsumexp
from structures import SPECS

from tgmm.covariance import STRUCTURES
from tgmm.kernels import batched
from tgmm.kernels.assignment import hard, soft
from tgmm.kernels.base import BITS
from tgmm.kernels.batched import Batched, stacked
from tgmm.model.parameters import Parameters

R, K, D, N = 5, 3, 3, 61
SUMS = ("mass", "first", "second", "log_likelihood", "objective")
CHUNKS = [(1 << 21, 1 << 19), (1 << 21, 2 * K * N), (70, 1 << 19), (70, 3 * K * 20)]  # features, numbers at a time
every_structure = pytest.mark.parametrize("name", TOLD_APART)


@pytest.fixture(params=CHUNKS, ids=["at once", "some mixtures", "some rows", "some of both"])
def at_a_time(request, monkeypatch):
    """Rows and mixtures all at once, or in parts, the last of them short."""
    monkeypatch.setattr(batched, "FEATURES", request.param[0])
    monkeypatch.setattr(batched, "KEPT", request.param[0])
    monkeypatch.setattr(batched, "NUMBERS", request.param[1])


def rows_and_weights(d=D, seed=0):
    rng = np.random.default_rng(seed)
    return 1.3 * rng.standard_normal((N, d)) + 0.2, 0.37 * rng.integers(0, 4, N)


def kernel_of(name, X, w):
    return Batched(tensor(X), tensor(w), STRUCTURES[name].moment)


def sums(name, X, w, responsibilities):
    """Mass, first and second moments, of responsibilities (n, K)."""
    mass = w[:, None] * responsibilities
    products = np.einsum("nk,ni,nj->kij", mass, X, X)
    return mass.sum(0), mass.T @ X, SPECS[name].moments(products)


def assert_statistics(name, statistics, X, w, arrays, *, cem):
    for index, (weights, means, matrices) in enumerate(arrays):
        public = SPECS[name].public(matrices)
        joint = log_joint(X, weights, means, public, name)
        density = logsumexp(joint, axis=1)
        objective = joint.max(axis=1) if cem else density
        expected = *sums(name, X, w, assign(X, weights, means, public, name, cem)), w @ density, w @ objective
        for part, value in zip(SUMS, expected, strict=True):
            actual = getattr(statistics, part)[index]
            assert actual.shape == np.shape(value), part
            np.testing.assert_allclose(actual, value, rtol=1e-10, atol=1e-10, err_msg=part)
    assert float(statistics.weight) == pytest.approx(w.sum(), rel=1e-14)
    assert not statistics.centre.any()


@every_structure
def test_statistics_are_those_of_the_dense_formulas(name, at_a_time):
    """In the first pass of a kernel and in later ones."""
    X, w = rows_and_weights()
    kernel = kernel_of(name, X, w)
    arrays, parameters = members(name, R, K, D)
    assert_statistics(name, kernel.statistics(parameters), X, w, arrays, cem=False)
    assert_statistics(name, kernel.statistics(parameters, hard), X, w, arrays, cem=True)


@every_structure
def test_statistics_of_one_mixture_of_one_component_and_of_one_feature(name):
    for n_mixtures, n_components, d in ((1, 1, 1), (1, 2, 3), (3, 1, 2), (3, 3, 1)):
        X, w = rows_and_weights(d)
        arrays, parameters = members(name, n_mixtures, n_components, d)
        assert_statistics(name, kernel_of(name, X, w).statistics(parameters), X, w, arrays, cem=False)


@every_structure
def test_statistics_of_responsibilities_that_are_known(name, at_a_time):
    X, w = rows_and_weights()
    shares = np.random.default_rng(1).dirichlet(np.ones(K), (R, N))
    given = tensor(shares.transpose(0, 2, 1))
    statistics = kernel_of(name, X, w).of_shares(given)
    for index in range(R):
        for part, value in zip(SUMS[:3], sums(name, X, w, shares[index]), strict=True):
            np.testing.assert_allclose(getattr(statistics, part)[index], value, rtol=1e-12, atol=1e-12, err_msg=part)
    assert torch.equal(statistics.objective, torch.zeros(R).double())
    np.testing.assert_array_equal(given, shares.transpose(0, 2, 1))


@every_structure
def test_joint_log_densities_are_the_dense_ones(name, at_a_time):
    """But for what all components have in common, where they share their covariance."""
    X, w = rows_and_weights()
    arrays, parameters = members(name, R, K, D)
    joint = kernel_of(name, X, w).joint(parameters).numpy() / BITS
    assert joint.shape == (R, K, N)
    for index, (weights, means, matrices) in enumerate(arrays):
        expected = log_joint(X, weights, means, SPECS[name].public(matrices), name).T
        gap = expected - joint[index]
        common = gap.mean(0) if SPECS[name].tied else 0.0
        np.testing.assert_allclose(gap, np.broadcast_to(common, gap.shape), rtol=0, atol=1e-10)


@every_structure
def test_a_component_of_weight_0_gets_nothing(name):
    X, w = rows_and_weights()
    _, parameters = members(name, 2, K, D)
    weights = tensor([[0.6, 0.0, 0.4], [0.2, 0.3, 0.5]])
    parameters = Parameters(weights, parameters.means, parameters.covariances)
    statistics = kernel_of(name, X, w).statistics(parameters)
    assert statistics.mass[0, 1] == 0
    assert not statistics.first[0, 1].any()
    assert torch.isfinite(statistics.objective).all()
    assert (statistics.mass[1] > 0).all()


@every_structure
def test_a_component_far_from_all_rows_does_not_matter(name):
    X, w = rows_and_weights()
    arrays, _ = members(name, 1, K, D)
    weights, means, matrices = arrays[0]
    away = np.array([[0.0], [0.0], [1e4]])
    far = Parameters(tensor(weights[None]), tensor(means + away)[None], covariances_of(name, [matrices]))
    statistics = kernel_of(name, X, w).statistics(far)
    assert statistics.mass[0, 2] == 0
    assert float(statistics.mass.sum()) == pytest.approx(w.sum(), rel=1e-12)


@every_structure
def test_several_batches_are_stacked_as_one(name):
    X, w = rows_and_weights()
    kernel, (_, parameters) = kernel_of(name, X, w), members(name, R, K, D)
    whole = kernel.statistics(parameters)
    found = stacked([kernel.statistics(parameters.of_some(part)) for part in (slice(0, 2), slice(2, 3), slice(3, R))])
    for part in SUMS:
        torch.testing.assert_close(getattr(found, part), getattr(whole, part), rtol=1e-12, atol=1e-12)
    assert torch.equal(found.weight, whole.weight)
    assert torch.equal(found.centre, whole.centre)


@pytest.mark.parametrize("assignment", [soft, hard])
def test_an_assignment_of_a_batch_is_that_of_each_mixture(assignment):
    rng = np.random.default_rng(0)
    joint = tensor(np.round(4 * rng.standard_normal((R, K, N))))  # with ties
    joint[2, :, 5] = -torch.inf
    each = [part.clone() for part in joint]
    likelihood, objective = assignment(joint, None)
    assert likelihood.shape == objective.shape == (R, N)
    for index, part in enumerate(each):
        expected = assignment(part, None)
        assert torch.equal(joint[index], part)
        assert torch.equal(likelihood[index], expected[0])
        assert torch.equal(objective[index], expected[1])
