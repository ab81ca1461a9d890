"""Where fits start by default: trials on a sample find the best optimum, whatever the rows look like."""

import warnings

import numpy as np
import pytest
import torch
from cases import as_numpy, mixture, parameters
from naive_em import naive_em
from sklearn.metrics import adjusted_rand_score
from structures import SPECS

from tgmm import GaussianMixture, select
from tgmm.em import refinement

COMMON = ("full", "diag", "spherical", "tied_full", "tied_diag", "tied_spherical")
TRIED = {"ward", "merged cells", "merged cells, sphered", "least kurtosis"}


def cigars(seed, n=600, d=2):
    """Two clusters with one long axis, sd 30 : 1, that lie side by side, turned at random."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    X = rng.standard_normal((n, d))
    X[:, 0] *= 30
    X[:, 1] += 4 * labels
    return X @ np.linalg.qr(rng.standard_normal((d, d)))[0], labels


def fit(X, n_components=2, **settings):
    return GaussianMixture(n_components, **({"random_state": 0} | settings)).fit(X)


def test_many_rows_of_overlapping_round_clusters_end_no_lower_than_from_kmeans():
    """A sample of a few rows a parameter cannot tell which solution is best."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 3 / np.sqrt(20), (10, 10))
    X = means[rng.integers(10, size=17_000)] + rng.standard_normal((17_000, 10))
    default, plain = (fit(X, 10, init_means=start) for start in ("auto", "kmeans"))
    assert default.lower_bound_ >= plain.lower_bound_ - 1e-3


def test_of_runs_that_end_at_one_solution_of_a_sample_one_sees_all_rows(monkeypatch):
    rng = np.random.default_rng(5)
    means = rng.normal(0, 2.5, (5, 3))
    X = means[rng.integers(5, size=35_000)] + rng.standard_normal((35_000, 3))
    one = fit(X, 5)
    monkeypatch.setattr(refinement, "SAME_MASS", 0.0)
    two = fit(X, 5)
    assert (len(one.runs_), len(two.runs_)) == (1, 2)
    assert one.lower_bound_ == pytest.approx(two.lower_bound_, abs=1e-3)  # the default of tol


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("structure", "d"), [("full", 2), ("full", 5), ("tied_full", 10)])
def test_long_clusters_side_by_side_are_found(structure, d, seed):
    X, labels = cigars(seed, d=d)
    found = fit(X, covariance_type=structure).predict(X)
    assert adjusted_rand_score(labels, found) > 0.85


def test_degenerate_runs_come_after_all_others():
    """Of two round clusters by four components: some runs end with one on a few rows, and higher."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (100, 2)), rng.normal(6, 1, (100, 2))])
    runs = fit(X, 4, init_means="kmeans", n_init=5).runs_
    chosen, *others = [run.objective for run in runs]
    highest = max(others)
    assert highest > chosen and others[-1] == highest  # which is degenerate, or it would have been chosen
    assert others[:-1] == sorted(others[:-1], reverse=True)


def test_the_trials_are_named_and_best_first():
    X, _ = mixture(2, n=300, d=2, n_components=4, separation=2.0)
    gmm = fit(X, 4)
    assert gmm.runs_[0].objective == gmm.objective_history_[-1]
    assert {run.start for run in gmm.runs_} <= TRIED
    objectives = [run.objective for run in gmm.runs_]
    assert objectives == sorted(objectives, reverse=True)
    assert gmm.runs_[0].seed != fit(X, 4, random_state=1).runs_[0].seed


@pytest.mark.parametrize(("n_components", "settings"), [(1, {}), (101, {"max_iter": 1}), (2, {"init_means": "kmeans"})])
def test_kmeans_where_there_is_nothing_to_try(n_components, settings):
    X = np.random.default_rng(0).standard_normal((1200, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [run.start for run in fit(X, n_components, **settings).runs_] == ["kmeans"]


@pytest.mark.parametrize("structure", COMMON)
def test_the_order_of_rows_and_repetition_do_not_matter(structure):
    X, _ = mixture(4, n=120, d=3, n_components=3, separation=2.0)
    counts = np.random.default_rng(1).integers(1, 4, len(X))
    order = np.random.default_rng(2).permutation(counts.sum())
    weighted = GaussianMixture(3, covariance_type=structure, random_state=0).fit(X, sample_weight=counts)
    repeated = fit(np.repeat(X, counts, axis=0)[order], 3, covariance_type=structure)
    for one, other in zip(parameters(weighted), parameters(repeated), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("structure", COMMON)
def test_units_and_offset_do_not_matter(structure):
    X, _ = mixture(5, n=200, d=3, n_components=3, separation=2.0)
    units = np.full(3, 8.0) if SPECS[structure].knows_units else np.array([1e-3, 1.0, 1e4])
    here, there = fit(X, 3, covariance_type=structure), fit(X * units + 100 * units, 3, covariance_type=structure)
    np.testing.assert_allclose(here.weights_, there.weights_, rtol=1e-5)
    np.testing.assert_allclose(as_numpy(here.means_) * units + 100 * units, there.means_, rtol=1e-5)


def test_the_same_bits_for_a_seed():
    X, _ = mixture(6, n=3000, d=2, n_components=5, separation=1.5)
    for one, other in zip(parameters(fit(X, 5)), parameters(fit(X, 5)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("structure", ["full", "tied_diag"])
def test_more_trials_never_end_lower(structure):
    X, _ = mixture(7, n=150, d=2, n_components=6, separation=1.5)
    bounds = [fit(X, 6, covariance_type=structure, n_init=n, tol=1e-9).lower_bound_ for n in (1, 3, 10)]
    assert (np.diff(bounds) > -1e-6).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_many_rows_few_iterations_see_all(dtype):
    X, labels = cigars(3, n=40_000)
    gmm = fit(X.astype(dtype))
    assert gmm.n_iter_ <= 10
    assert adjusted_rand_score(labels, gmm.predict(X.astype(dtype))) > 0.85
    assert gmm.mixture_.dtype == getattr(torch, np.dtype(dtype).name)


@pytest.mark.parametrize(
    "settings",
    [
        {"cem": True},
        {"init_weights": [0.3, 0.7]},
        {"mean_prior": [0.0, 0.0], "mean_precision_prior": 0.01},
        {"weight_concentration_prior": 2.0, "covariance_prior": np.eye(2), "degrees_of_freedom_prior": 4.0},
    ],
)
def test_with_other_settings_too(settings):
    X, labels = cigars(1)
    assert adjusted_rand_score(labels, fit(X, **settings).predict(X)) > 0.8


@pytest.mark.parametrize("structure", ["tied_full", "tied_diag", "tied_spherical"])
def test_a_shared_covariance_is_that_of_all_rows_not_of_the_sample_that_starts_see(structure):
    """The sums that a shared structure leaves out of its iterations had been those of the sample."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (12000, 2)), rng.normal(5, 1, (8000, 2))])
    model = GaussianMixture(2, covariance_type=structure, random_state=0).fit(X)
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=1e-10)
    again = naive_em(X, structure, parameters(model), 1)
    np.testing.assert_allclose(again.covariances, parameters(model)[2], rtol=1e-3, atol=1e-3)


def test_an_accident_of_a_few_rows_loses_and_is_reported_where_there_is_nothing_else():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.standard_normal((100, 2)), [[3.0, 3.0], [3.0, 3.0 + 1e-9], [3.0 + 1e-9, 3.0]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert min(fit(X).weights_) * len(X) > 6
    start = {"init_means": [[0.0, 0.0], [3.0, 3.0]], "init_weights": [0.97, 0.03]}
    start["init_covariances"] = [np.eye(2), 1e-4 * np.eye(2)]
    with pytest.warns(UserWarning, match=r"component 1 is degenerate"):
        fit(X, **start)


class TestSelect:
    def test_the_winner_can_be_fitted_again(self):
        X, _ = mixture(8, n=200, d=2, n_components=3, separation=6.0)
        best = select(X, range(2, 5), ["full", "tied_full"], random_state=0).best_
        assert best.init_means == "auto"
        again = GaussianMixture(**best.get_params()).fit(X)
        assert again.lower_bound_ == pytest.approx(best.lower_bound_, abs=1e-6)

    def test_more_trials_never_end_lower(self):
        X, _ = mixture(9, n=150, d=2, n_components=4, separation=1.5)
        few, many = (select(X, [3, 5], ["full", "spherical"], random_state=0, n_init=n).cells for n in (5, 20))
        for one, other in zip(few, many, strict=True):
            if one.status == "degenerate":  # whose likelihood says nothing
                continue
            assert other.status == one.status
            assert other.log_likelihood >= one.log_likelihood - 1e-4


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("unit", [1.0, 0.37])
@pytest.mark.parametrize("seed", range(3))
def test_counts_as_weights_start_where_the_repeated_rows_do_in_any_order(decimals, unit, seed):
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(0, 1, (200, 1 + seed)), rng.normal(4, 1.5, (100, 1 + seed))]).round(decimals)
    rows, counts = np.unique(X, axis=0, return_counts=True)
    counts = counts * rng.integers(1, 4, len(counts))
    repeated = np.repeat(rows, counts, axis=0)
    settings = {"n_components": 2, "tol": 1e-9, "max_iter": 3000}
    expected = fit(repeated, **settings).means_
    torch.testing.assert_close(fit(rng.permutation(repeated), **settings).means_, expected, rtol=0, atol=1e-7)
    weighted = GaussianMixture(**settings, random_state=0).fit(rows, sample_weight=unit * counts)
    torch.testing.assert_close(weighted.means_, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("prior", [{}, {"weight_concentration_prior": 2.0}])
@pytest.mark.parametrize("weight", [1e155, 1e300, 2.9e306])
def test_weights_that_what_they_multiply_would_leave_float64_with_are_named(prior, weight):
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match="sample_weight has the sum.*common factor"):
        GaussianMixture(2, random_state=0, **prior).fit(X, sample_weight=np.full(60, weight))


@pytest.mark.parametrize("concentration", [0.1, 0.5, 0.9])
def test_below_a_concentration_of_1_the_objective_falls_only_where_a_component_vanishes(concentration):
    X = np.random.default_rng(0).normal(size=(40, 2)) + 2 * np.random.default_rng(1).integers(0, 2, size=(40, 1))
    settings = {"weight_concentration_prior": concentration, "init_means": "random", "accelerate": None}

    def after(n_steps):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = GaussianMixture(8, covariance_type="tied_spherical", random_state=0, tol=0, max_iter=n_steps)
            return model.set_params(**settings).fit(X)

    def n_vanished(n_steps):
        return int((after(n_steps).weights_ == 0).sum())

    falls = np.flatnonzero(np.diff(after(50).objective_history_) < -1e-9)
    assert len(falls) >= 3
    for n_steps in falls:
        assert n_vanished(n_steps + 1) > n_vanished(n_steps)
