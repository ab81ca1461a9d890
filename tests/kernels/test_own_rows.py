"""Many mixtures over rows of their own: the statistics of each are those of its rows alone."""

import pytest
import torch
from batches import members
from kernel_kinds import TOLD_APART

from tgmm.covariance import STRUCTURES
from tgmm.kernels.assignment import hard, soft
from tgmm.kernels.batched import Batched
from tgmm.kernels.own_rows import OwnRows

K, D = 3, 3
SIZES = (40, 25, 33)
SUMS = ("mass", "first", "second", "log_likelihood", "objective")
every_structure = pytest.mark.parametrize("name", TOLD_APART)


def problems(weighted):
    """Return rows (P, n, d), filled up with 0, and their weights (P, n)."""
    generator = torch.Generator().manual_seed(0)
    rows, weights = torch.zeros(len(SIZES), max(SIZES), D).double(), torch.zeros(len(SIZES), max(SIZES)).double()
    for b, size in enumerate(SIZES):
        rows[b, :size] = torch.randn(size, D, generator=generator, dtype=torch.float64)
        weights[b, :size] = torch.rand(size, generator=generator, dtype=torch.float64) if weighted else 1.0
    return rows, weights


def assert_same(statistics, expected, index):
    for name in SUMS:
        torch.testing.assert_close(getattr(statistics, name)[index], getattr(expected, name)[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(statistics.weight[index], expected.weight, rtol=1e-14, atol=0)


@every_structure
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("assignment", [soft, hard])
def test_statistics_are_those_of_each_problem_alone(name, weighted, assignment):
    rows, weights = problems(weighted)
    structure, (_, parameters) = STRUCTURES[name], members(name, len(SIZES), K, D)
    features = OwnRows.begun(rows, structure.moment, rows.device)
    kernel = OwnRows.of(features, weights, D, structure.moment)
    found = kernel.statistics(parameters, assignment)
    for b, size in enumerate(SIZES):
        alone = Batched(rows[b, :size], weights[b, :size], structure.moment)
        assert_same(found, alone.statistics(parameters.of_some(slice(b, b + 1)), assignment), b)
    some = torch.tensor([True, False, True])
    fewer = kernel.of_some(some).statistics(parameters.of_some(some), assignment)
    torch.testing.assert_close(fewer.first, found.first[some], rtol=1e-12, atol=1e-12)
