"""Many fits shared by processes: each makes some of them, and all have the same bits of all."""

import numpy as np
import pytest
import ranks

from tgmm import fit_many

pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore")]
SETTINGS = {"n_components": 2, "init_means": "kmeans", "random_state": 0}


def tables():
    """Return five problems, of which the fourth lacks a value."""
    rng = np.random.default_rng(0)
    found = [rng.normal(size=(60, 2)) + 6 * rng.integers(2, size=(60, 1)) for _ in range(5)]
    found[3][0, 0] = np.nan
    return found


def test_each_rank_fits_some_problems_and_all_have_all_results():
    alone = fit_many(tables(), **SETTINGS)
    outcomes = ranks.results(ranks.fit_problems, 3, SETTINGS, [tables()])
    assert [shares for shares, *_ in outcomes] == [[2], [2], [1]]
    for _, found, failures, labels in outcomes:
        assert failures == alone.failures_ and list(failures) == [3]
        for name, value in found.items():
            np.testing.assert_array_equal(value, outcomes[0][1][name])
            np.testing.assert_allclose(value, getattr(alone, name), rtol=1e-10, atol=1e-10)
        np.testing.assert_array_equal(labels, alone[1].predict(tables()[1]))


def test_ranks_with_other_problems_are_told_so():
    outcomes = ranks.run(ranks.fit_problems, 2, SETTINGS, [tables(), tables()[:3]])
    assert all(isinstance(each, ValueError) and "have 5, 3 problems" in str(each) for each in outcomes)


def test_ranks_with_other_rows_are_told_so():
    other = tables()
    other[2] = other[2] + 1
    for outcome in ranks.run(ranks.fit_problems, 2, SETTINGS, [tables(), other]):
        assert isinstance(outcome, ValueError) and "labels of problem 2 on rank 1 are not those on rank 0" in str(
            outcome
        )


@pytest.mark.parametrize("name, values", [("random_state", (0, "0")), ("verbose", (False, "yes"))])
def test_settings_of_a_rank_that_are_wrong_are_raised_on_all(name, values):
    for outcome in ranks.run(ranks.fit_problems, 2, {**SETTINGS, name: values}, [tables()]):
        assert isinstance(outcome, ValueError | TypeError) and f"On rank 1 of 2: {name}" in str(outcome)


@pytest.mark.parametrize("name, values", [("n_components", (1, 2)), ("reg_covar", (1e-12, 0.5)), ("tol", (1e-3, -1.0))])
def test_ranks_with_other_settings_are_told_so(name, values):
    for outcome in ranks.run(ranks.fit_problems, 2, {**SETTINGS, name: values}, [tables()]):
        assert isinstance(outcome, ValueError) and f"{name} must be the same on every rank" in str(outcome)


def test_what_is_wrong_on_one_rank_is_raised_on_all():
    weights = ([np.ones(60)] * 5, [np.ones(60)] * 4)
    for outcome in ranks.run(ranks.fit_problems, 2, {**SETTINGS, "sample_weight": weights}, [tables()]):
        assert isinstance(outcome, ValueError) and "On rank 1 of 2: sample_weight" in str(outcome)


def test_weights_of_one_rank_alone_are_noticed():
    for outcome in ranks.run(
        ranks.fit_problems, 2, {**SETTINGS, "sample_weight": ([np.ones(60)] * 5, None)}, [tables()]
    ):
        assert isinstance(outcome, ValueError) and "labels of problem 0 on rank 1" in str(outcome)
