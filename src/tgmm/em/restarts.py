"""Several runs from different starts, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tgmm.covariance import CovarianceCollapse
from tgmm.em.run import Progress, Run
from tgmm.em.stopping import Stopping

SHORT_RUN = 10  # M-steps before runs are compared for the first time; twice as many each time after that
OPTIMISM = 20.0  # how many times the gain that a run's last steps foretell it is given credit for


def best_run(starts: Iterable[Callable[[], Run]], stopping: Stopping, progress: Progress) -> Run:
    """Return the best of several runs; a run whose covariance collapses is lost.

    The runs race: all are advanced together, and whenever their steps have doubled, those that even at several times
    the gain to be foreseen would end below the best so far are given up. Short runs that choose among starts are from
    Biernacki, Celeux & Govaert 2003 (Computational Statistics & Data Analysis 41); theirs choose after a fixed
    number of steps, which here lost runs that would have ended best.

    Raises
    ------
    CovarianceCollapse
        If every run is lost.
    """
    stage = replace(stopping, max_iter=min(SHORT_RUN, stopping.max_iter))
    runs, collapse = _surviving(starts, lambda start: _advanced(start(), stage, progress))
    while runs and stage.max_iter < stopping.max_iter and not all(run.converged for run in runs):
        best = max(run.objective for run in runs)
        runs = [run for run in runs if run.objective + OPTIMISM * run.foreseen_gain >= best]
        stage = replace(stage, max_iter=min(2 * stage.max_iter, stopping.max_iter))
        runs, lost = _surviving(runs, lambda run, stage=stage: _advanced(run, stage, progress))
        collapse = lost or collapse
    if not runs:
        assert collapse is not None, "there is at least one start"
        raise collapse
    return max(runs, key=lambda run: run.objective)


def _advanced(run: Run, stopping: Stopping, progress: Progress) -> Run:
    run.advance(stopping, progress)
    return run


def _surviving(items: Iterable, advance: Callable[..., Run]) -> tuple[list[Run], CovarianceCollapse | None]:
    """Return the runs that advancing the items gives, and the last collapse that lost one."""
    runs, collapse = [], None
    for item in items:
        try:
            runs.append(advance(item))
        except CovarianceCollapse as lost:
            collapse = lost
    return runs, collapse
