"""Data that is read in batches: the same fits, predictions and errors as in memory, from every kind of source."""

import threading
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import zarr
from cases import explicit_start, fit_quietly, mixture
from support import COVARIANCE_TYPES, assert_same_fit
from torch.utils.data import DataLoader, TensorDataset

from tgmm import GaussianMixture
from tgmm.data import ArraySource, ArrowSource, FrameSource, ParquetSource, Source, prefetch, source, stream
from tgmm.data.columns import Columns
from tgmm.data.prefetch import prefetched

EXACT = {"rtol": 1e-10, "atol": 1e-10}
N, D, K = 250, 3, 3
NAMES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of a few rows, so that there are many."""
    monkeypatch.setattr(stream, "ROWS_MIN", 1)
    monkeypatch.setattr(source, "READ_BYTES", 37 * D * 8)


@pytest.fixture(scope="module")
def rows():
    return mixture(3, N, D, K)[0]


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(5).integers(0, 4, N).astype(float)  # some are 0


def parts(X):
    """Unequal parts, one of them empty and one of a single row."""
    return np.split(X, [7, 7, 8, 120, 199])


def npy(X, folder):
    np.save(folder / "rows.npy", X)
    return folder / "rows.npy"


def memmap(X, folder):
    return np.load(npy(X, folder), mmap_mode="r+")


def memmap_with_offset(X, folder):
    array = np.memmap(folder / "raw", X.dtype, "w+", offset=24, shape=X.shape)
    array[:] = X  # not flushed
    return array


def part_of_a_memmap(X, folder):
    return memmap(np.concatenate([X - 1, X])[:, ::-1].copy(), folder)[N:, ::-1]


def loader(X, folder):
    return DataLoader(TensorDataset(torch.as_tensor(X)), batch_size=33)


def shuffled_loader(X, folder):
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.as_tensor(X)), batch_size=33, shuffle=True, generator=generator)


def list_of_arrays(X, folder):
    return parts(X)


def list_of_tensors(X, folder):
    return [torch.as_tensor(part).requires_grad_() for part in parts(X)]


class Rows(Source):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        yield from self.batches


def own_source(X, folder):
    return Rows(parts(X))


def table(X):
    return pa.table({name: X[:, i] for i, name in enumerate(NAMES)})


def parquet(X, folder):
    pq.write_table(table(X), folder / "rows.parquet", row_group_size=40)
    return str(folder / "rows.parquet")


def parquet_folder(X, folder):
    (folder / "parts").mkdir()
    for number, part in enumerate(parts(X)):
        pq.write_table(table(part), folder / "parts" / f"{number}.parquet")
    return folder / "parts"


def arrow_table(X, folder):
    return table(X)


def feather(X, folder):
    import pyarrow.feather

    pyarrow.feather.write_feather(table(X), str(folder / "rows.feather"))
    return folder / "rows.feather"


def pandas_source(X, folder):
    return FrameSource(pd.DataFrame(X, columns=NAMES))


def polars_source(X, folder):
    return FrameSource(pl.DataFrame(X, schema=NAMES))


def lazy_frame(X, folder):
    return pl.DataFrame(X, schema=NAMES).lazy().filter(pl.col("a") < 1e9)


def zarr_array(X, folder):
    array = zarr.open_array(str(folder / "rows.zarr"), mode="w", shape=X.shape, dtype=X.dtype, chunks=(16, 2))
    array[:] = X
    return array


def zarr_path(X, folder):
    zarr_array(X, folder)
    return folder / "rows.zarr"


KINDS = [
    npy,
    memmap,
    memmap_with_offset,
    part_of_a_memmap,
    loader,
    list_of_arrays,
    list_of_tensors,
    own_source,
    parquet,
    parquet_folder,
    arrow_table,
    feather,
    pandas_source,
    polars_source,
    lazy_frame,
    zarr_array,
    zarr_path,
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def model(covariance_type="full", **settings):
    settings = {"max_iter": 5, "tol": 0, "random_state": 0} | settings
    return GaussianMixture(K, covariance_type=covariance_type, **settings)


@kinds
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fits_equal_those_in_memory(kind, covariance_type, rows, tmp_path):
    streamed = fit_quietly(model(covariance_type), kind(rows, tmp_path))
    assert_same_fit(streamed, fit_quietly(model(covariance_type), rows), **EXACT)
    assert streamed.n_features_in_ == D


@kinds
def test_weights_of_all_rows(kind, rows, weights, tmp_path):
    streamed = fit_quietly(model(), kind(rows, tmp_path), sample_weight=weights)
    assert_same_fit(streamed, fit_quietly(model(), rows, sample_weight=weights), **EXACT)


def weighted_table(rows, weights):
    return table(rows).append_column("w", pa.array(weights))


WEIGHTED = {
    "pairs": lambda X, w, folder: list(zip(parts(X), parts(w), strict=True)),
    "loader": lambda X, w, folder: DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(w)), batch_size=64),
    "arrow": lambda X, w, folder: ArrowSource(weighted_table(X, w), weight_column="w"),
    "pandas": lambda X, w, folder: FrameSource(pd.DataFrame(X, columns=NAMES).assign(w=w), weight_column="w"),
    "polars": lambda X, w, folder: FrameSource(
        pl.DataFrame(X, schema=NAMES).with_columns(w=pl.Series(w)), weight_column="w"
    ),
}
weighted = pytest.mark.parametrize("kind", WEIGHTED.values(), ids=WEIGHTED)


@weighted
@pytest.mark.parametrize("covariance_type", ["full", "tied_diag"])
def test_weights_of_the_source(kind, covariance_type, rows, weights, tmp_path):
    streamed = fit_quietly(model(covariance_type), kind(rows, weights, tmp_path))
    assert_same_fit(streamed, fit_quietly(model(covariance_type), rows, sample_weight=weights), **EXACT)
    assert streamed.score(kind(rows, weights, tmp_path)) == pytest.approx(streamed.lower_bound_, abs=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_given_responsibilities_priors_and_starts(covariance_type, rows, weights):
    labels = np.random.default_rng(0).integers(0, K, N)
    priors = {"weight_concentration_prior": 2.0, "mean_prior": np.zeros(D), "mean_precision_prior": 0.1}
    streamed, in_memory = (
        fit_quietly(model(covariance_type, **priors), X, sample_weight=weights, init_responsibilities=labels)
        for X in (parts(rows), rows)
    )
    assert_same_fit(streamed, in_memory, **EXACT)
    start = explicit_start(1, rows, covariance_type, K)
    settings = dict(zip(("init_weights", "init_means", "init_covariances"), start, strict=True))
    streamed, in_memory = (fit_quietly(model(covariance_type, **settings), X) for X in (parts(rows), rows))
    assert_same_fit(streamed, in_memory, **EXACT)


def test_a_callable_start_is_given_rows(rows):
    def first_rows(X, n_components, generator):
        assert X.shape == (N, D)
        return X[:n_components]

    streamed, in_memory = (fit_quietly(model(init_means=first_rows), X) for X in (parts(rows), rows))
    assert_same_fit(streamed, in_memory, **EXACT)


def test_samples_for_starts_are_those_in_memory(monkeypatch, rows):
    monkeypatch.setattr("tgmm.start.sample.SAMPLE_ROWS", 40)
    monkeypatch.setattr("tgmm.start.sample.SAMPLE_ROWS_PER_COMPONENT", 10)
    streamed, in_memory = (fit_quietly(model(), X) for X in (parts(rows), rows))
    assert_same_fit(streamed, in_memory, **EXACT)


def test_cem_and_reseeding(rows):
    settings = {"cem": True, "init_means": np.array([[0.0] * 3, [1.0] * 3, [1e3] * 3])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        streamed, in_memory = (model(**settings).fit(X) for X in (parts(rows), rows))
    assert_same_fit(streamed, in_memory, **EXACT)


def test_the_order_of_rows_may_change_between_passes(rows, tmp_path):
    streamed = fit_quietly(model(), shuffled_loader(rows, tmp_path))
    assert_same_fit(streamed, fit_quietly(model(), rows), **EXACT)


@pytest.mark.parametrize(
    ("batches", "dtype"),
    [
        (lambda X: [X[:99].astype(np.float32), X[99:].astype(np.float32)], torch.float32),
        (lambda X: [X[:99].astype(np.float16), X[99:].astype(np.float32)], torch.float32),
        (lambda X: [X[:99].astype(np.float32), X[99:]], torch.float64),
        (lambda X: [(10 * X[:99]).astype(int), (10 * X[99:]).astype(int)], torch.float64),
        (lambda X: [torch.as_tensor(X[:99]).bfloat16(), torch.as_tensor(X[99:]).bfloat16()], torch.float32),
    ],
    ids=["float32", "float16 and float32", "float32 and float64", "integers", "bfloat16"],
)
def test_float_types(batches, dtype, rows):
    fitted = fit_quietly(model(), batches(rows))
    assert fitted.mixture_.dtype == dtype


def test_float32_columns_stay_float32(rows):
    assert fit_quietly(model(), table(rows.astype(np.float32))).means_.dtype == np.float32


@kinds
def test_predictions_equal_those_in_memory(kind, rows, tmp_path):
    fitted = fit_quietly(model(), rows)
    given = kind(rows, tmp_path)
    for name in ("predict", "predict_proba", "score_samples"):
        expected = getattr(fitted, name)(rows)
        actual = getattr(fitted, name)(given)
        assert isinstance(actual, np.ndarray)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
        written = getattr(fitted, name)(given, out=tmp_path / "out.npy")
        assert isinstance(written, np.memmap)
        np.testing.assert_array_equal(written, actual)
        np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), actual)
    for name in ("score", "aic", "bic", "icl"):
        assert getattr(fitted, name)(given) == pytest.approx(getattr(fitted, name)(rows), rel=1e-12)


@pytest.mark.parametrize("given", [lambda X: X, parts, lambda X: torch.as_tensor(X)], ids=["array", "list", "tensor"])
def test_predictions_into_an_array(given, rows, tmp_path):
    fitted = fit_quietly(model(), rows)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (N, K))
    assert fitted.predict_proba(given(rows), out=out) is out
    np.testing.assert_allclose(out, fitted.predict_proba(rows), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((N, K + 1)), "shape"),
        (np.zeros((N - 1, K)), "shape"),
        (np.zeros((N + 1, K)), "rows"),
        (np.zeros((N, K), dtype=int), "dtype int64 cannot hold"),
        ([0.0] * N, "NumPy array"),
        ("out.txt", "ends in .npy"),
    ],
)
def test_outputs_that_do_not_fit(out, message, rows):
    with pytest.raises(ValueError, match=message):
        fit_quietly(model(), rows).predict_proba(parts(rows), out=out)


def test_a_failed_output_leaves_the_old_file_alone(rows, tmp_path):
    fitted = fit_quietly(model(), rows)
    path = tmp_path / "out.npy"
    fitted.predict(parts(rows), out=path)
    old = path.read_bytes()
    rows = rows.copy()
    rows[-1, -1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(parts(rows), out=path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_columns_are_chosen_and_ordered(rows, tmp_path):
    path = parquet(rows, tmp_path)
    fitted = fit_quietly(model(), ParquetSource([path], columns=["c", "a"]))
    assert_same_fit(fitted, fit_quietly(model(), rows[:, [2, 0]]), **EXACT)
    assert list(fitted.feature_names_in_) == ["c", "a"]
    assert fitted.score(ParquetSource(path, columns=["c", "a"])) == pytest.approx(fitted.lower_bound_)
    with pytest.raises(ValueError, match="same order"):
        fitted.predict(ParquetSource(path, columns=["a", "c"]))
    with pytest.raises(ValueError, match="not in the table"):
        ParquetSource(path, columns=["a", "z"])
    with pytest.raises(ValueError, match="'word' is of type string"):
        ArrowSource(pa.table({"a": [1.0], "word": ["x"]}))


def test_missing_values_of_tables_are_nan(rows):
    with pytest.raises(ValueError, match=r"NaN at row 1, column 0 \('a'\)"):
        model().fit(pa.table({"a": [1, None, 3, 4]}))
    with pytest.raises(ValueError, match="NaN at row 2, column 0"):
        model().fit(FrameSource(pl.DataFrame({"a": [1, 2, None]})))


BAD = {
    "nan": (lambda b: b[3].__setitem__((2, 1), np.nan), "NaN at row 10, column 1"),
    "infinity": (lambda b: b[4].__setitem__((0, 2), np.inf), "infinity .* at row 120, column 2"),
    "features": (lambda b: b.__setitem__(4, b[4][:, :2]), "2 features in batch 4, which begins at row 120"),
    "one-dimensional": (lambda b: b.__setitem__(3, b[3][0]), "Batch 3 has shape"),
    "words": (lambda b: b.__setitem__(3, b[3].astype(str)), "Batch 3, .*string"),
    "no array": (lambda b: b.__setitem__(3, {"a": 1}), "Batch 3, a dict"),
    "complex": (lambda b: b.__setitem__(3, torch.as_tensor(b[3]) * 1j), "Batch 3 must be .* real"),
    "triple": (lambda b: b.__setitem__(3, (b[3], b[3], b[3])), "Batch 3 is a tuple of 3"),
    "weights now": (lambda b: b.__setitem__(3, (b[3], np.ones(112))), "Batch 3 has weights, unlike"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("method", ["fit", "predict", "score"])
def test_bad_batches_are_reported_with_their_place(method, spoil, message, rows):
    fitted = fit_quietly(model(), rows)
    batches = [part.copy() for part in parts(rows)]
    spoil(batches)
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(batches)


@pytest.mark.parametrize(
    ("batches", "weights", "message"),
    [
        (lambda X, w: zip(parts(X), parts(w - 9), strict=True), None, "not negative.* at row 0"),
        (lambda X, w: zip(parts(X), parts(0 * w), strict=True), None, "zero for every row"),
        (lambda X, w: zip(parts(X), reversed(parts(w)), strict=True), None, "one weight per row"),
        (lambda X, w: zip(parts(X), parts(w), strict=True), np.ones(N), "weights of its own"),
        (lambda X, w: parts(X), np.ones(N + 1), "251 weights, but X has 250 rows"),
        (lambda X, w: parts(X), np.ones(N - 1), "249 weights, but X has more"),
        (lambda X, w: [X[:2]], None, "at least as many rows"),
        (lambda X, w: [X[:0]], None, "0 sample"),
        (lambda X, w: [X[:, :0]], None, "at least one features"),
    ],
)
def test_bad_weights_and_sizes(batches, weights, message, rows):
    given = list(batches(rows, np.ones(N)))
    with pytest.raises(ValueError, match=message):
        model().fit(given, sample_weight=weights)


def test_what_can_be_read_only_once_is_refused(rows):
    for once in (iter(parts(rows)), (part for part in parts(rows))):
        with pytest.raises(ValueError, match="only once.*DataLoader"):
            model().fit(once)


def test_a_source_that_changes_is_refused(rows):
    class Shrinking(Source):
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield rows[: N - self.passes]

    with pytest.raises(ValueError, match="249 rows at first and"):
        model().fit(Shrinking())


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        model().fit(tmp_path / "nothing.npy")
    (tmp_path / "rows.doc").write_text("1 2")
    with pytest.raises(ValueError, match=r"cannot be read.*\.npy"):
        model().fit(tmp_path / "rows.doc")
    np.save(tmp_path / "three.npy", np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="2D array"):
        model().fit(tmp_path / "three.npy")


def test_a_private_map_is_read_as_changed(rows, tmp_path):
    array = np.load(npy(rows, tmp_path), mmap_mode="c")
    array += 5
    np.testing.assert_array_equal(np.concatenate(list(ArraySource(array))), rows + 5)


def test_small_batches_are_put_together(monkeypatch, rows):
    monkeypatch.setattr(stream, "ROWS_MIN", 100)
    chunks = list(stream.Stream(Rows(np.split(rows, 25)), Columns(None), torch.device("cpu")))
    assert [chunk.rows.shape[0] for chunk in chunks] == [100, 100, 50]
    assert [chunk.first for chunk in chunks] == [0, 100, 200]


class Refilled(Source):
    """Batches in one buffer, which is filled again and again."""

    def __init__(self, rows, weights, kind):
        self.rows, self.weights, self.kind = rows, weights, kind

    def __iter__(self):
        rows, weights = np.empty((10, D)), np.empty(10)
        parts = (self.kind(rows), self.kind(weights))
        for first in range(0, N, 10):
            rows[:], weights[:] = self.rows[first : first + 10], self.weights[first : first + 10]
            yield parts


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_buffer_may_be_filled_again_and_again(kind, rows, weights):
    source = Refilled(rows, weights, kind)
    found = fit_quietly(GaussianMixture(K, random_state=0), source)
    expected = fit_quietly(GaussianMixture(K, random_state=0), rows, sample_weight=weights)
    assert_same_fit(found, expected, **EXACT)
    assert found.score(source) == pytest.approx(expected.score(rows, sample_weight=weights))


class Frames(Source):
    def __init__(self, frames, feature_names=None):
        self.frames, self.feature_names = frames, feature_names

    def __iter__(self):
        return iter(self.frames)


def test_batches_of_frames_have_the_same_columns(rows):
    frames = [pd.DataFrame(part, columns=NAMES) for part in np.split(rows, 2)]
    for batches in (Frames(frames), frames, [pl.from_pandas(frame) for frame in frames]):
        assert_same_fit(GaussianMixture(1).fit(batches), GaussianMixture(1).fit(rows), **EXACT)
    for other in (["b", "a", "c"], ["a", "b", "d"]):
        with pytest.raises(ValueError, match=r"Batch 1 of X has the columns .* but \['a', 'b', 'c'\] are expected"):
            GaussianMixture(1).fit(Frames([frames[0], frames[1].set_axis(other, axis=1)]))
    with pytest.raises(ValueError, match=r"Batch 0 of X has the columns .* but \['x', 'y', 'z'\] are expected"):
        GaussianMixture(1).fit(Frames(frames, ["x", "y", "z"]))
    with pytest.raises(ValueError, match="X has 3 features, but 2 feature_names"):
        GaussianMixture(1).fit(Frames(np.split(rows, 2), ["a", "b"]))


@pytest.mark.parametrize("first", ["float32", "int32"])
def test_files_of_different_types_are_read_in_one_that_holds_all(first, tmp_path):
    values = 1e6 + np.random.default_rng(0).normal(size=(100, 1)) / 100
    values[0] = 1e6
    frame = pd.DataFrame(values, columns=["a"])
    frame[:1].astype(first).to_parquet(tmp_path / "0.parquet")
    frame[1:].to_parquet(tmp_path / "1.parquet")
    found = GaussianMixture(1).fit(tmp_path)
    assert found.means_.dtype == np.float64
    np.testing.assert_allclose(found.covariances_, GaussianMixture(1).fit(frame).covariances_)


def test_files_of_different_columns_are_refused_unless_those_that_all_have_are_named(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 2)), columns=["a", "b"])
    frame[:50].to_parquet(tmp_path / "0.parquet")
    frame[50:].assign(c="text").to_parquet(tmp_path / "1.parquet")
    with pytest.raises(ValueError, match=r"have different columns: only one has \['c'\]"):
        GaussianMixture(1).fit(tmp_path)
    found = GaussianMixture(1).fit(ParquetSource(tmp_path, columns=["a", "b"]))
    np.testing.assert_allclose(found.means_[0], frame.mean())


def test_a_folder_without_files_says_so(tmp_path):
    with pytest.raises(ValueError, match="which holds no parquet file"):
        GaussianMixture(1).fit(tmp_path)


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "tgmm-reader"]


def test_reading_goes_ahead_of_the_consumer_and_no_further():
    read = []
    ahead = threading.Event()

    def items():
        for i in range(100):
            if i == 1 + prefetch.DEPTH:
                ahead.set()
            read.append(i)
            yield i

    iterator = prefetched(items())
    assert next(iterator) == 0
    assert ahead.wait(5)
    assert max(read) <= 2 + prefetch.DEPTH
    iterator.close()
    assert readers() == []
    assert max(read) <= 3 + prefetch.DEPTH


def test_errors_of_the_reader_come_out_and_no_thread_stays(rows):
    def items():
        yield 1
        raise KeyError("lost")

    iterator = prefetched(items())
    assert next(iterator) == 1
    with pytest.raises(KeyError, match="lost"):
        next(iterator)
    fit_quietly(model(), parts(rows))
    assert readers() == []


def test_verbose_shows_rows(rows, capsys):
    fit_quietly(model(max_iter=1, verbose=True), parts(rows))
    shown = capsys.readouterr().err
    assert "counting" in shown
    assert "rows: " in shown
    assert "row/s" in shown
