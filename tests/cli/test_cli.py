"""The command line, run in this process and as one of its own."""

import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from support import ORACLES

import tgmm
from tgmm import (
    BayesianGaussianMixture,
    GaussianMixture,
    MixtureClassifier,
    MixtureImputer,
    MixtureOutlierDetector,
    MixtureRegressor,
    select,
)
from tgmm.cli import choices, main, tables
from tgmm.cli.writing import FORMATS
from tgmm.covariance import ALIASES, COMMON, MCLUST, STRUCTURES
from tgmm.data import lenient
from tgmm.estimators.settings import EM, ERROR
from tgmm.selection import CRITERIA
from tgmm.start import AUTO, STARTS

FAITHFUL = ORACLES / "faithful.csv"


@pytest.fixture(scope="module")
def X():
    return np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.pth"
    assert main(["fit", str(FAITHFUL), "-k", "2", "--out", str(path)]) == 0
    return path


def test_fit_is_the_library_s(run, wrote, X, tmp_path):
    code, out, err = run("fit", FAITHFUL, "--components", "2", "--json", "--out", tmp_path / "m.pth")
    assert code == 0 and err == wrote("the model", tmp_path / "m.pth")
    found = json.loads(out)
    best = select(X, 2, "full", random_state=0).best_
    np.testing.assert_array_equal(found["means"], best.means_)
    assert found["bic"] == pytest.approx(best.bic(X), rel=1e-12)
    assert found["n_rows"] == 272 and found["features"] == ["eruptions", "waiting"] and found["held_out"] is None
    loaded = GaussianMixture.load(tmp_path / "m.pth")
    assert list(loaded.feature_names_in_) == ["eruptions", "waiting"]
    assert np.array_equal(loaded.means_, best.means_)


def test_a_range_is_a_selection_over_all_types(run):
    code, out, _ = run("fit", FAITHFUL, "-k", "2:4", "--seed", "1")
    assert code == 0
    assert out.startswith("Selection by bic")
    assert "2314.30*" in out
    assert re.search(r"BIC +2314\.29", out)
    assert re.search(r"Components +3 ", out) and re.search(r"Covariance type +tied_full ", out)


def test_lists_and_criteria(run):
    _, out, _ = run("fit", FAITHFUL, "-k", "1,3", "--covariance", "tied,diag", "--criterion", "held_out", "--json")
    found = json.loads(out)
    assert [(c["n_components"], c["covariance_type"]) for c in found["cells"]] == [
        (1, "tied_full"),
        (1, "diag"),
        (3, "tied_full"),
        (3, "diag"),
    ]
    assert found["held_out"] == max(cell["held_out"] for cell in found["cells"])


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".tsv"])
def test_formats_give_the_same_fit(run, X, tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    write = {
        ".npy": lambda: np.save(path, X),
        ".parquet": lambda: frame.to_parquet(path),
        ".tsv": lambda: frame.to_csv(path, sep="\t", index=False),
    }
    write[suffix]()
    expected = json.loads(run("fit", FAITHFUL, "-k", "3", "--covariance", "tied_full", "--json")[1])
    found = json.loads(run("fit", path, "-k", "3", "--covariance", "tied_full", "--json")[1])
    assert found["means"] == expected["means"]
    assert found["features"] == (["0", "1"] if suffix == ".npy" else ["eruptions", "waiting"])


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
def test_columns(run, X, tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    frame = pd.DataFrame({"kind": 0.0 if suffix == ".npy" else "word", "a": X[:, 0], "b": X[:, 1]})
    if suffix == ".npy":
        np.save(path, frame.to_numpy())
    else:
        getattr(frame, {".csv": "to_csv", ".parquet": "to_parquet"}[suffix])(path, index=False)
    code, out, _ = run("fit", path, "--columns", "2,1" if suffix == ".npy" else "b,a", "--json")
    assert code == 0
    np.testing.assert_allclose(json.loads(out)["means"], [X[:, ::-1].mean(0)])
    code, _, err = run("fit", path, "--columns", "7")
    assert code == 1 and "7" in err and err.count("\n") == 1


def test_columns_with_commas_are_quoted(run, X, tmp_path):
    pd.DataFrame(X, columns=["width, cm", "b"]).assign(kind="x").to_csv(tmp_path / "rows.csv", index=False)
    code, out, _ = run("fit", tmp_path / "rows.csv", "--columns", 'b,"width, cm"', "--json")
    assert code == 0 and json.loads(out)["features"] == ["b", "width, cm"]


def test_scaling_matters_to_spherical_types_alone(run, X):
    standardised = (X - X.mean(0)) / X.std(0)
    expected = GaussianMixture(2, covariance_type="spherical", tol=1e-9, random_state=0).fit(standardised)
    found = json.loads(
        run("fit", FAITHFUL, "-k", 2, "--covariance", "spherical", "--scale", "--tol", "1e-9", "--json")[1]
    )
    assert found["covariance_type"] == "diag"
    order, other = np.argsort(np.array(found["means"])[:, 0]), np.argsort(np.asarray(expected.means_[:, 0]))
    variances = np.asarray(expected.covariances_)[other, None] * X.var(0)
    np.testing.assert_allclose(np.array(found["covariances"])[order], variances, rtol=1e-4)
    volume = len(X) * np.log(X.std(0)).sum()
    assert found["bic"] == pytest.approx(expected.bic(standardised) + 2 * volume, rel=1e-6)
    log_likelihood = GaussianMixture.from_parameters(
        found["weights"], found["means"], found["covariances"], "diag"
    ).score(X)
    assert found["log_likelihood"] == pytest.approx(len(X) * log_likelihood, rel=1e-9)
    assert found["average_log_likelihood"] == pytest.approx(log_likelihood, rel=1e-9)
    plain, scaled = (json.loads(run("fit", FAITHFUL, "-k", 2, "--json", *more)[1]) for more in ((), ("--scale",)))
    np.testing.assert_allclose(scaled["means"], plain["means"], rtol=1e-6)
    assert scaled["bic"] == pytest.approx(plain["bic"], rel=1e-9)


@pytest.mark.parametrize("feature", [lambda X: np.ones(len(X)), lambda X: X.sum(1)], ids=["constant", "sum"])
def test_criteria_of_standardised_rows_leave_out_what_cells_are_compared_without(run, X, tmp_path, feature):
    pd.DataFrame(X).to_csv(tmp_path / "plain.csv", index=False)
    pd.DataFrame(np.c_[X, feature(X)]).to_csv(tmp_path / "more.csv", index=False)
    plain = json.loads(run("fit", tmp_path / "plain.csv", "-k", 2, "--json")[1])
    for more in ((), ("--scale",)):
        found = json.loads(run("fit", tmp_path / "more.csv", "-k", 2, "--json", *more)[1])
        for name in ("bic", "aic", "icl", "log_likelihood"):
            assert found[name] == pytest.approx(plain[name], rel=1e-6), (name, more)


def test_mclusts_codes_are_names(run):
    _, out, _ = run("fit", FAITHFUL, "-k", "2", "--covariance", "EEE,VVE", "--json")
    assert [cell["covariance_type"] for cell in json.loads(out)["cells"]] == ["tied_full", "VVE"]
    assert list(choices.MCLUST) == list(MCLUST)


def test_priors_are_mclusts(run, X):
    arguments = ["--mean-precision", 0.01, "--degrees-of-freedom", 4, "--weight-concentration", 2]
    found = json.loads(run("fit", FAITHFUL, "-k", 3, *arguments, "--tol", 1e-10, "--json")[1])
    psi = np.cov(X.T, bias=True) / 3
    model = GaussianMixture(
        3,
        mean_prior=X.mean(0),
        mean_precision_prior=0.01,
        covariance_prior=psi,
        degrees_of_freedom_prior=4,
        weight_concentration_prior=2,
        init_means=found["means"],
        tol=1e-10,
        max_iter=1000,
    ).fit(X)
    np.testing.assert_allclose(found["means"], model.means_, rtol=1e-3)
    np.testing.assert_allclose(found["covariances"], model.covariances_, rtol=2e-2)


def test_predict_writes_what_the_model_says(run, X, model_file, tmp_path):
    model = GaussianMixture.load(model_file)
    code, out, _ = run("predict", model_file, FAITHFUL)
    assert code == 0
    table = pd.read_csv(pd.io.common.StringIO(out))
    assert list(table.columns) == ["label", "probability_0", "probability_1", "log_density"]
    rows = torch.from_numpy(X)
    np.testing.assert_array_equal(table["label"], model.predict(rows))
    np.testing.assert_allclose(table.iloc[:, 1:3], model.predict_proba(rows), rtol=1e-8)
    np.testing.assert_allclose(table["log_density"], model.score_samples(rows), rtol=1e-8)
    run("predict", model_file, FAITHFUL, "--out", tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text() == out
    records = [json.loads(line) for line in run("predict", model_file, FAITHFUL, "--json")[1].splitlines()]
    assert [record["label"] for record in records] == table["label"].tolist()
    assert records[0]["probabilities"] == pytest.approx(table.iloc[0, 1:3].tolist(), rel=1e-8)


def test_predict_takes_the_columns_of_the_fit(run, X, model_file, tmp_path):
    mixed = pd.DataFrame({"waiting": X[:, 1], "id": "x", "eruptions": X[:, 0]})
    mixed.to_csv(tmp_path / "mixed.csv", index=False)
    mixed.to_parquet(tmp_path / "mixed.parquet")
    np.save(tmp_path / "rows.npy", X)
    expected = run("predict", model_file, FAITHFUL)[1]
    for name in ("mixed.csv", "mixed.parquet"):
        assert run("predict", model_file, tmp_path / name)[1] == expected
    assert run("predict", model_file, tmp_path / "rows.npy")[1] == expected
    pd.DataFrame(X, columns=["x", "y"]).to_csv(tmp_path / "other.csv", index=False)
    code, _, err = run("predict", model_file, tmp_path / "other.csv")
    assert code == 1 and "eruptions" in err


def test_columns_that_are_no_features_are_said_to_be_ignored(run, X, model_file, tmp_path):
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    for suffix in (".csv", ".parquet"):
        data = write_table(frame.assign(hour=1, day="Monday"), tmp_path / f"more{suffix}")
        code, out, err = run("predict", model_file, data, "--id", "day")
        note = f"tgmm: note: columns ['hour'] of {data} are not features of the model and are ignored\n"
        assert (code, err) == (0, note) and len(out.splitlines()) == 273
    # By name where the names are the model's, whatever their order; else in the place of its features.
    expected = run("predict", model_file, FAITHFUL)[1]
    assert run("predict", model_file, FAITHFUL, "--columns", "waiting,eruptions") == (0, expected, "")
    other = write_table(frame.set_axis(["a", "b"], axis=1), tmp_path / "other.csv")
    code, out, err = run("predict", model_file, other, "--columns", "a,b")
    assert (code, out) == (0, expected)
    assert err == "tgmm: note: columns ['a', 'b'] are read as the features ['eruptions', 'waiting'], in this order\n"


def test_columns_that_do_not_fit_the_model_are_named(run, X, model_file, tmp_path):
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    few, many, nameless = tmp_path / "few.csv", tmp_path / "many.npy", tmp_path / "nameless.csv"
    write_table(frame[["waiting"]], few)
    write_table(frame.assign(hour=1), many)
    frame.assign(hour=1).to_csv(nameless, index=False, header=False)
    for arguments, message in (
        ([few], "lacks ['eruptions'], which the model was fitted to; its columns are ['waiting']. Rename them"),
        ([many], "has 3 columns, but the model has 2 features, ['eruptions', 'waiting']: choose"),
        ([nameless], "has 3 columns, but the model has 2 features, ['eruptions', 'waiting']: choose"),
        ([FAITHFUL, "--columns", "waiting"], "--columns names 1 column, but the model has 2 features"),
    ):
        code, out, err = run("predict", model_file, *arguments)
        assert (code, out, err.count("\n")) == (1, "", 1) and message in err
    expected = run("predict", model_file, FAITHFUL)[1]
    assert run("predict", model_file, many, "--columns", "0,1")[:2] == (0, expected)
    assert run("predict", model_file, nameless, "--columns", "0,1")[:2] == (0, expected)


def test_files_larger_than_memory_are_read_in_parts(run, X, model_file, tmp_path, monkeypatch):
    expected = json.loads(run("fit", FAITHFUL, "-k", 2, "--scale", "--json")[1])
    np.save(tmp_path / "rows.npy", X)
    monkeypatch.setattr(tables, "IN_MEMORY", 0)
    monkeypatch.setattr("tgmm.data.source.READ_BYTES", 1600)  # 100 rows
    for path in (FAITHFUL, tmp_path / "rows.npy"):
        code, out, _ = run("fit", path, "-k", 2, "--scale", "--json", "--plot", tmp_path / "fit.png")
        assert code == 0
        np.testing.assert_allclose(json.loads(out)["means"], expected["means"], rtol=1e-6)
    assert len(run("predict", model_file, FAITHFUL)[1].splitlines()) == 273


def test_thinned_rows_are_spread_evenly(monkeypatch):
    monkeypatch.setattr(tables, "DRAWN_ROWS", 50)
    batches = [np.arange(a, b, dtype=float)[:, None] for a, b in ((0, 30), (30, 31), (31, 400), (400, 1000))]
    kept = tables.thinned(tables.Mapped(_Listed(batches), lambda rows: rows)).ravel()
    assert 25 <= len(kept) <= 50
    assert kept[0] == 0 and len(set(np.diff(kept))) == 1


class _Listed(tables.Source):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_sample(run, model_file, tmp_path):
    code, out, _ = run("sample", model_file, "-n", 500, "--seed", 3)
    assert code == 0
    table = pd.read_csv(pd.io.common.StringIO(out))
    assert list(table.columns) == ["eruptions", "waiting", "component"] and len(table) == 500
    assert run("sample", model_file, "-n", 500, "--seed", 3)[1] == out
    rows, components = GaussianMixture.load(model_file).sample(500, random_state=3)
    np.testing.assert_allclose(table.iloc[:, :2], rows, rtol=1e-8)
    np.testing.assert_array_equal(table["component"], components)
    run("sample", model_file, "-n", 20, "--component", 1, "--std-range", "2:inf", "--out", tmp_path / "far.csv")
    assert (pd.read_csv(tmp_path / "far.csv")["component"] == 1).all()
    record = json.loads(run("sample", model_file, "--json")[1])
    assert set(record) == {"eruptions", "waiting", "component"}


@pytest.mark.parametrize(
    ("model", "says", "has"),
    [
        (MixtureClassifier(), "The mixture of each class", ["classes", 0, "n_components"]),
        (MixtureOutlierDetector(n_components=2), "Threshold", ["threshold"]),
        (MixtureRegressor(GaussianMixture()), "the linear function of each component", ["n_features_in"]),
        (MixtureImputer(), "A missing value is replaced", ["n_components"]),
        (BayesianGaussianMixture(2), "Gaussian mixture", ["n_components"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_info_describes_every_kind_of_model(run, tmp_path, model, says, has):
    model, path = clone(model), tmp_path / "model.pth"
    rows = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
    model.fit(rows, rows[:, 0] > 3)
    model.save(path)
    code, out, _ = run("info", path)
    assert code == 0 and says in out
    found = json.loads(run("info", path, "--json")[1])
    assert found["kind"] == type(model).__name__
    for key in has:
        found = found[key]


@pytest.mark.parametrize(
    ("model", "command", "instead"),
    [
        (MixtureClassifier(), "predict", "tgmm classify {path} ROWS"),
        (MixtureOutlierDetector(), "sample", "tgmm.MixtureOutlierDetector.load('{path}').predict(rows)"),
        (MixtureRegressor(GaussianMixture()), "impute", "tgmm.MixtureRegressor.load('{path}').predict(rows)"),
        (MixtureImputer(), "predict", "tgmm impute {path} ROWS"),
        (GaussianMixture(), "classify", "this command needs a MixtureClassifier"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else None,
)
def test_a_model_of_another_kind_is_refused_with_what_uses_it(run, X, tmp_path, model, command, instead):
    path = tmp_path / "model.pth"
    clone(model).fit(X, X[:, 0] > 3).save(path)
    code, out, err = run(command, path, *[FAITHFUL] * (command != "sample"))
    assert code == 1 and out == "" and err.count("\n") == 1
    assert f"holds a {type(model).__name__}" in err and instead.format(path=path) in err


def test_models_of_many_groups_are_refused_with_what_to_do(run, X, tmp_path):
    tgmm.fit_many([X[:99], X[99:]]).save(tmp_path / "many.pth")
    code, _, err = run("predict", tmp_path / "many.pth", FAITHFUL)
    assert code == 1 and f"tgmm.Mixtures.load('{tmp_path / 'many.pth'}')[group].save(path)" in err


def test_posteriors_and_imputers_are_used_like_mixtures(run, X, tmp_path):
    posterior, imputer = BayesianGaussianMixture(3, random_state=0).fit(X), MixtureImputer().fit(X)
    posterior.save(tmp_path / "posterior.pth")
    imputer.save(tmp_path / "imputer.pth")
    code, out, err = run("predict", tmp_path / "posterior.pth", FAITHFUL)
    found = pd.read_csv(io.StringIO(out))
    assert code == 0 and err == ""
    np.testing.assert_array_equal(found["label"], posterior.predict(X))
    np.testing.assert_array_equal(found.filter(like="probability_"), posterior.predict_proba(X))
    assert run("sample", tmp_path / "posterior.pth", "-n", 3)[1].count("\n") == 4
    (tmp_path / "gap.csv").write_text("length,pause\n3,\n")
    for name, model in {"posterior": posterior, "imputer": imputer.estimator_}.items():
        code, out, _ = run("impute", tmp_path / f"{name}.pth", tmp_path / "gap.csv")
        assert code == 0
        found = pd.read_csv(io.StringIO(out)).to_numpy()
        np.testing.assert_allclose(found, model.impute([[3.0, np.nan]]), rtol=1e-12)


def test_a_model_is_read_once(run, model_file, monkeypatch):
    read, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or read_bytes(path))
    assert run("info", model_file)[0] == 0 and read == [model_file]


def test_info(run, model_file):
    code, out, _ = run("info", model_file)
    assert code == 0
    assert re.search(r"Components +2 ", out) and re.search(r"Covariance type +full ", out) and "eruptions" in out
    assert (
        re.search(r"Converged +yes, \d+ iteration", out) and "search for a start already ran EM" in out
    )  # few are left after trials
    found = json.loads(run("info", model_file, "--json")[1])
    assert found["n_components"] == 2 and found["converged"] is True and len(found["weights"]) == 2


def test_plots(run, tmp_path):
    for arguments in (("-k", 2), ("-k", "1:2", "--columns", "waiting")):
        assert run("fit", FAITHFUL, *arguments, "--plot", tmp_path / "fit.svg")[0] == 0
        assert "<svg" in (tmp_path / "fit.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n-init", "0"], "--n-init must be an integer >= 1; got 0."),
        (["--tol", "-1"], "--tol must be a finite number >= 0; got -1.0."),
        (["--factors", "1"], "--factors 1 applies only to 'low_rank' and 'factor', neither of which is among --covari"),
        (
            ["--covariance", "factor", "--factors", "5"],
            "For --components 2, --covariance factor: --factors 5 is too ma",
        ),
        (["--weight-concentration", "0"], "--weight-concentration must be finite and > 0; got [0.0, 0.0]."),
        (["--device", "abacus"], "--device abacus cannot be used"),
        (["sample", "--rows", "0"], "--rows must be an integer >= 1; got 0."),
        (
            ["sample", "--confidence", "0.5", "--std-range", "1:2"],
            "--confidence and --std-range both bound the distance",
        ),
        (["sample", "--component", "2"], "--component must be from 0 to n_components - 1 = 1; got 2."),
    ],
)
def test_errors_name_options_and_not_arguments(run, model_file, arguments, message):
    head = ["sample", model_file] if arguments[0] == "sample" else ["fit", FAITHFUL, "-k", "2"]
    code, _, err = run(*head, *arguments[arguments[0] == "sample" :])
    assert code == 1
    assert err.startswith("tgmm: error: ") and message in err


def test_what_data_lack_is_said_with_options(run, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("x,tol\n1,2\n3,\n")
    message = "line 3, column 'tol': a value is missing. Leave such rows out with --drop-missing, fill them in, fit the"
    assert message in run("fit", path)[2]
    path.write_text("x,kind\n1,a\n3,b\n")
    assert "'a' is not a number. Correct such rows, or choose numeric columns with --columns." in run("fit", path)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "none.csv"], "none.csv"),
        (["fit", FAITHFUL, "--out", "model.txt"], "the name of a model must end in .pth or .safetensors"),
        (["fit", FAITHFUL, "--out", "no/such/folder/m.pth"], "there is no such folder"),
        (["fit", FAITHFUL, "--plot", "fit.doc"], "a picture ends in one of"),
        (["fit", FAITHFUL, "-k", "300"], "error: --components 300 needs at least as many rows, but there are 272"),
        (["fit", FAITHFUL, "-k", "1:3", "--degrees-of-freedom", "4"], "needs one number of components"),
        (["fit", FAITHFUL, "--columns", "length"], "['length'] are not in the table"),
        (["fit", Path(__file__)], "which cannot be read. Files can be .npy"),
        (["predict", "none.pth", FAITHFUL], "none.pth: No such file or directory"),
        (
            ["predict", FAITHFUL, FAITHFUL],
            "faithful.csv is not a model file: these end in .pth or .safetensors, as tgmm",
        ),
        (["predict", FAITHFUL, "m.pth"], f"The model comes first, then the rows: m.pth {FAITHFUL}."),
        (["info", "none.pth"], "none.pth"),
    ],
)
def test_failures_are_one_line_and_exit_code_1(run, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 1 and out == ""
    assert err.startswith("tgmm: error: ") and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_sample_refuses_to_overwrite_a_feature(run, as_json, tmp_path):
    X = pd.DataFrame({"component": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 2.0]})
    GaussianMixture().fit(X).save(tmp_path / "m.pth")
    code, out, err = run("sample", tmp_path / "m.pth", *as_json)
    assert code == 1 and out == "" and "has a feature named component" in err


@pytest.mark.parametrize("lenient", [[], ["--drop-missing"], ["--missing", "em"]])
def test_a_file_without_rows_is_not_fitted(run, lenient, tmp_path):
    (tmp_path / "empty.csv").write_text("a,b\n")
    code, _, err = run("fit", tmp_path / "empty.csv", *lenient)
    assert code == 1 and "empty.csv' has no rows below its names" in err


def test_a_bad_value_is_named_with_its_line(run, tmp_path):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,?\n")
    code, _, err = run("fit", tmp_path / "bad.csv")
    assert code == 1 and "line 3, column 'b': a value is missing ('?')" in err


def test_a_failed_prediction_leaves_the_old_file(run, model_file, tmp_path):
    (tmp_path / "labels.csv").write_text("old")
    (tmp_path / "bad.csv").write_text("eruptions,waiting\n1,2\n3,?\n")
    assert run("predict", model_file, tmp_path / "bad.csv", "--out", tmp_path / "labels.csv")[0] == 1
    assert (tmp_path / "labels.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "labels.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fit"],
        ["fit", FAITHFUL, "-k", "0"],
        ["fit", FAITHFUL, "-k", "3:1"],
        ["fit", FAITHFUL, "--covariance", "round"],
        ["fit", FAITHFUL, "--columns", "waiting,eruptions,waiting"],
    ],
)
def test_bad_arguments_are_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    assert "usage: tgmm" in capsys.readouterr().err


def test_an_unknown_argument_shows_the_command_and_what_was_meant(capsys):
    with pytest.raises(SystemExit):
        main(["fit", str(FAITHFUL), "--n-components", "3"])
    err = capsys.readouterr().err
    assert "usage: tgmm fit" in err
    assert "did you mean --components instead of --n-components?" in err


def test_warnings_are_one_line_each(run):
    code, _, err = run("fit", FAITHFUL, "-k", "3", "--max-iter", "1")
    assert code == 0
    assert err.startswith("tgmm: warning: the model is not converged") and err.count("\n") == 1


def test_progress_goes_to_the_standard_error(run):
    code, out, err = run("fit", FAITHFUL, "-k", "2", "--progress", "--json")
    assert code == 0 and "select" in err
    json.loads(out)


def test_as_a_module_in_a_pipe_that_closes(model_file):
    command = f"'{sys.executable}' -m tgmm sample '{model_file}' -n 300000 | head -n 1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=os.environ, check=False
    )
    assert ended.stdout == "eruptions,waiting,component\n"
    assert ended.stderr == "" and ended.returncode == 0


# -------------------------------------------------------------------------------------------- what is read and written


@pytest.fixture
def feed(monkeypatch):
    """Give a file to the standard input."""

    def give(path):
        monkeypatch.setattr(sys, "stdin", open(path, encoding="latin-1"))  # noqa: SIM115

    return give


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["predict", "-h"], ["--version"], ["fit", "-k0"]])
def test_help_does_not_wait_for_torch(arguments):
    code = (
        "import sys, tgmm.cli\n"
        "try: tgmm.cli.main(sys.argv[1:])\n"
        "except SystemExit: sys.exit(bool({'torch', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=os.environ, check=False, capture_output=True)
    assert done.returncode == 0


def test_what_the_command_line_offers_is_what_the_registries_have():
    assert list(choices.STRUCTURES) == list(STRUCTURES)
    assert list(choices.ALIASES) == list(ALIASES)
    assert choices.COMMON == COMMON
    assert list(choices.CRITERIA) == list(CRITERIA)
    assert set(choices.MISSING) == {EM, ERROR}
    assert (AUTO, *STARTS) == choices.STARTS
    assert list(choices.FORMATS) == [suffix for suffix in FORMATS if suffix]


def test_without_a_command_the_help_is_shown(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "Fit a mixture, or choose among several, and report it." in capsys.readouterr().err


def test_the_package_has_its_parts_without_an_import_of_each():
    code = "import tgmm; tgmm.data.TextSource, tgmm.select, tgmm.plotting.plot_fit; assert 'select' in dir(tgmm)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = tgmm.absent


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npy", ".parquet", ".feather"])
def test_rows_from_the_standard_input(run, feed, X, model_file, tmp_path, suffix):
    path, frame = tmp_path / f"rows{suffix}", pd.DataFrame(X, columns=["eruptions", "waiting"])
    {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, sep="\t", index=False),
        ".npy": lambda: np.save(path, X),
        ".parquet": lambda: frame.to_parquet(path),
        ".feather": lambda: frame.to_feather(path),
    }[suffix]()
    feed(path)
    code, out, err = run("predict", model_file, "-")
    assert code == 0 and err == "" and out == run("predict", model_file, FAITHFUL)[1]
    feed(path)
    found = json.loads(run("fit", "-", "-k", 2, "--json")[1])
    assert found["data"] == "-" and found["n_rows"] == 272
    feed(path)
    assert run("fit", "-", "-k", 2)[1].startswith("Gaussian mixture of the standard input\n")


def test_a_fault_in_the_standard_input_is_said_of_it(run, feed, tmp_path):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,?\n")
    feed(tmp_path / "bad.csv")
    code, out, err = run("fit", "-")
    assert code == 1 and out == ""
    assert "The standard input, line 3" in err and "tmp" not in err
    (tmp_path / "empty.csv").write_text("")
    feed(tmp_path / "empty.csv")
    code, _, err = run("fit", "-")
    assert code == 1 and "The standard input" in err and "is empty" in err


def test_a_standard_input_without_rows_is_said_of_it(run, feed, model_file, tmp_path):
    (tmp_path / "names.csv").write_text("eruptions,waiting\n")
    feed(tmp_path / "names.csv")
    assert (
        "The standard input has no rows below its names: there is nothing to write."
        in run("predict", model_file, "-")[2]
    )


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".parquet", ".jsonl", ""])
def test_rows_are_written_in_the_format_that_a_name_says(run, wrote, X, model_file, tmp_path, suffix):
    read = {
        ".tsv": lambda path: pd.read_csv(path, sep="\t"),
        ".parquet": pd.read_parquet,
        ".jsonl": lambda path: pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()]),
    }.get(suffix, pd.read_csv)
    path, model = tmp_path / f"rows{suffix}", GaussianMixture.load(model_file)
    assert run("sample", model_file, "-n", 300, "--seed", 1, "--out", path) == (0, "", wrote("the rows", path))
    table = read(path)
    assert list(table) == ["eruptions", "waiting", "component"]
    rows, components = model.sample(300, random_state=1)
    np.testing.assert_allclose(table.iloc[:, :2], rows, rtol=1e-14)
    np.testing.assert_array_equal(table["component"], components)
    assert run("predict", model_file, FAITHFUL, "--out", path) == (0, "", wrote("the rows", path))
    table, expected = read(path), np.asarray(model.predict_proba(torch.from_numpy(X)))
    if suffix == ".jsonl":
        np.testing.assert_allclose(np.stack(table["probabilities"]), expected, rtol=1e-12)
    else:
        np.testing.assert_allclose(table[["probability_0", "probability_1"]], expected, rtol=1e-12)
    np.testing.assert_array_equal(table["label"], expected.argmax(1))


def test_written_numbers_are_the_models_own(run, tmp_path):
    """Unix seconds have ten digits before the point."""
    GaussianMixture.from_parameters([1.0], [[1.7e9]], [1e-4], "spherical").save(tmp_path / "m.pth")
    run("sample", tmp_path / "m.pth", "-n", 50, "--seed", 0, "--out", tmp_path / "rows.csv")
    rows, _ = GaussianMixture.load(tmp_path / "m.pth").sample(50, random_state=0)
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "rows.csv", float_precision="round_trip").iloc[:, :1], rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "rows.xlsx"], "this one ends in .xlsx"),
        (["--out", "rows.csv.gz"], "this one ends in .gz"),
        (["--out", "rows.parquet", "--json"], "--json is for files that end in .json"),
        (["--out", "rows.csv", "--json"], "--json is for files that end in .json"),
        (["--out", "."], "this is a folder"),
        (["--out", "no/rows.csv"], "there is no such folder"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "sample"])
def test_a_name_that_cannot_be_written_as_it_says_is_refused(
    run, model_file, tmp_path, monkeypatch, command, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(command, model_file, *([FAITHFUL] if command == "predict" else []), *arguments)
    assert code == 1 and out == "" and message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "through"),
    [
        *itertools.product(["data", "model"], ["itself", "another way", "link", "hard link"]),
        *itertools.product(["plot over data", "model over data"], ["link", "hard link"]),
    ],
)
def test_what_is_read_is_not_written_over(run, X, model_file, tmp_path, monkeypatch, what, through):
    monkeypatch.chdir(tmp_path)
    model, data = tmp_path / "m.pth", tmp_path / "x.csv"
    model.write_bytes(model_file.read_bytes())
    pd.DataFrame(X, columns=["eruptions", "waiting"]).to_csv(data, index=False)
    target = model if what == "model" else data
    name = {"plot over data": "out.png", "model over data": "out.pth"}.get(what, "out")
    out = {"itself": target, "another way": Path("..") / tmp_path.name / target.name}.get(through, tmp_path / name)
    if through == "link":
        out.symlink_to(target)
    elif through == "hard link":
        out.hardlink_to(target)
    before = target.read_bytes()
    command = {
        "plot over data": ["fit", data, "--plot", out],
        "model over data": ["fit", data, "--out", out],
    }.get(what, ["predict", model, data, "--out", out])
    code, printed, err = run(*command)
    assert code == 1 and printed == "" and target.read_bytes() == before
    assert "would be written over data that is read" in err or "rows are written to files" in err


def test_nothing_is_written_into_a_folder_that_is_read(run, X, model_file, tmp_path):
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    frame.to_parquet(tmp_path / "part.parquet")
    code, _, err = run("predict", model_file, tmp_path, "--out", tmp_path / "labels.csv")
    assert code == 1 and "in the folder that is read" in err
    assert [path.name for path in tmp_path.iterdir()] == ["part.parquet"]


def test_nothing_is_printed_of_rows_that_cannot_be_read(run, model_file, tmp_path):
    (tmp_path / "bad.csv").write_text("eruptions,waiting\n1,2\n3,?\n")
    code, out, err = run("predict", model_file, tmp_path / "bad.csv")
    assert code == 1 and out == "" and "line 3" in err
    code, out, err = run("sample", model_file, "--component", 7)
    assert code == 1 and out == "" and "component" in err


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_pipes_are_written_through(run, model_file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert run("sample", model_file, "-n", 3, "--out", tmp_path / "pipe")[0] == 0
    assert os.read(reader, 1000).startswith(b"eruptions,waiting,component\n")
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_the_standard_output_by_name_is_appended_to(model_file, tmp_path):
    """A file that a shell appends the standard output to is not replaced."""
    command = [sys.executable, "-m", "tgmm", "sample", str(model_file), "-n", "2", "--out", "/dev/stdout"]
    with open(tmp_path / "all.csv", "w+") as file:
        file.write("kept\n")
        file.flush()
        subprocess.run(command, stdout=file, env=os.environ, check=True)
    assert (tmp_path / "all.csv").read_text().startswith("kept\neruptions,waiting,component\n")


def test_a_tilde_is_the_home_folder(run, X, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    np.save(tmp_path / "x.npy", X)
    assert run("fit", "~/x.npy", "--out", "~/m.pth")[0] == 0
    assert run("predict", "~/m.pth", "~/x.npy", "--out", "~/labels.csv")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "m.pth", "x.npy"]


# ------------------------------------------------------------------------------------ identifiers and missing values


def write_table(frame, path):
    """Write a frame in the format of the suffix; arrays have no text."""
    {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".parquet": lambda: frame.to_parquet(path, index=False),
        ".feather": lambda: frame.to_feather(path),
        ".npy": lambda: np.save(path, frame.to_numpy(dtype=float)),
    }[path.suffix]()
    return path


@pytest.mark.parametrize("names", ["text", "numbers"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".npy"])
@pytest.mark.parametrize("fitted_on", ["names", "arrays"])
def test_a_column_goes_along_with_its_rows(run, X, tmp_path, suffix, names, fitted_on):
    if (suffix, names) == (".npy", "text"):
        names = "numbers"
    keys = [f"00{i}, a" if names == "text" else str(1000 + i) for i in range(len(X))]
    frame = pd.DataFrame({"eruptions": X[:, 0], "key": keys, "waiting": X[:, 1]})
    frame["key"] = frame["key"] if names == "text" else frame["key"].astype(int)
    data, model = write_table(frame, tmp_path / f"rows{suffix}"), tmp_path / "m.pth"
    features = frame[["eruptions", "waiting"]]
    GaussianMixture(2, random_state=0).fit(features if fitted_on == "names" else X).save(model)
    key = "1" if suffix == ".npy" else "key"
    code, _, err = run("predict", model, data, "--id", key, "--out", tmp_path / "labels.csv")
    assert code == 0, err
    table = pd.read_csv(tmp_path / "labels.csv", dtype={key: str})
    assert list(table) == [key, "label", "probability_0", "probability_1", "log_density"]
    assert [value.removesuffix(".0") for value in table[key]] == keys
    np.testing.assert_array_equal(table["label"], GaussianMixture.load(model).predict(torch.from_numpy(X)))


def test_a_column_goes_along_in_every_format(run, X, model_file, tmp_path):
    frame = pd.DataFrame({"key": np.arange(len(X)) + 5, "eruptions": X[:, 0], "waiting": X[:, 1]})
    data = write_table(frame, tmp_path / "rows.parquet")
    assert run("predict", model_file, data, "--id", "key", "--out", tmp_path / "labels.parquet")[0] == 0
    np.testing.assert_array_equal(pd.read_parquet(tmp_path / "labels.parquet")["key"], frame["key"])
    records = [json.loads(line) for line in run("predict", model_file, data, "--id", "key", "--json")[1].splitlines()]
    assert [record["key"] for record in records] == frame["key"].tolist()


@pytest.mark.parametrize(
    ("identifier", "message"),
    [("none", "none"), *((name, "rename it in the data") for name in ("label", "probability_0"))],
)
def test_an_identifier_that_is_not_there_or_in_the_way_is_refused(run, X, model_file, tmp_path, identifier, message):
    frame = pd.DataFrame({identifier.replace("none", "label"): "x", "eruptions": X[:, 0], "waiting": X[:, 1]})
    for suffix in (".csv", ".parquet"):
        data = write_table(frame, tmp_path / f"rows{suffix}")
        code, out, err = run("predict", model_file, data, "--id", identifier)
        assert code == 1 and out == "" and message in err and err.count("\n") == 1


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_rows_that_lack_a_value_are_left_out_where_that_is_wanted(run, wrote, X, tmp_path, suffix):
    rows = X.copy()
    rows[3, 0] = rows[7, 1] = rows[100] = np.nan
    whole = ~np.isnan(rows).any(1)
    data = write_table(pd.DataFrame(rows, columns=["eruptions", "waiting"]), tmp_path / f"rows{suffix}")
    assert run("fit", data, "-k", 2)[0] == 1  # not unless it is asked for
    code, out, err = run("fit", data, "-k", 2, "--drop-missing", "--json", "--out", tmp_path / "m.pth")
    left_out = "tgmm: warning: 3 of 272 rows lack a value and were left out\n"
    assert code == 0 and err == left_out + wrote("the model", tmp_path / "m.pth")
    found = json.loads(out)
    assert found["n_rows"] == 269
    np.testing.assert_allclose(found["means"], select(X[whole], 2, "full", random_state=0).best_.means_, rtol=1e-12)
    key = "0" if suffix == ".npy" else "waiting"
    code, out, err = run("predict", tmp_path / "m.pth", data, "--drop-missing", *(["--id", key] if key != "0" else []))
    assert code == 0 and "3 of 272 rows" in err
    table = pd.read_csv(pd.io.common.StringIO(out))
    assert len(table) == 269
    if key == "waiting":
        np.testing.assert_array_equal(table["waiting"], X[whole, 1])


@pytest.mark.parametrize("mark", ["", "NA", "nan", "n/a", "NULL", "?"])
def test_marks_of_missing_values_in_text(run, tmp_path, mark):
    (tmp_path / "rows.csv").write_text(f"a,b\n1,2\n3,{mark}\n4,6\n7,5\n")
    code, out, err = run("fit", tmp_path / "rows.csv", "--drop-missing", "--json")
    assert code == 0 and "1 of 4 rows" in err
    np.testing.assert_allclose(json.loads(out)["means"], [[4.0, 13 / 3]])


def test_words_are_no_missing_values_and_rows_that_all_lack_one_are_refused(run, tmp_path):
    for word in ("red", "1_000"):
        (tmp_path / "words.csv").write_text(f"a,b\n1,2\n3,{word}\n")
        code, _, err = run("fit", tmp_path / "words.csv", "--drop-missing")
        assert code == 1 and f"column 'b': '{word}' is not a number" in err
    (tmp_path / "none.csv").write_text("a,b\n1,\n,3\n")
    code, _, err = run("fit", tmp_path / "none.csv", "--drop-missing")
    assert code == 1 and "every row lacks a value" in err


def test_fields_that_no_column_has_are_not_dropped_with_what_is_missing(run, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4,5\n6,\n")
    code, out, err = run("fit", tmp_path / "rows.csv", "--drop-missing")
    assert code == 1 and out == "" and "field" in err


def test_large_files_are_read_in_parts_without_what_is_missing(run, X, tmp_path, monkeypatch):
    frame = pd.DataFrame(X, columns=["eruptions", "waiting"])
    frame.loc[5, "waiting"] = np.nan
    expected = json.loads(run("fit", write_table(frame, tmp_path / "a.csv"), "-k", 2, "--drop-missing", "--json")[1])
    monkeypatch.setattr(tables, "IN_MEMORY", 0)
    monkeypatch.setattr(lenient, "ROWS", 50)
    for name in ("a.csv", "a.parquet"):
        data = write_table(frame, tmp_path / name)
        code, out, err = run("fit", data, "-k", 2, "--drop-missing", "--json")
        assert code == 0 and "1 of 272 rows" in err
        np.testing.assert_allclose(json.loads(out)["means"], expected["means"], rtol=1e-6)
