"""What is given row by row travels with the rows, or is refused where their order is not promised."""

import warnings

import numpy as np
import pytest
import torch
from cases import fit_quietly, mixture
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tgmm import GaussianMixture, MixtureOutlierDetector, select
from tgmm.data import LoaderSource, Source

N = 240
X, LABELS = mixture(5, n=N, d=2, n_components=2, separation=4.0)
WEIGHTS = np.random.default_rng(1).uniform(0.5, 3.0, N)
DATA = TensorDataset(torch.as_tensor(X))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.as_tensor(X))


class Batches:
    """Something that can be iterated over again and says no more about itself."""

    def __iter__(self):
        return iter(np.array_split(X, 4))


class Shuffled(Source):
    in_order = False

    def __iter__(self):
        return iter(np.array_split(np.random.default_rng(0).permutation(X), 4))


def sampled(sampler):
    return DataLoader(DATA, batch_sampler=BatchSampler(sampler, 32, drop_last=False))


OUT_OF_ORDER = {
    "shuffle=True": lambda: DataLoader(DATA, batch_size=32, shuffle=True),
    "a random sampler": lambda: DataLoader(DATA, batch_size=32, sampler=RandomSampler(DATA)),
    "a batch sampler that shuffles": lambda: sampled(RandomSampler(DATA)),
    "whole batches that are shuffled": lambda: DataLoader(
        DATA, batch_size=None, sampler=BatchSampler(RandomSampler(DATA), 32, drop_last=False)
    ),
    "a stream, which may shuffle": lambda: DataLoader(Stream(), batch_size=32),
    "an iterable that promises nothing": Batches,
    "a source that says so": Shuffled,
}
IN_ORDER = {
    "a loader": lambda: DataLoader(DATA, batch_size=32),
    "a batch sampler": lambda: sampled(SequentialSampler(DATA)),
    "whole batches": lambda: DataLoader(
        DATA, batch_size=None, sampler=BatchSampler(SequentialSampler(DATA), 32, drop_last=False)
    ),
    "a list": lambda: np.array_split(X, 4),
    "a tuple": lambda: tuple(np.array_split(X, 4)),
    "a list as a source": lambda: LoaderSource(np.array_split(X, 4)),
}
out_of_order = pytest.mark.parametrize("rows", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER)
in_order = pytest.mark.parametrize("rows", IN_ORDER.values(), ids=IN_ORDER)


@out_of_order
@pytest.mark.parametrize("given", [{"sample_weight": WEIGHTS}, {"init_responsibilities": LABELS}])
def test_rows_without_a_promised_order_take_nothing_that_is_given_by_row(rows, given):
    name = next(iter(given))
    model = GaussianMixture(2)
    with pytest.raises(ValueError, match=f"{name} is given row by row, .*order.*shuffle=False.*pairs"):
        model.fit(rows(), **given)
    assert not hasattr(model, "means_")


@out_of_order
@pytest.mark.parametrize("verb", ["score", "aic", "bic", "icl", "partial_fit", "select", "detector"])
def test_every_verb_refuses(rows, verb):
    gmm = GaussianMixture(2, random_state=0).fit(X)
    calls = {
        "select": lambda: select(rows(), [2], "full", sample_weight=WEIGHTS),
        "detector": lambda: MixtureOutlierDetector().fit(rows(), sample_weight=WEIGHTS),
    }
    call = calls.get(verb, lambda: getattr(gmm, verb)(rows(), sample_weight=WEIGHTS))
    with pytest.raises(ValueError, match="sample_weight is given row by row"):
        call()


@in_order
def test_rows_in_order_take_weights_and_responsibilities(rows):
    given = {"sample_weight": WEIGHTS, "init_responsibilities": LABELS}
    streamed, in_memory = (fit_quietly(GaussianMixture(2, max_iter=3, tol=0), Y, **given) for Y in (rows(), X))
    np.testing.assert_allclose(streamed.means_, in_memory.means_, rtol=1e-10)
    assert streamed.bic(rows(), WEIGHTS) == pytest.approx(in_memory.bic(X, WEIGHTS), rel=1e-12)


def test_weights_beside_shuffled_rows_stay_with_them():
    pairs = TensorDataset(torch.as_tensor(X), torch.as_tensor(WEIGHTS))
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(pairs, batch_size=32, shuffle=True, generator=generator)
    streamed = fit_quietly(GaussianMixture(2, max_iter=3, tol=0, init_means=X[:2]), loader)
    in_memory = fit_quietly(GaussianMixture(2, max_iter=3, tol=0, init_means=X[:2]), X, sample_weight=WEIGHTS)
    np.testing.assert_allclose(streamed.means_, in_memory.means_, rtol=1e-9)


def test_without_anything_by_row_any_order_will_do():
    for rows in OUT_OF_ORDER.values():
        model = fit_quietly(GaussianMixture(2, max_iter=2, tol=0, init_means=X[:2]), rows())
        expected = fit_quietly(GaussianMixture(2, max_iter=2, tol=0, init_means=X[:2]), X)
        np.testing.assert_allclose(model.means_, expected.means_, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shuffle": True, "drop_last": True}, "it shuffles and leaves out the last batch"),
        ({"sampler": RandomSampler(DATA, replacement=True)}, "its RandomSampler does not draw each row exactly once"),
        ({"sampler": RandomSampler(DATA, num_samples=N - 1)}, "its RandomSampler does not draw each row exactly once"),
        (
            {"sampler": WeightedRandomSampler(WEIGHTS, N)},
            "its WeightedRandomSampler does not draw each row exactly once",
        ),
    ],
)
def test_loaders_of_other_rows_each_time_are_refused(options, reason):
    loader = DataLoader(DATA, batch_size=N // 2 + 1, **options)
    for verb in ("fit", "partial_fit"):
        with pytest.raises(
            ValueError, match=f"X is a DataLoader that yields different rows each time, because {reason}"
        ):
            getattr(GaussianMixture(2), verb)(loader)
    assert np.isfinite(GaussianMixture(2, random_state=0).fit(X).score(loader))  # which reads once


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ({"drop_last": True}, X[: N // 2 + 1]),
        ({"shuffle": True, "drop_last": True, "batch_size": N // 2}, X),
        ({"sampler": WeightedRandomSampler(WEIGHTS, N, replacement=False)}, X),
        ({"sampler": SubsetRandomSampler(range(10, N))}, X[10:]),
        ({"dataset": Stream(), "drop_last": True, "batch_size": 100}, X[:200]),
    ],
)
def test_loaders_of_the_same_rows_each_time_are_not(options, read):
    loader = DataLoader(**{"dataset": DATA, "batch_size": N // 2 + 1, **options})
    found, expected = (fit_quietly(GaussianMixture(2, max_iter=2, init_means=X[:2]), rows) for rows in (loader, read))
    np.testing.assert_allclose(found.means_, expected.means_, rtol=1e-9)


@pytest.mark.parametrize("kind", ["labels", "probabilities"])
@pytest.mark.parametrize("zeros", [False, True])
def test_responsibilities_go_with_the_rows_that_have_a_weight(kind, zeros):
    """Chunks and rows of weight 0 do not shift them."""
    weights = np.where(np.arange(N) % 5 == 0, 0.0, WEIGHTS) if zeros else WEIGHTS
    given = LABELS if kind == "labels" else 0.1 + 0.8 * np.eye(2)[LABELS]
    settings = {"max_iter": 1, "tol": 0, "reg_covar": 0}
    for rows in (X, np.array_split(X, 7)):
        model = fit_quietly(GaussianMixture(2, **settings), rows, sample_weight=weights, init_responsibilities=given)
        R = np.eye(2)[LABELS] if kind == "labels" else given
        mass = weights[:, None] * R
        start = (mass.T @ X) / mass.sum(0)[:, None]
        again = GaussianMixture.from_parameters(
            mass.sum(0) / weights.sum(),
            start,
            np.stack([np.cov(X, rowvar=False, bias=True, aweights=mass[:, k]) for k in range(2)]),
        )
        first = again.score(X, sample_weight=weights)
        assert model.objective_history_[0] == pytest.approx(first, rel=1e-10)


@out_of_order
def test_rows_without_a_promised_order_cannot_be_held_out(rows):
    """Rows of one pass are held out in another: what judges a fit would be what it has seen."""
    with pytest.raises(ValueError, match='criterion="held_out" identifies .*shuffle=False'):
        select(rows(), [1], "full", "held_out")


@in_order
def test_rows_in_order_are_held_out(rows):
    selection = select(rows(), [1, 2], "spherical", "held_out", cv=2, n_init=1, random_state=0, tol=1e-3)
    assert selection.best_.n_components == 2


VERBS = ["predict", "predict_proba", "score_samples"]


@out_of_order
@pytest.mark.parametrize("verb", VERBS)
def test_results_of_rows_without_a_promised_order_are_said_to_be_in_that_of_the_pass(rows, verb):
    model = fit_quietly(GaussianMixture(2, random_state=0), X)
    with pytest.warns(UserWarning, match="order of this pass.*shuffle=False"):
        result = getattr(model, verb)(rows())
    expected = getattr(model, verb)(X)
    np.testing.assert_allclose(np.sort(result, axis=0), np.sort(expected, axis=0), rtol=1e-9)


@in_order
@pytest.mark.parametrize("verb", VERBS)
def test_results_of_rows_in_order_come_without_a_word(rows, verb):
    model = fit_quietly(GaussianMixture(2, random_state=0), X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(getattr(model, verb)(rows()), getattr(model, verb)(X), rtol=1e-9)


@out_of_order
def test_what_needs_no_order_says_nothing_of_it(rows):
    detector = MixtureOutlierDetector(0.1, random_state=0)
    model = fit_quietly(GaussianMixture(2, random_state=0), X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.bic(rows()) == pytest.approx(model.bic(X), rel=1e-12)
        assert detector.fit(rows()).offset_ == pytest.approx(detector.fit(X).offset_, rel=1e-9)
