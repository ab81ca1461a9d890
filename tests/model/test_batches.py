"""Batches of mixtures: everything of each is what it is of that mixture alone, for every structure and prior."""

import numpy as np
import pytest
import torch
from batches import generator, kinds_of_priors, members, priors_of
from structures import SPECS

from tgmm.covariance import STRUCTURES
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update

K, D = 3, 3
BATCH = (2, 2)  # mixtures, in a grid
PLACES = list(np.ndindex(BATCH))
every_structure = pytest.mark.parametrize("name", SPECS)
every_case = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in SPECS for kind in kinds_of_priors(name)]
)


def statistics_of(name, centre, seed=0):
    """The sums of the same rows about a centre, for a grid of responsibilities: of the grid, and of each place."""
    rng = np.random.default_rng(seed)
    X = torch.tensor(rng.standard_normal((40, D)) @ (np.eye(D) + 0.4 * rng.standard_normal((D, D))))
    R = torch.tensor(rng.dirichlet([0.5, 1.0, 2.0], (*BATCH, 40)))
    moment, gaps = STRUCTURES[name].moment, X[:, None] - centre  # (n, K, d)

    def sums(R):
        second = torch.einsum("...nk,nkq->...kq", R, moment.of(gaps).expand(-1, K, -1))
        first, mass = torch.einsum("...nk,nkd->...kd", R, gaps.expand(-1, K, -1)), R.sum(-2)
        objective = mass[..., 0]  # any number
        return Statistics(mass, first, moment.pooled(second), -objective, objective, R.new_tensor(40.0), centre)

    return sums(R), {place: sums(R[place]) for place in PLACES}


def assert_same(parameters, expected, rtol=1e-12):
    torch.testing.assert_close(parameters.weights, expected.weights, rtol=rtol, atol=0)
    torch.testing.assert_close(parameters.means, expected.means, rtol=rtol, atol=1e-13)
    values = parameters.covariances.values, expected.covariances.values
    torch.testing.assert_close(*values, rtol=rtol, atol=1e-11)


@every_case
def test_an_update_of_a_batch_is_that_of_each_mixture(name, kind):
    priors = priors_of(name, kind, K, D)
    amount = torch.tensor(0.3) if STRUCTURES[name].one_scale else torch.tensor([0.3, 0.0, 1.2])
    centres = torch.randn(K, D, generator=generator(), dtype=torch.float64)
    for regularisation in (None, amount.double()):
        update = Update(STRUCTURES[name], priors, regularisation)
        for centre in (torch.zeros(1, D).double(), centres):
            statistics, each = statistics_of(name, centre)
            found = update(statistics)
            assert found.weights.shape == (*BATCH, K)
            log_prior = torch.as_tensor(update.log_prior(found)).expand(BATCH)
            for place in PLACES:
                expected = update(each[place])
                # Those structures that have to iterate stop when the last of a batch has settled.
                assert_same(found.of_some(place), expected, 1e-9 if SPECS[name].restricted else 1e-12)
                assert float(log_prior[place]) == pytest.approx(float(update.log_prior(expected)), rel=1e-9, abs=1e-12)


@every_structure
def test_one_mixture_without_any_weight_is_refused(name):
    statistics, _ = statistics_of(name, torch.zeros(1, D).double())
    mass = statistics.mass[1, 0]
    taken = Priors(concentration=1 - mass - 1e-9)
    with pytest.raises(ValueError, match="weight_concentration_prior sets every weight to 0"):
        Update(STRUCTURES[name], taken)(statistics)


@every_structure
def test_what_follows_from_parameters_is_each_mixtures_own(name):
    arrays, batch = members(name, 3, K, D)
    deviations = torch.randn(3, K, 5, D, generator=generator(), dtype=torch.float64)
    for index in range(len(arrays)):
        one = batch.of_some(index)
        for part in ("natural", "quadratic", "log_constants"):
            torch.testing.assert_close(getattr(batch, part)[index], getattr(one, part), rtol=1e-12, atol=1e-12)
        joint = batch.log_joint(deviations)[index], one.log_joint(deviations[index])
        torch.testing.assert_close(*joint, rtol=1e-12, atol=1e-12)


@every_structure
def test_some_of_a_batch_are_those(name):
    arrays, batch = members(name, 4, K, D)
    statistics, _ = statistics_of(name, torch.zeros(1, D).double())
    for index in (2, slice(1, 3), [3, 0], torch.tensor([False, True, True, False])):
        expected = np.arange(4)[np.asarray(index) if torch.is_tensor(index) else index]
        some = batch.of_some(index)
        np.testing.assert_array_equal(some.weights, np.stack([weights for weights, _, _ in arrays])[expected])
        np.testing.assert_array_equal(some.means, np.stack([means for _, means, _ in arrays])[expected])
        dense = np.stack([matrices for _, _, matrices in arrays])[expected]
        n_covariances = 1 if SPECS[name].tied else K
        np.testing.assert_allclose(some.covariances.dense, dense[..., :n_covariances, :, :], rtol=1e-12, atol=1e-15)
    for index in (1, slice(1, 2), torch.tensor([True, False])):
        some = statistics.of_some(index)
        for part in ("mass", "first", "second", "log_likelihood", "objective"):
            assert torch.equal(getattr(some, part), getattr(statistics, part)[index])
        assert torch.equal(some.weight, statistics.weight)
        assert torch.equal(some.centre, statistics.centre)
