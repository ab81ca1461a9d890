"""What is an accident of a few rows: components on next to none, and ones with next to no variance somewhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import covariances_of, priors_of, tensor
from structures import SPECS

from tgmm.covariance import STRUCTURES, separate
from tgmm.em.batch import Runs, joined
from tgmm.em.degeneracy import FEW, LEAST_SHARED, OWN, OWN_IN_TRIALS, RIDGE, THIN, Guard
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics

K, D = 3, 3
LEAST = {"full": 2 * (D + 1), "diag": 5, "spherical": 4}  # rows of a component with a covariance of its own
MANY = 1000.0
every_structure = pytest.mark.parametrize("name", SPECS)
# Others round what they are given to few factors.
TAKE_ANY = [name for name, structure in STRUCTURES.items() if separate(structure).form is structure.form]
every_structure_that_takes_any_values = pytest.mark.parametrize("name", TAKE_ANY)


def least_of(name):
    return LEAST_SHARED if SPECS[name].tied else LEAST[SPECS[name].free]


def runs_of(name, masses, matrices, weights=None, objective=None):
    """Runs that are where someone says: components of these masses (R, K) and covariances, R times (K, d, d)."""
    masses = np.asarray(masses, dtype=float)
    shape = (len(masses), K)
    shares = masses / masses.sum(1, keepdims=True) if weights is None else np.asarray(weights, dtype=float)
    objective = torch.zeros(len(masses)).double() if objective is None else tensor(objective)
    parameters = Parameters(tensor(shares), torch.zeros(*shape, D).double(), covariances_of(name, matrices))
    first, second = torch.zeros(*shape, D).double(), torch.zeros(*shape, 1).double()
    centre = torch.zeros(1, D).double()
    statistics = Statistics(tensor(masses), first, second, objective, objective, tensor(masses[0].sum()), centre)
    return Runs(parameters, statistics, objective, torch.arange(len(masses)))


def whole_of(name, seed=9):
    """The covariance of all rows, in the form of the components', and rows that have it."""
    free = separate(STRUCTURES[name]).name
    matrix = SPECS[free].member(seed, 1, D)[0]
    root = np.sqrt(D) * np.linalg.cholesky(matrix).T
    return matrix, tensor(np.concatenate([root, -root]))


def guard_of(name, rows, rows_per_weight=1.0, priors=None, **own):
    """What tells accidents among rows, each of which stands for so many of the data that they are so many a weight."""
    look = rows, torch.ones_like(rows[:, 0])
    priors = Priors() if priors is None else priors
    return Guard(lambda: look, STRUCTURES[name], priors, rows_per_weight / len(rows), **own)


def thinned(name, whole, thinness):
    """A covariance that is so thin beside the whole in one direction, anywhere if the form knows of any."""
    if SPECS[name].n_axes == 0:
        return thinness * whole
    root = np.linalg.cholesky(whole)
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((D, D)))[0] if SPECS[name].n_axes == 2 else np.eye(D)
    return root @ (axes * [1.0, thinness, 0.3]) @ axes.T @ root.T


def with_one(name, whole, one):
    """The covariances of components, the second of which has this one, (K, d, d)."""
    return np.stack([one] * K) if SPECS[name].tied else np.stack([0.5 * whole, one, 0.7 * whole])


@every_structure_that_takes_any_values
@pytest.mark.parametrize("rows_per_weight", [1.0, 0.01, 40.0])
def test_a_component_of_next_to_no_rows_is_an_accident(name, rows_per_weight):
    whole, rows = whole_of(name)
    least, matrices = least_of(name), [with_one(name, whole, 0.6 * whole)] * 3
    n_rows = np.array([[MANY, least - 0.1, MANY], [MANY, MANY, least + 0.1], [MANY] * 3])
    found = guard_of(name, rows, rows_per_weight).degenerate(runs_of(name, n_rows / rows_per_weight, matrices))
    assert found.tolist() == [True, False, False]


@every_structure
def test_a_component_that_a_prior_leaves_without_any_weight_is_none(name):
    whole, rows = whole_of(name)
    runs = runs_of(
        name, [[MANY, 0.5, MANY]] * 2, [with_one(name, whole, 0.6 * whole)] * 2, [[0.5, 0, 0.5], [0.5, 0.1, 0.4]]
    )
    assert guard_of(name, rows).degenerate(runs).tolist() == [False, True]


def test_a_component_without_any_weight_may_be_thin():
    whole, rows = whole_of("full")
    matrices = [with_one("full", whole, thinned("full", whole, 1e-9))]
    runs = runs_of("full", [[MANY, 0.5, MANY]], matrices, [[0.5, 0, 0.5]])
    assert guard_of("full", rows).degenerate(runs).tolist() == [False]


@every_structure_that_takes_any_values
def test_a_component_that_is_thin_in_any_direction_is_an_accident_if_its_rows_are_few(name):
    whole, rows = whole_of(name)
    few = FEW * least_of(name)
    cases = [
        (0.9 * THIN, few - 0.1, True),
        (0.9 * THIN, few + 0.1, False),
        (1.1 * THIN, few - 0.1, False),
        (1e-8, MANY, False),
    ]
    matrices = [with_one(name, whole, thinned(name, whole, thinness)) for thinness, _, _ in cases]
    runs = runs_of(name, [[MANY, n_rows, MANY] for _, n_rows, _ in cases], matrices)
    assert guard_of(name, rows).degenerate(runs).tolist() == [expected for _, _, expected in cases]


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.has_prior])
def test_nothing_is_an_accident_where_a_prior_keeps_variances_up(name):
    whole, rows = whole_of(name)
    runs = runs_of(name, [[MANY, 1.0, MANY]] * 2, [with_one(name, whole, thinned(name, whole, 1e-9))] * 2)
    for kind, expected in (("covariance", False), ("all", False), ("weights", True), ("means", True)):
        guard = guard_of(name, rows, priors=priors_of(name, kind, K, D))
        assert guard.degenerate(runs).tolist() == [expected] * 2


def test_accidents_are_below_all_others_and_keep_their_order():
    whole, rows = whole_of("full")
    masses = [[MANY, 1.0 if accident else MANY, MANY] for accident in (True, False, True, False)]
    objective = [50.0, -3.0, 70.0, 2.0]
    runs = runs_of("full", masses, [with_one("full", whole, 0.6 * whole)] * 4, objective=objective)
    guard = guard_of("full", rows)
    heights = guard.heights(runs)
    assert heights[[1, 3]].tolist() == [-3.0, 2.0]
    assert heights[2] - heights[0] == pytest.approx(20)
    assert heights[[0, 2]].max() < -3.0
    equal = replace(runs, objective=torch.zeros(4).double())
    assert guard.heights(equal)[[0, 2]].max() < 0
    assert torch.equal(guard.heights(runs.of_some([3, 1])), runs.objective[[3, 1]])


@every_structure_that_takes_any_values
@pytest.mark.parametrize("own", [OWN, OWN_IN_TRIALS])
def test_a_component_of_any_rows_is_an_accident_if_next_to_nothing_is_left_of_a_variance(name, own):
    _, rows = whole_of(name)
    axes = np.eye(D) if SPECS[name].n_axes < 2 else np.linalg.qr(np.random.default_rng(0).standard_normal((D, D)))[0]
    shape = np.ones(D) if SPECS[name].n_axes == 0 else np.array([1e5, 1.0, 1e5])
    matrices = [np.stack([axes * (RIDGE * (1 + share * own) * shape) @ axes.T] * K) for share in (0.9, 1.1)]
    runs = runs_of(name, [[MANY] * K] * 2, matrices)
    guard = guard_of(name, rows, own=own)
    assert guard.degenerate(runs).tolist() == [True, False]
    assert guard.degenerate(runs, tensor(RIDGE)).tolist() == [True, False]
    assert guard.degenerate(runs, tensor(2 * RIDGE)).tolist() == [True, True]
    assert guard.degenerate(runs, tensor(0.0)).tolist() == [False, False]


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.n_axes > 0])
def test_what_does_not_vary_in_all_rows_tells_nothing(name):
    _, rows = whole_of(name)
    rows = torch.column_stack([rows[:, :2], rows[:, 0] if SPECS[name].n_axes == 2 else torch.zeros(len(rows))])
    guard = guard_of(name, rows)
    assert guard.varying().tolist() == [0, 1]
    within = np.cov(rows.numpy().T, bias=True) / 3 + RIDGE * np.eye(D)
    within = within if SPECS[name].n_axes == 2 else np.diag(np.diag(within))
    thin = within * np.outer([1, 0, 1], [1, 0, 1]) + np.diag([0, RIDGE, 0])
    runs = runs_of(name, [[MANY] * K] * 2, [np.stack([within] * K), np.stack([thin] * K)])
    assert guard.degenerate(runs).tolist() == [False, True]


@pytest.mark.parametrize("name", [name for name in SPECS if name not in TAKE_ANY])
def test_a_component_of_fewer_rows_than_factors_need_is_an_accident(name):
    X = np.random.default_rng(0).standard_normal((400, D))
    matrices = [SPECS[name].member(1, K, D)] * 3
    least = covariances_of(name, matrices).least_rows()
    runs = runs_of(name, np.array([[MANY, least - 0.1, MANY], [MANY, least + 0.1, MANY], [MANY] * 3]), matrices)
    guard = guard_of(name, tensor(X))
    assert guard.degenerate(runs).tolist() == [True, False, False]


def test_a_guard_keeps_its_verdict_and_leaves_that_of_others(monkeypatch):
    whole, rows = whole_of("full")
    one, other = guard_of("full", rows), guard_of("full", rows, 0.01)
    runs = runs_of("full", [[MANY, 5.0, MANY], [MANY] * 3], [with_one("full", whole, 0.6 * whole)] * 2)
    verdicts = [guard.degenerate(runs).tolist() for guard in (one, other, one)]
    assert verdicts == [[True, False], [True, False], [True, False]]
    monkeypatch.setattr(Guard, "bad", None)  # which is not asked again
    assert one.degenerate(joined([runs.of_some([1]), runs])).tolist() == [False, True, False]
