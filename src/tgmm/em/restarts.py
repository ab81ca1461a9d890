"""Several runs from different starts, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tgmm.covariance import CovarianceCollapse
from tgmm.em.run import Runner, Stopping
from tgmm.em.state import RunState

SHORT_RUN = 10  # M-steps before runs are compared for the first time; twice as many each time after that
OPTIMISM = 20.0  # how many times the gain that a run's last steps foretell it is given credit for


@dataclass(frozen=True)
class Entrant:
    """A run in a race, or what became of it: lost to a collapse, or given up."""

    run: RunState | None = None
    lost: CovarianceCollapse | None = None


@dataclass(frozen=True)
class Race:
    """A race between two iterations."""

    entrants: tuple[Entrant, ...] = ()  # those begun, in the order of the starts
    n_steps: int = SHORT_RUN  # M-steps to which runs are advanced before they are compared next

    def running(self) -> dict[int, RunState]:
        """Return the runs that are neither lost nor given up, by their index."""
        return {index: entrant.run for index, entrant in enumerate(self.entrants) if entrant.run is not None}

    def with_entrant(self, index: int, entrant: Entrant) -> Race:
        """Return the race with an entrant begun or changed."""
        return Race((*self.entrants[:index], entrant, *self.entrants[index + 1 :]), self.n_steps)

    def without_the_hopeless(self) -> Race:
        """Return the race without the runs that are not worth their steps."""
        running = self.running()
        best = max(run.objective for run in running.values())
        race = self
        for index, run in running.items():
            if not run.objective + OPTIMISM * run.foreseen_gain >= best:
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
    begin : callable
        Begins the run of this index.
    n_runs : int
    observe : callable
        Called with the race after every iteration of any run, and the run that made it.
    """

    runner: Runner
    begin: Callable[[int], RunState]
    n_runs: int
    observe: Callable[[Race, RunState], None]

    def finished(self, race: Race, stopping: Stopping) -> Race:
        """Return the race once all runs in it have converged or made their steps.

        Raises
        ------
        CovarianceCollapse
            If every run is lost.
        """
        stage = replace(stopping, max_iter=min(race.n_steps, stopping.max_iter))
        for index in range(self.n_runs):
            if index == len(race.entrants):
                race = race.with_entrant(index, self._begun(index))
            race = self._advanced(race, index, stage)
        while stage.max_iter < stopping.max_iter and not all(run.converged for run in race.running().values()):
            race = replace(race.without_the_hopeless(), n_steps=2 * stage.max_iter)
            stage = replace(stage, max_iter=min(race.n_steps, stopping.max_iter))
            for index in race.running():
                race = self._advanced(race, index, stage)
        if not race.running():
            raise next(entrant.lost for entrant in race.entrants if entrant.lost is not None)
        return race

    def _begun(self, index: int) -> Entrant:
        """Begin a run, which may be lost at once."""
        try:
            return Entrant(self.begin(index))
        except CovarianceCollapse as lost:
            return Entrant(lost=lost)

    def _advanced(self, race: Race, index: int, stopping: Stopping) -> Race:
        """Advance a run, which may be lost."""
        run = race.entrants[index].run
        if run is None:
            return race
        try:
            for state in self.runner.advanced(run, stopping):
                race = race.with_entrant(index, Entrant(state))
                self.observe(race, state)
        except CovarianceCollapse as lost:
            return race.with_entrant(index, Entrant(lost=lost))
        return race


def best_of(race: Race) -> RunState:
    """Return the highest of the runs in a race."""
    return max(race.running().values(), key=lambda run: run.objective)
