"""Online learning: a mixture that follows rows which come in batches and are seen once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tgmm import settings
from tgmm.covariance import CovarianceCollapse, CovarianceStructure, structure_named
from tgmm.data.frame import Frame
from tgmm.em.climb import Climb
from tgmm.em.expectation import Expectation
from tgmm.em.regularisation import Regularisation
from tgmm.em.step import Maximisation
from tgmm.em.stepwise import Blend, Continuation, Memory
from tgmm.estimation import Result, check_unchanged, out_of_frame, pose, priors_of, starting_point
from tgmm.fitting import Starter, explain
from tgmm.inputs import Training
from tgmm.kernels.assignment import hard, soft
from tgmm.kernels.choose import kernels_for
from tgmm.mixture import Mixture
from tgmm.placement import home, moved, standalone
from tgmm.precision import float64_device, working_type
from tgmm.priors import Priors
from tgmm.random_state import as_generator

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


def partial_fit(
    model: GaussianMixture, X: Any, y: Any = None, *, sample_weight: Any = None, step: float | None = None
) -> GaussianMixture:
    """Learn from one more batch of rows, each of which is seen once: stepwise EM.

    The expected statistics of the batch are blended into those remembered, with a share gamma, and an M-step
    follows: s = (1 - gamma) s + gamma s(batch).

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        One batch. The first one is what an unfitted model starts from, by `init_means` and its companions, and is to
        hold many rows of each component; later ones may have any size.
    y : ignored
    sample_weight : array-like of shape (n,), optional
        Not negative; a weight of 2 equals the row twice.
    step : float, optional
        gamma in (0, 1]. None: (t + 2)^-0.6 after t batches, with which a stream of rows from one distribution
        converges to the estimate from all of them at once. A constant forgets old batches at that rate, and so
        follows a distribution that drifts.

    Returns
    -------
    self

    Raises
    ------
    ValueError
        For unusable data or settings, and when a covariance collapses; the model is then as it was before.

    Notes
    -----
    gamma is that of a batch of average weight: the odds gamma / (1 - gamma) of others are in proportion to their
    weight. After `fit`, all its rows count as one batch; for a model from parameters these are a batch as heavy as
    X. Priors are weighed against all rows so far, or with a constant step against those not forgotten. `lower_bound_`
    and the new entries of `objective_history_` are averages, blended like the statistics, over the batches under the
    parameters before their steps. `converged_` is False. `tol`, `max_iter`, `n_init` and `accelerate` are not used.

    Sources: Cappé & Moulines 2009 (J. Royal Statistical Society B 71); Liang & Klein 2009 (NAACL) for the schedule.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> gmm = GaussianMixture(n_components=2, random_state=0)
    >>> for _ in range(50):
    ...     labels = rng.integers(2, size=100)
    ...     gmm = gmm.partial_fit(rng.normal(5.0 * labels, 1.0)[:, None])
    >>> gmm.means_.flatten().sort().values.round().tolist()
    [0.0, 5.0]
    """
    if step is not None and not 0 < settings.check_number(step, "step") <= 1:
        raise ValueError(f"step must be None or a number > 0 and <= 1; got {step!r}.")
    is_new = not model.__sklearn_is_fitted__()
    structure = structure_named(model.covariance_type)
    data = Training.of(model, X, sample_weight, reset=is_new)
    try:
        learner = (_from_nothing if is_new else _going_on)(model, data, structure)
        result = _learn(model, learner, data, step)
    except CovarianceCollapse as collapse:
        raise ValueError(explain(collapse, structure, model.reg_covar)) from collapse
    dtype = working_type(data.batches.dtype)
    model._adopt(result, dtype if is_new else torch.promote_types(dtype, model._dtype))
    if result.notes:
        warnings.warn("; ".join(result.notes), UserWarning, stacklevel=2)
    return model


@dataclass(frozen=True)
class Learner:
    """A mixture before a batch, with what a step needs, all in the frame."""

    mixture: Mixture
    priors: Priors
    frame: Frame
    regularisation: Tensor  # (d,) or ()
    memory: Memory | None = None  # None before the first batch
    history: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@standalone()
def _from_nothing(model: GaussianMixture, data: Training, structure: CovarianceStructure) -> Learner:
    """Return the start that the first batch gives."""
    problem, notes = pose(model, data)
    starter = Starter(problem, starting_point(model, problem, None))
    mixture = starter(as_generator(model.random_state))
    return Learner(mixture, problem.priors, problem.frame, starter.regularisation, notes=notes + starter.notes)


@standalone()
def _going_on(model: GaussianMixture, data: Training, structure: CovarianceStructure) -> Learner:
    """Return the fitted model."""
    n_components = settings.check_integer(model.n_components, "n_components", 1)
    n_features = data.batches.n_features
    check_unchanged(model, structure, n_components, n_features, "partial_fit")
    place = home(n_components * structure.moment.size(n_features), data.device)
    parameters = moved(model._parameters, place)
    going_on = model._continuation or _from_parameters(model, structure, data.batches.weight)
    going_on = going_on.to(place)
    priors = moved(priors_of(model, structure, n_components, n_features), place)
    return Learner(
        Mixture.of(going_on.frame.parameters_in(parameters, structure), structure),
        priors.in_frame(going_on.frame, structure),
        going_on.frame,
        going_on.regularisation,
        going_on.memory,
        model.objective_history_,
    )


def _from_parameters(model: GaussianMixture, structure: CovarianceStructure, weight: float) -> Continuation:
    """Return what goes on from a model that saw no rows: its parameters as a batch of this weight."""
    frame = Frame.around(model._parameters, structure, model._dtype)
    parameters = frame.parameters_in(model._parameters, structure)
    nowhere_constant = torch.zeros_like(frame.scale, dtype=torch.bool)
    regularisation = Regularisation(settings.check_number(model.reg_covar, "reg_covar"), structure, nowhere_constant)
    memory = Memory.of_parameters(parameters, structure).weighing(weight, weight, 1)
    return Continuation(memory, frame, regularisation.resolve(parameters))


@standalone()
def _learn(model: GaussianMixture, learner: Learner, data: Training, step: float | None) -> Result:
    """Return the model after one E-step on a batch and one M-step."""
    structure, frame = learner.mixture.structure, learner.frame
    n_components, dtype = learner.mixture.parameters.weights.shape[0], working_type(data.batches.dtype)
    blend = Blend(learner.memory, structure, step)
    maximisation = Maximisation(structure, learner.priors)
    kernels = kernels_for(structure, frame, n_components, dtype, data.device)
    assignment = hard if settings.check_flag(model.cem, "cem") else soft
    climb = Climb(Expectation(data.batches, kernels, assignment, blend), maximisation, learner.regularisation)
    state = climb.evaluate(learner.mixture)
    if not torch.isfinite(state.statistics.second).all():
        raise ValueError("X has values so far from the rows before it that their squares leave the float type.")
    mixture, _ = maximisation(state.statistics, state.mixture, climb.expectation, climb.regularise)
    assert blend.after is not None, "the batch was evaluated"
    device = float64_device(data.device)
    return Result(
        parameters=moved(out_of_frame(mixture.parameters, structure, frame, dtype), device),
        structure=structure,
        converged=False,
        n_iter=1 if learner.memory is None else model.n_iter_ + 1,
        log_likelihood=float(state.statistics.log_likelihood / state.statistics.weight),
        history=[*learner.history, state.objective],
        regularisation=frame.variances_out(learner.regularisation).to(device),
        notes=learner.notes + maximisation.notes,
        continuation=Continuation(blend.after, frame, learner.regularisation),
    )
