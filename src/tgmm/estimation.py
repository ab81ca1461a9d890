"""From the estimator's settings and checked data to a result in the user's units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from tgmm import settings
from tgmm.covariance import CovarianceStructure, structure_named
from tgmm.data.frame import Frame, Summary, summarise
from tgmm.em.run import Run
from tgmm.em.stepwise import Continuation, Memory
from tgmm.em.stopping import Stopping
from tgmm.fitting import Origin, Problem, has_fewer_distinct_rows
from tgmm.inputs import Training, check_alike
from tgmm.parameters import Parameters
from tgmm.placement import moved, standalone
from tgmm.precision import float64_device, working_type
from tgmm.priors import Priors
from tgmm.progress import Reporter
from tgmm.random_state import as_generator
from tgmm.restarting import Fit, Snapshot
from tgmm.start import STARTS
from tgmm.start.sample import rows_in_memory

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


@dataclass(frozen=True)
class Result:
    """The outcome of a fit, in the user's units."""

    parameters: Parameters  # float64
    structure: CovarianceStructure
    converged: bool
    n_iter: int
    log_likelihood: float  # average, of exactly these parameters
    history: list[float]
    regularisation: Tensor  # (d,) or ()
    notes: list[str]
    continuation: Continuation | None = None  # what online learning goes on from

    @classmethod
    def of_parameters(cls, parameters: Parameters, structure: CovarianceStructure) -> Result:
        """Return the result that consists of parameters alone."""
        nothing = torch.zeros((), dtype=torch.float64)
        return cls(parameters, structure, True, 0, float("nan"), [], nothing, [])


class Journal(Protocol):
    """Where a fit is recorded, so that another can go on from there."""

    resume: bool

    def read(self) -> Snapshot | None:
        """Return the last record, or None where the fit begins."""
        ...

    def is_due(self, *, at_end: bool) -> bool:
        """Whether it is time to write; asked once an iteration, and at the end."""
        ...

    def write(self, snapshot: Snapshot) -> None:
        """Record a snapshot."""
        ...


@standalone()
def estimate(model: GaussianMixture, data: Training, init_responsibilities: Any, journal: Journal) -> Result:
    """Fit a model's mixture to rows, from the settings of its constructor."""
    processes = data.batches.processes
    check_alike(model, data, resume=journal.resume, has_responsibilities=init_responsibilities is not None)
    earlier = processes.first(processes.guard(lambda: journal.read() if processes.rank == 0 else None))

    def record(take: Callable[[], Snapshot], at_end: bool) -> None:
        if journal.is_due(at_end=at_end):
            processes.guard(lambda: journal.write(take()) if processes.rank == 0 else None)

    stopping = Stopping(settings.check_number(model.tol, "tol"), settings.check_integer(model.max_iter, "max_iter", 1))
    interval = settings.check_integer(model.verbose_interval, "verbose_interval", 1)
    problem, notes = pose(model, data, None if earlier is None else earlier.summary)
    responsibilities = processes.guard(lambda: data.responsibilities(init_responsibilities, problem.n_components))
    fit = Fit(
        problem,
        starting_point(model, problem, responsibilities),
        classification=settings.check_flag(model.cem, "cem"),
        accelerate=settings.check_accelerate(model.accelerate),
        n_init=settings.check_integer(model.n_init, "n_init", 1),
        generator=as_generator(model.random_state),
        record=record,
    )
    with Reporter(settings.check_verbose(model.verbose) and processes.rank == 0, interval) as progress:
        run = fit.best_run(stopping, progress, earlier)
    return _result(run, problem, notes + run.notes)


def pose(model: GaussianMixture, data: Training, known: Summary | None = None) -> tuple[Problem, list[str]]:
    """Return the problem that data and settings pose, and what in the data is degenerate.

    Where the summary of the data is known from before, its frame serves again.
    """
    batches = data.batches
    n_components = _check_sizes(model, data)
    structure = structure_named(model.covariance_type)
    reg_covar = settings.check_number(model.reg_covar, "reg_covar")
    priors = priors_of(model, structure, n_components, batches.n_features)
    if priors == Priors():
        # A common factor of the weights changes nothing, so that they can be made safe to multiply.
        batches = batches.in_unit(batches.weight / batches.n_rows)
    dtype = working_type(batches.dtype)
    summary = summarise(batches)
    if known is not None:
        summary = _recognised(moved(known, summary.origin.device), summary)
    _check_range(summary, dtype)
    problem = Problem.of(batches, summary, structure, n_components, priors, reg_covar, dtype, data.device)
    return problem, _degeneracies(problem, summary)


def _check_sizes(model: GaussianMixture, data: Training) -> int:
    """Return K, or raise a ValueError where it or d does not fit the data."""
    n_components = settings.check_integer(model.n_components, "n_components", 1)
    n_features = data.batches.n_features
    if model.n_features is not None:
        wanted = settings.check_integer(model.n_features, "n_features", 1)
        if wanted != n_features:
            raise ValueError(f"n_features={wanted}, but X has {n_features} features.")
    if n_components > data.n_given_to_all:
        raise ValueError(
            f"n_components={n_components} needs at least as many rows, but X has n_samples={data.n_given_to_all}: "
            "lower n_components."
        )
    if n_components > data.batches.n_rows:
        raise ValueError(
            f"n_components={n_components} needs at least as many rows of positive sample_weight; there are "
            f"{data.batches.n_rows}."
        )
    return n_components


def priors_of(model: GaussianMixture, structure: CovarianceStructure, n_components: int, n_features: int) -> Priors:
    """Return the checked priors of a model's settings, in the user's units."""
    return settings.check_priors(
        structure,
        n_components,
        n_features,
        weight_concentration_prior=model.weight_concentration_prior,
        mean_prior=model.mean_prior,
        mean_precision_prior=model.mean_precision_prior,
        covariance_prior=model.covariance_prior,
        degrees_of_freedom_prior=model.degrees_of_freedom_prior,
    )


def _recognised(known: Summary, summary: Summary) -> Summary:
    """Return the summary known from before, or raise a ValueError where the data is not the same."""
    same = known.n_rows == summary.n_rows and known.minimum.shape == summary.minimum.shape
    if not (same and torch.equal(known.minimum, summary.minimum) and torch.equal(known.maximum, summary.maximum)):
        raise ValueError(
            f"The checkpoint was written in a fit to other data: {known.n_rows} rows of {known.minimum.numel()} "
            f"features, where X has {summary.n_rows} of {summary.minimum.numel()}, or other values. Give the same "
            "data, or fit without resume."
        )
    return known


def _check_range(summary: Summary, dtype: torch.dtype) -> None:
    """Raise a ValueError where variances leave the float type."""
    variance, limits = summary.variance, torch.finfo(dtype)
    bad = ~(torch.isfinite(summary.mean) & torch.isfinite(variance) & (variance < limits.max))
    bad |= ~summary.constant & (variance < limits.tiny)
    if bad.any():
        column = int(bad.nonzero()[0])
        low, high = float(summary.minimum[column]), float(summary.maximum[column])
        raise ValueError(
            f"X has values from {low:g} to {high:g} in column {column}: their variance leaves the range of "
            f"{str(dtype).removeprefix('torch.')}. Rescale that feature"
            + (", or pass float64." if dtype == torch.float32 else ".")
        )


def starting_point(model: GaussianMixture, problem: Problem, responsibilities: Tensor | None) -> Origin:
    """Return where runs start, from `init_means` and its companions, in the frame."""
    frame, structure, n_components = problem.frame, problem.structure, problem.n_components
    n_features = problem.batches.n_features
    if (
        settings.check_flag(model.warm_start, "warm_start")
        and responsibilities is None
        and model.__sklearn_is_fitted__()
    ):
        return _warm_origin(model, problem)
    weights = model.init_weights
    if weights is not None:
        weights = settings.check_mixing_weights(weights, n_components, "init_weights").to(frame.scale.device)
    covariances = model.init_covariances
    if covariances is not None:
        covariances = settings.check_covariances(
            covariances, structure, n_components, n_features, "init_covariances"
        ).to(frame.scale.device)
        covariances = structure.rescale(covariances, 1 / frame.scale)
    origin = Origin(weights=weights, covariances=covariances)
    if responsibilities is not None:
        return replace(origin, responsibilities=responsibilities)
    means = settings.check_init_means(model.init_means, n_components, n_features)
    if isinstance(means, str):
        return replace(origin, start=STARTS[means])
    if isinstance(means, Tensor):
        return replace(origin, means=(means.to(frame.shift.device) - frame.shift) / frame.scale)

    def called(generator: torch.Generator) -> Tensor:
        rows = rows_in_memory(problem.batches, n_components, generator)
        processes, name = problem.batches.processes, "the result of init_means"
        found = processes.guard(
            lambda: settings.check_means(means(rows, n_components, generator), n_components, n_features, name)
        )
        return (processes.first(found).to(frame.shift.device) - frame.shift) / frame.scale

    return replace(origin, means=called)


def _warm_origin(model: GaussianMixture, problem: Problem) -> Origin:
    """Return the last solution as the start."""
    n_features = problem.batches.n_features
    check_unchanged(model, problem.structure, problem.n_components, n_features, "warm_start=True")
    framed = problem.frame.parameters_in(moved(model._parameters, problem.frame.shift.device), problem.structure)
    return Origin(weights=framed.weights, means=framed.means, covariances=framed.covariances, is_solution=True)


def check_unchanged(
    model: GaussianMixture, structure: CovarianceStructure, n_components: int, n_features: int, what: str
) -> None:
    """Raise a ValueError where a fitted model's settings are no longer those of its parameters."""
    if model._structure_name != structure.name or model._parameters.means.shape != (n_components, n_features):
        raise ValueError(
            f"{what} continues the last solution, but n_components, n_features or covariance_type changed since; "
            f"restore them, or fit anew{' with warm_start=False' * what.startswith('warm_start')}."
        )


def _degeneracies(problem: Problem, summary: Summary) -> list[str]:
    """Return what in the data makes some variance rest on `reg_covar` alone."""
    notes = []
    n_rows, n_features = problem.batches.n_rows, problem.batches.n_features
    constant = summary.constant.nonzero().flatten().tolist()
    if len(constant) == n_features:
        notes.append("all rows are identical")
    elif constant:
        notes.append(f"feature(s) {constant} are constant")
    if not notes and has_fewer_distinct_rows(problem.batches, problem.n_components):
        notes.append(f"there are fewer different rows than n_components={problem.n_components}")
    singular = problem.structure.moment.size(2) == 3 and n_rows <= n_features and problem.priors.scatter is None
    if singular and not notes:
        notes.append(f"there are no more rows ({n_rows}) than features ({n_features}) for covariance matrices")
    return [note + ": variances rest on reg_covar" for note in notes]


def out_of_frame(
    parameters: Parameters, structure: CovarianceStructure, frame: Frame, dtype: torch.dtype
) -> Parameters:
    """Map parameters out of the frame, and check that the float type can hold them."""
    parameters = frame.parameters_out(parameters, structure)
    variances = structure.variances(parameters.covariances, frame.scale.shape[0]).to(dtype)
    if not (torch.isfinite(variances).all() and (variances > 0).all()):
        raise ValueError(f"The fitted variances leave the range of {dtype}: rescale the features or pass float64.")
    return parameters


def _result(run: Run, problem: Problem, notes: list[str]) -> Result:
    """Map a run out of the frame, to the device of the fit."""
    structure, frame, device = problem.structure, problem.frame, float64_device(problem.device)
    memory = Memory.of(run.state.statistics.scale(problem.batches.unit), structure)
    return Result(
        parameters=moved(out_of_frame(run.parameters, structure, frame, problem.dtype), device),
        structure=structure,
        converged=run.converged,
        n_iter=run.n_iter,
        log_likelihood=run.log_likelihood,
        history=run.history,
        regularisation=frame.variances_out(run.regularisation).to(device),
        notes=list(dict.fromkeys(notes)),  # a component can be lost at the start and in the run
        continuation=Continuation(memory, frame, run.regularisation),
    )
