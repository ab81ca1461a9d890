"""Searches side by side: each comes to what it comes to alone, whatever the others ask for."""

import numpy as np
import pytest
import torch
from batches import batch_of, begun_at, moves_of, standardised, tensor
from cases import mixture

from tgmm.covariance import STRUCTURES
from tgmm.em.abreast import Climb, Steps, abreast, alone
from tgmm.em.batch import joined
from tgmm.em.splitting import Splits

EVERY_KIND = ["full", "diag", "tied_full", "tied_spherical", "VEI"]


def rows_of(seed, n=90, d=3):
    return mixture(seed, n=n, d=d, n_components=3, separation=3.0)[0]


def search(batch, runs, n_steps, tol):
    """Steps, a climb of some runs, and another of all of these."""
    runs = yield Steps(batch, runs, n_steps)
    some = yield Climb(batch, runs.of_some(slice(1)), tol, 40)
    return (yield Climb(batch, joined([some, runs]), tol, 60, float(some.objective) - 0.5))


def searches(name, tables, counts):
    """One search for each number of components, over the same rows if these are the same tensor."""
    for number, (rows, count) in enumerate(zip(tables, counts, strict=True)):
        weights = tensor(np.random.default_rng(7).uniform(0.5, 2.0, len(rows)))
        batch = batch_of(name, rows, weights)
        labels = np.random.default_rng(number).integers(0, count, (2 + number, len(rows)))
        yield batch, search(batch, begun_at(batch, labels, count), 1 + number % 2, 10.0 ** -(3 + number))


def assert_same(found, expected):
    assert torch.equal(found.start, expected.start)
    torch.testing.assert_close(found.objective, expected.objective, rtol=0, atol=1e-9)
    for part in ("weights", "means"):
        one, other = getattr(found.parameters, part), getattr(expected.parameters, part)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        found.parameters.covariances.factor.log_det, expected.parameters.covariances.factor.log_det, rtol=0, atol=1e-5
    )
    assert found.statistics.weight.shape == expected.statistics.weight.shape == ()
    for part in ("mass", "first", "second"):
        one, other = getattr(found.statistics, part), getattr(expected.statistics, part)
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", EVERY_KIND)
@pytest.mark.parametrize("what", ["the same rows", "rows of their own"])
def test_each_search_comes_to_what_it_comes_to_alone(name, what):
    """With one number of components after another over the same rows, or over more rows each."""
    one_scale = STRUCTURES[name].one_scale
    if what == "the same rows":
        tables, counts = [standardised(rows_of(0), one_scale=one_scale)] * 3, [2, 4, 3]
    else:
        tables, counts = [standardised(rows_of(seed, 80 + 5 * seed), one_scale=one_scale) for seed in range(3)], [3] * 3
    each = [(batch, alone(one)) for batch, one in searches(name, tables, counts)]
    batches, together = zip(*searches(name, tables, counts), strict=True)
    for (counted, expected), batch, found in zip(each, batches, abreast(together), strict=True):
        assert_same(found, expected)
        assert batch.kernel.n_passes == counted.kernel.n_passes


def test_runs_advance_as_one_batch_only_where_they_can(monkeypatch):
    """Those of one structure do, over the same rows or with as many components; and what falls out is no matter."""
    sizes = []
    climbed = type(batch_of("full", standardised(rows_of(0)))).climbed
    monkeypatch.setattr(
        "tgmm.em.batch.Batch.climbed",
        lambda self, runs, *limits: sizes.append(len(runs)) or climbed(self, runs, *limits),
    )

    def climb(name, rows, count):
        batch = batch_of(name, rows)
        labels = np.random.default_rng(count).integers(0, count, len(rows))
        return (yield Climb(batch, begun_at(batch, labels, count), 1e-4, 30))

    rows, others = standardised(rows_of(0)), standardised(rows_of(1))
    abreast([climb("full", rows, 2), climb("full", rows, 3), climb("diag", rows, 2), climb("full", others, 2)])
    assert sorted(sizes) == [1, 1, 2]
    sizes.clear()
    abreast([climb("diag", rows, 2), climb("diag", others, 2), climb("VEI", rows, 2), climb("VEI", rows, 3)])
    assert sorted(sizes) == [1, 1, 2]


def test_what_asks_for_nothing_is_done_at_once():
    def nothing():
        return "nothing"
        yield

    assert abreast([nothing(), nothing()]) == ["nothing", "nothing"]
    assert abreast([]) == []


def test_a_search_that_fails_spoils_no_other_and_says_why_alone():
    def fails():
        raise ValueError("why")
        yield

    rows = standardised(rows_of(0))
    batch = batch_of("full", rows)

    def climbs():
        return (yield Climb(batch, begun_at(batch, np.arange(len(rows)) % 2, 2), 1e-2, 9))

    failed, found = abreast([fails(), climbs()])
    assert failed is None
    assert_same(found, alone(climbs()))
    with pytest.raises(ValueError, match="why"):
        alone(fails())


def splits_of(batch, run):
    return (yield Splits(batch, run, moves_of(batch)._local, 1.0))


@pytest.mark.parametrize("name", ["full", "diag", "tied_full", "spherical"])
@pytest.mark.parametrize("what", ["the same rows", "rows of their own"])
def test_splits_of_each_run_are_those_that_it_has_alone(name, what):
    """One has a component on too few rows to be split."""
    rows = [rows_of(0), rows_of(1, 70), rows_of(2, 110)]
    tables = [standardised(each, one_scale=STRUCTURES[name].one_scale) for each in rows]
    if what == "the same rows":
        tables = tables[:1] * 3
    runs = []
    for number, table in enumerate(tables):
        batch = batch_of(name, table, tensor(np.random.default_rng(7).uniform(0.5, 2.0, len(table))))
        labels = np.arange(len(table)) % 3
        runs.append((batch, begun_at(batch, np.where(labels == 2, np.arange(len(table)) > 8, labels), 3 - number % 2)))
    expected = [alone(splits_of(*each)) for each in runs]
    for one, other in zip(abreast([splits_of(*each) for each in runs]), expected, strict=True):
        assert torch.equal(one.component, other.component)
        torch.testing.assert_close(one.gain, other.gain, rtol=1e-6, atol=1e-6)
        for part in ("mass", "first", "second"):
            for found, alike in ((one.whole, other.whole), (one.halves, other.halves)):
                torch.testing.assert_close(getattr(found, part), getattr(alike, part), rtol=1e-6, atol=1e-6)


def test_the_halves_of_a_split_have_the_rows_of_their_component():
    batch = batch_of("full", standardised(rows_of(3)))
    found = alone(splits_of(batch, begun_at(batch, np.arange(90) % 2, 2)))
    assert sorted(found.component.tolist()) == [0, 0, 0, 1, 1, 1]  # in three ways each
    torch.testing.assert_close(found.halves.mass.sum(1), found.whole.mass[found.component], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.halves.first.sum(1), found.whole.first[found.component], rtol=1e-9, atol=1e-9)
    assert (found.gain > 0).all()
