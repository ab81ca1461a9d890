"""Delimited text as a source: what is read, and what cannot be."""

import numpy as np
import pytest

from tgmm import GaussianMixture
from tgmm.data import TextSource
from tgmm.data import source as sources
from tgmm.data.opening import as_source


def written(tmp_path, text, name="data.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def rows(source):
    return np.concatenate(list(source))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n3,4\n", ["a", "b"]),
        ("a;b\n1;2\n3;4", ["a", "b"]),
        ("a\tb\r\n1\t2\r\n3\t4\r\n", ["a", "b"]),
        ("a b\n1   2\n3 4\n", ["a", "b"]),
        ('"a","b"\n"1",2\n\n3,"4"\n', ["a", "b"]),
        ("\ufeffa,b\n1,2\n3,4\n", ["a", "b"]),
        ("sep=;\na;b\n1;2\n3;4\n", ["a", "b"]),
        ("sep=,\na,b\n1,2\n3,4\n", ["a", "b"]),
        ('\ufeff"sep=;"\r\na;b\r\n1,0;2,0\r\n3,0;4,0\r\n', ["a", "b"]),
        ("sep=\t\n1\t2\n3\t4\n", None),
        ("sep=,\n1,2\n3,4\n", None),
        ("1,2.0\n3,4\n", None),
        ("1e0,+2.0\n 3 , 4\n", None),
    ],
)
def test_dialects(tmp_path, text, names):
    source = TextSource(written(tmp_path, text))
    assert source.feature_names == names
    assert rows(source).tolist() == [[1, 2], [3, 4]]
    assert rows(source).tolist() == [[1, 2], [3, 4]], "a source is read as often as asked"


def test_columns_are_chosen_and_ordered(tmp_path):
    path = written(tmp_path, "a,kind,b\n1,x,2\n3,y,4\n")
    source = TextSource(path, ["b", "a"])
    assert rows(source).tolist() == [[2, 1], [4, 3]]
    assert source.feature_names == ["b", "a"]
    unnamed = TextSource(written(tmp_path, "1,2,5\n3,4,6\n", "unnamed.csv"), ["2", "0"])
    assert rows(unnamed).tolist() == [[5, 1], [6, 3]]


def test_a_single_column(tmp_path):
    assert rows(TextSource(written(tmp_path, "x\n1\n2\n3\n"))).tolist() == [[1], [2], [3]]


def test_many_rows_come_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "READ_BYTES", 1000)
    X = np.random.default_rng(0).normal(size=(1000, 3))
    np.savetxt(tmp_path / "x.csv", X, delimiter=",", fmt="%.17g", header="a,b,c", comments="")
    batches = list(TextSource(tmp_path / "x.csv"))
    assert len(batches) == 25
    np.testing.assert_array_equal(np.concatenate(batches), X)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", r"line 3, column 'b': 'x' is not a number"),
        ("a,b\n1,2\n\n,4\n", r"line 4, column 'a': a value is missing"),
        ("a,b\n1,2\n3\n", r"line 3, column 'b': a value is missing"),
        ("1,2\n3,NA\n", r"line 2, column '1': a value is missing \('NA'\)\. .*missing='em'"),
        ("a\tb\n1\t2\n\t\n3\t4\n", r"line 3, column 'a': a value is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, message):
    source = TextSource(written(tmp_path, text))
    with pytest.raises(ValueError, match=message):
        list(source)


def test_bad_files(tmp_path):
    with pytest.raises(ValueError, match="is empty"):
        TextSource(written(tmp_path, ""))
    with pytest.raises(ValueError, match=r"columns \['c'\] are not in the table; it has \['a', 'b'\]"):
        TextSource(written(tmp_path, "a,b\n1,2\n"), ["c"])
    with pytest.raises(FileNotFoundError):
        TextSource(tmp_path / "none.csv")
    assert not list(TextSource(written(tmp_path, "a,b\n")))


def test_a_path_is_fitted_as_the_array_is(tmp_path, blobs):
    np.savetxt(tmp_path / "blobs.csv", blobs, delimiter=",", fmt="%.17g", header="a,b,c", comments="")
    streamed = GaussianMixture(3, random_state=0).fit(tmp_path / "blobs.csv")
    whole = GaussianMixture(3, random_state=0).fit(blobs)
    np.testing.assert_allclose(streamed.means_, whole.means_, rtol=1e-9, atol=1e-9)
    assert list(streamed.feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize("settings", [{}, {"missing": "em"}])
def test_a_row_that_is_cut_off_is_an_error_whatever_may_be_missing(settings, tmp_path):
    path = tmp_path / "cut.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,6\n7,8,1\n2,2,2\n9,1,4\n3,7")
    message = (
        r"\['3', '7'\] are fewer fields than the 3 columns" if settings else "line 7, column 'c': a value is missing"
    )
    with pytest.raises(ValueError, match=message):
        GaussianMixture(1, **settings).fit(path)


@pytest.mark.parametrize("header", ["", "a{0}b{0}c\n", "# a{0}b{0}c\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_rows_without_any_value_are_rows(header, delimiter, tmp_path):
    """Predictions have a row for each, also where tabs make it a line of blanks; lines of other blanks are none."""
    values = ["{0}{0}", "1{0}2{0}3", "4{0}5{0}7", "{0}{0}", "", "   ", "8{0}9{0}1", "{0}{0}"]
    path = written(tmp_path, "".join([header, *(f"{line}\n" for line in values)]).format(delimiter))
    nothing = [np.nan] * 3
    expected = [nothing, [1, 2, 3], [4, 5, 7], nothing, [8, 9, 1], nothing]
    np.testing.assert_array_equal(rows(as_source(path, may_lack=True)), expected)
