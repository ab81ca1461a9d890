"""From the estimator's settings and checked data to a result in the user's units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tgmm import settings
from tgmm.covariance import CovarianceStructure, structure_named
from tgmm.data.batches import TensorBatches
from tgmm.data.frame import Summary, summarise
from tgmm.em.run import Run
from tgmm.em.stopping import Stopping
from tgmm.fitting import Origin, Problem, fit, has_fewer_distinct_rows
from tgmm.parameters import Parameters
from tgmm.precision import working_type
from tgmm.priors import Priors
from tgmm.progress import Reporter
from tgmm.random_state import as_generator
from tgmm.start import STARTS
from tgmm.validation import check_responsibilities

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

    @classmethod
    def of_parameters(cls, parameters: Parameters, structure: CovarianceStructure) -> Result:
        """Return the result that consists of parameters alone."""
        nothing = torch.zeros((), dtype=torch.float64)
        return cls(parameters, structure, True, 0, float("nan"), [], nothing, [])


@torch.no_grad()
def estimate(
    model: GaussianMixture, rows: Tensor, weights: Tensor | None, init_responsibilities: Any, device: torch.device
) -> Result:
    """Fit a model's mixture to rows (n, d) with weights (n,), from the settings of its constructor."""
    n_rows, n_features = rows.shape
    n_components = _check_sizes(model, n_rows, n_features)
    structure = structure_named(model.covariance_type)
    stopping = Stopping(settings.check_number(model.tol, "tol"), settings.check_integer(model.max_iter, "max_iter", 1))
    n_init = settings.check_integer(model.n_init, "n_init", 1)
    interval = settings.check_integer(model.verbose_interval, "verbose_interval", 1)
    reg_covar = settings.check_number(model.reg_covar, "reg_covar")
    priors = _priors(model, structure, n_components, n_features)
    responsibilities = init_responsibilities
    if responsibilities is not None:
        responsibilities = check_responsibilities(responsibilities, n_rows, n_components)
    rows, weights, responsibilities = _without_zero_weights(rows, weights, responsibilities, n_components)
    if weights is not None:
        # Without priors a common factor of the weights changes nothing, so that they can be made safe to multiply.
        weights = (weights if priors != Priors() else weights / weights.mean()).to(rows.device)
    batches = TensorBatches(rows, weights)
    dtype = working_type(rows.dtype)
    summary = summarise(batches)
    _check_range(summary, dtype)
    problem = Problem.of(batches, summary, structure, n_components, priors, reg_covar, dtype, device)
    generator = as_generator(model.random_state)
    origin = _origin(model, problem, rows, responsibilities)
    with Reporter(settings.check_flag(model.verbose, "verbose"), interval) as progress:
        run = fit(
            problem,
            origin,
            accelerate=settings.check_accelerate(model.accelerate),
            classification=settings.check_flag(model.cem, "cem"),
            n_init=n_init,
            stopping=stopping,
            generator=generator,
            progress=progress,
        )
    return _result(run, problem, _degeneracies(problem, summary) + run.notes)


def _check_sizes(model: GaussianMixture, n_rows: int, n_features: int) -> int:
    """Return K, or raise a ValueError where it or d does not fit the data."""
    n_components = settings.check_integer(model.n_components, "n_components", 1)
    if model.n_features is not None:
        wanted = settings.check_integer(model.n_features, "n_features", 1)
        if wanted != n_features:
            raise ValueError(f"n_features={wanted}, but X has {n_features} features.")
    if n_components > n_rows:
        raise ValueError(
            f"n_components={n_components} needs at least as many rows, but X has n_samples={n_rows}: lower "
            "n_components."
        )
    return n_components


def _priors(model: GaussianMixture, structure: CovarianceStructure, n_components: int, n_features: int) -> Priors:
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


def _without_zero_weights(
    rows: Tensor, weights: Tensor | None, responsibilities: Tensor | None, n_components: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Leave out rows of weight 0: they are no data."""
    if weights is None or bool((weights > 0).all()):
        return rows, weights, responsibilities
    kept = weights > 0
    if int(kept.sum()) < n_components:
        raise ValueError(
            f"n_components={n_components} needs at least as many rows of positive sample_weight; there are "
            f"{int(kept.sum())}."
        )
    if responsibilities is not None:
        responsibilities = responsibilities[kept.to(responsibilities.device)]
    return rows[kept.to(rows.device)], weights[kept], responsibilities


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


def _origin(model: GaussianMixture, problem: Problem, rows: Tensor, responsibilities: Tensor | None) -> Origin:
    """Return where runs start, from `init_means` and its companions, in the frame."""
    frame, structure, n_components = problem.frame, problem.structure, problem.n_components
    n_features = rows.shape[1]
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
        found = settings.check_means(
            means(rows, n_components, generator), n_components, n_features, "the result of init_means"
        )
        return (found.to(frame.shift.device) - frame.shift) / frame.scale

    return replace(origin, means=called)


def _warm_origin(model: GaussianMixture, problem: Problem) -> Origin:
    """Return the last solution as the start."""
    parameters: Parameters = model._parameters
    wanted = (problem.n_components, problem.batches.n_features)
    if model._structure_name != problem.structure.name or parameters.means.shape != wanted:
        raise ValueError(
            "warm_start=True continues the last solution, but n_components, n_features or covariance_type changed "
            "since; set warm_start=False or restore them."
        )
    framed = problem.frame.parameters_in(parameters, problem.structure)
    return Origin(weights=framed.weights, means=framed.means, covariances=framed.covariances, is_solution=True)


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
    singular = problem.structure.moment.size(2) == 3 and n_rows <= n_features and not problem.priors.scatter
    if singular and not notes:
        notes.append(f"there are no more rows ({n_rows}) than features ({n_features}) for covariance matrices")
    return [note + ": variances rest on reg_covar" for note in notes]


def _result(run: Run, problem: Problem, notes: list[str]) -> Result:
    """Map a run out of the frame, and check that the float type can hold it."""
    structure, frame = problem.structure, problem.frame
    parameters = frame.parameters_out(run.parameters, structure)
    variances = structure.variances(parameters.covariances, frame.scale.shape[0]).to(problem.dtype)
    if not (torch.isfinite(variances).all() and (variances > 0).all()):
        raise ValueError(
            f"The fitted variances leave the range of {problem.dtype}: rescale the features or pass float64."
        )
    scale = frame.scale.square()
    return Result(
        parameters=parameters,
        structure=structure,
        converged=run.converged,
        n_iter=run.n_iter,
        log_likelihood=run.log_likelihood,
        history=run.history,
        regularisation=run.regularisation * (scale[0] if structure.isotropic else scale),
        notes=list(dict.fromkeys(notes)),  # a component can be lost at the start and in the run
    )
