"""Rows that stand for others: which are drawn, and that what they stand for is no more and no less than there is."""

import numpy as np
import pytest
import torch
from batches import generator, tensor
from scipy.stats import chi2, norm

from tgmm.start.seeding import subset


def test_rows_that_are_few_enough_stand_for_themselves():
    weights = tensor([0.5, 3.0, 1e-12])
    for size in (3, 4):
        drawn, stands_for = subset(weights, size, generator())
        assert drawn.tolist() == [0, 1, 2]
        assert torch.equal(stands_for, weights)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_equal_weights_stay_equal_and_their_sum_is_that_of_all(scale):
    for seed in range(5):
        drawn, stands_for = subset(tensor(np.full(1000, scale)), 130, generator(seed))
        assert len(set(drawn.tolist())) == 130
        assert torch.equal(drawn, drawn.sort().values)
        np.testing.assert_allclose(stands_for, scale * 1000 / 130, rtol=1e-12)


def test_the_sum_of_weights_is_that_of_all():
    weights = tensor(np.random.default_rng(0).lognormal(0, 2, 500))
    for seed in range(5):
        _, stands_for = subset(weights, 60, generator(seed))
        assert float(stands_for.sum()) == pytest.approx(float(weights.sum()), rel=1e-12)


def test_heavy_rows_are_always_there_and_stand_for_their_own_weight():
    weights = torch.ones(5000).double()
    heavy = torch.tensor([7, 1234, 4999])
    weights[heavy] = tensor([4000.0, 9000.0, 20000.0])
    for seed in range(20):
        drawn, stands_for = subset(weights, 400, generator(seed))
        places = {int(row): place for place, row in enumerate(drawn)}
        own = torch.stack([stands_for[places[int(row)]] for row in heavy])
        torch.testing.assert_close(own, weights[heavy], rtol=0.02, atol=0)


def test_rows_are_drawn_one_after_another_by_weight():
    """The two of four that are drawn, against the chances of draws without replacement."""
    weights = np.array([4.0, 2.0, 1.0, 0.5])
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    share = weights / weights.sum()
    chances = [share[i] * share[j] / (1 - share[i]) + share[j] * share[i] / (1 - share[j]) for i, j in pairs]
    one, n_draws = generator(), 4000
    drawn = [tuple(subset(tensor(weights), 2, one)[0].tolist()) for _ in range(n_draws)]
    counts, expected = np.array([drawn.count(pair) for pair in pairs]), n_draws * np.array(chances)
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), 5) > 1e-4


def test_no_total_is_biased():
    """The sums over some of the rows, of unequal weights: their averages over many draws are what they should be."""
    rng = np.random.default_rng(1)
    weights = rng.lognormal(0, 1.0, 300)
    values = np.column_stack([np.arange(300) < 40, np.argsort(np.argsort(weights)) < 150, rng.standard_normal(300)])
    expected, one = weights @ values, generator(1)
    totals = []
    for _ in range(3000):
        drawn, stands_for = subset(tensor(weights), 100, one)
        totals.append(stands_for.numpy() @ values[drawn.numpy()])
    errors = (np.mean(totals, axis=0) - expected) / (np.std(totals, axis=0) / np.sqrt(len(totals)))
    assert 2 * norm.sf(np.abs(errors).max()) > 1e-3


def test_the_generator_alone_decides():
    weights = tensor(np.random.default_rng(2).uniform(0.1, 2, 200))
    first = subset(weights, 30, generator(5))
    torch.manual_seed(9)
    assert all(torch.equal(a, b) for a, b in zip(subset(weights, 30, generator(5)), first, strict=True))
    assert not torch.equal(subset(weights, 30, generator(6))[0], first[0])
