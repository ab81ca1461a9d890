"""What users hand in as X: what it is opened as, and what is refused with what to pass instead."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from tgmm import GaussianMixture
from tgmm.data import ArrowSource, FrameSource, ParquetSource

X = np.random.default_rng(0).normal(size=(40, 2))
DATA = TensorDataset(torch.as_tensor(X))
NO_TABLES = {
    "None": (None, "X is None"),
    "an empty path": ("", "empty path"),
    "a dict": ({"a": [1.0, 2.0]}, r"a dict.*pandas\.DataFrame"),
    "a set": ({1.0, 2.0}, "a set: pass an array"),
    "bytes": (b"12", "bytes: pass an array"),
    "a data set": (DATA, "TensorDataset, a data set.*DataLoader"),
    "a part of a data set": (Subset(DATA, [0, 1]), "Subset, a data set.*DataLoader"),
    "data sets": (ConcatDataset([DATA, DATA]), "ConcatDataset, a data set.*DataLoader"),
    "any object": (object(), "must hold numbers"),
    "a number": (3.0, "2D"),
    "records": ([{"a": 1.0}, {"a": 2.0}], "must hold numbers; got {'a': 1.0}"),
    "a structured array": (np.array([(1.0, 2.0)], dtype=[("x", "f8"), ("y", "f8")]), "structured_to_unstructured"),
}


@pytest.mark.parametrize(("given", "message"), NO_TABLES.values(), ids=NO_TABLES)
@pytest.mark.parametrize("verb", ["fit", "predict"])
def test_what_is_no_table_is_refused_with_what_to_pass(given, message, verb):
    model = GaussianMixture(1) if verb == "fit" else GaussianMixture(1).fit(X)
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(model, verb)(given)


def npy(path, array):
    np.save(path, array)
    return path.read_bytes()


def broken_files(folder):
    whole = npy(folder / "whole.npy", X)
    structured = npy(folder / "fields.npy", np.array([(1.0, 2.0)], dtype=[("x", "f8"), ("y", "f8")]))
    np.savez(folder / "several.npz", X)
    return {
        "empty": b"",
        "cut in its header": whole[:20],
        "cut in its rows": whole[:-8],
        "of structured rows": structured,
        "an archive by another name": (folder / "several.npz").read_bytes(),
        "text by another name": b"1,2\n3,4\n",
    }


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "cut in its header",
        "cut in its rows",
        "of structured rows",
        "an archive by another name",
        "text by another name",
    ],
)
def test_a_npy_file_that_is_none_is_refused_by_name(kind, tmp_path):
    (tmp_path / "x.npy").write_bytes(broken_files(tmp_path)[kind])
    with pytest.raises(ValueError, match=r"x\.npy.* cannot be read as rows of numbers"):
        GaussianMixture(1).fit(tmp_path / "x.npy")


FRAME = pd.DataFrame(X, columns=["a", "b"])
INDICES = {
    "filtered": FRAME[FRAME.a > 0],
    "named": FRAME.set_index(pd.Index(np.random.default_rng(1).permutation(40), name="patient")),
    "of text": FRAME.set_index(pd.Index([f"p{i}" for i in range(40)], name="patient")),
    "of several levels": FRAME.set_index(pd.MultiIndex.from_product([range(8), range(5)], names=["site", None])),
    "a range": FRAME,
}


def as_parquet(frame, folder):
    frame.to_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def as_parquet_folder(frame, folder):
    for i in range(2):
        (folder / "parts").mkdir(exist_ok=True)
        frame[i::2].to_parquet(folder / "parts" / f"{i}.parquet")
    return folder / "parts"


def as_feather(frame, folder):
    pa.feather.write_feather(as_table(frame, folder), folder / "x.feather")
    return folder / "x.feather"


def as_arrow(frame, folder):
    table = as_table(frame, folder)
    with pa.OSFile(str(folder / "x.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return folder / "x.arrow"


def as_table(frame, folder):
    return pa.Table.from_pandas(frame)


@pytest.mark.parametrize("write", [as_parquet, as_parquet_folder, as_feather, as_arrow, as_table])
@pytest.mark.parametrize("frame", INDICES.values(), ids=INDICES)
def test_the_index_that_pandas_stores_is_no_feature(frame, write, tmp_path):
    model = GaussianMixture(1).fit(write(frame, tmp_path))
    assert list(model.feature_names_in_) == ["a", "b"]
    np.testing.assert_allclose(np.asarray(model.means_)[0], frame.mean(), rtol=1e-9)


def test_an_index_can_be_asked_for(tmp_path):
    frame = INDICES["named"]
    path = as_parquet(frame, tmp_path)
    assert ParquetSource(path, ["patient", "a"]).columns == ["patient", "a"]
    weighted = GaussianMixture(1).fit(ParquetSource(path, weight_column="patient"))
    np.testing.assert_allclose(np.asarray(weighted.means_)[0], np.average(X, axis=0, weights=frame.index), rtol=1e-9)


def test_an_index_without_a_name_is_known_where_its_description_is_lost():
    table = pa.Table.from_pandas(INDICES["filtered"]).replace_schema_metadata(None)
    assert ArrowSource(table).columns == ["a", "b"]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_beyond_those_that_floats_hold_are_read_as_numpy_reads_them(dtype, tmp_path):
    start = 1_700_000_000_000_000_000 if dtype is np.int64 else 2**63
    values = dtype(start) + np.random.default_rng(0).integers(0, 10**12, 100).astype(dtype)
    pd.DataFrame({"t": values}).to_parquet(tmp_path / "x.parquet")
    (rows,) = list(ParquetSource(tmp_path / "x.parquet"))
    np.testing.assert_array_equal(rows[:, 0], values.astype(np.float64))


def test_of_two_columns_of_one_name_neither_is_taken():
    rows = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])
    frame = pd.DataFrame(rows, columns=["a", "b", "a"])
    table = pa.Table.from_arrays([pa.array(column) for column in rows.T], names=["a", "b", "a"])
    for source in (lambda: FrameSource(frame), lambda: ArrowSource(table), lambda: FrameSource(frame, ["a"])):
        with pytest.raises(ValueError, match="several columns of the name 'a'"):
            source()
    assert np.concatenate(list(FrameSource(frame, ["b"]))).tolist() == [[2.0], [5.0]]
