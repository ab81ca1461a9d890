"""A fit: runs from different starts, the best of which wins, and what it takes to go on with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse
from tgmm.data.frame import Summary
from tgmm.em.acceleration import Squarem
from tgmm.em.climb import Climb, Climber, State
from tgmm.em.expectation import Expectation
from tgmm.em.record import RunRecord
from tgmm.em.restarts import Restarts
from tgmm.em.run import Progress, Run
from tgmm.em.step import Maximisation
from tgmm.em.stopping import Stopping
from tgmm.fitting import Origin, Problem, Starter, explain
from tgmm.kernels.assignment import hard, soft
from tgmm.mixture import Mixture
from tgmm.placement import moved


@dataclass(frozen=True)
class Snapshot:
    """A fit between two iterations: all that it takes to go on from there."""

    summary: Summary  # of the data, which makes the frame
    generator: Tensor  # (s,) its state
    runs: list[RunRecord | CovarianceCollapse | None]  # as in `Restarts`
    n_steps: int

    def to(self, device: torch.device) -> Snapshot:
        """Return the snapshot on a device, but for the generator's state."""
        runs = [run.to(device) if isinstance(run, RunRecord) else run for run in self.runs]
        return replace(self, summary=moved(self.summary, device), runs=runs)


@dataclass(frozen=True)
class Fit:
    """The fit of one problem.

    Parameters
    ----------
    record : callable
        Called after every iteration and at the end with what takes a snapshot, and whether it is the end.
    """

    problem: Problem
    origin: Origin
    classification: bool
    accelerate: bool
    n_init: int
    generator: torch.Generator
    record: Callable[[Callable[[], Snapshot], bool], None]

    def best_run(self, stopping: Stopping, progress: Progress, earlier: Snapshot | None) -> Run:
        """Return the best of n_init runs, beginning with those of an earlier fit where there was one.

        Raises
        ------
        ValueError
            If the covariances of every run collapse.
        """
        restarts = Restarts([self._start] * (self.n_init if self.origin.is_random else 1))
        if earlier is not None:
            self.generator.set_state(earlier.generator)
            records = earlier.to(self.problem.frame.shift.device).runs
            restarts.runs = [self._revive(run) if isinstance(run, RunRecord) else run for run in records]
            restarts.n_steps = earlier.n_steps

        def observe(iteration: int, objective: float, change: float) -> None:
            progress(iteration, objective, change)
            self.record(lambda: self._snapshot(restarts), False)

        try:
            run = restarts.best(stopping, observe)
        except CovarianceCollapse as collapse:
            structure, reg_covar = self.problem.structure, self.problem.regularisation.reg_covar
            raise ValueError(explain(collapse, structure, reg_covar)) from collapse
        self.record(lambda: self._snapshot(restarts), True)
        return run

    def _start(self) -> Run:
        """Begin a run."""
        starter = Starter(self.problem, self.origin)
        mixture = starter(self.generator)
        climber = self._climber(self._expectation(), starter.regularisation, set(), starter.notes)
        return Run(climber.evaluate(mixture), climber, start_is_regularised=self.origin.is_regularised)

    def _revive(self, record: RunRecord) -> Run:
        """Return a run as it was when it was recorded."""
        expectation = self._expectation(record.n_kernels)
        climber = self._climber(expectation, record.regularisation, set(record.reseeded), list(record.notes))
        states = [
            State(Mixture.of(moment.parameters, self.problem.structure), moment.statistics, moment.objective)
            for moment in record.moments
        ]
        if isinstance(climber, Squarem):
            climber.path, climber.longest = states[len(states) - record.n_path :], record.longest
        return Run(
            states[-1],
            climber,
            start_is_regularised=self.origin.is_regularised,
            history=record.history,
            converged=record.converged,
        )

    def _expectation(self, n_kernels: int = 0) -> Expectation:
        return self.problem.expectation(hard if self.classification else soft, n_kernels)

    def _climber(
        self, expectation: Expectation, regularisation: Tensor, reseeded: set[int], notes: list[str]
    ) -> Climber:
        maximisation = Maximisation(self.problem.structure, self.problem.priors, reseeded, notes)
        climb = Climb(expectation, maximisation, regularisation)
        return Squarem(climb) if self.accelerate else climb

    def _snapshot(self, restarts: Restarts) -> Snapshot:
        runs = [RunRecord.of(run) if isinstance(run, Run) else run for run in restarts.runs]
        return Snapshot(self.problem.summary, self.generator.get_state(), runs, restarts.n_steps)
