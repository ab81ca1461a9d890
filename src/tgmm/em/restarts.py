"""Several runs from different starts, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tgmm.covariance import CovarianceCollapse
from tgmm.em.batch import OPTIMISM
from tgmm.em.run import Runner, Stopping
from tgmm.em.state import FollowedRun, RunState
from tgmm.runtime.frozen import replace

SHORT_RUN = 10  # M-steps before runs are compared for the first time; twice as many each time after that


@dataclass(frozen=True)
class Entrant:
    """A run in a race, or what became of it: lost to a collapse, or given up."""

    run: RunState | None = None
    lost: CovarianceCollapse | None = None

    @classmethod
    def begun(cls, begin: Callable[[], RunState]) -> Entrant:
        """Begin a run, which may be lost at once."""
        try:
            return cls(begin())
        except CovarianceCollapse as lost:
            return cls(lost=lost)


@dataclass(frozen=True)
class Race:
    """A race between two iterations."""

    entrants: tuple[Entrant, ...]  # in the order of the starts
    n_steps: int = SHORT_RUN  # M-steps to which runs are advanced before they are compared next
    ended: tuple[FollowedRun, ...] = ()  # runs that ended before the race, and lower

    def running(self) -> dict[int, RunState]:
        """Return the runs that are neither lost nor given up, by their index."""
        return {index: entrant.run for index, entrant in enumerate(self.entrants) if entrant.run is not None}

    def with_entrant(self, index: int, entrant: Entrant) -> Race:
        """Return the race with an entrant changed."""
        return replace(self, entrants=(*self.entrants[:index], entrant, *self.entrants[index + 1 :]))

    def without_the_hopeless(self, is_degenerate: Callable[[RunState], bool]) -> Race:
        """Return the race without the runs that are not worth their steps."""
        running = self.running()
        best = best_of(list(running.values()), is_degenerate).objective
        race = self
        for index, run in running.items():
            if run.objective + OPTIMISM * run.foreseen_gain < best:
                race = race.with_entrant(index, Entrant())
        return race


@dataclass(frozen=True)
class Restarts:
    """Runs from different starts; a run whose covariance collapses is lost.

    The runs race: all are advanced together, and whenever their steps have doubled, those that even at several times
    the gain to be foreseen would end below the best so far are given up. Short runs that choose among starts are from
    Biernacki, Celeux & Govaert 2003 (Computational Statistics & Data Analysis 41); theirs choose after a fixed
    number of steps, which here lost runs that would have ended best.

    Parameters
    ----------
    runner : Runner
    is_degenerate : callable
        Whether a run is at a solution that is to lose against others.
    observe : callable
        Called after every iteration of any run with the run, and with what returns the race as it is then.
    """

    runner: Runner
    is_degenerate: Callable[[RunState], bool]
    observe: Callable[[RunState, Callable[[], Race]], None]

    def finished(self, race: Race, stopping: Stopping) -> Race:
        """Return the race once all runs in it have converged or made their steps.

        Raises
        ------
        CovarianceCollapse
            If every run is lost.
        """
        stage = replace(stopping, max_iter=min(race.n_steps, stopping.max_iter))
        while True:
            for index in race.running():
                race = self._advanced(race, index, stage)
            if stage.max_iter >= stopping.max_iter or all(run.converged for run in race.running().values()):
                break
            race = replace(race.without_the_hopeless(self.is_degenerate), n_steps=2 * stage.max_iter)
            stage = replace(stage, max_iter=min(race.n_steps, stopping.max_iter))
        if not race.running():
            raise next(entrant.lost for entrant in race.entrants if entrant.lost is not None)
        return race

    def _advanced(self, race: Race, index: int, stopping: Stopping) -> Race:
        """Advance a run, which may be lost."""
        run = race.entrants[index].run
        if run is None:
            return race
        try:
            with torch.inference_mode():  # autograd's bookkeeping is a sixth of a step on small data
                for state in self.runner.advanced(run, stopping):
                    run = state
                    self.observe(run, lambda run=run: race.with_entrant(index, Entrant(run)))
        except CovarianceCollapse as lost:
            return race.with_entrant(index, Entrant(lost=lost))
        return race.with_entrant(index, Entrant(run))


def best_of(runs: list[RunState], is_degenerate: Callable[[RunState], bool]) -> RunState:
    """Return the highest of runs, of those that are not degenerate if there are any."""
    if len(runs) > 1:
        runs = [run for run in runs if not is_degenerate(run)] or runs
    return max(runs, key=lambda run: run.objective)
