"""Several runs from different starts, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tgmm.covariance import CovarianceCollapse
from tgmm.em.run import Progress, Run
from tgmm.em.stopping import Stopping

SHORT_RUN = 10  # M-steps after which the runs are compared
FINISHED = 3  # one run in so many is finished


def best_run(starts: Iterable[Callable[[], Run]], stopping: Stopping, progress: Progress) -> Run:
    """Return the best of several runs; a run whose covariance collapses is lost.

    All make a short run, and the third of them with the highest objective goes on until it stops: the short-run
    strategy of Biernacki, Celeux & Govaert 2003 (Computational Statistics & Data Analysis 41). Where a finished run
    is lost the next best takes its place.

    Raises
    ------
    CovarianceCollapse
        If every run is lost.
    """
    short = Stopping(stopping.tol, min(SHORT_RUN, stopping.max_iter))
    runs, collapse = _surviving(starts, lambda start: _advanced(start(), short, progress))
    runs.sort(key=lambda run: -run.objective)
    n_finished = -(-len(runs) // FINISHED)
    finished: list[Run] = []
    for run in runs:
        if len(finished) == n_finished:
            break
        survivors, lost = _surviving([run], lambda run: _advanced(run, stopping, progress))
        finished += survivors
        collapse = lost or collapse
    if not finished:
        assert collapse is not None, "there is at least one start"
        raise collapse
    return max(finished, key=lambda run: run.objective)


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
