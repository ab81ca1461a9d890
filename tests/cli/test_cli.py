"""The command line, run in this process and as one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support import ORACLES

from tgmm import GaussianMixture, select
from tgmm.cli import main, tables

FAITHFUL = ORACLES / "faithful.csv"


@pytest.fixture
def run(capsysbinary):
    """Run a command: exit code, standard output, standard error."""

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsysbinary.readouterr()
        return code, captured.out.decode(), captured.err.decode()

    return call


@pytest.fixture(scope="module")
def X():
    return np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.pth"
    assert main(["fit", str(FAITHFUL), "-k", "2", "--out", str(path)]) == 0
    return path


def test_fit_is_the_library_s(run, X, tmp_path):
    code, out, err = run("fit", FAITHFUL, "--components", "2", "--json", "--out", tmp_path / "m.pth")
    assert code == 0 and err == ""
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
    assert "BIC               2314.29" in out
    assert "3 component(s) in 2 feature(s), covariance type tied_full" in out


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
    kept = tables.thinned(tables.Mapped(_Listed(batches), lambda rows: rows, None)).ravel()
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


def test_info(run, model_file):
    code, out, _ = run("info", model_file)
    assert code == 0
    assert "2 component(s) in 2 feature(s), covariance type full" in out and "eruptions" in out
    found = json.loads(run("info", model_file, "--json")[1])
    assert found["n_components"] == 2 and found["converged"] is True and len(found["weights"]) == 2


def test_plots(run, tmp_path):
    for arguments in (("-k", 2), ("-k", "1:2", "--columns", "waiting")):
        assert run("fit", FAITHFUL, *arguments, "--plot", tmp_path / "fit.svg")[0] == 0
        assert "<svg" in (tmp_path / "fit.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "none.csv"], "none.csv"),
        (["fit", FAITHFUL, "--out", "model.txt"], "path must end in .pth or .safetensors"),
        (["fit", FAITHFUL, "--out", "no/such/folder/m.pth"], "there is no such folder"),
        (["fit", FAITHFUL, "--plot", "fit.doc"], "a picture ends in one of"),
        (["fit", FAITHFUL, "-k", "300"], "n_components=300"),
        (["fit", FAITHFUL, "-k", "1:3", "--degrees-of-freedom", "4"], "needs one number of components"),
        (["fit", FAITHFUL, "--columns", "length"], "['length'] are not in the table"),
        (["fit", Path(__file__)], "of no kind that can be read"),
        (["predict", "none.pth", FAITHFUL], "none.pth: No such file or directory"),
        (["predict", FAITHFUL, FAITHFUL], "faithful.csv"),
        (["info", "none.pth"], "none.pth"),
    ],
)
def test_failures_are_one_line_and_exit_code_1(run, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 1 and out == ""
    assert err.startswith("tgmm: error: ") and err.count("\n") == 1
    assert message in err


def test_a_bad_value_is_named_with_its_line(run, tmp_path):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,?\n")
    code, _, err = run("fit", tmp_path / "bad.csv")
    assert code == 1 and "line 3, column 'b': '?' is not a number" in err


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
    ],
)
def test_bad_arguments_are_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    assert "usage: tgmm" in capsys.readouterr().err


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
