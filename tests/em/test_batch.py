"""Many runs of EM at once: the steps of each are those of plain EM, and so are the limits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import batch_of, begun_at, kinds_of_priors, members, prior_given, priors_of, shares_of, tensor
from cases import fit_quietly, mixture, soft_responsibilities
from naive_em import naive_em
from structures import SPECS

from tgmm import GaussianMixture
from tgmm.covariance import STRUCTURES, CovarianceCollapse
from tgmm.data.columns import Columns
from tgmm.data.reservoir import Sampling
from tgmm.data.training import Training
from tgmm.em.batch import Batch, collapsed, joined, runs_where
from tgmm.em.problem import Problem
from tgmm.em.start import Started
from tgmm.em.step import EM
from tgmm.kernels.assignment import hard, soft
from tgmm.kernels.batched import Batched
from tgmm.model.priors import Priors
from tgmm.model.update import Update

R, K, D, N = 3, 3, 3, 120
TOLERANCE = 1e-9
every_structure = pytest.mark.parametrize("name", SPECS)
CLIMBED = [name for name in SPECS if name != "factor"]  # whose EM by hand is in test_factors


def data(seed=0, n=N, d=D, separation=2.0):
    """Rows, weights that are 1 on average, and labels."""
    X, labels = mixture(seed, n=n, d=d, n_components=K, separation=separation)
    w = np.random.default_rng(seed).uniform(0.2, 3.0, n)
    return X, w / w.mean(), labels


def problem_of(name, X, w, priors):
    """The same fit as users have it."""
    training = Training.of(X, w, Columns(None), Sampling(lambda _: len(X), 0), device="cpu")
    return Problem.of(training, Update(STRUCTURES[name], priors), K, 0.0)


def assert_same_parameters(found, expected, tolerance=TOLERANCE):
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=tolerance)
    torch.testing.assert_close(found.means, expected.means, rtol=0, atol=tolerance)
    values = found.covariances.values, expected.covariances.values
    torch.testing.assert_close(*values, rtol=tolerance, atol=tolerance)


def assert_same_runs(found, expected):
    for part in ("weights", "means"):
        assert torch.equal(getattr(found.parameters, part), getattr(expected.parameters, part))
    assert torch.equal(found.parameters.covariances.values, expected.parameters.covariances.values)
    for part in ("mass", "first", "second", "objective"):
        assert torch.equal(getattr(found.statistics, part), getattr(expected.statistics, part))
    assert torch.equal(found.objective, expected.objective)
    assert torch.equal(found.start, expected.start)


# --- steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "assignment"),
    [(n, k, how) for n in SPECS for k, how in (("none", soft), ("none", hard), (kinds_of_priors(n)[-1], soft))],
)
def test_steps_are_those_of_plain_em(name, kind, assignment):
    X, w, labels = data()
    problem = problem_of(name, X, w, priors_of(name, kind, K, D))
    amount = tensor(0.02) if STRUCTURES[name].one_scale else tensor([0.02, 0.0, 0.1])
    em = EM(problem.expectation(assignment), problem.update)
    kernel = Batched(problem.frame.rows_in(tensor(X)), tensor(w), STRUCTURES[name].moment)
    batch = Batch(kernel, problem.update.regularised(amount), assignment)
    partitions = [np.where(np.random.default_rng(run).random(N) < 0.2, 0, labels) for run in range(R)]
    runs = batch.begun(kernel.of_shares(shares_of(partitions, K)), torch.arange(R))
    following = [batch.advanced(runs, n_steps) for n_steps in range(3)]
    for run in range(R):
        state = em.begin(Started(runs.parameters.of_some(run), amount))
        for found in following:
            assert_same_parameters(found.parameters.of_some(run), state.parameters)
            assert float(found.objective[run]) == pytest.approx(state.point.objective, abs=TOLERANCE)
            sums = found.statistics.of_some(run).packed(), state.point.statistics.packed()
            torch.testing.assert_close(*sums, rtol=TOLERANCE, atol=TOLERANCE * N)
            state = em.step(state, may_hold=False).state


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in CLIMBED for k in ("none", kinds_of_priors(n)[-1])])
def test_runs_climb_as_the_naive_em_does(name, kind):
    X, w, labels = data()
    rows = X - X.mean(axis=0)
    n_runs = 1 if SPECS[name].restricted else R  # whose naive estimates take a search each
    responsibilities = [soft_responsibilities(seed, labels, K) for seed in range(n_runs)]
    batch = batch_of(name, tensor(rows), tensor(w), priors=priors_of(name, kind, K, D))
    batch = replace(batch, update=batch.update.regularised(None))
    runs = batch.begun(batch.kernel.of_shares(tensor(np.stack([r.T for r in responsibilities]))), torch.arange(n_runs))
    histories = [runs.objective]
    for _ in range(3):
        runs = batch.stepped(runs)
        histories.append(runs.objective)
    for run, found in enumerate(torch.stack(histories, 1).numpy()):
        prior = prior_given(name, kind, K, D)
        expected = naive_em(rows, name, responsibilities[run], 3, sample_weight=w, **prior).history
        if kind == "none":
            np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=0, atol=TOLERANCE)


# --- runs that collapse -----------------------------------------------------------------------------------------


@every_structure
def test_runs_that_collapse_at_once_do_not_begin(name):
    """Where there are three different rows, a partition by them leaves nothing within any cluster."""
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(3), 40))
    batch = batch_of(name, tensor([0.0, 1.0, 3.0])[values][:, None])
    batch = replace(batch, update=batch.update.regularised(None))
    others = [np.random.default_rng(seed).integers(0, 3, 120) for seed in (1, 2)]
    shares = shares_of([others[0], values, others[1], 2 - values], K, share=0.0)
    statistics, start = batch.kernel.of_shares(shares), torch.tensor([5, 6, 7, 8])
    runs = batch.begun(statistics, start)
    assert runs.start.tolist() == [5, 7]
    assert_same_runs(runs, batch.begun(statistics.of_some([0, 2]), start[[0, 2]]))
    with pytest.raises(CovarianceCollapse):
        batch.begun(statistics.of_some([1, 3]), start[[1, 3]])


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.tied and not spec.restricted])
def test_a_run_stays_where_it_was_where_its_covariance_collapses(name):
    """The second of three runs has a component that one row alone belongs to."""
    X, _, _ = data()
    rows = tensor(X - X.mean(axis=0))
    batch = batch_of(name, rows)
    batch = replace(batch, update=batch.update.regularised(None))
    _, parameters = members(name, R, K, D)
    means, values = parameters.means.clone(), parameters.covariances.values.clone()
    means[1, 2] = rows[4]
    values[1, 2] = values[1, 2] * 1e-12
    runs = batch.at(
        replace(parameters, means=means, covariances=replace(parameters.covariances, values=values)), torch.arange(R)
    )
    assert float(runs.statistics.mass[1, 2]) == pytest.approx(1, abs=1e-6)
    following = batch.stepped(runs)
    assert_same_runs(following.of_some([1]), runs.of_some([1]))
    others = torch.tensor([0, 2])
    alone = batch.stepped(runs.of_some(others))
    assert_same_parameters(following.of_some(others).parameters, alone.parameters, 1e-12)
    assert (alone.objective > runs.objective[others]).all()


def test_none_of_a_batch_has_collapsed_unless_it_has():
    _, parameters = members("full", R, K, D)
    assert collapsed(parameters) is None
    values = parameters.covariances.values.clone()
    values[1, 0] = 0
    broken = replace(parameters, covariances=replace(parameters.covariances, values=values))
    found = collapsed(broken)
    assert found is not None
    assert found.tolist() == [False, True, False]


def test_a_component_that_a_prior_takes_away_does_not_hold_the_others():
    X, labels = mixture(11, n=150, d=3, n_components=2, separation=1.5)
    responsibilities = np.column_stack([0.995 * soft_responsibilities(12, labels, 2), np.full(150, 0.005)])
    concentration = np.array([1, 1, 0.01])
    batch = batch_of("full", tensor(X))
    batch = replace(batch, update=replace(batch.update.regularised(None), priors=Priors(tensor(concentration))))
    runs = batch.begun(batch.kernel.of_shares(tensor(responsibilities.T)[None]), torch.zeros(1).long())
    found = batch.advanced(runs, 4).objective
    settings = {"weight_concentration_prior": concentration, "reg_covar": 0, "tol": 0, "accelerate": None}
    alone = fit_quietly(GaussianMixture(3, max_iter=4, **settings), X, init_responsibilities=responsibilities)
    assert float(alone.weights_[2]) == 0
    assert float(found) == pytest.approx(alone.objective_history_[-1], abs=TOLERANCE)


# --- climbing ---------------------------------------------------------------------------------------------------


def climbing(name, kind="none", seed=3):
    """Runs from several starts, some of them labels at random, with all that it takes to climb."""
    X, w, labels = data(seed, d=2)
    rng = np.random.default_rng(seed)
    starts = [np.where(rng.random(N) < share, rng.integers(0, K, N), labels) for share in (0.0, 0.2, 0.4)]
    batch = batch_of(name, tensor(X - X.mean(axis=0)), tensor(w), priors=priors_of(name, kind, K, 2))
    return batch, begun_at(batch, starts, K)


@pytest.mark.parametrize(("name", "kind"), [*((n, "none") for n in SPECS), ("full", "all")])
def test_every_run_climbs_to_the_limit_of_plain_em(name, kind):
    batch, runs = climbing(name, kind)
    order = torch.tensor([2, 0, 1])
    runs = runs.of_some(order)
    found = batch.climbed(runs, 1e-8, 300)
    assert torch.equal(found.start, order)
    assert (found.objective >= runs.objective).all()
    limits = batch.advanced(runs, 60).objective
    assert limits.tolist() == pytest.approx(found.objective.tolist(), abs=1e-5)
    again = batch.at(found.parameters, found.start)  # what is said of where it came to is so
    torch.testing.assert_close(again.objective, found.objective, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "max_iter"), [*((name, 8) for name in SPECS), ("full", 1)])
def test_runs_that_are_cut_short_are_higher_than_they_were(name, max_iter):
    batch, runs = climbing(name)
    found = batch.climbed(runs, 1e-9, max_iter)
    assert torch.equal(found.start, runs.start)
    plain = batch.advanced(runs, 2)
    assert (found.objective >= plain.objective - 1e-12).all()


def objectives_on_the_way(batch, runs, max_iter, monkeypatch, tol=0.0):
    """The objectives that E-steps found while one run climbed."""
    found, at = [], Batch.at

    def watched(self, *args):
        found.append(at(self, *args))
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "at", watched)
        end = batch.climbed(runs, tol, max_iter)
    return [float(runs.objective) for runs in found], end


def test_no_jump_falls():
    batch, runs = climbing("full")
    heights = torch.stack([batch.climbed(runs, 0.0, max_iter).objective for max_iter in range(3, 40, 3)])
    assert (heights.diff(dim=0) >= -1e-12).all()


def test_runs_that_have_ended_do_not_go_on_with_the_others():
    batch, runs = climbing("full")
    for tol in (1e-2, 1e-4, 1e-6):
        found = batch.climbed(runs, tol, 600)
        alone = joined([batch.climbed(runs.of_some([run]), tol, 600) for run in range(len(runs))])
        torch.testing.assert_close(found.objective, alone.objective, rtol=0, atol=1e-9)


def test_a_run_goes_on_while_its_last_gain_is_above_tol(monkeypatch):
    """However much smaller each gain is than the one before: of clusters that are apart."""
    _, _, labels = data()
    rng = np.random.default_rng(1)
    rows = 6 * np.eye(K)[labels] + rng.standard_normal((N, D))
    for share in (0.1, 0.3, 0.5):
        batch = batch_of("full", tensor(rows))
        runs = begun_at(batch, np.where(rng.random(N) < share, 0, labels), K)
        for tol in (1e-2, 1e-3, 1e-4):
            objectives, _ = objectives_on_the_way(batch, runs, 300, monkeypatch, tol=tol)
            assert objectives[-1] - objectives[-2] < tol


def test_a_run_that_gains_nothing_ends(monkeypatch):
    """One component is where it belongs from the first step on."""
    X, w, _ = data()
    batch = batch_of("full", tensor(X), tensor(w))
    objectives, found = objectives_on_the_way(batch, begun_at(batch, np.zeros(N, int), 1), 300, monkeypatch, tol=1e-9)
    assert len(objectives) <= 6
    assert float(found.objective) == max(objectives)


def creeping():
    """A run on three balls close together, tied: plain EM creeps."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, 300)
    batch = batch_of("tied_full", tensor(0.8 * rng.standard_normal((K, 2))[labels] + rng.standard_normal((300, 2))))
    return batch, begun_at(batch, labels, K)


def test_runs_end_where_they_would_gain_little_however_slowly(monkeypatch):
    batch, runs = creeping()
    _, limit = objectives_on_the_way(batch, runs, 600, monkeypatch, tol=1e-13)
    for tol in (1e-3, 1e-4, 1e-5, 1e-6):
        objectives, found = objectives_on_the_way(batch, runs, 600, monkeypatch, tol=tol)
        assert len(objectives) < 200
        assert limit.objective - found.objective < 10 * tol
    objectives, found = objectives_on_the_way(batch, limit, 600, monkeypatch, tol=1e-13)
    assert len(objectives) <= 30
    assert float(found.objective) == pytest.approx(float(limit.objective), abs=1e-10)


def test_jumps_save_most_of_the_steps(monkeypatch):
    batch, runs = creeping()
    objectives, _ = objectives_on_the_way(batch, runs, 300, monkeypatch)
    assert len(objectives) <= 300
    plain = runs
    for _ in range(3 * int(np.argmax(np.array(objectives) > objectives[-1] - 1e-6))):
        plain = batch.stepped(plain)
    assert plain.objective < objectives[-1] - 1e-6


# --- runs -------------------------------------------------------------------------------------------------------


@every_structure
def test_runs_are_taken_apart_and_joined(name):
    batch = batch_of(name, tensor(data()[0]))
    runs = batch.at(members(name, 4, K, D)[1], torch.tensor([4, 5, 6, 7]))
    assert len(runs) == 4
    parts = [runs.of_some(slice(0, 1)), runs.of_some([1, 2]), runs.of_some(torch.tensor([False, False, False, True]))]
    assert [len(part) for part in parts] == [1, 2, 1]
    assert_same_runs(joined(parts), runs)
    others = batch.at(members(name, 2, K, D, seed=1)[1], torch.tensor([8, 9]))
    chosen = torch.tensor([False, True])
    mixed = runs_where(chosen, others, runs.of_some([1, 2]))
    assert_same_runs(mixed.of_some([1]), replace(others.of_some([1]), start=runs.start[[2]]))
    assert_same_runs(mixed.of_some([0]), runs.of_some([1]))
