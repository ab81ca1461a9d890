"""Trials of many starts: what they find, that more of them never end lower, and that a seed decides all."""

from itertools import chain, repeat

import numpy as np
import pytest
import torch
from batches import generator, priors_of, tensor
from sklearn.metrics import adjusted_rand_score
from structures import SPECS

from tgmm.covariance import STRUCTURES
from tgmm.data.chunk import Chunk
from tgmm.em import trials as module
from tgmm.em.abreast import alone
from tgmm.em.batch import joined
from tgmm.em.moves import Moves
from tgmm.em.trials import FOLLOWED, Trials
from tgmm.kernels.assignment import hard, soft
from tgmm.model.frame import Frame
from tgmm.model.priors import Priors
from tgmm.model.update import Update
from tgmm.runtime.frozen import replace
from tgmm.start.portfolio import PARTITIONS, RANDOM_PARTITIONS, partitions, random_partitions
from tgmm.start.views import Views


def trials_of(X, n_components, name="full", w=None, *, weight=None, priors=None, assignment=soft, size=3000, **more):
    """Trials on the different rows of a sample, in the frame of all of them."""
    X, w = np.asarray(X, dtype=float), np.ones(len(X)) if w is None else np.asarray(w, dtype=float)
    mean = np.average(X, axis=0, weights=w)
    variance = np.average((X - mean) ** 2, axis=0, weights=w)
    frame = Frame.of(tensor(mean), tensor(variance), torch.float64, one_scale=STRUCTURES[name].one_scale)
    views = Views.of(Chunk(tensor(X), tensor(w), 0), frame, size, n_components, generator())
    update = Update(STRUCTURES[name], Priors() if priors is None else priors)
    return Trials(views, w.sum() if weight is None else weight, update, n_components, assignment, **more), frame


def labels_of(frame, run, X):
    rows = frame.rows_in(tensor(X))
    parameters = run.parameters.of_some(0)
    return parameters.log_joint(rows - parameters.means[:, None]).argmax(0).numpy()


def score(trials, frame, X, labels, n_heats=1):
    best = alone(trials.solutions(n_heats, generator())).of_some(slice(1))
    return adjusted_rand_score(labels_of(frame, best, X), labels)


def cigars(seed, n=600):
    """Two clusters, 30 times as long as wide, 4 widths apart, in any direction."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (rng.standard_normal((n, 2)) * [1, 30] + 4 * np.outer(labels, [1, 0])) @ turn.T, labels


def overlapping(seed, n=120, n_clusters=4):
    """Clusters that are not easy to tell apart."""
    rng = np.random.default_rng(seed)
    roots = np.eye(2) + 0.6 * rng.standard_normal((n_clusters, 2, 2))
    labels = rng.integers(0, n_clusters, n)
    return (
        np.einsum("nij,nj->ni", roots[labels], rng.standard_normal((n, 2)))
        + 2 * rng.standard_normal((n_clusters, 2))[labels]
    )


def assert_same_solutions(one, other):
    assert torch.equal(one.objective, other.objective)
    assert torch.equal(one.start, other.start)
    for part in ("weights", "means"):
        assert torch.equal(getattr(one.parameters, part), getattr(other.parameters, part))
    assert torch.equal(one.parameters.covariances.values, other.parameters.covariances.values)


# --- what they find ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_long_clusters_side_by_side_are_found(seed):
    X, labels = cigars(seed)
    assert score(*trials_of(X, 2), X, labels) > 0.85


@pytest.mark.parametrize(("name", "assignment"), [*((name, soft) for name in SPECS), ("full", hard)])
def test_clusters_that_are_far_apart_are_found(name, assignment, far_blobs):
    X, labels, _ = far_blobs
    assert score(*trials_of(X, 4, name, assignment=assignment), X, labels) == 1


@pytest.mark.parametrize("name", ["full", "tied_spherical"])
def test_under_priors_too(name, far_blobs):
    X, labels, _ = far_blobs
    assert score(*trials_of(X, 4, name, priors=priors_of(name, "weights", 4, 2)), X, labels) == 1
    trials, _ = trials_of(X, 4, name, priors=priors_of(name, "all", 4, 2))
    assert not trials.guard.degenerate(alone(trials.solutions(1, generator()))).any()


def test_clusters_of_one_feature_and_of_many(far_blobs):
    _, labels, _ = far_blobs
    noise = np.random.default_rng(0).standard_normal((120, 12))
    line = 20.0 * labels[:, None] + noise[:, :1]
    assert score(*trials_of(line, 4), line, labels) == 1
    many = 12 * np.eye(4, 12)[labels] + noise
    assert score(*trials_of(many, 4, "diag"), many, labels) == 1


def test_starts_know_no_unit(far_blobs):
    X, labels, _ = far_blobs
    X = X * [1e-6, 1e7] + [3.0, -5e8]
    assert score(*trials_of(X, 4), X, labels) == 1


def test_the_best_solution_is_no_accident_of_rows_that_are_nearly_equal():
    """Each pair could be a component of its own, of any likelihood."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(3), 60)
    X = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])[labels] + rng.standard_normal((180, 2))
    X[1:30:3] = X[0:30:3] + 1e-9 * rng.standard_normal((10, 2))
    for n_heats in (1, 3):
        trials, frame = trials_of(X, 3)
        best = alone(trials.solutions(n_heats, generator())).of_some(slice(1))
        assert not trials.guard.degenerate(best).any()
        assert adjusted_rand_score(labels_of(frame, best, X), labels) > 0.98


# --- heats ------------------------------------------------------------------------------------------------------


def test_more_heats_never_end_lower():
    for seed in range(2):
        trials, _ = trials_of(overlapping(seed, 100), 3)
        best = joined([alone(trials.solutions(n, generator(seed))).of_some(slice(1)) for n in (1, 2, 5, 10)])
        assert (trials.guard.heights(best).diff() >= -1e-9).all()


def test_more_heats_never_end_lower_where_there_are_too_many_components():
    """So that there is a long way to go, of which little can be foreseen."""
    rng = np.random.default_rng(4)
    X = np.concatenate([rng.standard_normal((300, 2)), [5, 0] + rng.standard_normal((300, 2)) * [2, 1]])
    trials, _ = trials_of(X, 5)
    best = joined([alone(trials.solutions(n, generator())).of_some(slice(1)) for n in (1, 2, 3, 5)])
    assert (trials.guard.heights(best).diff() >= -1e-6).all()


def test_a_run_that_would_be_followed_goes_on_though_more_heats_lead_higher():
    """It is foreseen to end below them, and that can be wrong."""
    trials, _ = trials_of(overlapping(1, 100), 3)
    starts = [trials._from(partitions(trials.views, 3)), trials._from(random_partitions(trials.views, 3, generator()))]
    first, second = (trials.batch.advanced(runs.of_some(slice(2)), 2) for runs in starts)
    higher = replace(second, objective=second.objective + 1.0)
    one = alone(trials._ended([first]))
    for heats in ([first, second], [first, higher]):
        torch.testing.assert_close(alone(trials._ended(heats)).objective[:2], one.objective, rtol=0, atol=1e-9)
    given_up = alone(trials._ended([joined([first, higher])])).objective[:2]
    assert (given_up < one.objective - 1e-5).any()


def test_solutions_are_different_and_the_best_comes_first():
    for seed in range(2):
        trials, _ = trials_of(overlapping(seed, 100), 3)
        found = alone(trials.solutions(2, generator()))
        assert 2 <= len(found) <= FOLLOWED
        heights = trials.guard.heights(found)
        assert (heights.diff() <= 0).all()
        masses = found.statistics.mass.sort(1).values / found.statistics.weight
        assert heights[0] - heights[1] > 1e-4 or (masses[0] - masses[1]).abs().max() > 1e-3


def test_solutions_are_limits():
    trials, _ = trials_of(overlapping(0), 3)
    found = alone(trials.solutions(2, generator()))
    further = trials.batch.climbed(found, 1e-9, 600)
    assert (further.objective - found.objective < 2e-6).all()


def test_every_solution_says_which_start_it_began_with():
    trials, _ = trials_of(overlapping(2), 3)
    found = alone(trials.solutions(3, generator()))
    assert trials.names == [*PARTITIONS, *RANDOM_PARTITIONS, *RANDOM_PARTITIONS]
    assert ((found.start >= 0) & (found.start < len(trials.names))).all()
    numbers = [trials._from(partitions(trials.views, 3)).start for _ in range(2)]
    assert torch.cat(numbers).tolist() == list(range(12, 12 + 2 * len(PARTITIONS)))


def test_where_the_first_starts_agree_no_others_are_tried_and_nothing_moves(far_blobs, monkeypatch):
    X, labels, _ = far_blobs
    trials, frame = trials_of(X, 4)
    monkeypatch.setattr(trials.batch.__class__, "advanced", None)  # which only moves and random heats need
    assert score(trials, frame, X, labels) == 1
    assert trials.names == [*PARTITIONS][: module.SCOUTS]


def test_where_starts_agree_on_what_is_wrong_a_move_that_promises_more_is_still_made(monkeypatch):
    """Two clusters in one component, and one in two, whatever the start."""
    labels = np.repeat(np.arange(3), 60)
    X = np.array([[0.0, 0.0], [7.0, 0.0], [40.0, 40.0]])[labels] + np.random.default_rng(0).standard_normal((180, 2))

    def wrong(views, n_components):
        is_far = views.rows[:, 1] > 0
        return is_far * (1 + (views.rows[:, 0] > views.rows[is_far, 0].median()))

    for name in PARTITIONS:
        monkeypatch.setitem(PARTITIONS, name, wrong)
    trials, frame = trials_of(X, 3)
    assert score(trials, frame, X, labels) == 1
    assert trials.names == [*PARTITIONS][: module.SCOUTS]


def test_rows_that_hierarchies_do_not_see_have_no_part_in_the_clusters():
    X, _ = cigars(0)
    trials, _ = trials_of(X, 2)
    labels = torch.full((len(X),), -1)
    labels[:300], labels[300:400] = 0, 1
    run = trials._from({"some of them": labels})
    np.testing.assert_allclose(run.parameters.weights[0], [0.75, 0.25], atol=1e-3)
    means = trials.views.rows[:300].mean(0), trials.views.rows[300:400].mean(0)
    np.testing.assert_allclose(run.parameters.means[0], torch.stack(means), atol=1e-2)


def test_heats_are_added_where_there_are_accidents_alone():
    rng = np.random.default_rng(0)
    X = np.repeat([[0.0, 0.0], [1.0, 5.0], [8.0, 2.0]], 10, axis=0) + 1e-9 * rng.standard_normal((30, 2))
    for n_heats in (1, 3, 6):
        trials, _ = trials_of(X, 3)
        assert trials.guard.degenerate(alone(trials.solutions(n_heats, generator()))).all()
        added = max(n_heats, module.DEGENERATE) - 1
        assert trials.names == [*PARTITIONS, *(added * [*RANDOM_PARTITIONS])]


@pytest.mark.parametrize(
    ("n_agreeing", "n_heats", "drawn"),
    [
        ((1, 2), 1, 0),
        ((1, 2), 2, 1),
        ((1, 1, 2), 1, module.DOUBTFUL - 1),
        ((1, 1, 2), 2, module.DOUBTFUL - 1),
        ((1, 1, 2), 5, 4),
        ((1, 1, 1), 1, module.MOST - 1),
        ((1, 1, 1), 5, module.MOST - 1),
        ((1, 1, 1), module.MOST + 2, module.MOST + 1),
    ],
)
def test_heats_are_added_until_the_best_is_found_twice(n_agreeing, n_heats, drawn, monkeypatch):
    """Of the first two starts, of all four, and of the first few heats."""
    counts = chain(n_agreeing, repeat(n_agreeing[-1]))
    monkeypatch.setattr(Trials, "_agreeing", lambda _, runs: next(counts))
    trials, _ = trials_of(overlapping(0), 3)
    alone(trials.solutions(n_heats, generator()))
    assert trials.names == [*PARTITIONS, *(drawn * [*RANDOM_PARTITIONS])]


def test_doubt_is_followed_no_further_than_to_the_most_heats(monkeypatch):
    monkeypatch.setattr(Trials, "_agreeing", lambda _, runs: 1)
    trials, _ = trials_of(overlapping(0), 3, most=module.DOUBTFUL)
    alone(trials.solutions(1, generator()))
    assert trials.names == [*PARTITIONS, *((module.DOUBTFUL - 1) * [*RANDOM_PARTITIONS])]


def test_doubt_in_many_rows_ends_with_the_first_heats(monkeypatch):
    monkeypatch.setattr(Trials, "_agreeing", lambda _, runs: 1)
    monkeypatch.setattr(module, "FEW", 100)
    trials, _ = trials_of(overlapping(0, n=120), 3)
    alone(trials.solutions(1, generator()))
    assert trials.names == [*PARTITIONS, *((module.DOUBTFUL - 1) * [*RANDOM_PARTITIONS])]


def test_heats_that_find_the_best_once_more_leave_no_doubt():
    """Which problems have starts that lead to the best is known for none, but among many there are both kinds."""
    counts = set()
    for seed in range(8):
        trials, _ = trials_of(overlapping(seed, n=300), 5)
        alone(trials.solutions(1, generator()))
        counts.add((len(trials.names) - len(PARTITIONS)) // len(RANDOM_PARTITIONS))
    assert {module.DOUBTFUL - 1, module.MOST - 1} <= counts


@pytest.mark.parametrize(("worth", "most"), [(50, 1), (1500, module.DOUBTFUL)])
def test_no_more_heats_are_added_than_they_are_worth(worth, most, monkeypatch):
    monkeypatch.setattr(Trials, "_agreeing", lambda _, runs: 1)
    trials, _ = trials_of(overlapping(2, n=400, n_clusters=8), 8, worth=worth)
    alone(trials.solutions(1, generator()))
    assert trials.names == [*PARTITIONS, *((most - 1) * [*RANDOM_PARTITIONS])]


def test_a_sound_solution_is_found_among_rows_far_away():
    """Each of the first starts puts few of them in a component."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), 80)
    X = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])[labels] + rng.standard_normal((240, 2))
    X = np.concatenate([X, rng.uniform(-60, 60, (8, 2))])
    heights = []
    for n_heats in (1, 2, 3, 5):
        trials, _ = trials_of(X, 4)
        best = alone(trials.solutions(n_heats, generator())).of_some(slice(1))
        assert not trials.guard.degenerate(best).any()
        heights.append(float(best.objective))
    assert (np.diff(heights) >= -1e-9).all()


def test_moves_end_once_they_have_cost_what_they_are_worth():
    X = overlapping(2, n=400, n_clusters=8)
    free, little = (trials_of(X, 8, worth=worth)[0] for worth in (torch.inf, 50))
    best, found = (alone(trials.solutions(1, generator())) for trials in (free, little))
    assert little.batch.kernel.n_passes < free.batch.kernel.n_passes / 2
    assert float(found.objective[0]) <= float(best.objective[0]) + 1e-9


def test_of_rows_that_do_not_tell_solutions_apart_all_starts_are_followed_and_none_moves(monkeypatch):
    monkeypatch.setattr(Moves, "improved", lambda *_: pytest.fail("A solution moved."))
    trials, _ = trials_of(overlapping(1, n=300, n_clusters=6), 6, tells=False)
    found = alone(trials.solutions(2, generator()))
    assert trials.names == [*PARTITIONS, *RANDOM_PARTITIONS]
    assert not trials.guard.degenerate(found).any()
    assert len(found) > 2
    assert (found.objective.diff() <= 0).all()


# --- what they do not depend on ---------------------------------------------------------------------------------


def test_a_seed_decides_all_bits():
    X = overlapping(3)
    found = [alone(trials_of(X, 3)[0].solutions(2, generator(7))) for _ in range(2)]
    assert_same_solutions(*found)


def test_neither_the_order_of_rows_nor_how_often_they_are_given_matters():
    X = np.round(overlapping(4) * 256) / 256
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 4, len(X))
    order = rng.permutation(len(X))
    repeated = rng.permutation(np.repeat(X, counts, axis=0))
    _, frame = trials_of(X, 3, w=counts)
    found = []
    for rows, w in ((X, counts), (X[order], counts[order]), (repeated, np.ones(len(repeated)))):
        views = Views.of(Chunk(tensor(rows), tensor(w), 0), frame, 90, 3, generator())
        trials = Trials(views, float(counts.sum()), Update(STRUCTURES["full"], Priors()), 3, soft)
        found.append(alone(trials.solutions(2, generator())))
    assert_same_solutions(found[0], found[1])
    assert_same_solutions(found[0], found[2])


def test_rows_stand_for_the_weight_of_all():
    """Under a prior it matters how much: the solution is that of so many rows."""
    X = overlapping(5)
    priors = priors_of("full", "all", 3, 2)
    trials, _ = trials_of(X, 3, priors=priors, weight=4 * len(X))
    found = alone(trials.solutions(1, generator()))
    assert float(found.statistics.weight) == pytest.approx(4 * len(X))
    assert float(found.statistics.mass[0].sum()) == pytest.approx(4 * len(X))
    repeated, _ = trials_of(np.repeat(X, 4, axis=0), 3, priors=priors)
    expected = alone(repeated.solutions(1, generator()))
    assert found.objective.tolist() == pytest.approx(expected.objective.tolist(), abs=1e-9)


@pytest.mark.parametrize("name", ["full", "tied_spherical"])
def test_solutions_are_higher_than_where_any_of_the_starts_leads(name):
    """Each start by itself, followed by EM."""
    trials, _ = trials_of(overlapping(6), 3, name)
    best = trials.guard.heights(alone(trials.solutions(2, generator())))[0]
    random = random_partitions(trials.views, 3, generator())
    starts = [trials._from(found) for found in (partitions(trials.views, 3), random)]
    each = trials.batch.climbed(joined(starts), 1e-6, 300)
    assert float(trials.guard.heights(each).max()) <= float(best) + 2e-5


def test_one_component_has_one_solution():
    X = overlapping(7)
    trials, _ = trials_of(X, 1)
    found = alone(trials.solutions(2, generator()))
    assert len(found) == 1
    assert found.parameters.means.abs().max() < 1e-9
