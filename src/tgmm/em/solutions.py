"""Solutions of many problems that were fitted together, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tgmm.covariance import Structure
from tgmm.data.columns import Columns
from tgmm.em.degeneracy import Guard, are_sound, notes_of_empty, own_share
from tgmm.em.fit import Policy
from tgmm.em.many import Ends, Origins, fitted
from tgmm.em.problem import Units
from tgmm.em.problems import Problems
from tgmm.em.solution import Solution
from tgmm.em.state import FollowedRun, Point, RunState
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import replace


@dataclass(frozen=True)
class Solutions:
    """What runs came to, and what there is to say of each.

    Parameters
    ----------
    ends : Ends
        In the frames.
    frame : Frame
        (P, 1, d).
    unit : Tensor of shape (P,)
        Of the weights.
    n_volumes : Tensor of shape (P,)
        How often the log-volume of the frame is part of an objective.
    structure : Structure
    dtype : torch.dtype
        Of the rows.
    device : torch.device
        Of the fits; what is kept of them is on the CPU.
    runs : sequence of sequence of FollowedRun
        The runs of each that were followed, the best first.
    notes : sequence of list of str
    """

    ends: Ends
    frame: Frame
    unit: Tensor
    n_volumes: Tensor
    structure: Structure
    dtype: torch.dtype
    device: torch.device
    runs: Sequence[Sequence[FollowedRun]]
    notes: Sequence[list[str]]

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters of all, in the user's units, on the device."""
        return self.frame.parameters_out(self.ends.runs.parameters).to(self.device)

    @cached_property
    def log_likelihood(self) -> Tensor:
        """The average log-likelihoods, (P,)."""
        statistics = self.ends.runs.statistics
        return statistics.log_likelihood / statistics.weight - self.frame.scale.log().sum((1, 2))

    def run(self, place: int) -> RunState:
        """Return one of the runs, at its end."""
        ends = self.ends
        runs = ends.runs
        point = Point(runs.parameters.of_some(place), runs.statistics.of_some(place), float(runs.objective[place]))
        n_iter = int(ends.n_iter[place])
        return RunState(
            point,
            ends.regularisation[place],
            tuple(ends.history[place, : n_iter + 1].tolist()),
            converged=bool(ends.converged[place]),
            start=self.runs[place][0].start,
            seed=self.runs[place][0].seed,
        )

    def solution(self, columns: Sequence[Columns], place: int) -> Solution:
        """Return one of the solutions; each problem has its columns."""
        frame, run = Frame(self.frame.shift[place, 0], self.frame.scale[place, 0]), self.run(place)
        unit, n_volumes = float(self.unit[place]), float(self.n_volumes[place])
        units = Units(frame, unit, n_volumes, self.dtype, self.device)
        runs = [run.followed, *self.runs[place][1:]]
        return Solution.of_run(run, units, self.structure, columns[place], self.notes[place], runs)


def solutions(
    problems: Problems, origins: Origins, policy: Policy, columns: Sequence[Columns]
) -> tuple[Solutions, Tensor] | None:
    """Return the solutions of problems, and their places among these; others are to be fitted alone.

    None where all are. Each problem has its columns.
    """
    ends, host = fitted(problems, origins, policy), torch.device("cpu")
    if ends is None:
        return None
    ends, frame = moved(ends, host), moved(problems.frame, host)
    places = ends.runs.start
    variances = frame.of_some(places).parameters_out(ends.runs.parameters).covariances.variances
    usable = (torch.isfinite(variances) & (variances > 0)).flatten(1).all(1)
    if not usable.all():
        places, ends = places[usable], ends.of_some(usable)
    if len(places) < len(problems):
        problems, frame = problems.of_some(places), frame.of_some(places)
    n_volumes = 1 + problems.update.priors.n_volumes(problems.n_components) / ends.runs.statistics.weight
    silent: list[list[str]] = [[] for _ in range(len(problems))]
    kind = (problems.structure, problems.dtype, problems.unit.device)
    followed = _followed(origins.of_some(places), ends.runs.objective)
    found = Solutions(ends, frame, problems.unit.cpu(), n_volumes, *kind, followed, silent)
    return replace(found, notes=_notes(found, problems, [columns[place] for place in places.tolist()])), places


def _followed(origins: Origins, objectives: Tensor) -> list[list[FollowedRun]]:
    """Return the runs of each problem that were followed, those that ended with these objectives (P,) first."""
    if origins.tried:
        found = [[FollowedRun(trial.objective, trial.name, origins.seed) for trial in each] for each in origins.tried]
        ends = zip(found, objectives.tolist(), strict=True)
        return [[runs[0]._replace(objective=objective), *runs[1:]] for runs, objective in ends]
    seed = origins.seed if origins.start is not None else 0
    return [[FollowedRun(objective, origins.name, seed)] for objective in objectives.tolist()]


def _notes(found: Solutions, problems: Problems, columns: Sequence[Columns]) -> list[list[str]]:
    """Return what the user should know of solutions of problems."""
    ends, counts, statistics = found.ends, problems.n_distinct.cpu(), found.ends.runs.statistics
    n_rows = statistics.mass * (counts / statistics.weight)[:, None]
    amount = ends.regularisation.reshape(len(problems), 1, -1)
    sound = are_sound(ends.runs.parameters.covariances, n_rows, amount, own_share(problems.reg_covar))
    notes: list[list[str]] = [[] for _ in range(len(problems))]
    for place in (~sound).nonzero().flatten().tolist():
        run, count = found.run(place), int((problems.weights[place] > 0).sum())
        guard = _guard(problems, place)
        notes[place] = [*notes_of_empty(run, guard.priors, count), *guard.notes(run, columns[place])]
    return notes


def _guard(problems: Problems, place: int) -> Guard:
    """Return what tells degenerate solutions of one of the problems."""
    seen = slice(int(problems.n_distinct[place]))
    rows, weights = (part[place, seen].cpu() for part in problems.start_rows)
    priors, own = moved(problems.update.priors.of_some(place), rows.device), own_share(problems.reg_covar)
    return Guard(lambda: (rows, weights), problems.structure, priors, 1 / float(weights.sum()), own)
