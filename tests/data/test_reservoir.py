"""The sample that starts look at: every set of rows as probable as any other, and the same however rows are kept."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2, hypergeom

from tgmm.data.chunk import Chunk
from tgmm.data.columns import Columns
from tgmm.data.data import TensorData
from tgmm.data.reservoir import Reservoir, Sampling
from tgmm.data.source import Source
from tgmm.data.stream import Scan, Stream, StreamData


def streamed(n, size, seed, cuts):
    """The sample of rows 0, 1, ... that come in parts."""
    reservoir, rows = Reservoir(size, seed), torch.arange(n)[:, None].double()
    for part in np.split(np.arange(n), cuts):
        if len(part):
            reservoir.add(Chunk(rows[part], rows[part, 0], int(part[0])))
    found = reservoir.sample()
    assert torch.equal(found.rows[:, 0], found.weights)
    return found.rows[:, 0].long()


@pytest.mark.parametrize(("n", "size"), [(5, 9), (9, 9), (10, 9), (1000, 9), (5000, 700), (40_000, 3)])
def test_it_does_not_depend_on_how_rows_come(n, size):
    for seed in range(3):
        expected = Reservoir(size, seed).indices(n)
        assert len(expected) == min(n, size) == len(set(expected.tolist()))
        assert torch.equal(expected, expected.sort().values)
        rng = np.random.default_rng(seed)
        for cuts in ([], np.sort(rng.integers(0, n, 7)), np.arange(1, min(n, 400))):
            assert torch.equal(streamed(n, size, seed, cuts), expected)


def test_every_row_is_as_probable_as_any_other():
    n, size, n_seeds = 60, 12, 6000
    counts = np.zeros(n)
    for seed in range(n_seeds):
        counts[Reservoir(size, seed).indices(n).numpy()] += 1
    expected = n_seeds * size / n
    statistic = ((counts - expected) ** 2 / (expected * (1 - size / n))).sum() * (n - 1) / n
    assert chi2.sf(statistic, n - 1) > 1e-4


def test_pairs_are_as_probable_as_in_draws_without_replacement():
    n, size, n_seeds = 40, 10, 4000
    half = np.array([(Reservoir(size, seed).indices(n).numpy() < n // 2).sum() for seed in range(n_seeds)])
    law = hypergeom(n, n // 2, size)
    observed = np.bincount(half, minlength=size + 1)
    kept = law.pmf(np.arange(size + 1)) * n_seeds > 5
    expected = law.pmf(np.arange(size + 1))[kept] * n_seeds
    assert chi2.sf(((observed[kept] - expected) ** 2 / expected).sum(), kept.sum() - 1) > 1e-4


def test_many_rows_need_few_random_numbers_and_little_memory():
    reservoir = Reservoir(100, 0)
    found = reservoir.indices(10**12)
    assert len(found) == 100
    assert found.max() < 10**12
    assert found.double().mean() == pytest.approx(5e11, rel=0.2)


class Rows(Source):
    def __init__(self, X):
        self.X = X

    def __iter__(self):
        return iter(np.array_split(self.X, 13))


@pytest.mark.parametrize("size", [50, 500])
def test_sources_and_memory_agree_on_sample_and_summary(size):
    X = np.random.default_rng(0).normal([1e6, -3.0], [2.0, 1e-3], (400, 2))
    weights = np.where(np.arange(400) % 7 == 0, 0.0, 1.5)
    in_memory = TensorData.of(torch.as_tensor(X), torch.as_tensor(weights))
    stream = Stream(Rows(X), Columns(None), torch.device("cpu"), torch.as_tensor(weights))
    data = StreamData(stream, Scan(stream, Sampling(lambda _: size, 3), verbose=False))
    one, other = in_memory.survey(size, 3), data.survey(size, 3)
    assert torch.equal(one.sample.rows, other.sample.rows)
    assert torch.equal(one.sample.weights, other.sample.weights)
    assert one.summary.n_rows == other.summary.n_rows == data.n_rows == in_memory.n_rows
    assert torch.equal(one.summary.origin, other.summary.origin)
    for name in ("weight", "mean", "scatter", "minimum", "maximum"):
        torch.testing.assert_close(getattr(one.summary, name), getattr(other.summary, name), rtol=1e-9, atol=1e-9)
    for unit in (1.0, 1.5):
        scaled = one.in_unit(unit).summary
        assert float(scaled.weight) == pytest.approx(weights.sum() / unit)
        np.testing.assert_allclose(
            scaled.variance, np.average((X - X[weights > 0].mean(0)) ** 2, 0, weights), rtol=1e-6
        )
