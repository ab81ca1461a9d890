"""A fit: runs from different starts, the best of which wins, and what it takes to go on with them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tgmm.covariance import CovarianceCollapse
from tgmm.data.data import Data
from tgmm.data.fingerprint import Fingerprint
from tgmm.data.summary import Summary
from tgmm.em.acceleration import Squarem
from tgmm.em.batch import Runs
from tgmm.em.degeneracy import Guard, notes_of_empty
from tgmm.em.merging import Escape
from tgmm.em.problem import Problem, explain
from tgmm.em.restarts import Entrant, Race, Restarts, best_of
from tgmm.em.run import Runner, Stopping
from tgmm.em.solution import Solution
from tgmm.em.start import Origin
from tgmm.em.starts import starts
from tgmm.em.state import FollowedRun, RunState
from tgmm.em.step import EM
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Assignment
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import kept, replace
from tgmm.runtime.progress import Reporter

ALL_NOISE, HALF_A_ROW = 0.99, 0.5  # share of the rows from which all are noise, and number below which none is
ROUNDING = 1e-9  # of a log-volume


@dataclass(frozen=True)
class Snapshot:
    """A fit between two iterations: all that it takes to go on from there."""

    summary: Summary  # of the data, which makes the frame
    seed: int  # of the sample that starts look at
    fingerprint: Fingerprint  # of the rows, and of what was given with each
    race: Race

    def to(self, device: torch.device) -> Snapshot:
        """Return the snapshot on a device."""
        entrants = [
            entrant if entrant.run is None else Entrant(entrant.run.to(device)) for entrant in self.race.entrants
        ]
        return replace(self, summary=moved(self.summary, device), race=replace(self.race, entrants=tuple(entrants)))

    def check_data(self, data: Data, fingerprint: Fingerprint) -> None:
        """Raise a ValueError that names what was given to the fit otherwise than now: rows, or what belongs to each."""
        before = self.fingerprint
        if before == fingerprint:
            return
        if before.rows != fingerprint.rows:
            other = (
                f"data: {self.summary.n_rows} rows of {self.summary.origin.numel()} features, where X has "
                f"{data.n_rows} of {data.n_features}, or other values"
            )
        else:
            names = {"weights": "sample_weight", "known": "init_responsibilities", "labels": "labels"}
            other = next(names[name] for name in names if getattr(before, name) != getattr(fingerprint, name))
        raise ValueError(f"The checkpoint was written in a fit to other {other}. Give the same, or fit without resume.")


class Journal(ABC):
    """Where a fit is recorded, so that another can go on from there."""

    @abstractmethod
    def read(self) -> Snapshot | None:
        """Return the last record, or None where the fit begins."""

    @abstractmethod
    def is_due(self, *, at_end: bool) -> bool:
        """Whether it is time to write; asked once an iteration, and at the end."""

    @abstractmethod
    def write(self, snapshot: Snapshot) -> None:
        """Record a snapshot."""


@dataclass(frozen=True)
class Policy:
    """How a problem is fitted."""

    stopping: Stopping
    n_init: int = 1
    assignment: Assignment = soft  # or hard, which is Classification EM
    accelerate: bool = False
    moves: bool = False


@dataclass(frozen=True)
class Fit:
    """The fit of one problem.

    Parameters
    ----------
    problem : Problem
    origin : Origin
    policy : Policy
    seed : int
        Of the sample that starts look at, and of all that they draw.
    fingerprint : Fingerprint
        Of the data, where the fit is recorded.
    """

    problem: Problem
    origin: Origin
    policy: Policy
    seed: int
    fingerprint: Fingerprint = field(default_factory=Fingerprint)

    @property
    def em(self) -> EM:
        """Plain EM on the problem."""
        return EM(self.problem.expectation(self.policy.assignment), self.problem.update)

    @property
    def runner(self) -> Runner:
        """How runs are advanced."""
        em = self.em
        step = Squarem(em).step if self.policy.accelerate else em.step
        stopping = self.policy.stopping
        escape = Escape(em, stopping.tol, stopping.max_iter) if self.policy.moves else None
        return Runner(em, step, self.origin.is_regularised, escape)

    def solved(
        self, progress: Reporter, journal: Journal | None = None, earlier: Snapshot | None = None
    ) -> tuple[Solution, bool]:
        """Return the solution that the best run comes to, and whether it is degenerate.

        Parameters
        ----------
        progress : Reporter
        journal : Journal, optional
            Where the fit is recorded.
        earlier : Snapshot, optional
            Of an earlier fit, whose runs go on.

        Raises
        ------
        ValueError
            If the covariances of every run collapse.
        """
        notes, problem = self.problem.degeneracies(), self.problem
        race = self._raced(progress, journal, earlier)
        run = best_of(list(race.running().values()), self.is_degenerate)
        notes += self._notes(run)
        runs = [run.followed, *self._others(race, run)]
        solution = Solution.of_run(run, problem.units, problem.structure, problem.columns, notes, runs)
        progress.conclude(solution.runs)
        return solution, self.is_degenerate(run)

    def _raced(self, progress: Reporter, journal: Journal | None, earlier: Snapshot | None) -> Race:
        """Return runs from all starts, or those of an earlier fit, at their ends."""

        def observed(run: RunState, race: Callable[[], Race]) -> None:
            objective = self.problem.units.objective_out(run.objective)
            progress(run.n_iter, objective, run.history[-1] - run.history[-2])
            self._record(journal, race, at_end=False)

        race = self._begun() if earlier is None else self._resumed(earlier)
        try:
            race = Restarts(self.runner, self.is_degenerate, observed).finished(race, self.policy.stopping)
        except CovarianceCollapse as collapse:
            raise ValueError(explain(collapse, self.problem.regularisation.reg_covar)) from collapse
        if not all(math.isfinite(run.objective) for run in race.running().values()):
            raise ValueError(
                "The log-likelihood of a run is not finite: rows are too far from the start, or sample_weight is too "
                "large, for float64. Rescale the features, give another start, or divide sample_weight by a factor."
            )
        self._record(journal, lambda: race, at_end=True)
        return race

    def _others(self, race: Race, best: RunState) -> list[FollowedRun]:
        """Return what users are told of the other runs, the degenerate ones last."""
        runs: list[tuple[bool, FollowedRun]] = [(True, each) for each in race.ended]
        runs += [(not self.is_degenerate(run), run.followed) for run in race.running().values() if run is not best]
        return [followed for _, followed in sorted(runs, reverse=True)]

    def is_degenerate(self, run: RunState) -> bool:
        """Whether a run is at a solution that is to lose against others."""
        return bool(self._guard.degenerate(Runs.of(run), run.regularisation.cpu()))

    def _notes(self, run: RunState) -> list[str]:
        """Return what the user should know of a run that ends at such a solution."""
        noise = self._notes_of_noise(float(run.parameters.rest))
        empty = [] if noise else notes_of_empty(run, self.problem.update.priors, self.problem.data.n_rows)
        return [*noise, *empty, *self._guard.notes(run, self.problem.columns)]

    def _notes_of_noise(self, share: float) -> list[str]:
        """Return what a share of noise says of its volume."""
        noise = self.problem.noise
        if noise is None:
            return []
        if share > ALL_NOISE:
            return [
                f"noise_volume={noise.volume:.4g} is so small that all rows are noise, and nothing is left for "
                "components: raise it"
            ]
        if share * self.problem.data.n_rows < HALF_A_ROW and noise.log_volume > noise.log_box + ROUNDING:
            return [
                f"noise_volume={noise.volume:.4g} is so large that no row is noise, more than the "
                f"{math.exp(noise.log_box):.4g} of the box around all rows: lower it, or leave noise out"
            ]
        return []

    @kept
    def _guard(self) -> Guard:
        return Guard.of(self.problem)

    @torch.inference_mode()  # as in `Restarts`
    def _begun(self) -> Race:
        """Return a race in which every run has begun."""
        policy = self.policy
        begin, ended = starts(self.problem, self.origin, policy.n_init, self.seed, policy.assignment)
        entrants = (Entrant.begun(lambda start=start: self.em.begin(start())) for start in begin)
        return Race(tuple(entrants), ended=ended)

    def _resumed(self, earlier: Snapshot) -> Race:
        """Return the race of an earlier fit, on a device of more kernels perhaps, or with a larger `tol`."""
        race = earlier.to(self.problem.frame.shift.device).race
        last = len(self.problem.ladder.kernels) - 1
        for index, run in race.running().items():
            converged = run.converged and self.policy.stopping.converged(replace(run, converged=False))
            race = race.with_entrant(index, Entrant(replace(run, rung=min(run.rung, last), converged=converged)))
        return race

    def _record(self, journal: Journal | None, race: Callable[[], Race], *, at_end: bool) -> None:
        """Record the race where that is due, by rank 0."""
        if journal is None or not journal.is_due(at_end=at_end):
            return
        processes = self.problem.data.processes
        snapshot = Snapshot(self.problem.summary, self.seed, self.fingerprint, race())
        processes.guard(lambda: journal.write(snapshot) if processes.rank == 0 else None)
