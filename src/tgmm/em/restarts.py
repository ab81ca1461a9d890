"""Several runs from different starts, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tgmm.covariance import CovarianceCollapse
from tgmm.em.run import Progress, Run
from tgmm.em.stopping import Stopping

SHORT_RUN = 10  # M-steps before runs are compared for the first time; twice as many each time after that
OPTIMISM = 20.0  # how many times the gain that a run's last steps foretell it is given credit for


class Restarts:
    """Runs from different starts; a run whose covariance collapses is lost.

    The runs race: all are advanced together, and whenever their steps have doubled, those that even at several times
    the gain to be foreseen would end below the best so far are given up. Short runs that choose among starts are from
    Biernacki, Celeux & Govaert 2003 (Computational Statistics & Data Analysis 41); theirs choose after a fixed
    number of steps, which here lost runs that would have ended best.

    Parameters
    ----------
    starts : sequence of callable
        Each begins a run.

    Attributes
    ----------
    runs : list of Run, CovarianceCollapse or None
        Those begun, in the order of the starts; what a run was lost to, and None for one that was given up.
    n_steps : int
        M-steps to which runs are advanced before they are compared next.
    """

    def __init__(self, starts: Sequence[Callable[[], Run]]) -> None:
        self.starts = starts
        self.runs: list[Run | CovarianceCollapse | None] = []
        self.n_steps = SHORT_RUN

    def best(self, stopping: Stopping, progress: Progress) -> Run:
        """Return the best run, having begun and advanced what has to be.

        Raises
        ------
        CovarianceCollapse
            If every run is lost.
        """
        stage = replace(stopping, max_iter=min(self.n_steps, stopping.max_iter))
        for index, start in enumerate(self.starts):
            if index == len(self.runs):
                self._begin(start)
            self._advance(index, stage, progress)
        while stage.max_iter < stopping.max_iter and not all(run.converged for run in self._racing().values()):
            self._give_up()
            self.n_steps = 2 * stage.max_iter
            stage = replace(stage, max_iter=min(self.n_steps, stopping.max_iter))
            for index in self._racing():
                self._advance(index, stage, progress)
        if not self._racing():
            raise next(run for run in self.runs if isinstance(run, CovarianceCollapse))
        return max(self._racing().values(), key=lambda run: run.objective)

    def _racing(self) -> dict[int, Run]:
        """Return the runs that are neither lost nor given up, by their index."""
        return {index: run for index, run in enumerate(self.runs) if isinstance(run, Run)}

    def _begin(self, start: Callable[[], Run]) -> None:
        """Begin a run, which may be lost at once."""
        try:
            self.runs.append(start())
        except CovarianceCollapse as lost:
            self.runs.append(lost)

    def _advance(self, index: int, stopping: Stopping, progress: Progress) -> None:
        """Advance a run, which may be lost."""
        run = self.runs[index]
        if isinstance(run, Run):
            try:
                run.advance(stopping, progress)
            except CovarianceCollapse as lost:
                self.runs[index] = lost

    def _give_up(self) -> None:
        """Give up the runs that are not worth their steps."""
        racing = self._racing()
        best = max(run.objective for run in racing.values())
        for index, run in racing.items():
            if not run.objective + OPTIMISM * run.foreseen_gain >= best:
                self.runs[index] = None
