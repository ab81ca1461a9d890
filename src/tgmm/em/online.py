"""Online learning: a mixture that follows rows which come in batches and are seen once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.data.training import Training
from tgmm.em.maximisation import Maximisation, regularised
from tgmm.em.precision import Ladder
from tgmm.em.problem import Problem
from tgmm.em.solution import Solution, out_of_frame
from tgmm.em.start import Origin
from tgmm.em.starts import starts
from tgmm.em.step import EM
from tgmm.em.stepwise import Blended, Continuation, Memory
from tgmm.kernels.base import Assignment
from tgmm.kernels.choose import kernels_for
from tgmm.mixture.evaluation import criteria_on
from tgmm.mixture.mixture import Mixture
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.regularisation import Regularisation
from tgmm.model.update import Maximiser
from tgmm.runtime.devices import float64_device, home, moved, working_type

HISTORY = 1000  # the objectives of so many batches are kept


@dataclass(frozen=True)
class Learner:
    """A mixture before a batch, with what a step needs, all in the frame."""

    parameters: Parameters
    update: Maximiser
    frame: Frame
    regularisation: Tensor  # (d,) or ()
    memory: Memory | None = None  # None before the first batch
    notes: tuple[str, ...] = ()

    @classmethod
    def of_first_batch(cls, problem: Problem, origin: Origin, seed: int, assignment: Assignment) -> Learner:
        """Return the start that the first batch gives."""
        started = starts(problem, origin, 1, seed, assignment).begin[0]()
        notes = (*problem.degeneracies(), *started.notes)
        return cls(started.parameters, problem.update, problem.frame, started.regularisation, notes=notes)

    @classmethod
    def going_on(cls, solution: Solution, update: Maximiser, reg_covar: float, training: Training) -> Learner:
        """Return a fitted mixture; one that saw no rows counts as a batch as heavy as this one.

        The update is in the user's units.
        """
        mixture = solution.mixture
        place = home(mixture.n_components * mixture.structure.sums.size(mixture.n_features), training.device)
        continuation = solution.continuation
        if continuation is None:
            continuation = _from_parameters(mixture, reg_covar, training)
        elif not isinstance(mixture.structure.sums, Moment):  # sums that depend on the parameters cannot be added to
            known = solution.log_likelihood, solution.regularisation, *continuation.memory.counts
            continuation = Continuation.of_parameters(mixture, *known)
        continuation = continuation.to(place)
        frame = continuation.frame
        return cls(
            frame.parameters_in(mixture.parameters.to(place)),
            moved(update, place).in_frame(frame),
            frame,
            continuation.regularisation,
            continuation.memory,
        )


def _from_parameters(mixture: Mixture, reg_covar: float, training: Training) -> Continuation:
    """Return what goes on from a mixture that saw no rows: its parameters as a batch like this one."""
    one_scale = mixture.structure.one_scale
    frame = Frame.around(mixture.parameters, mixture.dtype, one_scale=one_scale)
    parameters = frame.parameters_in(mixture.parameters)
    nowhere_constant = torch.zeros_like(frame.scale, dtype=torch.bool)
    regularisation = Regularisation(reg_covar, one_scale, nowhere_constant)
    weight = training.data.weight
    log_likelihood = criteria_on(mixture, training.data, training.device).log_likelihood / weight
    memory = Memory.of_parameters(parameters, frame.log_density_in(log_likelihood)).weighing(weight, weight, 1)
    return Continuation(memory, frame, regularisation.resolve(parameters))


def learnt(
    learner: Learner, training: Training, before: Solution | None, step: float | None, assignment: Assignment
) -> Solution:
    """Return the solution after one E-step on a batch and one M-step.

    Raises
    ------
    ValueError
        If the batch is so far away that its squares leave the float type.
    CovarianceCollapse
        If a covariance collapses.
    """
    update, frame, data = learner.update, learner.frame, training.data
    dtype, structure = working_type(data.dtype), learner.update.structure
    gaps, n_components = training.survey.summary.n_gaps > 0, learner.parameters.n_components
    kernels = kernels_for(structure.sums, frame, n_components, dtype, training.device, gaps=gaps)
    ladder = Ladder(tuple(kernels))
    expectation = Blended(data, ladder, assignment, learner.memory, structure.sums, step)
    point, rung = EM(expectation, update).evaluate(learner.parameters, 0)
    if not torch.isfinite(point.statistics.second).all():
        raise ValueError(
            "X has values so far from the earlier rows that their squares leave the range of the float type."
        )
    maximisation = Maximisation(expectation, update, regularised(update, learner.regularisation))
    found = maximisation(point.statistics, learner.parameters, rung)
    place, weight = float64_device(training.device), float(point.statistics.weight)
    n_volumes = update.n_volumes(learner.parameters.n_components)
    objective = frame.log_density_out(point.objective, 1 + n_volumes / weight)
    history = () if before is None else before.history
    if before is not None:
        dtype = torch.promote_types(dtype, before.mixture.dtype)
    parameters = out_of_frame(found.parameters, frame, dtype).to(place)
    return Solution(
        mixture=Mixture.of(parameters, structure, dtype, training.columns),
        converged=False,
        n_iter=1 if learner.memory is None or before is None else before.n_iter + 1,
        log_likelihood=frame.log_density_out(float(point.statistics.log_likelihood) / weight),
        history=(*history, objective)[-HISTORY:],
        regularisation=frame.variances_out(learner.regularisation).to(place),
        notes=learner.notes + found.notes,
        continuation=Continuation(expectation.remembered(found.statistics, data.weight), frame, learner.regularisation),
    )
