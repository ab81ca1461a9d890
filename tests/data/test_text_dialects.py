"""Text files as other programs write them: what pandas reads when told how, or refused; never wrong in silence."""

import csv
import gzip
import io
import time
import warnings

import numpy as np
import pytest

from tgmm import GaussianMixture
from tgmm.data import TextSource
from tgmm.data import source as sources

X = np.random.default_rng(0).normal(50, 9, (30, 3)).round(4)
WIDE = np.random.default_rng(1).normal(0.5, 0.1, (30, 4)).round(4)
LINES = ["1.5,2,-3e2", "4,5.25,6", "7,8,9.125"]


def written(tmp_path, text, name="data.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / name


def rows(source):
    return np.concatenate(list(source))


def table(header, lines=LINES, delimiter=","):
    return "\n".join([*header, *lines]).replace(",", delimiter) + "\n"


def savetxt(**settings):
    file = io.StringIO()
    np.savetxt(file, X, **settings)
    return file.getvalue()


QUOTED = '"height, cm";"weight; kg"\n170;60\n180;70.5\n'
R_ROWS = '"1" 5 6\n"2" 7 8\n"10" 9 1\n'
AS_PANDAS = {
    "commas": (table(["a,b,c"]), {}),
    "semicolons": (table(["a,b,c"], delimiter=";"), {"sep": ";"}),
    "tabs": (table(["a,b,c"], delimiter="\t"), {"sep": "\t"}),
    "bars": (table(["a,b,c"], delimiter="|"), {"sep": "|"}),
    "blanks": (table(["a,b,c"], delimiter=" "), {"sep": r"\s+"}),
    "blanks after commas": (table(["a,b,c"], delimiter=", "), {"skipinitialspace": True}),
    "Windows line ends": (table(["a,b,c"]).replace("\n", "\r\n"), {}),
    "old Macintosh line ends": (table(["a,b,c"]).replace("\n", "\r"), {"lineterminator": "\r"}),
    "no line end, and empty lines": ("\n\n" + table(["a,b,c", ""]).strip(), {}),
    "a byte order mark": ("\ufeff" + table(["a,b,c"]), {}),
    "all fields quoted": (table(['"a","b","c"'], [f'"{line}"'.replace(",", '","') for line in LINES]), {}),
    "separators inside quoted names": (QUOTED, {"sep": ";"}),
    "line ends inside quoted names": ('"height\n(cm)",b\n1,2\n3,4\n', {}),
    "doubled quotes": ('"5"" pipe",b\n1,2\n3,4\n', {}),
    "one column of quoted decimal commas": ('"height, m"\n"1,75"\n"1,8"\n', {"sep": ";", "decimal": ","}),
    "decimal commas of three digits": ("a;b\n0,126;1234,500\n1,234;2,345\n", {"sep": ";", "decimal": ","}),
    "numbered rows under an empty corner and tabs": ("\ta\tb\n0\t5\t6\n1\t7\t8\n", {"sep": "\t", "index_col": 0}),
    "quoted rows under an empty corner and blanks": (' a b\n"r 1" 5 6\n"r 2" 7 8\n', {"sep": " ", "index_col": 0}),
    "one column": ("height\n170\n180.5\n", {}),
    "one column with a name of two words": ("height cm\n170\n180.5\n", {}),
    "columns aligned by blanks": (savetxt(fmt="%10.4f"), {"sep": r"\s+", "header": None}),
    "aligned columns under names": (f"{'a':>10} {'b':>10} {'c':>10}\n" + savetxt(fmt="%10.4f"), {"sep": r"\s+"}),
    "decimal commas": (table(["a,b,c"], LINES, ";").replace(".", ","), {"sep": ";", "decimal": ","}),
    "decimal commas between tabs": (table(["a,b,c"], LINES, "\t").replace(".", ","), {"sep": "\t", "decimal": ","}),
    "R's row names under a short header": ('"a" "b"\n' + R_ROWS, {"sep": r"\s+"}),
    "R's row names, unquoted": ("a\tb\nx\t5\t6\ny\t7\t8\n", {"sep": "\t"}),
    "R's row numbers, unquoted": ("a b\n1 5 6\n2 7 8\n", {"sep": " "}),
    "R's write.csv": ('"","a","b"\n"1",5,6\n"2",7,8\n', {"index_col": 0}),
    "R's row names with commas, unquoted": ("a,b\nx,5,6\ny,7,8\n", {}),
    "R's row names with commas, some of them numbers": ("a,b\n12,5,6\n1a,7,8\n", {}),
    "R's row names of several words": ("mpg,cyl\nMazda RX4,21,6\nDatsun 710,22.8,4\n", {}),
    "R's row names beside one column": ("a\nx,5\ny,7\n", {}),
    "R's row names and blanks": ("a b\nx 5 6\ny 7 8\n", {"sep": " "}),
    "R's row names, quoted, beside decimal commas": (
        'a\n"x";1,5\n"y";2,5\n',
        {"sep": ";", "decimal": ","},
    ),
    "R's row names and decimal commas": ("a;b\nx;1,5;2\ny;2,5;3\n", {"sep": ";", "decimal": ","}),
    "numpy.savetxt": (savetxt(), {"sep": r"\s+", "header": None}),
    "numpy.savetxt with commas": (savetxt(delimiter=","), {"header": None}),
}


@pytest.mark.parametrize(("text", "settings"), AS_PANDAS.values(), ids=AS_PANDAS)
def test_a_file_is_what_pandas_reads_when_told_how(text, settings, tmp_path):
    pandas = pytest.importorskip("pandas")
    path = written(tmp_path, text)
    expected = pandas.read_csv(path, **settings)
    source = TextSource(path)
    np.testing.assert_array_equal(rows(source), expected.to_numpy())
    names = None if "header" in settings else [name.strip() for name in expected.columns]
    assert source.feature_names == names


WITH_COMMA = {"sep": ";", "decimal": ",", "header": None}
DOUBTFUL = {
    "decimal commas, one negative": ("0,13\n-0,45\n1,64\n", WITH_COMMA, "decimal commas of a single column.*'-0,45'"),
    "decimal commas, a zero behind one": (
        "170,5\n168,05\n175,25\n",
        WITH_COMMA,
        "decimal commas of a single column.*'168,05'",
    ),
    "decimal commas and exponents": (
        "1,257e-01\n2,5e+00\n6,4e-01\n",
        WITH_COMMA,
        "decimal commas of a single column.*'1,257e-01'",
    ),
    "decimal commas under one name": (
        "h\n170,51\n170,82\n175,76\n",
        WITH_COMMA | {"header": 0},
        "decimal commas of a single column",
    ),
    "decimal commas under one name, one negative": (
        "h\n10,5\n-9,5\n",
        WITH_COMMA | {"header": 0},
        "decimal commas of a single column",
    ),
    "two columns, or decimal commas": ("170,51\n168,85\n175,76\n", {"header": None}, "two columns.*'170,51'"),
    "two columns of digits": ("3,1\n4,1\n5,9\n", {"header": None}, "two columns.*'3,1'"),
    "several columns": (
        "0,1,-0,5\n2,3,1,25\n",
        {"header": None},
        "separators of columns, but.*'-0,5' could be decimal",
    ),
    "R's row numbers with commas": ("a,b\n1,1,2\n2,3,4\n3,5,6\n", {}, "first column is read as row names"),
    "a part of R's rows": ("a,b\n30,1.5,2\n2,3,4\n", {}, "first column is read as row names"),
    "a part of R's rows and blanks": ("a b\n30 1 2\n2 3 4\n", {"sep": " "}, "read as row names.* name it there"),
    "a part of R's rows and tabs": ("a\tb\n30\t1\t2\n2\t3\t4\n", {"sep": "\t"}, "read as row names"),
    "years above counts": ("2019,2020,2021\n5,7,9\n12,15,3\n", {}, "names of the columns.*header=False"),
    "years above large counts": ("2019,2020\n1684,2573\n900,3000\n", {}, "names of the columns.*header=False"),
    "one year above counts": ("2019\n0\n3\n1\n", {}, "names of the columns.*header=False"),
    "numbers of sensors above counts": ("101,117\n1,0\n0,3\n2,1\n", {}, "names of the columns.*line of names above"),
    "a rank a column from the first row": ("0,1,2\n1,0,2\n0,1,2\n", {"header": None}, "read as data.*header=True"),
    "a label a row": ("0\n1\n0\n1\n", {"header": None}, "read as data.*header=True"),
}


@pytest.mark.parametrize(("text", "settings", "doubt"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_could_be_read_in_two_ways_is_said(text, settings, doubt, tmp_path):
    pandas = pytest.importorskip("pandas")
    path = written(tmp_path, text)
    with pytest.warns(UserWarning, match=doubt) as said:
        source = TextSource(path)
    assert len(said) == 1
    np.testing.assert_array_equal(rows(source), pandas.read_csv(path, **settings).to_numpy())


def test_one_column_of_decimal_commas_under_pandas_number_of_it(tmp_path):
    path = written(tmp_path, "0\n56,5\n44,4\n56,7\n")
    with pytest.warns(UserWarning) as said:
        source = TextSource(path)
    assert rows(source).tolist() == [[56.5], [44.4], [56.7]]
    assert [
        word in str(said[j].message)
        for j, word in enumerate(["decimal commas of a single column", "names of the columns"])
    ] == [1, 1]


@pytest.mark.parametrize("digits", [1, 2, 4])
def test_one_column_of_decimal_commas_is_never_two_in_silence(digits, tmp_path):
    for seed in range(20):
        values = np.random.default_rng(seed).normal(170, 9, 30).round(digits)
        path = written(tmp_path, "".join(f"{value:.{digits}f}\n".replace(".", ",") for value in values))
        with pytest.warns(UserWarning, match="commas are read as"):
            found = rows(TextSource(path))
        if found.shape[1] == 1:
            np.testing.assert_array_equal(found[:, 0], values)


def test_two_columns_of_whole_numbers_are_read_in_silence(tmp_path):
    values = np.random.default_rng(0).integers(0, 100, (100, 2))
    np.savetxt(tmp_path / "x.csv", values, fmt="%d", delimiter=",")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows(TextSource(tmp_path / "x.csv")).tolist() == values.tolist()


FRAMES = {
    "no names": None,
    "numbers from 1": [1, 2, 3, 4],
    "years": [2019, 2021, 2020, 2022],
    "wavelengths": [400.5, 401.0, 401.5, 402.0],
}


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("columns", FRAMES.values(), ids=FRAMES)
def test_numbers_as_names_of_columns_are_no_row_and_are_said(columns, index, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(WIDE, columns=columns)
    frame.to_csv(tmp_path / "x.csv", index=index)
    with pytest.warns(UserWarning, match=r"x\.csv.*first line.* names of the columns.*header=False"):
        source = TextSource(tmp_path / "x.csv")
    np.testing.assert_array_equal(rows(source), WIDE)
    assert source.feature_names == [str(name) for name in frame.columns]


@pytest.mark.parametrize(
    "text",
    [
        ",2000,2001\n0,684,573\n1,5,6\n",
        "\t2000\t2001\n0\t684\t573\n1\t5\t6\n",
        '""|"2000"|"2001"\n"r1"|"684"|"573"\n"r2"|"5"|"6"\n',
    ],
)
def test_numbers_right_of_an_empty_corner_name_columns(text, tmp_path):
    with pytest.warns(UserWarning, match="names of the columns"):
        source = TextSource(written(tmp_path, text))
    assert rows(source).tolist() == [[684, 573], [5, 6]]
    assert source.feature_names == ["2000", "2001"]


@pytest.mark.parametrize("values", [X[:, :1], X[:, :2].astype(int)], ids=["one column", "whole numbers"])
def test_pandas_names_above_few_columns_or_whole_numbers(values, tmp_path):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(values).to_csv(tmp_path / "x.csv", index=False)
    with pytest.warns(UserWarning, match="names of the columns"):
        assert rows(TextSource(tmp_path / "x.csv")).tolist() == values.tolist()


@pytest.mark.parametrize("index_label", [None, "", [""]])
def test_the_index_of_a_data_frame_is_no_feature(index_label, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])[::2]
    frame.to_csv(tmp_path / "x.csv", index_label=index_label)
    model = GaussianMixture().fit(tmp_path / "x.csv")
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_allclose(np.asarray(model.means_)[0], frame.mean(), rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "1.5,2\n3,4\n",
        "30,1\n4,10\n5,9\n",
        "9,8\n8,6\n7.5,4\n6,2\n",
        "1,2,3\n4,5,6\n",
        "5\n5.1\n4.9\n",
        "1,2,3.5\n4,5,6\n",
        "1.0,2.0,3.0\n4.5,5.0,6.0\n",
        "1.0,2.0,3.0,4.0\n5.0,6.0,7.0,8.0\n",
        "nan,2\n3,4\n",
        "-1 2\n3 4\n",
    ],
)
def test_a_first_line_of_numbers_is_a_row(text, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = TextSource(written(tmp_path, text))
    assert source.feature_names is None
    assert len(rows(source)) == text.count("\n")


def test_whether_the_first_line_names_columns_can_be_said(tmp_path):
    path = written(tmp_path, "0,1,2\n3,4,9\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows(TextSource(path, header=False)).tolist() == [[0, 1, 2], [3, 4, 9]]
        named = TextSource(path, ["2", "0"], header=True)
    assert rows(named).tolist() == [[9, 3]]


COMMENTED = {
    "numpy.savetxt": (savetxt(header="a b c"), X),
    "numpy.savetxt with commas": (savetxt(header="a,b,c", delimiter=","), X),
    "several lines": (savetxt(header="made by a program\na b c"), X),
    "a mark before the names": ("#a,b,c\n1,2,3\n4,5,9\n", [[1, 2, 3], [4, 5, 9]]),
    "a comment above a header": ("# a comment\na,b,c\n1,2,3\n4,5,9\n", [[1, 2, 3], [4, 5, 9]]),
    "a comment as long as the header": ("# not, the, names\na,b,c\n1,2,3\n4,5,9\n", [[1, 2, 3], [4, 5, 9]]),
}


@pytest.mark.parametrize(("text", "values"), COMMENTED.values(), ids=COMMENTED)
def test_comments_above_the_rows(text, values, tmp_path):
    source = TextSource(written(tmp_path, text, "x.txt"))
    assert source.feature_names == ["a", "b", "c"]
    np.testing.assert_allclose(rows(source), values, rtol=1e-12)
    assert rows(TextSource(tmp_path / "x.txt", ["b"])).tolist() == np.asarray(rows(source))[:, 1:2].tolist()


def test_names_in_a_comment_above_rows_that_hold_text(tmp_path):
    path = written(tmp_path, "# kind,a,b\nx,1,2\ny,3,4\n")
    assert rows(TextSource(path, ["b"])).tolist() == [[2], [4]]


def test_columns_beside_text_that_holds_anything(tmp_path):
    """Text that is not read may hold separators, quotes and line ends; rows stay rows."""
    values = [["x,y", 1.5, 'say "no"'], ["two\nlines", 2.5, "é本"], ['5" pipe', 3.5, ""], ["#", 4.5, "1"]]
    with open(tmp_path / "x.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["note", "a", "more"], *values])
    assert rows(TextSource(tmp_path / "x.csv", ["a"])).flatten().tolist() == [1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize("names", [["who", "a", "b"], None])
@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_blanks_within_a_text_separate_no_columns(delimiter, names, tmp_path):
    """Not even where they make a number of a part of the text, and with it one field more than there are names."""
    lines = [f"id {i},{i / 7},{i / 3}" for i in range(1, 6)]
    path = written(tmp_path, table([] if names is None else [",".join(names)], lines, delimiter))
    wanted = ["1", "2"] if names is None else ["a", "b"]
    has_header = names is not None
    expected = [[i / 7, i / 3] for i in range(1, 6)]
    np.testing.assert_array_equal(rows(TextSource(path, wanted, header=has_header)), expected)
    with pytest.raises(ValueError, match="'id 1' is not a number"):
        rows(TextSource(path, header=has_header))


@pytest.mark.parametrize("text", ["Berlin|a;b", '"O""Neil"|id 7', "New York|plain"])
def test_a_separator_within_a_text_of_all_rows_separates_no_columns(text, tmp_path):
    values = [[i / 7, i / 3] for i in range(1, 6)]
    lines = [f"{one}|{text}|{other}" for one, other in values]
    path = written(tmp_path, "\n".join(["a|who|what|b", *lines]))
    assert rows(TextSource(path, ["a", "b"])).tolist() == values


def test_an_inch_mark_opens_no_quote(tmp_path):
    path = written(tmp_path, 'a,kind\n1,5" pipe\n2,6" pipe\n3,x\n')
    assert rows(TextSource(path, ["a"])).flatten().tolist() == [1, 2, 3]


LOSSES = {
    "a field beyond the header": ("x,y\n1,2\n3,4,100\n5,6\n", "line 3: it has 3 field.* 2 column"),
    "fields beyond the header in every row": ("x,y\n1,5,2,5\n2,5,3,5\n", "line 2: it has 4 field"),
    "one field beyond the header in every row": (
        "x,y\n1,2,3\n4,5,6\n7,8,9\n",
        "line 2: it has 3 field.*begin the first line with one more separator",
    ),
    "rows of one name": ("x,y\n1,2,3\n1,5,6\n", "line 2: it has 3 field"),
    "decimal commas between commas": ("x\n1,5\n2,5\n", "line 2: it has 2 field"),
    "a field beyond the first row": ("1,2\n3,4,5\n6,7,8\n", "line 2: it has 3 field"),
    "a separator at the end of rows": ("a,b\n1,2,\n3,4,\n", "line 2: it has 3 field"),
    "a separator at the end of all": ("a,b,\n1,2,\n3,4,\n", "Column 2 .*no name"),
    "two columns of one name": ("x,y,x\n1,2,3\n3,4,5\n", "several columns of the name 'x'"),
    "a first row with a value missing": ("1.5,,2\n3,4,5\n", "line 1, column '1': a value is missing"),
    "a first row with NA": ("NA,2\n3,4\n", r"line 1, column '0': a value is missing \('NA'\)"),
    "thousands, perhaps": ("a;b\n1,234;5\n22,345;6\n", "line 2, column 'a': 1,234 may contain a decimal comma"),
    "underscores, which Python reads": ("a,b\n1,1_000\n", "'1_000' is not a number"),
    "a comment among rows": ("1,2\n# end\n3,4\n", "line 2, column '0': '# end' is not a number"),
    "an open quote": ('a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote is not closed"),
    "an open quote above a long file": ('a,b\n"1,2\n' + "1.25,2.5\n" * 40000, "line 2: a quote is not closed"),
    "an open quote in the first line": ('"a,b\n1,2\n' + "1.25,2.5\n" * 40000, "cannot be split|quote is not closed"),
    "an endless number": ("1" * 200000, "infinity"),
    "an endless quoted field": (f'"{"1" * 200000}",2\n', "field larger than field limit"),
    "nothing but comments": ("# a\n\n", "is empty"),
    "nothing": ("\n", "is empty"),
}


@pytest.mark.parametrize(("text", "message"), LOSSES.values(), ids=LOSSES)
def test_what_would_lose_data_is_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        GaussianMixture().fit(written(tmp_path, text))
    assert len(str(caught.value)) < 1000


UNREAD = {
    "an open quote": 'a,kind\n1,"x\n2,y\n3,z\n',
    "a quote that closes far below": 'a,kind\n1,"x\n2,y\n3,"z\n4,u\n',
    "a field too many": "a,kind\n1,x\n2,y,z\n",
    "a field too few": "a,kind,more\n1,x,u\n2,y\n",
}


@pytest.mark.parametrize("text", UNREAD.values(), ids=UNREAD)
def test_rows_are_checked_where_columns_are_not_read(text, tmp_path):
    with pytest.raises(ValueError, match="line [23]: "):
        list(TextSource(written(tmp_path, text), ["a"]))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("größe,b\n1,2\n".encode("latin-1"), "latin1"),
        ("a,b\n1,2\n".encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + "a,b\n1,2\n".encode("utf-16-be"), "utf-16"),
        (b"a,b\n1,2\n3,\xf6\n", "latin1"),
    ],
    ids=["a header in Latin-1", "UTF-16", "UTF-16, high bytes first", "a row"],
)
def test_other_encodings_are_refused_with_the_file_and_a_remedy(content, encoding, tmp_path):
    with pytest.raises(ValueError, match=f"data.csv.* is not UTF-8 text.*Save it as UTF-8.*iconv -f {encoding} -t"):
        list(TextSource(written(tmp_path, content)))


def test_compressed_text(tmp_path):
    content = gzip.compress(("a,b\n" + "1,2.5\n3,4\n5,0\n" * 1000).encode())
    path = written(tmp_path, content, "x.csv.gz")
    model = GaussianMixture().fit(path)
    np.testing.assert_allclose(np.asarray(model.means_), [[3, 13 / 6]])
    for broken in (content[:-20], b"a,b\n1,2\n"):
        with pytest.raises(ValueError, match=r"x\.csv\.gz.* is not a complete gzip file"):
            list(TextSource(written(tmp_path, broken, "x.csv.gz")))


def test_records_that_go_over_lines_come_in_batches_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "READ_BYTES", 7 * 16)
    path = written(tmp_path, "a,note\n" + "".join(f'{i},"line\n{i}, and more"\n' for i in range(50)))
    batches = list(TextSource(path, ["a"]))
    assert [len(batch) for batch in batches] == [7] * 7 + [1]
    assert np.concatenate(batches).flatten().tolist() == list(range(50))


@pytest.mark.parametrize("wanted", [None, ["c7"]], ids=["all columns", "one column"])
def test_the_time_to_open_and_read_a_wide_file_grows_with_its_columns(wanted, tmp_path):
    def seconds(n_columns):
        header = ",".join(f"c{j}" for j in range(n_columns))
        path = written(tmp_path, f"{header}\n{','.join(['1.5'] * n_columns)}\n")
        begin = time.process_time()
        assert rows(TextSource(path, wanted)).shape == (1, n_columns if wanted is None else 1)
        return time.process_time() - begin

    seconds(100)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.01)  # a square would take 100 times as long
