"""What a source yields is checked as rows in memory are: labels are no weights, and only numbers are numbers."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from cases import fit_quietly
from torch.utils.data import DataLoader, TensorDataset

from tgmm import GaussianMixture, select
from tgmm.data import FrameSource, Source

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1], [60, 30])
X = RNG.normal(size=(90, 2)) + 6.0 * LABELS[:, None]


class Pairs(Source):
    def __init__(self, second):
        self.second = second

    def __iter__(self):
        yield X, self.second


def loaded(second):
    return DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(second)), batch_size=32)


LABELLED = {
    "a loader": lambda: loaded(LABELS),
    "a loader of int32": lambda: loaded(LABELS.astype(np.int32)),
    "a loader of bytes": lambda: loaded(LABELS.astype(np.uint8)),
    "a loader of booleans": lambda: loaded(LABELS == 1),
    "a list of pairs": lambda: [(X, LABELS)],
    "a source": lambda: Pairs(LABELS),
    "a source with a list": lambda: Pairs(LABELS.tolist()),
}


@pytest.mark.parametrize("labelled", LABELLED.values(), ids=LABELLED)
@pytest.mark.parametrize("verb", ["fit", "score", "predict", "select"])
def test_whole_numbers_beside_rows_are_labels_and_not_taken_for_weights(labelled, verb):
    calls = {
        "fit": lambda rows: GaussianMixture(2).fit(rows),
        "select": lambda rows: select(rows, [2], "full"),
        "score": GaussianMixture(1).fit(X).score,
        "predict": GaussianMixture(1).fit(X).predict,
    }
    with pytest.raises(
        ValueError, match=r"second member of batch 0 holds .*labels.*weights\.double\(\).*sample_weight"
    ):
        calls[verb](labelled())


@pytest.mark.parametrize("float_type", [torch.float64, torch.float32, torch.float16])
def test_floats_beside_rows_are_weights(float_type):
    weights = torch.as_tensor(1.0 + LABELS).to(float_type)
    streamed = fit_quietly(
        GaussianMixture(2, random_state=0), DataLoader(TensorDataset(torch.as_tensor(X), weights), 32)
    )
    in_memory = fit_quietly(GaussianMixture(2, random_state=0), X, sample_weight=1.0 + LABELS)
    np.testing.assert_allclose(np.asarray(streamed.weights_), np.asarray(in_memory.weights_), rtol=1e-9)


class ArrayLike:
    """As labelled arrays of other libraries: the array protocol, a shape, one dtype and no dtypes."""

    def __init__(self, values):
        self.values, self.shape, self.ndim, self.dtype = values, values.shape, values.ndim, values.dtype

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)

    def __len__(self):
        return len(self.values)


DAYS = np.array([["2020-01-01", "2020-01-02"]] * 3, "datetime64[ns]")
NO_NUMBERS = {
    "strings": np.array([["1", "2"]] * 3),
    "numbers in strings": np.array([["1", 2.0]] * 3, object),
    "bytes": np.array([[b"1", b"2"]] * 3),
    "dates": DAYS,
    "time spans": DAYS - DAYS[0, 0],
    "dates among objects": np.array([[datetime.date(2020, 1, 1), 2.0]] * 3, object),
    "NumPy dates among objects": np.array([[DAYS[0, 0], 2.0]] * 3, object),
    "NumPy time spans among objects": np.array([[np.timedelta64(1, "s"), 2.0]] * 3, object),
    "complex numbers": np.array([[1j, 2.0]] * 3),
    "masked values": np.ma.masked_equal(np.array([[1.0, 2.0], [3.0, -1.0], [4.0, 4.0]]), -1.0),
    "missing values of pandas among objects": np.array([[1.0, 2.0], [pd.NA, 3.0], [4.0, 5.0]], object),
    "None among objects": np.array([[1.0, 2.0], [None, 3.0], [4.0, 5.0]], object),
    "a structured array": np.array([(1.0, 2.0), (3.0, 4.0)], dtype=[("x", "f8"), ("y", "f8")]),
    "dates behind the array protocol": ArrayLike(DAYS),
    "strings behind the array protocol": ArrayLike(np.array([["1", 2.0]] * 3, object)),
    "a frame with text": pd.DataFrame({"a": ["1", "2"], "b": [1.0, 2.0]}),
    "a frame with dates": pd.DataFrame({"a": pd.date_range("2020", periods=2), "b": [1.0, 2.0]}),
    "a frame with categories": pd.DataFrame({"a": pd.Categorical(["1", "2"]), "b": [1.0, 2.0]}),
    "a frame with a missing value": pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [1.0, 2.0]}),
    "a frame of objects with a missing value": pd.DataFrame({"a": [1.0, pd.NA], "b": [1.0, 2.0]}, dtype=object),
    "a frame of objects with a date": pd.DataFrame({"a": [1.0, pd.Timestamp("2020")], "b": [1.0, 2.0]}, dtype=object),
    "a polars frame with text": pl.DataFrame({"a": ["1", "2"], "b": [1.0, 2.0]}),
    "a polars frame with dates": pl.DataFrame({"a": [datetime.date(2020, 1, 1)] * 2, "b": [1.0, 2.0]}),
}
WAYS = {
    "in memory": lambda rows: rows,
    "in a list": lambda rows: [np.zeros((2, 2)), rows],
    "from a source": lambda rows: Rows([np.zeros((2, 2)), rows]),
}


class Rows(Source):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        yield from self.batches


@pytest.mark.parametrize("rows", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_no_number_is_refused_wherever_it_comes_from(rows, way):
    words = "must hold numbers|missing value|NaN at row|masked values|structured array|[Cc]omplex"
    with pytest.raises(ValueError, match=words):
        GaussianMixture(1).fit(way(rows))


FRAMES = {
    "text": {"a": ["1", "2"], "b": [1.0, 2.0]},
    "dates": {"a": [datetime.date(2020, 1, 1)] * 2, "b": [1.0, 2.0]},
}


@pytest.mark.parametrize("columns", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pl.LazyFrame])
def test_frames_with_text_or_dates_are_refused_when_read_in_parts(columns, kind):
    with pytest.raises(ValueError, match="must hold numbers"):
        GaussianMixture(1).fit(FrameSource(kind(columns)))
    assert GaussianMixture(1).fit(FrameSource(kind(columns), ["b"])).n_features_in_ == 1


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pl.LazyFrame])
def test_a_column_of_weights_may_hold_whole_numbers_but_no_text(kind):
    counts = {"x": [0.0, 1.0, 5.0], "count": [1, 1, 2]}
    model = GaussianMixture(1).fit(FrameSource(kind(counts), weight_column="count"))
    assert np.asarray(model.means_).item() == pytest.approx(2.75)
    with pytest.raises(ValueError, match="must hold numbers"):
        GaussianMixture(1).fit(FrameSource(kind(counts | {"count": ["1", "1", "2"]}), weight_column="count"))


class LazyFrameOfOldPolars:
    def collect_schema(self):
        raise AssertionError("the frame is refused before it is looked at")


def test_lazy_frames_of_an_old_polars_are_refused_with_the_version_that_serves():
    with pytest.raises(ValueError, match=r"polars 1\.34 or newer: update it, or pass frame\.collect\(\)"):
        FrameSource(LazyFrameOfOldPolars())


NULLABLE = {
    "nullable": lambda frame: frame.convert_dtypes(),
    "of Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "with integers": lambda frame: (10 * frame).astype(int),
    "with booleans": lambda frame: frame > 0.5,
    "of objects": lambda frame: frame.astype(object),
    "of float32": lambda frame: frame.astype(np.float32),
}


@pytest.mark.parametrize("convert", NULLABLE.values(), ids=NULLABLE)
def test_frames_in_parts_are_what_they_are_in_memory(convert):
    frame = convert(pd.DataFrame(X, columns=["a", "b"]))
    settings = {"n_components": 1, "reg_covar": 1e-3}
    whole, parts = (fit_quietly(GaussianMixture(**settings), rows) for rows in (frame, FrameSource(frame)))
    np.testing.assert_allclose(np.asarray(parts.means_), np.asarray(whole.means_), rtol=1e-9)
    assert np.asarray(parts.means_).dtype == np.asarray(whole.means_).dtype


@pytest.mark.parametrize(
    "error", [RuntimeError("lost"), KeyboardInterrupt(), SystemExit(3), KeyError("x"), OSError(5, "io")]
)
@pytest.mark.parametrize("at", [1, 5, 9, 33])
def test_what_a_source_raises_ends_the_fit_and_reaches_the_user_unchanged(error, at):
    class Failing(Source):
        count = 0

        def __iter__(self):
            for part in np.array_split(X, 3):
                self.count += 1
                if self.count == at:
                    raise error
                yield part

    settings = {"init_means": "random", "accelerate": None}  # no trials on a sample: every iteration reads
    gmm = fit_quietly(GaussianMixture(3, random_state=0, max_iter=40, tol=0, **settings), X)
    before = dict(vars(gmm))
    with pytest.raises(type(error)) as caught:
        gmm.fit(Failing())
    assert caught.value is error
    assert vars(gmm).keys() == before.keys()
    assert all(vars(gmm)[name] is value for name, value in before.items())
