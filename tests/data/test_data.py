"""Every kind of data against the rows themselves: what is known of them, passes over them, and what travels with each.

A new kind's test is its line in `data_kinds.KINDS`.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from data_kinds import KINDS, SEED, SIZE, in_memory, streamed
from structures import SPECS

from tgmm.covariance import STRUCTURES
from tgmm.data import stream
from tgmm.data.chunk import Accumulator
from tgmm.data.summary import DistinctRows
from tgmm.kernels.assignment import soft
from tgmm.kernels.products import Products
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters

N, D, K = 60, 3, 3
RNG = np.random.default_rng(0)
X = RNG.normal([1e3, -2.0, 0.0], [2.0, 0.1, 30.0], (N, D))
WEIGHTS = 0.37 * RNG.integers(0, 4, N)  # some are 0
WEIGHTS[:9] = 0  # so that a batch and a shard have no row that counts
LABELS = RNG.integers(0, K, N)
PROBABILITIES = RNG.dirichlet(np.ones(K), N)

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
weighted = pytest.mark.parametrize(
    "weights", [None, np.where(WEIGHTS > 0, WEIGHTS, 1.0), WEIGHTS], ids=["no weights", "weights", "zeros"]
)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches as the source has them."""
    monkeypatch.setattr(stream, "ROWS_MIN", 1)


def kept_of(weights, part=slice(None)):
    """Which rows of a part count."""
    return np.ones(N, dtype=bool)[part] if weights is None else weights[part] > 0


@dataclass
class Rows:
    """What was seen of rows, as arrays."""

    rows: np.ndarray
    weights: np.ndarray
    known: list  # what chunks said of their rows
    firsts: list  # the first index and the size of every chunk
    dtypes: set

    def __add__(self, other):
        return Rows(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.weights, other.weights]),
            self.known + other.known,
            self.firsts + other.firsts,
            self.dtypes | other.dtypes,
        )


class Seen(Accumulator):
    """Notes down every row, until there are enough."""

    def __init__(self, n_rows=7, enough=10**9):
        self.n_rows, self.enough, self.chunks = n_rows, enough, []

    def add(self, chunk):
        assert len(chunk.rows) <= self.n_rows
        self.chunks.append(chunk)

    def is_full(self):
        return sum(len(chunk.rows) for chunk in self.chunks) >= self.enough

    def result(self):
        return Rows(
            np.concatenate([np.empty((0, D)), *(chunk.rows.numpy() for chunk in self.chunks)]),
            np.concatenate([np.empty(0), *(chunk.own_weights().numpy() for chunk in self.chunks)]),
            [chunk.known.numpy() for chunk in self.chunks if chunk.known is not None],
            [(chunk.first, len(chunk.rows)) for chunk in self.chunks],
            {tensor.dtype for chunk in self.chunks for tensor in (chunk.rows, chunk.own_weights())},
        )


SIZES = (1, 7, 1000)  # how many rows at a time


def seen_by(data, n_rows=7):
    """What a pass over the data shows."""
    return data.fold(lambda: Seen(n_rows))


# --- what is known of them --------------------------------------------------------------------------------------


@every_kind
@weighted
def test_what_data_says_of_itself(kind, weights):
    def described(data, part):
        assert data.n_given == len(X[part])
        assert data.device == torch.device("cpu")
        assert data.in_memory is None or data.in_memory.shape == (data.n_rows, D)
        return data.n_features, data.n_given_to_all, data.n_rows, data.weight, data.unit, data.dtype

    total = N if weights is None else weights.sum()
    for found in kind.run(described, X, weights):
        assert found == (D, N, kept_of(weights).sum(), pytest.approx(total, rel=1e-14), 1.0, torch.float64)


@every_kind
def test_the_float_type_is_the_widest_of_any_row(kind):
    narrow = X.astype(np.float32)
    for rows, dtype in ((narrow, torch.float32), (X, torch.float64)):
        for found in kind.run(lambda data, part: (data.dtype, data.fold(Seen).dtypes), rows):
            assert found == (dtype, {dtype, torch.float64})  # weights are float64 whatever the rows are


def test_a_batch_of_a_wider_type_widens_all():
    data = streamed([X[:5].astype(np.float32), X[5:]], None)
    seen = data.fold(Seen)
    assert data.dtype == torch.float64
    assert seen.dtypes == {torch.float64}
    np.testing.assert_array_equal(seen.rows, np.concatenate([X[:5].astype(np.float32), X[5:]]))


# --- passes -----------------------------------------------------------------------------------------------------


@every_kind
@weighted
def test_a_fold_sees_every_row_that_counts_once_and_in_order_with_its_weight(kind, weights):
    kept = kept_of(weights)

    def passes(data, part):
        return [seen_by(data, n_rows) for n_rows in SIZES]

    for found in kind.run(passes, X, weights):
        for seen in found:
            np.testing.assert_array_equal(seen.rows, X[kept])
            np.testing.assert_array_equal(seen.weights, np.ones(N) if weights is None else weights[kept])
            assert not seen.known
            assert seen.dtypes == {torch.float64}
            # Indices are of the rows that count, and begin with the first of each process.
            indices = [i for first, size in seen.firsts for i in range(first, first + size)]
            assert indices == [i for part in kind.parts(N) for i in range(kept[part].sum())]


@every_kind
def test_a_fold_ends_where_more_rows_would_change_nothing(kind):
    sizes = [len(X[part]) for part in kind.parts(N)]
    for seen in kind.run(lambda data, part: data.fold(lambda: Seen(3, enough=5)), X):
        assert len(seen.rows) <= sum(min(size, 7) for size in sizes)
        assert len(seen.rows) >= min(5, N)


@every_kind
@weighted
def test_sums_that_are_reduced_are_those_of_the_rows_in_memory(kind, weights):
    frame = Frame(torch.tensor(X.mean(0)), torch.tensor(X.std(0)))
    means = torch.tensor(np.random.default_rng(1).standard_normal((K, D)))

    def totals(data, part):
        found = []
        for name, structure in STRUCTURES.items():
            unit = structure.from_public(torch.tensor(SPECS[name].public(np.stack([np.eye(D)] * K))), K, D)
            parameters = Parameters(torch.full((K,), 1 / K).double(), means, unit)
            kernel = Products(structure.moment, frame, K, torch.float64, data.device)
            gather = partial(kernel.gather, parameters, soft)
            found.append(data.fold(gather, (parameters.weights, parameters.means)).packed())
        return torch.cat(found)

    expected = totals(in_memory(X, weights), None)
    for found in kind.run(totals, X, weights):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@every_kind
def test_an_error_on_one_process_comes_out_on_all_and_passes_go_on(kind):
    class Fails(Seen):
        def add(self, chunk):
            raise OSError("the disk is gone")

    def attempt(data, part):
        is_last = data.processes.rank == len(kind.parts(N)) - 1
        with pytest.raises(OSError, match="the disk is gone"):
            data.fold(Fails if is_last else Seen)
        return data.fold(Seen)

    for seen in kind.run(attempt, X):
        np.testing.assert_array_equal(seen.rows, X)


@every_kind
def test_the_rows_that_were_given_stay_as_they_were(kind):
    rows, weights = X.copy(), WEIGHTS.copy()

    def passes(data, part):
        data.in_unit(3.0).fold(Seen)
        data.survey(5, 0)
        data.take(torch.tensor([1, 3]))
        return data.fold(Seen)

    for seen in kind.run(passes, rows, weights):
        np.testing.assert_array_equal(seen.rows, X[WEIGHTS > 0])
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(weights, WEIGHTS)


# --- some of the rows -------------------------------------------------------------------------------------------


@every_kind
@weighted
def test_any_rows_are_taken_by_their_index_on_every_process(kind, weights):
    kept = X[kept_of(weights)]
    own = np.ones(N) if weights is None else weights[weights > 0]
    choices = ([], [0], [0, 1, 2, 16, 17, 29], [len(kept) - 1], list(range(len(kept))))

    def taken(data, part):
        return [data.take(torch.tensor(choice, dtype=torch.int64)) for choice in choices]

    for found in kind.run(taken, X, weights):
        for chunk, choice in zip(found, choices, strict=True):
            np.testing.assert_array_equal(chunk.rows, kept[choice])
            np.testing.assert_array_equal(chunk.own_weights(), own[choice])


@every_kind
@weighted
@pytest.mark.parametrize(("size", "seed"), [(SIZE, SEED), (SIZE, 1), (5, SEED), (1000, SEED)])
def test_a_sample_is_the_same_rows_however_they_are_kept(kind, weights, size, seed):
    kept, own = X[kept_of(weights)], (np.ones(N) if weights is None else weights)[kept_of(weights)]
    expected = in_memory(X, weights).sample(size, seed)
    for sample in kind.run(lambda data, part: data.sample(size, seed), X, weights):
        np.testing.assert_array_equal(sample.rows, expected.rows)
        np.testing.assert_array_equal(sample.own_weights(), expected.own_weights())
        index = [int(np.flatnonzero((kept == row).all(1))[0]) for row in sample.rows.numpy()]
        assert len(index) == min(size, len(kept))
        assert index == sorted(set(index))  # in order, none twice
        np.testing.assert_array_equal(sample.own_weights(), own[index])


@every_kind
@weighted
@pytest.mark.parametrize("size", [5, SIZE, 1000])
def test_the_summary_is_that_of_the_rows(kind, weights, size):
    kept, own = X[kept_of(weights)], (np.ones(N) if weights is None else weights)[kept_of(weights)]
    mean = np.average(kept, axis=0, weights=own)
    for survey in kind.run(lambda data, part: data.survey(size, SEED), X, weights):
        summary = survey.summary
        origin = summary.origin.numpy()
        assert all(value in column for value, column in zip(origin, kept.T, strict=True))
        if size >= len(kept):
            below = np.array([[own[column <= value].sum() for value in column] for column in kept.T]).T  # (n, d)
            medians = np.where(below >= own.sum() / 2 * (1 - 1e-12), kept, np.inf).min(0)
            np.testing.assert_array_equal(origin, medians)
        assert summary.n_rows == len(kept)
        np.testing.assert_allclose(summary.weight, own.sum(), rtol=1e-14)
        np.testing.assert_allclose(summary.mean.numpy() + origin, mean, rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(summary.scatter, own @ (kept - mean) ** 2, rtol=1e-10)
        np.testing.assert_allclose(summary.variance, own @ (kept - mean) ** 2 / own.sum(), rtol=1e-10)
        np.testing.assert_array_equal(summary.minimum, kept.min(0))
        np.testing.assert_array_equal(summary.maximum, kept.max(0))
        assert not summary.constant.any()
        moved = summary.about(torch.tensor(origin + 1.5))
        np.testing.assert_allclose(moved.mean.numpy() + origin + 1.5, mean, rtol=1e-12, atol=1e-10)


@every_kind
def test_a_feature_of_one_value_has_no_variance_at_all(kind):
    rows, anywhere = X.copy(), torch.zeros(D).double()
    rows[:, 1] = 0.1  # which is not the mean of its copies, as numbers are rounded
    for summaries in kind.run(lambda data, part: [data.survey(9, 0).summary, data.summary(anywhere)], rows, WEIGHTS):
        for summary in summaries:
            assert summary.constant.tolist() == [False, True, False]
            assert summary.variance[1] == 0


@every_kind
def test_different_rows_are_counted_until_there_are_enough(kind):
    rows = np.repeat(X[:12], 5, axis=0)[np.random.default_rng(2).permutation(N)]

    def different(data, part):
        return [data.fold(partial(DistinctRows, D, data.dtype, enough)).rows.numpy() for enough in (3, 12, 99)]

    for few, all_of_them, more in kind.run(different, rows):
        assert 3 <= len(np.unique(few, axis=0)) == len(few) <= 12
        for found in (all_of_them, more):
            np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(X[:12], axis=0))


# --- what travels with the rows ---------------------------------------------------------------------------------


@every_kind
@weighted
def test_a_unit_divides_weights_and_nothing_else(kind, weights):
    own = (np.ones(N) if weights is None else weights)[kept_of(weights)]
    indices = torch.tensor([0, 2, 5])

    def scaled(data, part):
        once = data.in_unit(2.0)
        found = [once, once.in_unit(0.5), data.in_unit(0.5), once.in_unit(1.0), data]
        return [
            (each.unit, each.weight, each.n_rows, each.fold(Seen), each.take(indices), each.survey(SIZE, SEED))
            for each in found
        ]

    for found in kind.run(scaled, X, weights):
        for (unit, weight, n_rows, seen, taken, survey), expected in zip(found, (2, 0.5, 0.5, 1, 1), strict=True):
            assert unit == expected
            assert weight == pytest.approx(own.sum(), rel=1e-14)  # as they were given
            assert n_rows == len(own)
            np.testing.assert_array_equal(seen.rows, X[kept_of(weights)])
            np.testing.assert_allclose(seen.weights, own / unit, rtol=1e-15)
            np.testing.assert_allclose(taken.own_weights(), own[[0, 2, 5]] / unit, rtol=1e-15)
            np.testing.assert_allclose(survey.summary.weight, own.sum() / unit, rtol=1e-14)
            again = found[-1][-1].in_unit(unit)
            np.testing.assert_allclose(again.sample.own_weights(), survey.sample.own_weights(), rtol=1e-15)
            np.testing.assert_allclose(again.summary.scatter, survey.summary.scatter, rtol=1e-12)


@every_kind
@weighted
@pytest.mark.parametrize("known", [LABELS, PROBABILITIES], ids=["labels", "probabilities"])
def test_what_is_known_of_rows_travels_with_them(kind, weights, known):
    def informed(data, part):
        own = torch.tensor(known[part])
        found = [data.knowing(own), data.knowing(own).in_unit(2.0), data.in_unit(2.0).knowing(own)]
        return [seen_by(each, n_rows) for each in found for n_rows in SIZES], data.fold(Seen)

    for found, before in kind.run(informed, X, weights):
        assert not before.known
        for seen in found:
            np.testing.assert_array_equal(seen.rows, X[kept_of(weights)])
            np.testing.assert_array_equal(np.concatenate(seen.known), known[kept_of(weights)])
