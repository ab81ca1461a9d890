"""Resuming with other data, and checkpoints that were forged: whatever a field says, a fit goes on or is refused."""

import json
import math

import numpy as np
import pytest
import torch
from ranks import overlapping

from tgmm import GaussianMixture, ModelFileError
from tgmm.data.data import TensorData
from tgmm.data.fingerprint import fingerprint_of
from tgmm.files.store import checksum

pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore")]

X = overlapping(300)
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
LABELS = np.arange(len(X)) % 3


def fit(path, rows=X, *, resume=False, max_iter=12, **given):
    settings = {"n_components": 3, "random_state": 0, "tol": 0.0, "max_iter": max_iter, "checkpoint": path}
    settings |= {name: given.pop(name) for name in list(given) if name in GaussianMixture().get_params()}
    return GaussianMixture(**settings).fit(rows, resume=resume, **given)


# ------------------------------------------------------------------------------------------------------ other data


def same_range():
    """Other rows with the same number, minima and maxima."""
    rows = np.random.default_rng(1).uniform(X.min(0), X.max(0), X.shape)
    for column in range(X.shape[1]):
        rows[:2, column] = X[:, column].min(), X[:, column].max()
    return rows


def one_column_shuffled():
    """Rows with the same mean and variances of every feature, and other correlations."""
    rows = X.copy()
    rows[:, 0] = np.random.default_rng(2).permutation(rows[:, 0])
    return rows


def one_value_nudged():
    rows = X.copy()
    rows[7, 1] = np.nextafter(rows[7, 1], np.inf)
    return rows


@pytest.mark.parametrize("other", [same_range, one_column_shuffled, one_value_nudged, lambda: X.astype(np.float32)])
def test_other_rows_are_refused(other, tmp_path):
    fit(tmp_path / "c.pth")
    with pytest.raises(ValueError, match="written in a fit to other data: 300 rows of 3 features"):
        fit(tmp_path / "c.pth", other(), resume=True)


@pytest.mark.parametrize("as_source", [False, True])
def test_the_same_rows_in_another_order_or_form_go_on(as_source, tmp_path):
    fit(tmp_path / "c.pth", sample_weight=WEIGHTS)
    order = np.random.default_rng(3).permutation(len(X))
    rows = np.array_split(X[order], 4) if as_source else X[order]
    again = fit(tmp_path / "c.pth", rows, sample_weight=WEIGHTS[order], resume=True, max_iter=20)
    assert again.n_iter_ == 20
    whole = fit(None, sample_weight=WEIGHTS, max_iter=20)
    np.testing.assert_allclose(again.means_, whole.means_, rtol=1e-8)


@pytest.mark.parametrize(
    ("before", "now"),
    [(None, WEIGHTS), (WEIGHTS, None), (WEIGHTS, WEIGHTS[::-1].copy()), (WEIGHTS, 2 * WEIGHTS)],
    ids=["none before", "none now", "of other rows", "doubled"],
)
def test_other_weights_are_refused(before, now, tmp_path):
    fit(tmp_path / "c.pth", sample_weight=before)
    with pytest.raises(ValueError, match="written in a fit to other sample_weight. Give the same"):
        fit(tmp_path / "c.pth", sample_weight=now, resume=True)


@pytest.mark.parametrize(
    ("before", "now"), [(None, LABELS), (LABELS, None), (LABELS, LABELS[::-1].copy()), (LABELS, np.eye(3)[LABELS])]
)
def test_other_responsibilities_are_refused(before, now, tmp_path):
    fit(tmp_path / "c.pth", init_responsibilities=before)
    with pytest.raises(ValueError, match="written in a fit to other init_responsibilities. Give the same"):
        fit(tmp_path / "c.pth", init_responsibilities=now, resume=True)


def test_a_start_that_was_an_array_and_is_a_function_is_refused(tmp_path):
    fit(tmp_path / "c.pth", init_means=X[:3])
    with pytest.raises(ModelFileError, match=r"init_means was [\s\S]* and is now something that cannot be stored"):
        fit(tmp_path / "c.pth", init_means=lambda rows, n_components, _: rows[:n_components], resume=True)


def test_fingerprints_tell_every_bit_and_add_up_in_any_order():
    rows = torch.from_numpy(X)
    whole = fingerprint_of(TensorData(rows), None)
    assert whole == fingerprint_of(TensorData(rows.flip(0)), None)
    assert whole == fingerprint_of(TensorData(rows[:100]), None) + fingerprint_of(TensorData(rows[100:]), None)
    for column in range(rows.shape[1]):
        for bit in range(63):
            other = rows.clone()
            other.view(torch.int64)[5, column] ^= 1 << bit
            assert fingerprint_of(TensorData(other), None).rows != whole.rows


# ------------------------------------------------------------------------------------------------------- forgeries


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The entries of a checkpoint with a run at three points, and the path that it is written to."""
    path = tmp_path_factory.mktemp("checkpoints") / "c.pth"
    fit(path, n_init=2, init_means="random", accelerate="squarem")
    return torch.load(path, weights_only=True)


def resumed(state, path):
    torch.save(state | {"checksum": checksum(state)}, path)
    return fit(path, n_init=2, init_means="random", accelerate="squarem", resume=True, max_iter=15)


WRONG = {
    bool: [3, None, "x"],
    int: [-5, 10**8, 10**30, 1.5, True, None, "x"],
    float: [math.nan, -1.0, None, "x"],
    str: ["", "x", "[]", "{}", "null", "[NaN]", '["x"]', 7, None],
    torch.Tensor: [
        lambda tensor: tensor * math.nan,
        lambda tensor: tensor.flatten()[:0],
        lambda tensor: tensor[None],
        lambda tensor: tensor.float(),
        lambda tensor: 1.0,
    ],
}


def test_every_entry_with_every_kind_of_nonsense_is_refused(written, tmp_path):
    """A seed may be any number, and n_steps any positive one."""
    assert resumed(dict(written), tmp_path / "c.pth").n_iter_ == 15
    legal = {("n_steps", 10**8), ("seed", 10**8)}
    for name, value in written.items():
        if name == "checksum" or value is None:  # settings are compared with the fit's own
            continue
        for wrong in WRONG[type(value)]:
            if (name, wrong) in legal or (type(wrong) is type(value) and wrong == value):
                continue
            forged = written | {name: wrong(value) if callable(wrong) else wrong}
            with pytest.raises((ModelFileError, ValueError)):
                resumed(forged, tmp_path / "c.pth")
                pytest.fail(f"{name} = {wrong!r} was taken")


def test_an_entry_less_or_more_is_refused(written, tmp_path):
    for name in (name for name, value in written.items() if name != "checksum" and value is not None):
        with pytest.raises(ModelFileError):
            resumed({other: value for other, value in written.items() if other != name}, tmp_path / "c.pth")
            pytest.fail(f"{name} was not missed")
    with pytest.raises(ModelFileError, match="its entry note is malformed"):
        resumed(written | {"note": "hello"}, tmp_path / "c.pth")


FIGURES = [
    ("history", []),
    ("history", [math.nan]),
    ("history", lambda history: [math.nan, *history[1:]]),
    ("history", lambda history: [math.inf, *history[1:]]),
    ("history", lambda history: [*history, 1e9]),
    ("history", lambda history: [str(value) for value in history]),
    ("n_em", -1),
    ("n_em", 10**8),
    ("rates", [math.nan]),
    ("rates", None),
    ("rung", -1),
    ("rung", 0.5),
    ("converged", 1),
    ("reseeded", [3]),
    ("reseeded", [-1]),
    ("reseeded", [True]),
    ("notes", [1]),
    ("start", None),
    ("seed", -1),
    ("seed", 2**64),
    ("longest", math.nan),
    ("longest", math.inf),
    ("longest", 0.0),
    ("n_path", -1),
    ("n_path", 10**8),
]


@pytest.mark.parametrize(("figure", "value"), FIGURES)
def test_a_figure_of_a_run_that_no_fit_writes_is_refused(figure, value, written, tmp_path):
    name = next(name for name in written if name.endswith(".figures"))
    figures = json.loads(written[name])
    figures[figure] = value(figures[figure]) if callable(value) else value
    with pytest.raises(ModelFileError):
        resumed(written | {name: json.dumps(figures)}, tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("parameters.weights", lambda w: 2 * w, "sum to 1"),
        ("parameters.weights", lambda w: w - torch.tensor([1.0, -1.0, 0.0], dtype=w.dtype), ">= 0"),
        ("parameters.covariances", lambda c: -c, "collapsed"),
        ("statistics.mass", lambda m: 2 * m, "do not belong to the rows"),
        ("statistics.weight", lambda w: 2 * w, "do not belong to the rows"),
    ],
)
def test_a_point_that_is_no_mixture_s_is_refused(part, change, message, written, tmp_path):
    names = [name for name in written if name.endswith(part)]
    with pytest.raises(ModelFileError, match=message):
        resumed(written | {name: change(written[name]) for name in names}, tmp_path / "c.pth")


@pytest.mark.parametrize("name", ["mean", "scatter", "weight"])
def test_a_summary_that_is_not_the_data_s_is_refused(name, written, tmp_path):
    name = f"summary.{name}"
    with pytest.raises(ValueError, match="summary of the data does not match X|do not belong to the rows"):
        resumed(written | {name: written[name] * 1.01 + 0.01}, tmp_path / "c.pth")


def test_a_race_without_a_run_is_refused(written, tmp_path):
    state = {name: value for name, value in written.items() if not name.startswith("runs.")}
    with pytest.raises(ModelFileError, match="no run is under way"):
        resumed(state | {"runs.0.given_up": True, "runs.1.given_up": True}, tmp_path / "c.pth")


def test_a_kernel_that_is_not_there_is_the_most_precise_one(written, tmp_path):
    """A fit on an accelerator has more of them."""
    names = [name for name in written if name.endswith(".figures")]
    figures = {name: json.dumps(json.loads(written[name]) | {"rung": 10**8}) for name in names}
    assert resumed(written | figures, tmp_path / "c.pth").n_iter_ == 15
