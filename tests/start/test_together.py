"""Starts of many problems at once are those of each alone."""

import pytest
import torch

from tgmm.start import STARTS
from tgmm.start.together import TOGETHER

SIZES = (23, 40, 31)
SEED = 5


def problems(weighted):
    """Return rows (P, m, d) of several sizes, filled up with 0, and their weights."""
    generator = torch.Generator().manual_seed(0)
    rows, weights = torch.zeros(len(SIZES), max(SIZES), 2).double(), torch.zeros(len(SIZES), max(SIZES)).double()
    for b, size in enumerate(SIZES):
        rows[b, :size] = torch.randn(size, 2, generator=generator, dtype=torch.float64) * (b + 1)
        rows[b, : size // 3] += 6.0
        weights[b, :size] = torch.rand(size, generator=generator, dtype=torch.float64) + 0.1 if weighted else 1.0
    return rows, weights


def test_each_of_them_is_a_start_of_one_problem():
    assert TOGETHER.keys() <= STARTS.keys()


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_components", [2, 5])
def test_centres_are_those_of_each_problem_alone(name, weighted, n_components):
    rows, weights = problems(weighted)
    found = TOGETHER[name](rows, weights, n_components, SEED)
    for b, size in enumerate(SIZES):
        generator = torch.Generator().manual_seed(SEED)
        alone = STARTS[name](rows[b, :size], weights[b, :size], n_components, generator)
        torch.testing.assert_close(found[b], alone, rtol=1e-12, atol=1e-12)
