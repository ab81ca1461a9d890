"""Where a run starts, and its first parameters, by the same M-step as all later ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.covariance import Covariances, Structure
from tgmm.em.labels import labelled_centres
from tgmm.em.maximisation import Maximisation, Proposal
from tgmm.em.problem import Problem
from tgmm.kernels.assignment import given, winners
from tgmm.kernels.base import Assignment
from tgmm.mixture.base import SLACK
from tgmm.model.parameters import Parameters, nearest
from tgmm.model.statistics import Statistics
from tgmm.model.update import Maximiser
from tgmm.runtime.devices import widen
from tgmm.runtime.frozen import replace
from tgmm.start import Start
from tgmm.start.sample import repeated
from tgmm.start.views import Views


class Trial(NamedTuple):
    """A solution of trials, see `tgmm.em.trials`."""

    parameters: Parameters  # in the frame, on the CPU
    objective: float  # of the rows that it was tried on
    name: str  # of the start that it came from

    def in_form_of(self, structure: Structure) -> Trial:
        """Return the same solution as one of a structure that is the same mixture, see `em.starts.tried_update`."""
        return self._replace(parameters=self.parameters.in_form_of(structure))


@dataclass(frozen=True)
class Origin:
    """Where runs start: responsibilities, or means, or a start that finds centres. All in the frame.

    Given ``means``, ``weights`` and ``covariances`` take the place of those that come from the assignment of the
    rows to the nearest centres. Means can be a function of the generator, called for each run.
    """

    name: str = ""
    start: Start | None = None
    has_trials: bool = False  # whether trials of many starts come first, where they are worth their time
    views: Views | None = None  # of the sample, where several fits share them
    tried: Sequence[Trial] | None = None  # what trials found, where those of several fits are made at once
    responsibilities: Tensor | None = None  # (n_given,) or (n_given, K), of this process's rows
    means: Tensor | Callable[[torch.Generator], Tensor] | None = None  # (K, d)
    weights: Tensor | None = None  # (K,)
    covariances: Covariances | None = None
    solution: Parameters | None = None  # of an earlier fit, in place of all the above

    @property
    def is_regularised(self) -> bool:
        """Whether `reg_covar` is part of the covariances that runs start from."""
        return self.covariances is None

    @property
    def leaves_noise(self) -> bool:
        """Whether the weights that runs start from leave the noise some."""
        weights = self.weights if self.solution is None else self.solution.weights
        return weights is not None and bool(1 - weights.sum() > SLACK)

    @property
    def is_random(self) -> bool:
        """Whether two runs can differ."""
        return self.start is not None or callable(self.means)


class Started(NamedTuple):
    """What a run begins with."""

    parameters: Parameters
    regularisation: Tensor  # what is added to every variance, (d,), or () where there is one scale
    notes: tuple[str, ...] = ()
    name: str = ""  # of the start
    seed: int = 0  # of what it drew at random


def started(problem: Problem, origin: Origin, seed: int, seen: Problem | None = None) -> Started:
    """Return what a run from an origin begins with; the start sees the problem, or another without noise."""
    seen = problem if seen is None or problem.special.labels is not None else seen
    generator = torch.Generator().manual_seed(seed)
    means = origin.means(generator) if callable(origin.means) else origin.means
    whole = origin.solution
    if means is not None and origin.weights is not None and origin.covariances is not None:
        whole = Parameters(origin.weights, means, origin.covariances)
    if whole is not None:
        found = Started(whole, problem.regularisation.resolve(whole), (), origin.name)
    elif origin.responsibilities is not None:
        anywhere = problem.frame.shift.new_zeros(problem.n_components, problem.data.n_features)
        found = _from_assignment(problem, origin, nearest(anywhere), given, None)
    else:
        centres = _centres(problem, seen, origin, generator) if means is None else means
        found = _from_assignment(seen, origin, nearest(centres), winners, means)
    if problem.noise is not None and not origin.leaves_noise:
        share = seen.special.noise_share
        found = found._replace(parameters=beside_noise(problem, found.parameters, share))
    return found._replace(name=origin.name, seed=seed if origin.is_random else 0)


def beside_noise(problem: Problem, parameters: Parameters, share: float) -> Parameters:
    """Return parameters whose weights leave the noise a share; fixed weights stay."""
    mass, held = parameters.weights, problem.update.held
    if held is None:
        return replace(parameters, weights=mass / mass.sum() * (1 - share))
    free = torch.where(held.weights, 0.0, mass)
    return replace(parameters, weights=held.weights_among(mass, free.sum() * share / (1 - share)))


def started_from(problem: Problem, origin: Origin, parameters: Parameters, assignment: Assignment) -> Started:
    """Return what a run begins with that goes on from parameters in the frame."""
    return _from_assignment(problem, origin, parameters, assignment, None)


def _from_assignment(
    problem: Problem, origin: Origin, assigning: Parameters, assignment: Assignment, means: Tensor | None
) -> Started:
    """Return what begins from the assignment of rows under parameters, or from their given responsibilities."""
    resolved: list[Tensor] = []  # the run's regularisation

    def put_in(parameters: Parameters) -> Parameters:
        """Return parameters with those that were given."""
        return replace(
            parameters,
            weights=parameters.weights if origin.weights is None else origin.weights,
            means=parameters.means if means is None else means,
            covariances=parameters.covariances if origin.covariances is None else origin.covariances,
        )

    def propose(mode: Callable[[Maximiser], Parameters], statistics: Statistics, resolution: float) -> Proposal:
        """Put given parameters in, then resolve the regularisation and add it to covariances not given."""
        plain = mode(problem.update)
        parameters = put_in(plain)
        resolved[:] = [problem.regularisation.resolve(parameters)]
        if origin.covariances is None:
            parameters = put_in(mode(problem.update.regularised(resolved[0])))
        is_resolved = bool(problem.regularisation.is_resolved(plain, statistics.centre, resolution))
        return Proposal(parameters, plain.means, is_resolved)

    expectation = problem.expectation(assignment)
    if origin.responsibilities is not None:
        expectation = replace(expectation, data=problem.data.knowing(origin.responsibilities))
    statistics, rung = expectation(assigning, 0)
    found = Maximisation(expectation, problem.update, propose)(statistics, assigning, rung)
    # A given mean stays where it is; the run will see whether it gets rows.
    return Started(found.parameters, resolved[0], found.notes if means is None else ())


def _centres(problem: Problem, seen: Problem, origin: Origin, generator: torch.Generator) -> Tensor:
    """Return the centres that the start finds, (K, d); with fewer different rows than K they repeat."""
    start, n_components = origin.start, problem.n_components
    if n_components == 1:  # it has all rows, wherever it is
        return problem.frame.shift.new_zeros(1, problem.data.n_features)
    assert start is not None
    rows, weights = seen.start_rows
    if rows.shape[0] <= n_components:
        centres = repeated(rows, n_components)
    else:
        centres = problem.data.processes.agreed(lambda: widen(start(rows, weights, n_components, generator)).cpu())
    centres = widen(centres).to(problem.frame.shift.device)
    return centres if problem.special.labels is None else labelled_centres(problem, centres)
