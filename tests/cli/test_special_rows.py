"""The command line with rows that are special: missing values, labels and noise."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from support import ORACLES

from tgmm import GaussianMixture, select
from tgmm.cli import tables
from tgmm.data import lenient

NAMES = ["eruptions", "waiting"]


@pytest.fixture(scope="module")
def X():
    return np.loadtxt(ORACLES / "faithful.csv", delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def gaps(X):
    """The rows with one in seven values missing, some without any."""
    rows = np.where(np.random.default_rng(0).random(X.shape) < 1 / 7, np.nan, X)
    rows[5] = np.nan
    return rows


def table(text):
    return pd.read_csv(pd.io.common.StringIO(text))


def written(rows, path, **more):
    """Write rows, with further columns, in the format of the suffix; arrays have no names."""
    frame = pd.DataFrame(rows, columns=NAMES).assign(**more)
    {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".parquet": lambda: frame.to_parquet(path, index=False),
        ".npy": lambda: np.save(path, frame.to_numpy(dtype=float)),
    }[path.suffix]()
    return path


# ------------------------------------------------------------------------------------------------------ missing values


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_a_fit_to_what_is_there_is_the_librarys(run, wrote, gaps, tmp_path, suffix):
    data, model = written(gaps, tmp_path / f"gaps{suffix}"), tmp_path / "m.pth"
    code, out, err = run("fit", data, "-k", 2, "--missing", "em", "--json", "--out", model)
    assert code == 0 and err == wrote("the model", model)
    best = select(gaps, 2, "full", missing="em", random_state=0).best_
    found = json.loads(out)
    np.testing.assert_array_equal(found["means"], best.means_)
    assert found["missing"] == "em" and found["n_rows"] == len(gaps)
    code, out, err = run("predict", model, data)
    assert code == 0, err
    np.testing.assert_array_equal(table(out)["label"], best.predict(gaps))
    np.testing.assert_allclose(table(out)["log_density"], best.score_samples(gaps), rtol=1e-12)


def test_values_may_be_missing_only_where_that_is_said(run, X, gaps, tmp_path):
    data = written(gaps, tmp_path / "gaps.csv")
    assert "a value is missing" in run("fit", data)[2]
    run("fit", ORACLES / "faithful.csv", "-k", 2, "--out", tmp_path / "m.pth")
    assert "a value is missing" in run("predict", tmp_path / "m.pth", data)[2]
    with pytest.raises(SystemExit) as stopped:
        run("fit", data, "--missing", "em", "--drop-missing")
    assert stopped.value.code == 2


@pytest.mark.parametrize("extra", [[], ["--noise"]])
def test_scaling_changes_no_criterion_where_values_are_missing(run, gaps, tmp_path, extra):
    """It changes the noise: the box along the principal axes is another one, of which the smaller is along the axes."""
    data = written(gaps, tmp_path / "gaps.csv")
    arguments = ("fit", data, "-k", 2, "--missing", "em", "--json", *extra)
    plain, scaled = (json.loads(run(*arguments, *more)[1]) for more in ([], ["--scale", "--out", tmp_path / "m.pth"]))
    for name in (
        "bic",
        "icl",
        "log_likelihood",
        "average_log_likelihood",
        "means",
        *(["noise_volume"] if extra else []),
    ):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-6)
    assert GaussianMixture.load(tmp_path / "m.pth").score(torch.from_numpy(gaps)) == pytest.approx(
        plain["average_log_likelihood"]
    )


def test_a_picture_shows_the_rows_that_are_whole(run, gaps, tmp_path):
    data = written(gaps, tmp_path / "gaps.csv")
    assert run("fit", data, "-k", 2, "--missing", "em", "--noise", "--plot", tmp_path / "fit.svg")[0] == 0


def test_large_files_with_gaps_are_read_in_parts(run, gaps, tmp_path, monkeypatch):
    data = written(gaps, tmp_path / "gaps.csv")
    arguments = ("fit", data, "-k", 2, "--missing", "em", "--scale", "--json")
    expected = json.loads(run(*arguments)[1])
    monkeypatch.setattr(tables, "IN_MEMORY", 0)
    monkeypatch.setattr(lenient, "ROWS", 50)
    found = json.loads(run(*arguments)[1])
    np.testing.assert_allclose(found["means"], expected["means"], rtol=1e-6)
    assert found["bic"] == pytest.approx(expected["bic"], rel=1e-9)


# ---------------------------------------------------------------------------------------------------------- imputation


@pytest.fixture
def model_file(gaps, tmp_path):
    path = tmp_path / "model.pth"
    GaussianMixture(2, missing="em", random_state=0).fit(pd.DataFrame(gaps, columns=NAMES)).save(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_missing_values_are_filled_in(run, wrote, gaps, model_file, tmp_path, suffix):
    data, whole = written(gaps, tmp_path / f"gaps{suffix}"), tmp_path / "whole.parquet"
    code, out, err = run("impute", model_file, data)
    assert code == 0 and err == ""
    expected = GaussianMixture.load(model_file).impute(torch.from_numpy(gaps))
    assert list(table(out)) == NAMES
    np.testing.assert_allclose(table(out), expected, rtol=1e-14)
    assert run("impute", model_file, data, "--out", whole) == (0, "", wrote("the rows", whole))
    np.testing.assert_array_equal(pd.read_parquet(whole), expected)


def test_draws_follow_the_seed(run, gaps, model_file, tmp_path):
    arguments = ("impute", model_file, written(gaps, tmp_path / "gaps.csv"), "--draw")
    one, same, other = (run(*arguments, "--seed", seed)[1] for seed in (1, 1, 2))
    assert one == same != other
    np.testing.assert_allclose(
        table(one), GaussianMixture.load(model_file).impute(torch.from_numpy(gaps), random_state=1), rtol=1e-14
    )
    assert run(*arguments)[1] != run(*arguments)[1]
    code, out, err = run(*arguments[:-1], "--seed", 1)
    assert code == 1 and out == "" and "add --draw" in err


def test_rows_that_are_filled_in_keep_what_identifies_them(run, gaps, model_file, tmp_path):
    data = written(gaps, tmp_path / "gaps.csv", key=[f"row {i}" for i in range(len(gaps))])
    found = table(run("impute", model_file, data, "--id", "key")[1])
    assert list(found) == ["key", *NAMES] and found["key"][7] == "row 7"
    code, out, err = run("impute", model_file, data, "--id", "waiting")
    assert code == 1 and out == "" and "is a feature" in err


# -------------------------------------------------------------------------------------------------------------- labels


def kinds_of(X, *, share=0.1):
    """The kind of a few eruptions, where it is known."""
    known = np.random.default_rng(1).random(len(X)) < share
    return np.where(known, np.where(X[:, 0] < 3, "short", "long"), "")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_texts_are_numbered_in_sorted_order(run, X, tmp_path, suffix):
    kinds = kinds_of(X)
    data = written(X, tmp_path / f"rows{suffix}", kind=kinds)
    code, out, err = run("fit", data, "-k", 2, "--labels", "kind", "--json")
    assert code == 0 and err == ""
    numbers = np.select([kinds == "long", kinds == "short"], [0, 1], -1)
    settings = {"n_init": 5, "tol": 1e-8, "max_iter": 1000, "random_state": 0}
    model = GaussianMixture(2, **settings).fit(X, labels=numbers)
    found = json.loads(out)
    np.testing.assert_array_equal(found["means"], model.means_)
    of_parameters = model.mixture_.n_parameters * np.log(len(X))
    assert found["features"] == NAMES and found["icl"] is None
    assert found["bic"] == pytest.approx(of_parameters - 2 * len(X) * model.lower_bound_)
    assert found["log_likelihood"] == pytest.approx(len(X) * found["average_log_likelihood"])
    assert found["labels"] == {"n_rows": int((numbers >= 0).sum()), "components": {"long": 0, "short": 1}}
    text = run("fit", data, "-k", 2, "--labels", "kind")[1]
    assert re.search(r"Component 0 +long\b", text) and re.search(r"Component 1 +short\b", text)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("scale", [[], ["--scale"]])
def test_a_model_keeps_the_words_of_labels(run, X, tmp_path, suffix, scale):
    data, path = written(X, tmp_path / "rows.csv", kind=kinds_of(X)), tmp_path / f"model{suffix}"
    code, out, _ = run("fit", data, "-k", 3, "--labels", "kind", "--out", path, "--json", *scale)
    assert code == 0 and json.loads(out)["component_names"] == ["long", "short", "2"]
    assert json.loads(out)["features"] == NAMES
    model = GaussianMixture.load(path)
    found = table(run("predict", path, data)[1])
    words = np.array(["long", "short", "2"])
    assert found["label"].astype(str).tolist() == words[model.predict(X.copy())].tolist()
    probabilities = found[[f"probability_{word}" for word in words]]
    np.testing.assert_allclose(probabilities, model.predict_proba(X.copy()), rtol=1e-12)
    assert set(table(run("sample", path, "-n", 99)[1])["component"]) <= set(words)
    assert re.search(r"Component 0 +long\b", run("info", path)[1])
    model.reorder([2, 1, 0]).save(path)
    assert json.loads(run("info", path, "--json")[1])["component_names"] == ["2", "short", "long"]
    model.fit(X).save(path)
    assert "component_names" not in json.loads(run("info", path, "--json")[1])


def test_words_and_noise_go_together(run, X, tmp_path):
    kinds = kinds_of(X)
    data, path = written(X, tmp_path / "rows.csv", kind=kinds), tmp_path / "m.pth"
    assert run("fit", data, "-k", 2, "--labels", "kind", "--noise", "--out", path)[0] == 0
    written(np.array([[3.0, 1e4], [4.5, 80]]), tmp_path / "new.csv")
    found = table(run("predict", path, tmp_path / "new.csv")[1])
    assert found["label"].tolist() == ["-1", "long"]
    assert [*found] == ["label", "probability_long", "probability_short", "probability_noise", "log_density"]


@pytest.mark.parametrize(("word", "arguments"), [("noise", ["--noise"]), ("2", [])])
def test_words_that_name_something_else_are_refused(run, X, tmp_path, word, arguments):
    data = written(X, tmp_path / "rows.csv", kind=np.where(kinds_of(X) == "long", word, kinds_of(X)))
    code, _, err = run("fit", data, "-k", 3, "--labels", "kind", *arguments)
    assert code == 1 and f"--labels kind: {word!r} is also what another component, or the noise, is called" in err


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
@pytest.mark.parametrize("unknown", [-1, np.nan])
def test_numbers_are_those_of_components(run, X, tmp_path, suffix, unknown):
    numbers = np.select([kinds_of(X) == "long", kinds_of(X) == "short"], [1.0, 0.0], unknown)
    data = written(X, tmp_path / f"rows{suffix}", kind=numbers)
    found = json.loads(run("fit", data, "-k", 3, "--labels", "2" if suffix == ".npy" else "kind", "--json")[1])
    assert found["labels"] == {"n_rows": int((numbers >= 0).sum()), "components": None}
    assert found["means"][0][0] < 3 < found["means"][1][0] and len(found["features"]) == 2


def test_labels_stay_with_their_rows_where_others_are_left_out(run, gaps, X, tmp_path):
    data = written(gaps, tmp_path / "rows.csv", kind=kinds_of(X, share=1))
    found = json.loads(run("fit", data, "-k", 2, "--labels", "kind", "--drop-missing", "--json")[1])
    whole = gaps[~np.isnan(gaps).any(1)]
    means = [whole[whole[:, 0] >= 3].mean(0), whole[whole[:, 0] < 3].mean(0)]
    np.testing.assert_allclose(found["means"], means, rtol=1e-10)


@pytest.mark.parametrize(
    ("kinds", "arguments", "message"),
    [
        (["a", "b", "c"], ["-k", 2], "3 different labels, but with -k 2"),
        ([0, 1, 2], ["-k", 2], "the label 2, but with -k 2"),
        ([0, -2, 1], ["-k", 2], "the label -2"),
        (["", "", ""], ["-k", 2], "contains no labels"),
        (["a", "b", ""], ["-k", "2:3"], "needs one number of components"),
        (["a", "b", ""], ["-k", 2, "--covariance", "full,diag"], "one covariance type"),
        (["a", "b", ""], ["-k", 2, "--criterion", "held_out"], "--criterion bic or aic"),
        (["a", "b", ""], ["-k", 2, "--criterion", "icl"], "--criterion bic or aic"),
        (["a", "b", ""], ["-k", 2, "--columns", "eruptions,kind"], "cannot be a feature"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(run, X, tmp_path, kinds, arguments, message):
    data = written(X[:90], tmp_path / "rows.csv", kind=kinds * 30)
    code, out, err = run("fit", data, "--labels", "kind", *arguments)
    assert code == 1 and out == "" and message in err and err.count("\n") == 1
    code, _, err = run("fit", data, "-k", 2, "--labels", "none")
    assert code == 1 and "none" in err


# --------------------------------------------------------------------------------------------------------------- noise


def test_noise_is_reported_and_labelled(run, wrote, X, tmp_path):
    rng = np.random.default_rng(0)
    rows = np.concatenate([X, rng.uniform([0, 20], [8, 140], (30, 2))])
    data, path = written(rows, tmp_path / "rows.csv"), tmp_path / "m.pth"
    code, out, err = run("fit", data, "-k", 2, "--noise", "--out", path)
    model = GaussianMixture.load(path)
    assert err == wrote("the model", tmp_path / "m.pth")
    assert code == 0 and re.search(rf"\nnoise +{model.noise_weight_:.4f} ", out)
    assert re.search(rf"Noise volume +{model.noise_volume_:.6g}\b", out)
    found = json.loads(run("info", path, "--json")[1])
    assert found["noise_weight"] == model.noise_weight_ and found["noise_volume"] == model.noise_volume_
    predicted = table(run("predict", path, data)[1])
    assert list(predicted) == ["label", "probability_0", "probability_1", "probability_noise", "log_density"]
    np.testing.assert_array_equal(predicted["label"], model.predict(torch.from_numpy(rows)))
    assert (predicted["label"][-30:] == -1).mean() > 0.6
    np.testing.assert_allclose(predicted.iloc[:, 1:4].sum(axis=1), 1)
    record = json.loads(run("predict", path, data, "--json")[1].splitlines()[-1])
    assert len(record["probabilities"]) == 2 and record["probability_noise"] > 0
    assert -1 in table(run("sample", path, "-n", 500, "--seed", 0)[1])["component"].tolist()
