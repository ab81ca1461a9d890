"""The command that classifies: what it writes is what the library's classifier says."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from tgmm import GaussianMixture, MixtureClassifier, select

SETTINGS = {"n_init": 5, "max_iter": 1000, "tol": 1e-8, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    frame = pd.DataFrame(X.round(1), columns=list("abcd"))
    return frame, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture
def files(iris, tmp_path):
    """Every second row with its class, and the others without, in another order of the columns, with their numbers."""
    frame, y = iris
    frame.assign(species=y)[::2].to_csv(tmp_path / "known.csv", index=False)
    frame.assign(row=range(150))[["row", *"dcba"]][1::2].to_csv(tmp_path / "others.csv", index=False)
    return tmp_path / "known.csv", tmp_path / "others.csv"


@pytest.fixture
def expected(iris):
    """What the library says with one component a class."""
    frame, y = iris
    classifier = MixtureClassifier(GaussianMixture(**SETTINGS)).fit(frame[::2].to_numpy(), y[::2])
    rows = frame[1::2].to_numpy()
    return classifier.predict(rows), classifier.predict_proba(rows)


def test_classes_and_probabilities_are_the_library_s(run, wrote, files, expected, tmp_path):
    out = tmp_path / "classes.csv"
    code, text, errors = run("classify", *files, "--class", "species", "--id", "row", "--out", out)
    assert (code, text, errors) == (0, "", wrote("the rows", out))
    found = pd.read_csv(out)
    names = ["probability_setosa", "probability_versicolor", "probability_virginica"]
    assert found.columns.tolist() == ["row", "class", *names]
    assert found["row"].tolist() == list(range(1, 150, 2))
    assert found["class"].tolist() == expected[0].tolist()
    np.testing.assert_allclose(found[names], expected[1], rtol=1e-6, atol=1e-12)


def test_rows_that_lack_values_go_to_a_classifier_that_takes_them(run, iris, files, tmp_path):
    frame, y = iris
    classifier = MixtureClassifier(GaussianMixture(1, missing="em")).fit(frame.to_numpy(), y)
    classifier.save(tmp_path / "model.safetensors")
    rows = frame[:3].copy()
    rows.iloc[0, 1] = np.nan
    rows.to_csv(tmp_path / "gappy.csv", index=False)
    code, text, _ = run("classify", tmp_path / "model.safetensors", tmp_path / "gappy.csv")
    assert code == 0 and [line.split(",")[0] for line in text.splitlines()[1:]] == list(
        classifier.predict(rows.to_numpy())
    )


def test_a_table_without_rows_is_an_error(run, files, tmp_path):
    (tmp_path / "none.csv").write_text("a,b,c,d\n")
    code, _, errors = run("classify", files[0], tmp_path / "none.csv", "--class", "species")
    assert code == 1 and "has no rows below its names" in errors


def test_a_saved_classifier_classifies_the_same(run, wrote, files, tmp_path):
    model = tmp_path / "model.safetensors"
    _, first, errors = run("classify", *files, "--class", "species", "--id", "row", "--save", model)
    assert errors == wrote("the classifier", model)
    code, second, _ = run("classify", model, files[1], "--id", "row")
    assert (code, second) == (0, first)
    loaded = MixtureClassifier.load(model)
    assert loaded.feature_names_in_.tolist() == list("abcd")
    assert loaded.estimator.keys() == {"setosa", "versicolor", "virginica"}
    of_training = (["--class", "species"], ["--save", model], ["--components", "2"], ["--n-init", "9"], ["--seed", "5"])
    for faulty, message in ((each, f"{each[0]} is for training") for each in of_training):
        code, _, errors = run("classify", model, files[1], *faulty)
        assert code == 1
        assert message in errors


def test_the_number_of_components_is_chosen_for_each_class(run, iris, files, tmp_path):
    model = tmp_path / "model.pth"
    types = ["full", "tied_diag"]
    code, _, _ = run(
        *("classify", *files, "--class", "species", "-k", "1:2", "--covariance", ",".join(types), "--save", model)
    )
    assert code == 0
    frame, y = iris
    search = partial(select, n_components=[1, 2], covariance_types=types, **SETTINGS)
    expected = MixtureClassifier(search).fit(frame[::2].to_numpy(), y[::2])
    loaded = MixtureClassifier.load(model)
    for one, other in zip(loaded.estimators_, expected.estimators_, strict=True):
        assert (one.n_components, one.covariance_type) == (other.n_components, other.covariance_type)


def test_rows_that_lack_a_value_or_a_class_are_left_out_where_that_is_wanted(run, iris, files, expected, tmp_path):
    frame, y = iris
    frame, y = frame[::2], y[::2].astype(object)
    more = pd.DataFrame({"a": [1.0, None], "b": 1.0, "c": 1.0, "d": 1.0, "species": [None, "setosa"]})
    pd.concat([frame.assign(species=y), more]).to_csv(tmp_path / "gaps.csv", index=False)
    code, text, errors = run("classify", tmp_path / "gaps.csv", files[1], "--class", "species", "--drop-missing")
    assert code == 0
    assert "2 of 77 rows lack a value" in errors
    assert [line.partition(",")[0] for line in text.splitlines()[1:]] == expected[0].tolist()
    frame.assign(species=[None, *y[1:]]).to_csv(tmp_path / "gaps.csv", index=False)
    code, _, errors = run("classify", tmp_path / "gaps.csv", files[1], "--class", "species")
    assert code == 1
    assert "species is missing in row 0" in errors


@pytest.mark.parametrize("mark", ["?", "NA"])
def test_marks_of_a_missing_class_are_no_class(run, iris, files, mark, tmp_path):
    frame, y = iris
    marked = np.where(np.arange(len(y)) % 10 == 0, mark, y)
    frame.assign(species=marked).to_csv(tmp_path / "gaps.csv", index=False)
    code, text, errors = run("classify", tmp_path / "gaps.csv", files[1], "--class", "species", "--drop-missing")
    assert code == 0 and "15 of 150 rows lack a value" in errors
    assert [name for name in text.splitlines()[0].split(",") if mark in name] == []
    code, _, errors = run("classify", tmp_path / "gaps.csv", files[1], "--class", "species")
    assert code == 1 and f"species is missing in row 0 of {tmp_path / 'gaps.csv'} ({mark!r})" in errors


def test_the_class_is_no_feature(run, files):
    code, _, errors = run("classify", *files, "--class", "species", "--columns", "a,b,species")
    assert code == 1 and "--class species is among --columns" in errors


def test_json_and_the_standard_output(run, files, expected):
    code, text, _ = run("classify", *files, "--class", "species", "--json")
    found = [json.loads(line) for line in text.splitlines()]
    assert code == 0
    assert [row["class"] for row in found] == expected[0].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--class is needed"),
        (["--class", "kind"], "kind"),
        (["--class", "species", "-k", "30"], "The mixture of class 'setosa' cannot be fitted"),
        (["--class", "species", "--save", "model.txt"], "the name of a model must end in .pth or .safetensors"),
        (["--class", "species", "--id", "none"], "none"),
    ],
)
def test_faults_are_one_line_and_exit_code_1(run, files, arguments, message):
    code, text, errors = run("classify", *files, *arguments)
    assert (code, text) == (1, "")
    assert message in errors.splitlines()[-1]
