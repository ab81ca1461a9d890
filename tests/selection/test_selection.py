"""Choosing a model: the winner that mclust has, criteria by their definitions, and cells that fail alone."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from support import ORACLES, STRUCTURE_OF_CODE, n_parameters, reference_log_densities

from tgmm import GaussianMixture, select
from tgmm.estimators.base import solution_of
from tgmm.selection import Cell, Selection, ranked
from tgmm.selection.fitter import Fitter
from tgmm.selection.folds import FoldSource


@pytest.fixture(scope="module")
def faithful():
    return np.loadtxt(ORACLES / "faithful.csv", delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def selection(faithful):
    return select(faithful, range(1, 6), random_state=0)


def test_old_faithful_has_mclusts_winner(selection):
    best = selection.best_cell
    assert (best.covariance_type, best.n_components) == ("tied_full", 3)
    assert best.bic == pytest.approx(2314.3, abs=0.05)
    assert (selection.best_.covariance_type, selection.best_.n_components) == ("tied_full", 3)
    assert best.status == "converged" and best.n_parameters == 11


def test_no_likelihood_is_below_mclusts(selection):
    found = {(cell.covariance_type, cell.n_components): cell.log_likelihood for cell in selection.cells}
    records = [r for r in json.loads((ORACLES / "mclust_faithful.json").read_text()) if r["prior"] is None]
    assert len(records) == 12
    for record in records:
        assert found[STRUCTURE_OF_CODE[record["model"]], record["K"]] >= record["loglik"] - 5e-3, record["model"]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_winner_does_not_hang_on_the_seed(faithful, seed):
    best = select(faithful, [2, 3, 4], ["full", "tied_full", "tied_diag"], random_state=seed).best_cell
    assert (best.covariance_type, best.n_components) == ("tied_full", 3)


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_criteria_are_what_they_are_defined_to_be(faithful, criterion):
    selection = select(faithful, [2, 3], ["diag", "tied_full"], criterion, random_state=0)
    cell, model = selection.best_cell, selection.best_
    joint = reference_log_densities(model, faithful)
    total = logsumexp(joint, axis=1).sum()
    count = n_parameters(cell.covariance_type, cell.n_components, 2)
    bic = -2 * total + count * np.log(len(faithful))
    certainty = (joint.max(axis=1) - logsumexp(joint, axis=1)).sum()
    assert cell.log_likelihood == pytest.approx(total, rel=1e-9)
    assert cell.n_parameters == count
    assert cell.bic == pytest.approx(bic, rel=1e-9)
    assert cell.aic == pytest.approx(-2 * total + 2 * count, rel=1e-9)
    assert cell.icl == pytest.approx(bic - 2 * certainty, rel=1e-9)
    assert getattr(cell, criterion) == min(getattr(other, criterion) for other in selection.cells)


def test_held_out_is_the_average_over_rows_the_fits_did_not_see(blobs):
    selection = select(blobs, [1], ["full"], "held_out", cv=len(blobs), random_state=4)
    everything = np.arange(len(blobs))
    one_left_out = [GaussianMixture(1).fit(blobs[everything != i]).score(blobs[[i]]) for i in everything]
    assert selection.best_cell.held_out == pytest.approx(np.mean(one_left_out), rel=1e-9)


def test_held_out_chooses_the_most(blobs):
    selection = select(blobs, [1, 3, 12], "full", "held_out", n_init=1, random_state=0)
    values = [cell.held_out for cell in selection.cells]
    assert selection.best_.n_components == 3
    assert max(values) == selection.best_cell.held_out


def test_a_cell_that_fails_does_not_stop_the_search(far_blobs):
    X = far_blobs[0][:6]
    selection = select(X, [1, 2, 7], ["full", "tied_spherical"], random_state=0)
    failed = [cell for cell in selection.cells if cell.status == "failed"]
    assert [cell.n_components for cell in failed] == [7, 7]
    assert all("n_components=7" in cell.reason and np.isnan(cell.bic) for cell in failed)
    assert selection.best_.n_components in (1, 2)
    assert re.search(r"7 +failed +failed", repr(selection))


def test_a_collapse_is_the_cells_own_failure():
    X = np.concatenate([np.zeros((5, 2)), np.random.default_rng(0).normal(6, 1, size=(60, 2))])
    selection = select(X, [1, 2], ["full", "tied_full"], reg_covar=0, random_state=0)
    by_cell = {(cell.n_components, cell.covariance_type): cell for cell in selection.cells}
    assert by_cell[2, "full"].status == "failed"
    assert "reg_covar" in by_cell[2, "full"].reason
    assert selection.best_cell == by_cell[2, "tied_full"]


def test_a_spike_on_equal_rows_does_not_win():
    X = np.concatenate([np.zeros((5, 2)), np.random.default_rng(0).normal(6, 1, size=(60, 2))])
    selection = select(X, [1, 2], ["full", "spherical", "tied_full"], random_state=0)
    by_cell = {(cell.n_components, cell.covariance_type): cell for cell in selection.cells}
    for name in ("full", "spherical"):
        spike = by_cell[2, name]
        assert spike.status == "degenerate"
        assert spike.bic < selection.best_cell.bic
    assert selection.best_cell == by_cell[2, "tied_full"]
    assert "?" in repr(selection).split("\n", 1)[1]


@pytest.mark.parametrize(
    ("X", "note"),
    [
        (np.ones((20, 2)), "The best cell \\(full, 1 component\\): .*identical.* determined by reg_covar"),
        (
            np.arange(6.0).reshape(2, 3),
            "Every cell is degenerate. Of the best, .*no more rows.* determined by reg_covar",
        ),
    ],
)
def test_what_a_fit_of_the_winner_would_warn_of_is_said(X, note):
    with pytest.warns(UserWarning, match=note):
        select(X, range(1, 3), "full", random_state=0)


def test_where_every_cell_is_degenerate_one_still_wins_and_says_so():
    X = np.repeat(np.random.default_rng(0).normal(size=(3, 2)), 20, axis=0)
    with pytest.warns(UserWarning, match="Every cell is degenerate.*reg_covar"):
        selection = select(X, [2, 3], ["full", "diag"], random_state=0)
    assert selection.best_.n_components == 3
    assert selection.best_cell.status == "degenerate"


def test_when_all_cells_fail_the_error_says_why(blobs):
    with pytest.raises(ValueError, match="No cell could be fitted.*n_components=151"):
        select(blobs, [151], "full")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": []}, "n_components is empty"),
        ({"n_components": [0, 1]}, "n_components must be an integer >= 1; got 0"),
        ({"n_components": "full"}, "n_components must be an integer or several.*covariance_types='full'"),
        ({"covariance_types": []}, "covariance_types is empty"),
        ({"n_components": None}, "n_components must be an integer or several"),
        ({"covariance_types": 3}, "covariance_types must be one or several of 'full'.*; got 3"),
        ({"covariance_types": ["round"]}, "covariance_types must be one or several of .*, or 'mclust'.*; got 'round'"),
        ({"criterion": "gap"}, "criterion must be one of 'bic', 'aic', 'icl', 'held_out'; got 'gap'"),
        ({"n_init": 0}, "n_init must be an integer >= 1; got 0"),
        ({"cv": 1, "criterion": "held_out"}, "cv must be an integer >= 2; got 1"),
        ({"cv": 151, "criterion": "held_out"}, "cv=151 folds need at least as many rows"),
        ({"sample_weight": -np.ones(150)}, "sample_weight must be finite and not negative"),
    ],
)
def test_bad_arguments_are_named(blobs, arguments, message):
    with pytest.raises(ValueError, match=message):
        select(blobs, **arguments)


def test_bad_data_and_unknown_settings_are_errors_at_once(blobs):
    with pytest.raises(ValueError, match="NaN"):
        select(np.where(blobs > 5, np.nan, blobs))
    with pytest.raises(TypeError, match="reg_cover"):
        select(blobs, reg_cover=1e-3)


def test_a_weight_of_two_is_the_row_twice(blobs):
    weights = np.where(np.arange(150) < 40, 2.0, 1.0)
    twice = np.concatenate([blobs, blobs[:40]])
    weighted = select(blobs, [1, 3], ["diag"], sample_weight=weights, random_state=0)
    copied = select(twice, [1, 3], ["diag"], random_state=0)
    for one, other in zip(weighted.cells, copied.cells, strict=True):
        assert one.bic == pytest.approx(other.bic, rel=1e-6)
        assert one.icl == pytest.approx(other.icl, rel=1e-6)


def test_rows_of_weight_zero_are_no_data(blobs):
    outlier = np.concatenate([blobs, np.full((3, 3), 1e4)])
    weights = np.concatenate([np.ones(150), np.zeros(3)])
    left_out = select(outlier, [3], "full", "held_out", cv=4, sample_weight=weights, random_state=0)
    without = select(blobs, [3], "full", "held_out", cv=4, random_state=0)
    assert left_out.best_cell.bic == pytest.approx(without.best_cell.bic, rel=1e-6)
    assert left_out.best_cell.held_out == pytest.approx(without.best_cell.held_out, rel=1e-6)


def test_a_cell_does_not_depend_on_what_else_is_searched(blobs):
    alone = select(blobs, [4], ["diag"], random_state=3).cells[0]
    among = select(blobs, [2, 3, 4], ["full", "diag"], random_state=3).cells
    assert alone == next(cell for cell in among if (cell.n_components, cell.covariance_type) == (4, "diag"))


@pytest.mark.parametrize("structure", ["full", "diag", "tied_diag"])
def test_units_change_nothing_but_the_volume(blobs, structure):
    scale = np.array([1e3, 1.0, 1e-4])
    plain = select(blobs, [3], structure, random_state=0).cells[0]
    scaled = select(blobs * scale, [3], structure, random_state=0).cells[0]
    volume = 2 * len(blobs) * np.log(scale).sum()
    assert scaled.bic - volume == pytest.approx(plain.bic, rel=1e-8)


def test_the_winner_can_be_fitted_again(blobs):
    best = select(blobs, [3], "full", random_state=0).best_
    again = GaussianMixture(**best.get_params()).fit(blobs)
    assert np.array_equal(again.means_, best.means_)


def test_a_given_start_replaces_the_shared_ones(blobs):
    seen = []

    def start(X, n_components, generator):
        seen.append(n_components)
        return X[:n_components]

    select(blobs, [2, 3], "full", n_init=2, init_means=start, random_state=0)
    assert seen == [2, 2, 3, 3]


def test_priors_and_devices_pass_through(blobs):
    best = select(blobs, [3], "full", weight_concentration_prior=5.0, device="cpu", random_state=0).best_
    assert best.weight_concentration_prior == 5.0
    assert best.device == "cpu"


def test_frames_and_tensors(blobs):
    frame = pd.DataFrame(blobs, columns=["a", "b", "c"])
    tensor = torch.from_numpy(blobs)
    of_frame = select(frame, [3], "full", random_state=0)
    of_tensor = select(tensor, [3], "full", random_state=0)
    assert list(of_frame.best_.feature_names_in_) == ["a", "b", "c"]
    assert of_frame.best_cell.bic == pytest.approx(of_tensor.best_cell.bic, rel=1e-12)
    assert isinstance(of_tensor.best_.predict(tensor), torch.Tensor)


@pytest.mark.parametrize("weighted", [False, True])
def test_sources_are_read_in_batches(blobs, weighted):
    weights = np.where(np.arange(150) % 3 == 0, 2.0, 1.0)
    batches = [(blobs[i : i + 40], weights[i : i + 40]) if weighted else blobs[i : i + 40] for i in range(0, 150, 40)]
    sample_weight = weights if weighted else None
    of_source = select(batches, [1, 3], ["full", "tied_diag"], random_state=0)
    of_array = select(blobs, [1, 3], ["full", "tied_diag"], sample_weight=sample_weight, random_state=0)
    for one, other in zip(of_source.cells, of_array.cells, strict=True):
        assert one.bic == pytest.approx(other.bic, rel=1e-9)
        assert one.icl == pytest.approx(other.icl, rel=1e-9)
    held_out = [
        [select(X, [1], "full", "held_out", sample_weight=w, random_state=seed).best_cell.held_out for seed in range(3)]
        for X, w in ((batches, None), (blobs, sample_weight))
    ]
    assert np.mean(held_out[0]) == pytest.approx(np.mean(held_out[1]), abs=0.05)  # other folds


@pytest.mark.parametrize("cut", [3, 5, 8])
def test_folds_of_a_source_are_of_one_size_however_few_rows_there_are(blobs, cut):
    data = Fitter([blobs[:cut], blobs[cut:9]], None, {"device": None}, [1], 1, 0).data
    folds = [np.concatenate(list(FoldSource(data, 4, number, 1, held_out=True))) for number in range(4)]
    assert sorted(map(len, folds)) == [2, 2, 2, 3]
    found = select([blobs[:cut], blobs[cut:9]], [1], "diag", "held_out", cv=9, random_state=0)
    alone = select(blobs[:9], [1], "diag", "held_out", cv=9, random_state=0)  # whichever row comes first
    assert found.best_cell.held_out == pytest.approx(alone.best_cell.held_out, rel=1e-9)


class TestNoise:
    """Rows of no component beside cells that are compared: where features are left out, and rows."""

    @staticmethod
    def rows():
        rng = np.random.default_rng(0)
        clusters = np.concatenate([rng.normal(0, 1, (100, 3)), rng.normal(5, 1, (100, 3))])
        return np.concatenate([clusters, rng.uniform(-10, 15, (20, 3))]), np.arange(220) >= 200

    def test_a_feature_that_depends_on_others_is_left_out(self):
        X, _ = self.rows()
        with pytest.warns(UserWarning, match=r"feature 3 is constant or a linear function"):
            found = select(np.c_[X, X[:, 0] + X[:, 1]], [1, 2], "full", noise=True, n_init=1, random_state=0)
        plain = select(X, [1, 2], "full", noise=True, n_init=1, random_state=0)
        assert found.best_cell.bic == pytest.approx(plain.best_cell.bic, abs=0.01)
        assert found.left_out == (3,) and plain.left_out == ()
        sums = found.best_.means_[:, 0] + found.best_.means_[:, 1]
        np.testing.assert_allclose(found.best_.means_[:, 3], sums, rtol=1e-6)

    def test_a_feature_that_is_constant_is_refused_before_the_search(self):
        with pytest.raises(ValueError, match=r"^noise=True needs features that vary; feature 3 is constant"):
            select(np.c_[self.rows()[0], np.ones(220)], [1, 2], "full", noise=True)

    def test_rows_that_begin_as_noise_are_those_of_the_rows_that_are_fitted(self):
        X, is_noise = self.rows()
        weights = np.ones(220)
        weights[:5] = 0
        with pytest.warns(UserWarning, match="a linear function of others"):
            found = select(
                *(np.c_[X, X.sum(1)], [2], "full"),
                **{"noise": True, "noise_init": is_noise, "sample_weight": weights, "n_init": 1, "random_state": 0},
            )
        assert found.best_cell.status == "converged"

    @pytest.mark.parametrize("count", [1, 20])  # one fold is fitted without any, from their share; or none is
    @pytest.mark.filterwarnings("ignore:.*not converged")
    def test_rows_that_begin_as_noise_are_those_of_the_fold(self, count, monkeypatch):
        """After one step, while a fit still shows where it began."""
        folds = KFold(5, shuffle=True, random_state=3)
        monkeypatch.setattr("sklearn.model_selection.KFold", lambda *_, **__: folds)
        X, is_noise = self.rows()
        is_noise &= np.arange(220) >= 220 - count
        start = {"noise": True, "init_means": "kmeans", "max_iter": 1, "random_state": 0}
        found = select(X, [2], "full", "held_out", noise_init=is_noise, n_init=1, **start)
        expected, shares = 0.0, 0
        for others, own in folds.split(X):
            shares += not is_noise[others].any()
            begun = is_noise[others] if is_noise[others].any() else is_noise.mean()
            expected += GaussianMixture(2, noise_init=begun, **start).fit(X[others]).score_samples(X[own]).sum() / 220
        assert found.best_cell.held_out == pytest.approx(expected, rel=1e-9)
        assert shares == (count == 1)


def test_a_winner_that_has_not_converged_is_said():
    with pytest.warns(ConvergenceWarning, match="The best cell, full, 3, has not converged in max_iter=1 iterations"):
        found = select(np.random.default_rng(0).normal(size=(300, 2)), [3], "full", max_iter=1, random_state=0)
    assert found.best_cell.status == "not converged"


def test_the_summary_names_the_number_of_factors_and_what_cells_were_compared_without(blobs):
    found = select(blobs, [1], ["low_rank"], n_factors=[1, 2], n_init=1, random_state=0)
    assert f"Selection by BIC: low_rank q={found.best_cell.n_factors}, 1 component" in str(found.summary())
    assert all(f"low_rank q={q}" in str(found.summary()) for q in (1, 2))
    with pytest.warns(UserWarning, match="constant"):
        found = select(np.c_[blobs, np.ones(150)], [1], "diag", n_init=1, random_state=0)
    assert "The best 1 of 1 cells, compared without feature 3" in str(found.summary())


def test_every_row_of_a_source_is_held_out_once(blobs):
    data = Fitter([blobs[:60], blobs[60:]], None, {"device": None}, [1], 1, 0).data
    parts = [FoldSource(data, 3, number, 7, held_out=True) for number in range(3)]
    rows = np.concatenate([np.concatenate(list(part)) for part in parts])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, blobs))
    seen = np.concatenate(list(FoldSource(data, 3, 0, 7, held_out=False)))
    assert sorted(map(tuple, seen)) == sorted(map(tuple, np.concatenate([np.concatenate(list(p)) for p in parts[1:]])))


def test_the_table_has_every_cell(selection):
    table = selection.table()
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 30
    assert list(table.columns[:3]) == ["n_components", "covariance_type", "log_likelihood"]
    assert table.loc[table["bic"].idxmin(), "covariance_type"] == "tied_full"


def test_without_pandas_the_table_is_a_list_of_records(selection, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    table = selection.table()
    assert len(table) == 30
    assert table[0]["covariance_type"] == "full" and table[0]["n_components"] == 1


def test_the_text_form_shows_every_value_and_marks_the_best(selection):
    lines = repr(selection).splitlines()
    assert lines[0].startswith("Selection by bic (lower is better")
    for name in STRUCTURE_OF_CODE.values():
        assert name in lines[1]
    assert [line.split()[0] for line in lines[2:7]] == ["1", "2", "3", "4", "5"]
    assert f"{selection.best_cell.bic:.2f}*" in lines[4]
    assert lines[8].split()[:3] == ["tied_full,", "3", f"{selection.best_cell.bic:.2f}"]


def test_marks_in_the_text_form_are_explained_where_there_are_some(selection):
    assert "degenerate" not in repr(selection) and "failed" not in repr(selection)
    cells = (
        Cell(1, "full", bic=5.0, status="converged"),
        Cell(2, "full", bic=-50.0, status="degenerate"),
        Cell(3, "full"),
    )
    text = repr(Selection(selection.best_, cells[0], cells, "bic"))
    assert " -50.00?\n" in text and "\n? degenerate: reg_covar, not the data, keeps a variance above zero" in text
    assert " failed \n" in text and "\nfailed: it could not be fitted; table() has the reason." in text


def test_ranking_puts_the_smaller_of_equals_first_and_failures_nowhere():
    small, large = Cell(1, "full", bic=5.0, n_parameters=3), Cell(2, "full", bic=5.0, n_parameters=9)
    failed, degenerate = Cell(3, "full"), Cell(4, "full", bic=-50.0, status="degenerate")
    assert ranked([large, failed, degenerate, small], "bic") == [small, large, degenerate]


def test_the_global_generators_are_untouched(blobs):
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    select(blobs, [2], "full", "held_out")
    assert torch.equal(torch_state, torch.random.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])


class TestLabels:
    @staticmethod
    def rows():
        rng = np.random.default_rng(0)
        components = np.repeat([0, 1, 2], 60)
        X = rng.normal(size=(180, 2)) + 3.0 * np.array([[0, 0], [0, 1], [2, 0]])[components]
        return X, np.where(rng.random(180) < 0.3, components, -1)

    @pytest.mark.parametrize("source", [False, True])
    def test_cells_are_fits_with_labels_and_those_of_fewer_components_say_so(self, source):
        X, labels = self.rows()
        given = np.array_split(X, 3) if source else X
        found = select(given, range(1, 5), ["full", "tied_diag"], labels=labels, n_init=1, random_state=0)
        assert found.best_.n_components == 3
        for cell in found.cells:
            if cell.n_components < 3:
                assert cell.status == "failed" and "from 0 to n_components - 1" in cell.reason
            else:
                assert cell.status != "failed" and np.isnan(cell.icl)
        settings = {"covariance_type": found.best_.covariance_type, "tol": 1e-8, "max_iter": 1000, "random_state": 0}
        alone = GaussianMixture(3, **settings).fit(X, labels=labels)
        assert found.best_.lower_bound_ == pytest.approx(alone.lower_bound_, abs=1e-6)
        assert found.best_cell.log_likelihood == pytest.approx(alone.lower_bound_ * len(X), abs=1e-4)
        known = labels >= 0
        assert (found.best_.predict(X)[known] == labels[known]).mean() > 0.9

    def test_multiples_fit_their_number_of_components(self):
        X, labels = self.rows()
        odds = np.where(labels[:, None] < 0, 1.0, 0.1 + np.eye(3)[labels])
        found = select(X, [2, 3], "full", labels=odds, n_init=1, random_state=0)
        assert [cell.status for cell in found.cells] == ["failed", "converged"]
        assert "labels must have shape" in found.cells[0].reason

    def test_features_that_say_nothing_and_rows_of_no_weight(self):
        X, labels = self.rows()
        weights = np.append(np.ones(180), np.zeros(5))
        more = np.concatenate([X, X[:5] + 50])
        wide, labels = np.column_stack([more, more[:, 0] * 2]), np.append(labels, [0] * 5)
        with pytest.warns(UserWarning, match="cells are compared without it"):
            found = select(wide, [3], "diag", labels=labels, sample_weight=weights, n_init=1, random_state=0)
        plain = select(X, [3], "diag", labels=labels[:180], n_init=1, random_state=0)
        assert found.best_cell.bic == pytest.approx(plain.best_cell.bic, rel=1e-6)

    @pytest.mark.parametrize("criterion", ["icl", "held_out"])
    def test_criteria_without_a_part_for_labels_are_refused(self, criterion):
        X, labels = self.rows()
        with pytest.raises(ValueError, match=f"criterion='{criterion}' cannot be combined with labels"):
            select(X, 3, "full", criterion, labels=labels)

    @pytest.mark.parametrize("labels", [[0, 1], ["a"] * 180])
    def test_labels_that_no_cell_can_take_are_refused_at_once(self, labels):
        with pytest.raises(ValueError, match="^labels must"):
            select(self.rows()[0], 3, "full", labels=labels)


def test_one_component_whose_covariance_is_singular_for_want_of_rows_does_not_win():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 40)) + 4 * np.repeat([0, 1], 15)[:, None] * (np.arange(40) < 20)
    for rows in (X, np.repeat(X, 2, axis=0)):
        found = select(rows, [1, 2], ["full", "tied_full", "EEV", "tied_spherical"], n_init=1, random_state=0)
        assert (found.best_.covariance_type, found.best_.n_components) == ("tied_spherical", 2)
        of_one = [cell.status for cell in found.cells if cell.n_components == 1]
        assert of_one == ["degenerate", "degenerate", "degenerate", "converged"]


# Of one feature, components have a variance each, or share one, which is kept once or for each of them.
VARIANCES = ("full", "diag", "spherical", "VEI", "VEE", "VVE", "VEV")
SHARED = ("tied_full", "tied_diag", "tied_spherical")
EQUAL = ("EVI", "EVE", "EEV", "EVV")


def test_types_that_are_one_mixture_of_one_feature_agree():
    X = np.random.default_rng(6).lognormal(size=(60, 1))
    found = select(X, range(2, 7), "mclust", random_state=0)
    for K in range(2, 7):
        for types in (VARIANCES, (*SHARED, *EQUAL)):
            cells = [cell for cell in found.cells if cell.n_components == K and cell.covariance_type in types]
            assert len(cells) == 7
            assert len({cell.status for cell in cells}) == 1
            np.testing.assert_allclose([cell.bic for cell in cells], cells[0].bic, rtol=1e-9)


def regularisations(model):
    """What a fit has added to variances, in the user's units and in the frame that it goes on in."""
    solution = solution_of(model)
    return solution.regularisation, solution.continuation.regularisation


def test_a_type_that_is_another_of_one_feature_is_not_fitted_again_and_goes_on_as_if_it_had_been():
    rng = np.random.default_rng(2)
    X, more = (6.0 * rng.integers(3, size=(n, 1)) + rng.normal(size=(n, 1)) for n in (90, 40))
    together = Fitter(X, None, {"device": None}, [3], 1, 0)
    for names in (VARIANCES, SHARED, EQUAL):
        models = [together.fit(3, name).model() for name in names]
        means = models[0].means_
        for name, model in zip(names, models, strict=True):
            alone = Fitter(X, None, {"device": None}, [3], 1, 0).fit(3, name).model()
            np.testing.assert_array_equal(model.means_, means)
            assert model.covariance_type == name
            for attribute in ("weights_", "means_", "covariances_"):
                found, expected = getattr(model, attribute), getattr(alone, attribute)
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
            assert model.score(more) == pytest.approx(alone.score(more), rel=1e-9)
            for found, expected in zip(regularisations(model), regularisations(alone), strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
            model.partial_fit(more)
            np.testing.assert_allclose(model.covariances_, alone.partial_fit(more).covariances_, rtol=1e-6)


class TestAConstantFeature:
    @pytest.fixture
    def X(self):
        rng = np.random.default_rng(0)
        rows = np.concatenate([rng.normal(0, 1, (100, 2)), rng.normal(6, 1, (100, 2))])
        return np.column_stack([rows, np.full(200, 3.0)])

    @pytest.mark.filterwarnings("ignore:feature")
    @pytest.mark.parametrize("priors", [{}, {"mean_prior": "default"}])
    def test_does_not_decide_beside_default_priors(self, X, priors):
        found = select(X, [1, 2, 3], ["full", "spherical"], random_state=0, n_init=1, **priors)
        assert found.left_out == (2,)
        assert (found.best_cell.covariance_type, found.best_cell.n_components) == ("spherical", 2)

    def test_is_refused_before_the_search_where_nothing_regularises(self, X):
        with pytest.raises(ValueError, match=r"feature 2 is constant .* reg_covar=0: leave it out of X"):
            select(X, [1, 2], "full", reg_covar=0)


@pytest.mark.parametrize("given", [{"noise_volume": 3.0}, {"noise_init": 0.2}])
def test_settings_of_noise_without_noise_are_noticed_once(given):
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.warns(UserWarning, match=f"{next(iter(given))} has no effect without noise=True") as caught:
        select(X, [1], "full", **given)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_features_that_cells_are_compared_without_are_said_to_who_called():
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.warns(UserWarning, match="cells are compared without it") as caught:
        select(np.c_[X, X.sum(1)], [1], "full")
    assert {warning.filename for warning in caught} == {__file__}


def test_faults_of_the_program_are_not_taken_for_those_of_a_cell(monkeypatch):
    monkeypatch.setattr(Fitter, "_posed", lambda *_: _.no_such_attribute)
    with pytest.raises(AttributeError, match="no_such_attribute"):
        select(np.random.default_rng(0).normal(size=(60, 2)), [1, 2], "full")
