"""Moves out of local maxima: runs at optima that are known to be bad come to the best, and none falls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import batch_of, begun_at, guard_of, moves_of, priors_of, standardised, tensor
from sklearn.metrics import adjusted_rand_score
from structures import SPECS

from tgmm.covariance import STRUCTURES
from tgmm.em.abreast import alone
from tgmm.em.batch import joined
from tgmm.em.moves import GAIN, ROUNDING, SAME, SAME_MASS, distinct, highest
from tgmm.kernels.assignment import hard

K = 3


def balls(d=2, seed=0, sizes=(50, 50, 80)):
    """Two balls near each other and a third far away, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), sizes)
    centres = np.zeros((3, d))
    centres[1, -1], centres[2, 0] = 7, 40
    return centres[labels] + rng.standard_normal((len(labels), d)), labels


def wrong(X, labels):
    """One cluster for the two balls, and two for the third."""
    halves = X[:, -1] > np.median(X[labels == 2, -1])
    return np.where(labels < 2, 0, 1 + halves)


def with_an_accident():
    """Balls of which eight rows are one, nearly, their labels, and a partition with these rows alone."""
    X, labels = balls()
    X[:8] = X[0] + 1e-7 * np.random.default_rng(3).standard_normal((8, 2))
    return X, labels, np.where(np.arange(len(X)) < 8, 0, 1 + (labels == 2))


def climbed(batch, labels, n_components=K, share=1e-3):
    return batch.climbed(begun_at(batch, labels, n_components, share), 1e-7, 300)


def labels_of(batch, run):
    return batch.kernel.joint(run.parameters)[0].argmax(0).numpy()


def bad_and_best(name, d=2, **keywords):
    X, labels = balls(d)
    rows = standardised(X, one_scale=STRUCTURES[name].one_scale)
    batch = batch_of(name, rows, **keywords)
    return batch, climbed(batch, wrong(X, labels)), climbed(batch, labels), labels


def assert_moved_to_the_best(batch, bad, best, labels):
    found = alone(moves_of(batch).improved(bad))
    assert len(found) == 1
    assert float(best.objective) - float(bad.objective) > 0.02  # it is another optimum
    assert float(found.objective) > float(best.objective) - 2e-4
    assert adjusted_rand_score(labels_of(batch, found), labels) > 0.98
    assert torch.equal(found.start, bad.start)


@pytest.mark.parametrize(("name", "d"), [*((name, 2) for name in SPECS if name != "VEI"), ("full", 1), ("VEI", 1)])
def test_two_clusters_in_one_component_get_one_each(name, d):
    batch, bad, best, labels = bad_and_best(name, d)
    assert_moved_to_the_best(batch, bad, best, labels)


@pytest.mark.parametrize("name", ["full", "tied_diag"])
def test_under_priors_and_by_classification_too(name):
    assert_moved_to_the_best(*bad_and_best(name, priors=priors_of(name, "all", K, 2)))
    assert_moved_to_the_best(*bad_and_best(name, assignment=hard))


def test_of_two_components_that_share_three_clusters():
    """The two near each other are to be one, and not the nearer of them and the one far away."""
    X, labels = balls()
    batch = batch_of("spherical", standardised(X, one_scale=True))
    together, apart = (labels == 2).astype(int), (labels >= 1).astype(int)
    assert_moved_to_the_best(batch, climbed(batch, apart, 2), climbed(batch, together, 2), together)


@pytest.mark.parametrize("d", [2, 4])
def test_clusters_side_by_side_are_split_apart_along_an_axis_in_which_they_are_thin(d):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), [150, 150, 200])
    X = rng.standard_normal((500, d)) * np.r_[1, np.full(d - 1, 20)]
    X[:, 0] += np.array([0, 5, 60])[labels]
    batch = batch_of("full", standardised(X))
    found = alone(moves_of(batch).improved(climbed(batch, wrong(X, labels))))
    assert float(found.objective) > float(climbed(batch, labels).objective) - 2e-4


def two_pairs():
    """Six balls, and components that have two of them each, twice, and half of one, four times."""
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(6), 50)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [40.0, 0.0], [46.0, 0.0], [0.0, 40.0], [40.0, 40.0]])
    X = centres[labels] + rng.standard_normal((300, 2))
    halves = 2 * (labels - 3) + (X[:, 0] > centres[labels, 0])
    return X, labels, np.where(labels < 4, labels // 2, halves)


@pytest.mark.parametrize("name", ["full", "tied_spherical"])
def test_several_bad_places_are_left_one_after_another(name):
    X, labels, start = two_pairs()
    batch = batch_of(name, standardised(X, one_scale=STRUCTURES[name].one_scale))
    bad, best = climbed(batch, start, 6), climbed(batch, labels, 6)
    assert float(best.objective) - float(bad.objective) > 0.1
    found = alone(moves_of(batch).improved(bad))
    assert float(found.objective) > float(best.objective) - 2e-4
    assert adjusted_rand_score(labels_of(batch, found), labels) > 0.98


@pytest.mark.parametrize("name", ["full", "tied_diag"])
def test_mixtures_that_are_a_split_and_a_merge_away_are_of_all_rows(name):
    """And none of their components is on next to no rows, wherever these are."""
    X, _, start = two_pairs()
    X[7] += 300
    batch = batch_of(name, standardised(X), tensor(np.random.default_rng(6).uniform(0.5, 2, 300)))
    run, kernel = begun_at(batch, start, 6), batch.kernel
    triples = alone(moves_of(batch)._triples(run, np.inf))
    assert triples
    for mixtures in triples:
        assert mixtures.mass.shape[1:] == (6,)
        assert (mixtures.mass > 2 + 2).all()
        np.testing.assert_allclose(mixtures.mass.sum(1), float(kernel.weight), rtol=1e-9)
        np.testing.assert_allclose(
            mixtures.first.sum(1), (kernel.weights @ kernel.rows).expand(len(mixtures.mass), 2), atol=1e-9
        )


@pytest.mark.parametrize("gap", [[0.0, 8.0], [0.0, 0.0]])
def test_clusters_inside_others_are_split_off(gap):
    """A tight cluster within a wide one, around its centre or not, and a third that two components share."""
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(3), [120, 80, 120])
    spread = np.array([6.0, 0.5, 2.0])[labels][:, None]
    X = np.array([[0.0, 0.0], gap, [50.0, 0.0]])[labels] + spread * rng.standard_normal((320, 2))
    batch = batch_of("full", standardised(X))
    found = alone(moves_of(batch).improved(climbed(batch, wrong(X, labels))))
    assert float(found.objective) > float(climbed(batch, labels).objective) - 2e-4


def test_the_run_at_the_best_stays_there():
    batch, _, best, _ = bad_and_best("full")
    assert alone(moves_of(batch).improved(best)) is best


@pytest.mark.parametrize(("name", "seed"), [("full", 0), ("tied_diag", 1), ("VEV", 2)])
def test_a_run_from_anywhere_climbs(name, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 200)
    X = 2 * rng.standard_normal((4, 2))[labels] + rng.standard_normal((200, 2))
    batch = batch_of(name, standardised(X))
    moves, run = moves_of(batch), begun_at(batch, rng.integers(0, 4, 200), 4)
    found = alone(moves.improved(run))
    before, after = moves.guard.heights(joined([run, found])).tolist()
    assert after > before + GAIN
    assert not moves.guard.degenerate(found).any()


def test_an_accident_of_few_rows_is_left():
    """Its likelihood is higher than that of any sensible mixture."""
    X, labels, accident = with_an_accident()
    batch = batch_of("full", standardised(X))
    accident = climbed(batch, accident, share=0.0)
    moves, best = moves_of(batch), climbed(batch, labels)
    assert moves.guard.degenerate(accident).all()
    assert accident.objective > best.objective
    found = alone(moves.improved(accident))
    assert not moves.guard.degenerate(found).any()
    assert float(found.objective) > float(best.objective) - 2e-4


def test_a_weight_is_a_repetition():
    X, labels = balls()
    counts = np.random.default_rng(4).integers(1, 4, len(X))
    every = np.repeat(np.arange(len(X)), counts)
    rows = standardised(X)
    starts = np.roll(wrong(X, labels), 7)
    weighted = batch_of("tied_full", rows, tensor(counts))
    repeated = batch_of("tied_full", rows[every])
    found = [
        alone(moves_of(batch).improved(climbed(batch, labels)))
        for batch, labels in ((weighted, starts), (repeated, starts[every]))
    ]
    torch.testing.assert_close(found[0].objective, found[1].objective, rtol=0, atol=1e-9)
    torch.testing.assert_close(*(run.statistics.mass.sort().values for run in found), rtol=1e-6, atol=0)


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_the_unit_of_weights_does_not_matter(unit):
    X, labels = balls()
    rows, found = standardised(X), []
    for weight in (1.0, unit):
        batch = batch_of("full", rows, tensor(np.full(len(X), weight)))
        found.append(float(alone(moves_of(batch).improved(climbed(batch, wrong(X, labels)))).objective))
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_one_component_has_nowhere_to_move():
    batch = batch_of("full", standardised(balls()[0]))
    run = climbed(batch, np.zeros(180, int), 1)
    assert alone(moves_of(batch).improved(run)) is run


# --- which runs go on -------------------------------------------------------------------------------------------


def several():
    """Runs at two optima, at each of them twice, once with the components in another order, and at an accident."""
    X, labels, accident = with_an_accident()
    batch = batch_of("full", standardised(X))
    near = np.where(np.random.default_rng(4).random(len(X)) < 0.1, 0, 2 - labels)
    starts = np.stack([wrong(X, labels), labels, accident, near, wrong(X, labels)])
    return climbed(batch, starts, share=0.0), guard_of(batch)


def test_distinct_runs_are_kept_once_and_highest_first():
    runs, guard = several()
    assert guard.degenerate(runs).tolist() == [False, False, True, False, False]
    found = distinct(runs, guard)
    heights = guard.heights(found)
    assert (heights.diff() <= 0).all()
    kept = found.start.tolist()
    assert kept[0] in (1, 3)
    assert kept[-1] == 2
    assert len({*kept} & {0, 4}) == len({*kept} & {1, 3}) == 1
    assert len(distinct(found, guard)) == len(found)


def test_runs_of_one_objective_and_other_masses_are_distinct():
    runs, guard = several()
    two = runs.of_some([0, 1])
    two = replace(two, objective=torch.zeros(2).double())
    assert len(distinct(two, guard)) == 2
    same = replace(two, statistics=replace(two.statistics, mass=two.statistics.mass[[0, 0]]))
    assert len(distinct(same, guard)) == 1
    for factor, expected in ((0.5, 1), (2.0, 2)):
        shift = factor * SAME_MASS * two.statistics.weight * tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]])
        near = replace(same, statistics=replace(same.statistics, mass=same.statistics.mass + shift))
        assert len(distinct(near, guard)) == expected
        assert len(distinct(replace(same, objective=tensor([0.0, factor * SAME])), guard)) == expected
    apart = replace(same, objective=tensor([0.0, 2 * SAME]))
    assert distinct(apart, guard).objective.tolist() == [2 * SAME, 0.0]


def test_the_highest_are_those_that_are_no_accidents():
    runs, guard = several()
    order = guard.heights(runs).argsort(descending=True)
    for count in (1, 3, 5, 9):
        found = highest(runs, count, guard)
        torch.testing.assert_close(found.objective, runs.objective[order[:count]], rtol=0, atol=ROUNDING)
    assert highest(runs, 5, guard).start[-1] == 2
    assert highest(runs, 1, guard).objective < runs.objective.max()
