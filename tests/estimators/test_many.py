"""Fits to many tables or groups at once: the fits of each alone, as one object."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from support import COVARIANCE_TYPES

from tgmm import GaussianMixture, Mixtures, ModelFileError, fit_many
from tgmm.files.store import checksum

STORED = Path(__file__).parents[1] / "files" / "data"
K, D = 2, 2
SIZES = (40, 25, 60)
LABELS = np.repeat([7, 3, 5], SIZES)
ATTRIBUTES = ("weights_", "means_", "covariances_", "lower_bound_", "converged_", "n_iter_")


def tables():
    rng = np.random.default_rng(0)
    found = [rng.normal(size=(size, D)) * (1 + b) + 100 * b for b, size in enumerate(SIZES)]
    for b, rows in enumerate(found):
        rows[: SIZES[b] // 2] += 6 * (1 + b)
    return found


def mixed(seed=1):
    """Return rows of all groups in any order, and their labels."""
    order = np.random.default_rng(seed).permutation(sum(SIZES))
    return np.concatenate(tables())[order], LABELS[order]


def assert_equal_fits(mixture, alone):
    for name in ATTRIBUTES:
        np.testing.assert_allclose(getattr(mixture, name), getattr(alone, name), rtol=1e-10, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(mixture.objective_history_, alone.objective_history_, rtol=1e-10)
    np.testing.assert_allclose(mixture.reg_covar_, alone.reg_covar_, rtol=1e-10)
    for mine, other in zip(mixture.runs_, alone.runs_, strict=True):
        assert mine[1:] == other[1:]
        assert mine.objective == pytest.approx(other.objective, rel=1e-10)


PRIORS = {
    "weight_concentration_prior": 2.0,
    "mean_prior": np.zeros(D),
    "mean_precision_prior": 0.01,
}
CENTRES = np.stack([rows[[0, -1]] for rows in tables()])  # (B, K, d)
SETTINGS = {
    "auto": {},
    "kmeans": {"init_means": "kmeans"},
    "several runs": {"init_means": "random", "n_init": 3},
    "priors": {**PRIORS, "init_means": "kmeans"},
    "plain": {"accelerate": None, "init_means": "kmeans"},
    "classification": {"cem": True, "init_means": "kmeans"},
}


# --- each is the fit alone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_each_fit_is_the_one_alone(settings, covariance_type):
    given = {"n_components": K, "covariance_type": covariance_type, "random_state": 3, **settings}
    mixtures = fit_many(tables(), **given)
    assert isinstance(mixtures, Mixtures)
    assert len(mixtures) == len(SIZES)
    for mixture, rows in zip(mixtures, tables(), strict=True):
        assert_equal_fits(mixture, GaussianMixture(**given).fit(rows))


def test_weights_of_rows_are_those_of_their_problem():
    weights = [np.linspace(0.0, 2.0, size) for size in SIZES]
    mixtures = fit_many(tables(), sample_weight=weights, n_components=K, random_state=0)
    for mixture, rows, own in zip(mixtures, tables(), weights, strict=True):
        assert_equal_fits(mixture, GaussianMixture(K, random_state=0).fit(rows, sample_weight=own))


def test_weights_and_labels_of_grouped_rows_follow_their_groups():
    X, groups = mixed()
    weights, start = np.linspace(0.5, 2.0, len(X)), np.arange(len(X)) % K
    mixtures = fit_many(X, groups, sample_weight=weights, init_responsibilities=start, n_components=K)
    for group in (3, 5, 7):
        own = groups == group
        alone = GaussianMixture(K).fit(X[own], sample_weight=weights[own], init_responsibilities=start[own])
        assert_equal_fits(mixtures[group], alone)


STARTS_OF_EACH = {
    "full": np.stack([np.stack([np.eye(D)] * K) * (b + 1) for b in range(3)]),
    "diag": np.ones((3, K, D)) * np.arange(1, 4)[:, None, None],
    "spherical": np.ones((3, K)) * np.arange(1, 4)[:, None],
    "tied_full": np.stack([np.eye(D) * (b + 1) for b in range(3)]),
    "tied_diag": np.ones((3, D)) * np.arange(1, 4)[:, None],
    "tied_spherical": np.arange(1.0, 4.0),
}


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_start_may_be_given_for_each_problem(covariance_type):
    weights = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    covariances = STARTS_OF_EACH[covariance_type]
    common = {"n_components": K, "covariance_type": covariance_type, "max_iter": 0}
    own = {"init_means": CENTRES, "init_weights": weights, "init_covariances": covariances}
    mixtures = fit_many(tables(), **common, **own)
    np.testing.assert_allclose(mixtures.means_, CENTRES, rtol=1e-12)
    np.testing.assert_allclose(mixtures.weights_, weights, rtol=1e-12)
    np.testing.assert_allclose(mixtures.covariances_, covariances, rtol=1e-9)


def test_one_start_serves_all_problems():
    mixtures = fit_many(tables(), n_components=2, init_means=[[1.0, 0.0], [0.0, 1.0]], max_iter=0)
    np.testing.assert_allclose(mixtures.means_, [[[1.0, 0.0], [0.0, 1.0]]] * 3, rtol=0, atol=1e-12)


@pytest.mark.parametrize("random_state", [np.random.default_rng(0), torch.Generator().manual_seed(0)])
def test_a_generator_gives_all_fits_one_seed_by_which_each_can_be_repeated(random_state):
    mixtures = fit_many(tables(), n_components=K, init_means="random", random_state=random_state)
    for mixture, rows in zip(mixtures, tables(), strict=True):
        assert_equal_fits(mixture, GaussianMixture(**mixture.get_params()).fit(rows))


# --- what X may be, and what comes out ---------------------------------------------------------------------------


def test_an_array_of_problems_gives_stacked_attributes():
    X = np.random.default_rng(0).normal(size=(4, 30, 3))
    mixtures = fit_many(X, n_components=2, random_state=0, tol=0.01)
    assert mixtures.weights_.shape == (4, 2)
    assert mixtures.means_.shape == (4, 2, 3)
    assert mixtures.covariances_.shape == (4, 2, 3, 3)
    for name in ATTRIBUTES:
        np.testing.assert_array_equal(getattr(mixtures, name), np.stack([getattr(m, name) for m in mixtures]))
    np.testing.assert_array_equal(mixtures[-1].means_, mixtures.means_[3])
    assert [len(m.means_) for m in mixtures[1:3]] == [2, 2]
    np.testing.assert_array_equal(mixtures[1:3][1].means_, mixtures.means_[2])
    assert repr(mixtures) == "Mixtures(4 problems, K=2, d=3)"
    with pytest.raises(IndexError):
        mixtures[4]


def test_a_model_in_another_order_leaves_the_others_as_they_were():
    X = np.random.default_rng(0).normal(size=(2, 30, 3))
    mixtures = fit_many(X, n_components=2, random_state=0, tol=0.01)
    labels = mixtures.predict(X[0], np.zeros(30, int))
    other = mixtures[0].reorder([1, 0])
    np.testing.assert_array_equal(other.means_, mixtures.means_[0][::-1])
    np.testing.assert_array_equal(other.predict(X[0]), 1 - labels)
    np.testing.assert_array_equal(mixtures.predict(X[0], np.zeros(30, int)), labels)


def test_tensors_give_tensors():
    X = torch.randn(3, 30, 2, generator=torch.Generator().manual_seed(0))
    mixtures = fit_many(X, n_components=1)
    assert isinstance(mixtures.means_, torch.Tensor)
    torch.testing.assert_close(mixtures.means_[:, 0], X.mean(1))
    groups = torch.arange(3).repeat_interleave(30)
    scores = mixtures.score_samples(X.reshape(-1, 2), groups)
    torch.testing.assert_close(scores, torch.cat([m.score_samples(x) for m, x in zip(mixtures, X, strict=True)]))


GROUPS = {
    "integers": lambda labels: labels,
    "text": lambda labels: np.array([f"g{label}" for label in labels]),
    "objects": lambda labels: np.array([f"g{label}" for label in labels], dtype=object),
    "list": lambda labels: labels.tolist(),
    "tensor": torch.as_tensor,
    "dates": lambda labels: np.datetime64("2020-01-01") + labels,
    "bool": lambda labels: labels > 3,
}


@pytest.mark.parametrize("kind", GROUPS)
def test_groups_are_any_labels_in_increasing_order(kind):
    X, labels = mixed()
    groups = GROUPS[kind](labels)
    mixtures = fit_many(X, groups, n_components=1)
    values = np.asarray(groups)
    assert mixtures.groups_ == sorted(set(values.tolist() if kind != "dates" else values))
    for place, key in enumerate(mixtures.groups_):
        np.testing.assert_array_equal(mixtures[key].means_, list(mixtures)[place].means_)
        np.testing.assert_allclose(mixtures[key].means_[0], X[values == key].mean(0))


def frame_of(library, X, labels):
    module = pytest.importorskip(library)
    return module.DataFrame({"x": X[:, 0], "machine": labels, "y": X[:, 1]})


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_groups_may_be_a_column_of_a_data_frame(library):
    X, labels = mixed()
    frame = frame_of(library, X, labels)
    mixtures = fit_many(frame, "machine", n_components=K, random_state=0)
    assert mixtures.groups_ == [3, 5, 7]
    assert mixtures[5].feature_names_in_.tolist() == ["x", "y"]
    assert_equal_fits(mixtures[5], GaussianMixture(K, random_state=0).fit(X[labels == 5]))
    arrays = fit_many(X, labels, n_components=K, random_state=0)
    np.testing.assert_array_equal(mixtures.predict(frame, "machine"), arrays.predict(X, labels))


def test_rows_may_be_a_table_of_arrow():
    pyarrow = pytest.importorskip("pyarrow")
    X, labels = mixed()
    table = pyarrow.table({"x": X[:, 0], "machine": labels, "y": X[:, 1]})
    arrays = fit_many(X, labels, n_components=K, random_state=0)
    for rows, groups in ((table, "machine"), (table.select(["x", "y"]), labels)):
        mixtures = fit_many(rows, groups, n_components=K, random_state=0)
        assert mixtures.groups_ == [3, 5, 7] and mixtures[5].feature_names_in_.tolist() == ["x", "y"]
        np.testing.assert_allclose(mixtures.means_, arrays.means_, rtol=1e-12)
        np.testing.assert_array_equal(mixtures.predict(rows, groups), arrays.predict(X, labels))


def test_rows_may_be_arrays_of_another_library():
    strict = pytest.importorskip("array_api_strict")
    X, labels = mixed()
    arrays = fit_many(X, labels, n_components=K, random_state=0)
    mixtures = fit_many(strict.asarray(X), strict.asarray(labels), n_components=K, random_state=0)
    np.testing.assert_allclose(np.asarray(mixtures.means_), arrays.means_, rtol=1e-12)
    found = mixtures.predict(strict.asarray(X), strict.asarray(labels))
    assert type(found) is type(strict.asarray(X))
    np.testing.assert_array_equal(np.asarray(found), arrays.predict(X, labels))
    several = np.stack([X[labels == 5], X[labels == 5] + 1])
    whole, parts = fit_many(strict.asarray(several), random_state=0), fit_many(several, random_state=0)
    np.testing.assert_allclose(np.asarray(whole.means_), parts.means_, rtol=1e-12)


@pytest.mark.filterwarnings("error:Determining the column names")
def test_tables_may_be_lazy_frames():
    polars = pytest.importorskip("polars")
    X, _ = mixed()
    mixtures = fit_many([polars.DataFrame(X, schema=["x", "y"]).lazy()] * 2, random_state=0)
    np.testing.assert_allclose(mixtures.means_[:, 0], [X.mean(0)] * 2)


@pytest.mark.parametrize("given", [{"noise_volume": 3.0}, {"noise_init": 0.2}])
@pytest.mark.parametrize("alone", [False, True])
def test_settings_of_noise_without_noise_are_noticed_once(given, alone):
    tables = list(np.random.default_rng(0).normal(size=(3, 60, 2)))
    labels = [[0] * 60] * 3 if alone else None
    with pytest.warns(UserWarning, match=f"{next(iter(given))} has no effect without noise=True") as caught:
        mixtures = fit_many(tables, labels=labels, **given)
    assert len(caught) == 1 and not mixtures.notes_


def test_rows_may_be_a_list_with_groups():
    mixtures = fit_many([[0.0], [1.0], [4.0], [6.0]], [0, 0, 1, 1], n_components=1)
    assert mixtures.means_.ravel().tolist() == [0.5, 5.0]


@pytest.mark.parametrize("verb", ["predict", "score_samples"])
def test_rows_are_judged_by_the_mixture_of_their_group(verb):
    X, groups = mixed()
    mixtures = fit_many(X, groups, n_components=K, random_state=0)
    new, labels = mixed(seed=2)
    new, labels = new[labels != 5], labels[labels != 5]  # not every group need be there
    expected = [getattr(mixtures[group], verb)(row[None])[0] for row, group in zip(new, labels, strict=True)]
    np.testing.assert_allclose(getattr(mixtures, verb)(new, labels), expected, rtol=1e-12)


# --- problems that fail ------------------------------------------------------------------------------------------

FAULTS = {
    "NaN": (np.array([[0.0, 1.0], [np.nan, 0.0], [2.0, 2.0]]), "NaN"),
    "too few rows": (np.zeros((1, 2)), "n_components=2"),
    "no rows": (np.zeros((0, 2)), "0 sample"),
    "text": (np.array([["a", "b"], ["c", "d"], ["e", "f"]]), "numbers"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_problem_that_fails_is_marked_and_spoils_no_other(fault):
    bad, reason = FAULTS[fault]
    first, last, _ = tables()
    given = {"n_components": K, "random_state": 0}
    with pytest.warns(UserWarning, match=r"1 of 3 problems: could not be fitted.*1: .*" + reason):
        mixtures = fit_many([first, bad, last], **given)
    assert list(mixtures.failures_) == [1]
    assert reason in mixtures.failures_[1]
    assert np.isnan(mixtures.means_[1]).all()
    assert np.isnan(mixtures.lower_bound_[1])
    assert mixtures.converged_.tolist() == [True, False, True]
    assert mixtures.n_iter_[1] == 0
    assert repr(mixtures).endswith("1 failed)")
    with pytest.raises(NotFittedError):
        mixtures[1].predict(first)
    assert_equal_fits(mixtures[0], GaussianMixture(**given).fit(first))
    assert_equal_fits(mixtures[2], GaussianMixture(**given).fit(last))


def test_rows_of_a_group_that_failed_are_not_judged():
    X, groups = mixed()
    weights = np.where(groups == 5, 0.0, 1.0)
    with pytest.warns(UserWarning, match="sample_weight is zero"):
        mixtures = fit_many(X, groups, sample_weight=weights, n_components=K)
    with pytest.raises(ValueError, match=r"mixture of 5.*sample_weight is zero.*Leave such rows out"):
        mixtures.predict(X, groups)
    assert len(mixtures.predict(X[groups != 5], groups[groups != 5])) == (groups != 5).sum()


def test_where_every_problem_fails_there_is_an_error():
    with pytest.raises(ValueError, match=r"No problem could be fitted.*NaN"):
        fit_many(np.full((2, 5, 2), np.nan))


def test_what_is_to_be_said_of_solutions_is_said_once():
    X = np.stack([np.zeros((20, 2)), np.random.default_rng(0).normal(size=(20, 2)), np.ones((20, 2))])
    with pytest.warns(UserWarning, match=r"2 of 3 problems: see notes_.*0: all rows are identical") as caught:
        mixtures = fit_many(X)
    assert len(caught) == 1
    assert list(mixtures.notes_) == [0, 2]
    assert not mixtures.failures_


def test_problems_stop_each_by_itself_and_those_that_do_not_are_named_once():
    rng = np.random.default_rng(0)
    easy = np.concatenate([rng.normal(size=(50, 1)), rng.normal(size=(50, 1)) + 50])
    X = [easy, rng.normal(size=(100, 1)), rng.normal(size=(100, 1))]
    with pytest.warns(
        ConvergenceWarning, match=r"2 of 3 fits have not converged in max_iter=4.*the first: 1, 2\."
    ) as caught:
        mixtures = fit_many(X, n_components=2, max_iter=4, init_means="kmeans", random_state=0)
    assert len(caught) == 1
    assert mixtures.converged_.tolist() == [True, False, False]
    assert mixtures.n_iter_[0] < 4


def spoilt(X, value):
    changed = X.copy()
    changed[16, 1] = value
    return changed


IN_TURN = np.array(["a", "b"] * 30)  # row 16 is row 8 of the group "a"
AT_ROW_16 = {
    "NaN": (lambda X: {"X": spoilt(X, np.nan)}, "NaN at row 16, column 1"),
    "object": (lambda X: {"X": spoilt(X.astype(object), "x")}, "'x' at row 16, column 1"),
    "masked": (
        lambda X: {"X": np.ma.masked_equal(spoilt(X, 9.0), 9.0)},
        "masked values.*row 16, column 1",
    ),
    "weight": (
        lambda X: {"sample_weight": np.where(np.arange(60) == 16, -1.0, 1.0)},
        "not negative; got .* row 16",
    ),
    "start": (lambda X: {"init_responsibilities": np.where(np.arange(60) == 16, 5, 0)}, "got 5.* at row 16"),
    "labels": (lambda X: {"labels": np.where(np.arange(60) == 16, 5, 0)}, "got 5.* at row 16"),
}


@pytest.mark.parametrize("fault", AT_ROW_16)
def test_a_reason_has_the_row_of_X(fault):
    X = np.random.default_rng(0).normal(size=(60, 2))
    given, reason = AT_ROW_16[fault]
    with pytest.warns(UserWarning, match=f"'a': ValueError: .*{reason}"):
        mixtures = fit_many(**{"X": X, "groups": IN_TURN, **given(X)})
    assert list(mixtures.failures_) == ["a"]
    assert re.search(reason, mixtures.failures_["a"])


def test_a_row_that_cannot_be_judged_is_named_with_its_group():
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match="^Group 'a': Input X contains NaN at row 16, column 1"):
        fit_many(X, IN_TURN).predict(spoilt(X, np.nan), IN_TURN)


# --- what is refused ---------------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(6, 2))
REFUSED = {
    "rows without groups": ((ROWS,), {}, r"X must have shape .*groups tell.*shape \(6, 2\)"),
    "a file": (("rows.npy",), {}, "X must have shape .*got str"),
    "no problems": (([],), {}, "X has no problems"),
    "no rows": ((ROWS[:0], []), {}, "X has no rows"),
    "other features": (([ROWS, ROWS[:, :1]],), {}, "Problem 1 has 1 features, but problem 0 has 2"),
    "too few labels": ((ROWS, [0, 1]), {}, r"groups must have shape \(n_samples,\) = \(6,\).*\(2,\)"),
    "missing number": ((ROWS, [0, 0, np.nan, 1, 1, 1]), {}, "groups has no label for row 2"),
    "missing text": ((ROWS, ["a", "a", "b", None, "b", "b"]), {}, "groups has no label for row 3"),
    "missing text in a list": ((ROWS, ["a", np.nan, "b"] * 2), {}, "groups has no label for row 1"),
    "labels of two kinds": ((ROWS, np.array([0, 0, 0, "b", "b", "b"], object)), {}, "labels of one kind"),
    "numbers and text in a list": (
        (ROWS, [1, 1, "1"] * 2),
        {},
        "labels of one kind.*got 1 for row 0, and '1' for row 2",
    ),
    "numbers and flags in a list": ((ROWS, [1, True] * 3), {}, "labels of one kind.*True for row 1"),
    "labels that have no order": ((ROWS, [{}] * 6), {}, "labels that have an order"),
    "column of an array": (
        (ROWS, "machine"),
        {},
        "groups='machine' must be a column of the data frame X, but that has no",
    ),
    "a number of components": ((ROWS[None], 2), {}, "groups=2 must be the group of each row.*n_components=2"),
    "column that is not there": ((frame_of("pandas", ROWS, 0), "time"), {}, r"but that has \['x', 'machine', 'y'\]"),
    "three axes with groups": ((ROWS[None], [0]), {}, r"X must be rows in memory.*\(1, 6, 2\)"),
    "weights of too few problems": (
        ([ROWS, ROWS],),
        {"sample_weight": [np.ones(6)]},
        "each of the 2 problems; it has 1",
    ),
    "one weight": (([ROWS, ROWS],), {"sample_weight": 1.0}, "each of the 2 problems; it has none"),
    "weights of too few rows": ((ROWS, [0] * 6), {"sample_weight": np.ones(5)}, "each of the 6 rows; it has 5"),
    "text for weights": ((ROWS, [0] * 6), {"sample_weight": ["a"] * 6}, "sample_weight must be an array of real"),
    "text for a start": ((ROWS, [0] * 6), {"init_responsibilities": ["a"] * 6}, "init_resp.* must be an array of real"),
    "text for labels": ((ROWS, [0] * 6), {"labels": ["a"] * 6}, "labels must be an array of real"),
    "too few starts": (([ROWS, ROWS],), {"init_means": np.zeros((3, 1, 2))}, "init_means must have .* 2 problems"),
    "distributed": (([ROWS],), {"distributed": True}, "needs a process group"),
    "checkpoint": (([ROWS],), {"checkpoint": "a.pth"}, "leave it out"),
    "a setting's value": (([ROWS],), {"n_components": 0}, "n_components"),
    "random_state": (([ROWS],), {"random_state": "seed"}, "random_state"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_fits_no_problem_is_refused_with_what_to_do(case):
    arguments, settings, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        fit_many(*arguments, **settings)


@pytest.mark.parametrize("names", [["y", "x"], ["x", "z"]])
def test_tables_have_the_same_columns(names):
    pandas = pytest.importorskip("pandas")
    first, other = pandas.DataFrame(ROWS, columns=["x", "y"]), pandas.DataFrame(ROWS, columns=names)
    with pytest.raises(
        ValueError, match=f"problem 2 has the columns .'{names[0]}'.*problem 0 has .'x', 'y'.*table.names"
    ):
        fit_many([first, ROWS, other])
    assert len(fit_many([first, ROWS, other.set_axis(["x", "y"], axis=1)])) == 3


def test_unknown_settings_are_refused():
    with pytest.raises(TypeError, match="init_means"):
        fit_many([ROWS], init_params="kmeans")


def test_it_is_gone_through_as_a_dict_by_group():
    X, labels = mixed()
    mixtures = fit_many(X, groups=labels)
    assert mixtures.keys() == [3, 5, 7]
    assert [key for key, _ in mixtures.items()] == list(dict(mixtures)) == mixtures.keys()
    assert all((gmm.means_ == mixtures[key].means_).all() for key, gmm in mixtures.items())
    assert fit_many(tables()).keys() == [0, 1, 2]


def test_it_contains_its_groups_or_numbers():
    X, labels = mixed()
    by_group, by_number = fit_many(X, groups=labels), fit_many(tables())
    assert 7 in by_group and np.int64(3) in by_group and 0 not in by_group
    assert 0 in by_number and 3 not in by_number


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_all_models_go_through_one_file(suffix, tmp_path):
    X, labels = mixed()
    frame, path = frame_of("pandas", X, labels), tmp_path / f"many{suffix}"
    frame.loc[frame["machine"] == 5, "x"] = np.nan  # a problem that fails
    centres = CENTRES[[1, 2, 0]]  # in the order of the groups
    with pytest.warns(UserWarning, match="1 of 3 problems: could not"):
        mixtures = fit_many(frame, "machine", n_components=K, init_means=centres)
    mixtures.save(path)
    loaded = Mixtures.load(path)
    for name in ATTRIBUTES:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(mixtures, name), err_msg=name)
    assert (loaded.keys(), loaded.failures_, loaded.notes_) == ([3, 5, 7], mixtures.failures_, mixtures.notes_)
    np.testing.assert_array_equal(loaded[7].init_means, centres[2])
    rows = frame[frame["machine"] == 3]
    np.testing.assert_array_equal(loaded.score_samples(rows, "machine"), mixtures.score_samples(rows, "machine"))
    with pytest.raises(NotFittedError):
        loaded[5].predict(rows[["x", "y"]])
    loaded.save(path)
    with pytest.raises(ModelFileError, match="Mixtures.load"):
        GaussianMixture.load(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_every_version_are_read(suffix):
    expected = json.loads((STORED / "many.json").read_text())
    for key, gmm in Mixtures.load(STORED / f"many_v1{suffix}").items():
        np.testing.assert_allclose(gmm.score_samples(expected["rows"]), expected["log_densities"][key], rtol=1e-9)


def test_a_file_that_is_no_mixtures_is_refused(tmp_path):
    X, labels = mixed()
    path = tmp_path / "many.pth"
    fit_many(X, labels).save(path)
    state = torch.load(path, weights_only=True)
    for changes, message in [
        ({"kind": "MixtureClassifier"}, "contains a MixtureClassifier, which Mixtures.load does not read"),
        ({"n_problems": 2}, "3 groups for 2 problems"),
        ({"problems.x.means_": 1.0}, "invalid literal"),
        ({"problems.9.means_": 1.0}, "not those numbered 0 to 2"),
        ({"settings.sigma": 1.0}, "unknown settings sigma"),
        ({"sigma": 1.0}, "unknown entry 'sigma'"),
        ({"format_version": 99}, "upgrade tgmm"),
    ]:
        changed = state | changes
        torch.save(changed | {"checksum": checksum(changed)}, path)
        with pytest.raises(ModelFileError, match=message):
            Mixtures.load(path)
    torch.save(state | {"n_problems": 4}, path)
    with pytest.raises(ModelFileError, match="checksum"):
        Mixtures.load(path)
    with pytest.raises(ValueError, match="numbers or text to be saved"):
        fit_many(X, np.datetime64("2020-01-01") + labels).save(path)


def test_unknown_groups_are_refused():
    mixtures = fit_many(ROWS, [0, 0, 0, 4, 4, 4])
    with pytest.raises(KeyError, match="no group 1"):
        mixtures[1]
    with pytest.raises(ValueError, match="groups has 2 in row 1"):
        mixtures.score_samples(ROWS[:2], [0, 2])


@pytest.mark.filterwarnings("ignore:1 of 3 problems")
def test_labels_of_each_problem():
    rng = np.random.default_rng(0)
    components = rng.integers(2, size=(3, 80))
    X = rng.normal(size=(3, 80, 2)) + 6.0 * components[..., None]
    labels = np.where(rng.random((3, 80)) < 0.1, components, -1)
    settings = {"n_components": 2, "random_state": 0}
    many = fit_many(X, labels=[*labels[:2], None], **settings)
    groups = fit_many(X.reshape(-1, 2), np.repeat([0, 1, 2], 80), labels=labels.ravel(), **settings)
    for place in range(3):
        alone = GaussianMixture(**settings).fit(X[place], labels=labels[place])
        np.testing.assert_allclose(groups[place].means_, alone.means_, atol=1e-8)
        if place < 2:
            np.testing.assert_allclose(many[place].means_, alone.means_, atol=1e-8)
            np.testing.assert_array_equal(many[place].predict(X[place]), components[place])
    failed = fit_many(X, labels=[labels[0], labels[1] + 5, labels[2]], **settings)
    assert list(failed.failures_) == [1] and "labels must be integers" in failed.failures_[1]


def test_rows_of_weight_0_are_looked_at_as_those_of_a_single_fit_are():
    tables, weights = [X[:30].copy() for X in np.split(np.random.default_rng(0).normal(size=(90, 2)), 3)], np.ones(30)
    tables[1][7, 0], weights[7] = np.nan, 0
    found = fit_many(tables, sample_weight=[weights] * 3, init_means="kmeans", random_state=0)
    with pytest.raises(ValueError, match="Input X contains NaN") as alone:
        GaussianMixture(init_means="kmeans", random_state=0).fit(tables[1], sample_weight=weights)
    assert found.failures_ == {1: f"ValueError: {alone.value}"}


def test_a_file_that_is_not_there_is_a_failure_of_its_problem(tmp_path):
    np.save(tmp_path / "there.npy", np.random.default_rng(0).normal(size=(30, 2)))
    found = fit_many([tmp_path / "there.npy", tmp_path / "gone.npy"], random_state=0)
    assert list(found.failures_) == [1] and "FileNotFoundError" in found.failures_[1]
    assert np.isfinite(found[0].means_).all()


@pytest.mark.parametrize("structure", ["VEE", "EVV", "VEV", "EVE"])
@pytest.mark.parametrize("noise", [1e-3, 1e-5])
@pytest.mark.filterwarnings("ignore")
def test_estimates_near_singular_ones_are_saved_and_loaded(structure, noise, tmp_path):
    """The projection on the structure, which tells whether covariances are of it, rounds the more the nearer."""
    rng = np.random.default_rng(0)
    celsius = rng.normal(20, 5, size=(300, 1))
    fahrenheit = 1.8 * celsius + 32 + noise * rng.normal(size=(300, 1))
    X = np.hstack([celsius, fahrenheit, rng.normal(size=(300, 1))])
    found = fit_many([X, X + 1], n_components=2, covariance_type=structure, init_means="kmeans", max_iter=5)
    found.save(tmp_path / "many.pth")
    np.testing.assert_array_equal(Mixtures.load(tmp_path / "many.pth").covariances_, found.covariances_)
    found[0].save(tmp_path / "one.pth")
    np.testing.assert_array_equal(GaussianMixture.load(tmp_path / "one.pth").covariances_, found[0].covariances_)


@pytest.mark.filterwarnings("ignore")
def test_fits_that_found_nothing_but_noise_are_saved_and_loaded(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 2))
    one = GaussianMixture(1, noise=True, noise_volume=1e-200).fit(X)
    many = fit_many([X, X + 1], noise=True, noise_volume=1e-200)
    one.save(tmp_path / "one.pth")
    many.save(tmp_path / "many.pth")
    assert GaussianMixture.load(tmp_path / "one.pth").noise_weight_ == 1
    assert Mixtures.load(tmp_path / "many.pth")[1].noise_weight_ == 1
