"""Where solutions of trials lead to on more rows, and which of them are worth all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from tgmm.covariance import CovarianceCollapse
from tgmm.em.acceleration import Squarem
from tgmm.em.batch import OPTIMISM, Runs
from tgmm.em.degeneracy import Guard
from tgmm.em.moves import NEAR, SAME, SAME_MASS
from tgmm.em.problem import Problem
from tgmm.em.restarts import SHORT_RUN
from tgmm.em.run import Runner, Stopping
from tgmm.em.start import Origin, Started, Trial, started_from
from tgmm.em.state import RunState
from tgmm.em.step import EM
from tgmm.em.trials import FOLLOWED, LAST, NEAREST
from tgmm.kernels.base import Assignment
from tgmm.runtime.frozen import replace

ROWS_PER_PARAMETER = 8  # from which on their likelihood tells solutions apart
PLAIN = "k-means"  # the start that no trials are made of
SMALL = 32  # times as many rows as a sample has are so many that runs on the sample cost little
CLOSER = 3e-5  # nats a row: up to which solutions on such a sample are found, to tell those apart that differ
MORE_STEPS = 20  # M-steps that tell, on other samples
CHANCE = 0.05  # of a likelihood's gain by chance, up to which solutions on a sample are found
LONG_RUN = 80  # M-steps by which solutions on rows that were filled in are told apart
SAME_MEANS = 0.02  # standard deviations of a feature by which the means of one solution differ on a sample
CLOSE = 2.0  # solutions may differ by so much over the root of the number of rows, if both are to be followed

S = TypeVar("S", Trial, RunState)


def refined(
    problem: Problem, found: list[Trial], assignment: Assignment, plain: Callable[[Problem], Started] | None = None
) -> list[Trial]:
    """Return where solutions lead to on the whole sample, best first, without those that are clearly lower.

    A start that no trial was made of can be among them.
    """
    whole, n_rows, place = problem.on_sample(problem.sample), problem.sample.rows.shape[0], problem.frame.shift.device
    em = EM(whole.expectation(assignment), whole.update)
    after = partial(started_from, whole, Origin(), assignment=assignment)
    starts = [(trial.name, partial(after, parameters=trial.parameters.to(place))) for trial in found]
    if plain is not None:
        starts.append((PLAIN, partial(plain, whole)))
    runs = [run for name, start in starts if (run := _begun(em, start, name)) is not None]
    runner = Runner(em, Squarem(em).step)
    if problem.summary.n_gaps:
        return _trials(_survivors(runner, runs, Guard.of(problem)))
    # In a small sample it costs little to end near where others do, and shows which need no run over all rows.
    is_small = tells(problem, n_rows) and n_rows * SMALL <= problem.data.n_rows
    runs = _ended(runner, runs, Stopping(CLOSER if is_small else near(problem, n_rows), LAST), n_rows)
    if len(runs) > 1 and not is_small:
        n_steps = max(run.n_iter for run in runs) + MORE_STEPS
        runs = [replace(run, converged=False) for run in runs]
        runs = _ended(runner, runs, Stopping(CLOSER, n_steps), n_rows)
    return _trials(runs)


def rivals(found: Sequence[S], n_rows: int) -> list[S]:
    """Return solutions without those that so many rows tell to be lower than the best."""
    least = max((each.objective for each in found), default=0.0) - _slack(n_rows)
    return [each for each in found if each.objective >= least]


def tells(problem: Problem, n_rows: int) -> bool:
    """Whether so many of the rows are enough to tell solutions apart."""
    return n_rows >= ROWS_PER_PARAMETER * _n_parameters(problem)


def near(problem: Problem, n_rows: int) -> float:
    """Return what solutions on so many rows may still gain: where these are not all, a little of what is chance.

    The maximum of the likelihood on a sample is by p / 2 nats higher than the likelihood of the truth, on average, of
    p free parameters (Wilks 1938, Annals of Mathematical Statistics 9).
    """
    if n_rows >= problem.data.n_rows:
        return NEAREST
    return max(NEAREST, CHANCE * _n_parameters(problem) / (2 * n_rows))


def _begun(em: EM, start: Callable[[], Started], name: str) -> RunState | None:
    """Return a run that begins, or None where its covariances collapse."""
    try:
        return em.begin(start()._replace(name=name))
    except CovarianceCollapse:
        return None


def _ended(runner: Runner, runs: Sequence[RunState], stopping: Stopping, n_rows: int) -> list[RunState]:
    """Return where runs lead to, best first, without those that are lost or clearly lower than the best.

    The most promising goes first. The others go no further than to where one has ended, or until even several times
    the gain to be foreseen would leave them clearly lower.
    """
    ended: list[RunState] = []
    for begun in sorted(runs, key=lambda each: each.objective, reverse=True):
        run, least = begun, max((each.objective for each in ended), default=-torch.inf) - _slack(n_rows)
        try:
            for run in runner.advanced(begun, stopping):
                if run.objective + OPTIMISM * run.foreseen_gain < least or _is_among(run, ended):
                    break
        except CovarianceCollapse:
            continue
        if not _is_among(run, ended):
            ended.append(run)
    return sorted(rivals(ended, n_rows), key=lambda each: each.objective, reverse=True)


def _survivors(runner: Runner, runs: Sequence[RunState], guard: Guard) -> list[RunState]:
    """Return where the best of runs on rows that lack values lead to, of which half are given up again and again.

    Rows that were filled in tell little of which solution is best, and hide that some are degenerate: of these more
    are looked at, and none is kept that is.
    """
    n_steps = SHORT_RUN
    while True:
        advanced = []
        for run in runs:
            try:
                found = runner.finished(run, Stopping(NEAR, n_steps))
            except CovarianceCollapse:
                continue
            if not bool(guard.degenerate(Runs.of(found), found.regularisation.cpu())):
                advanced.append(found)
        advanced.sort(key=lambda each: each.objective, reverse=True)
        if n_steps >= LONG_RUN:
            break
        runs, n_steps = advanced[: max(FOLLOWED, (len(advanced) + 1) // 2)], 2 * n_steps
    different: list[RunState] = []
    for run in advanced:
        if not _is_among(run, different):
            different.append(run)
    return different


def _is_among(run: RunState, others: Sequence[RunState]) -> bool:
    """Whether a run is where one of others is, whatever the order of their components."""
    return any(abs(run.objective - other.objective) < SAME and _have_same_clusters(run, other) for other in others)


def _have_same_clusters(one: RunState, other: RunState) -> bool:
    (weights, means), (others, others_means) = (
        (each.parameters.weights.sort().values, each.parameters.means.sort(0).values) for each in (one, other)
    )
    return bool((weights - others).abs().max() < SAME_MASS) and bool((means - others_means).abs().max() < SAME_MEANS)


def _trials(runs: Sequence[RunState]) -> list[Trial]:
    """Return runs as solutions in the frame, on the CPU."""
    host = torch.device("cpu")
    return [Trial(run.parameters.to(host), run.objective, run.start) for run in runs]


def _slack(n_rows: int) -> float:
    """Return by how much solutions on so many rows may be lower than the best if they are to be followed."""
    return CLOSE / n_rows**0.5


def _n_parameters(problem: Problem) -> int:
    n_components, n_features = problem.n_components, problem.data.n_features
    return n_components * (1 + n_features) + problem.structure.n_parameters(n_components, n_features)
