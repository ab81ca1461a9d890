"""Runs as data: all that it takes to go on from between two iterations, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tgmm.em.acceleration import LONGEST, Squarem
from tgmm.em.climb import State
from tgmm.em.run import Run
from tgmm.parameters import Parameters
from tgmm.placement import moved
from tgmm.statistics import Statistics


@dataclass(frozen=True)
class Moment:
    """A state of a run without what follows from its parameters."""

    parameters: Parameters
    statistics: Statistics
    objective: float

    @classmethod
    def of(cls, state: State) -> Moment:
        """Return the moment of a state."""
        return cls(state.mixture.parameters, state.statistics, state.objective)


@dataclass(frozen=True)
class RunRecord:
    """A run between two iterations, in the frame."""

    moments: list[Moment]  # the last is the state that was reached
    n_path: int  # how many of them, at the end, an acceleration has gathered
    longest: float  # its bound on the step length
    history: list[float]
    converged: bool
    regularisation: Tensor
    notes: list[str]
    reseeded: list[int]
    n_kernels: int  # that have not proved too imprecise

    @classmethod
    def of(cls, run: Run) -> RunRecord:
        """Return the record of a run."""
        climb, path, longest = run.climb, [], LONGEST
        if isinstance(climb, Squarem):
            longest = climb.longest
            path = climb.path if climb.path and climb.path[-1] is run.state else []
        return cls(
            moments=[Moment.of(state) for state in path or [run.state]],
            n_path=len(path),
            longest=longest,
            history=list(run.history),
            converged=run.converged,
            regularisation=run.regularisation,
            notes=list(run.notes),
            reseeded=sorted(climb.maximisation.reseeded),
            n_kernels=climb.expectation.n_kernels,
        )

    def to(self, device: torch.device) -> RunRecord:
        """Return the record on a device."""
        moments = [
            Moment(moved(moment.parameters, device), moved(moment.statistics, device), moment.objective)
            for moment in self.moments
        ]
        return replace(self, moments=moments, regularisation=self.regularisation.to(device))
