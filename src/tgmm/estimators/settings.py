"""The keywords of an estimator, checked and turned into what the engine understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import Structure, structure_named
from tgmm.data.columns import Columns
from tgmm.data.data import Data
from tgmm.data.reservoir import Sampling
from tgmm.data.training import Training
from tgmm.em.fit import Policy
from tgmm.em.problem import Problem
from tgmm.em.run import Stopping
from tgmm.em.solution import Solution
from tgmm.em.special import NOTHING, Special
from tgmm.em.start import Origin
from tgmm.estimators.default_priors import require_prior, with_defaults
from tgmm.kernels.assignment import hard, soft
from tgmm.mixture.base import check_covariances, check_means, check_mixing_weights, check_n_factors
from tgmm.model.priors import Priors
from tgmm.model.update import Maximiser, Update
from tgmm.runtime.checks import as_float64, check_flag, check_integer, check_number, require_finite
from tgmm.start import AUTO, STARTS, UNTRIED
from tgmm.start.sample import sample_size

EM, ERROR = "em", "error"  # what becomes of rows that lack values
PRIORS = (
    "weight_concentration_prior",
    "mean_prior",
    "mean_precision_prior",
    "covariance_prior",
    "degrees_of_freedom_prior",
)
BY_FEATURE = ("init_means", "init_covariances", "mean_prior", "covariance_prior")  # these have values for each feature


@dataclass(frozen=True)
class Settings:
    """The parameters of an estimator's constructor, checked as far as they can be without data.

    Parameters
    ----------
    given : mapping
        All of them as they were given; those that are missing here are checked against the data.
    family : callable
        From these, the data, and what is known of it beforehand to an M-step.
    """

    given: Mapping[str, Any]
    n_components: int
    structure: Structure
    policy: Policy
    reg_covar: float
    may_lack: bool
    warm_start: bool
    verbose: bool
    verbose_interval: int
    distributed: bool
    family: Callable[[Settings, Training, Special], Maximiser]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """Check parameters, or raise a ValueError that names the one at fault."""
        _check_n_features(given["n_features"])
        policy = Policy(
            Stopping(check_number(given["tol"], "tol"), check_integer(given["max_iter"], "max_iter", 0)),
            n_init=check_integer(given["n_init"], "n_init", 1),
            assignment=hard if check_flag(given["cem"], "cem") else soft,
            accelerate=_check_accelerate(given["accelerate"]),
        )
        return cls(
            given=given,
            n_components=check_integer(given["n_components"], "n_components", 1),
            structure=structure_named(given["covariance_type"], check_n_factors(given.get("n_factors"))),
            policy=policy,
            reg_covar=check_number(given["reg_covar"], "reg_covar"),
            may_lack=_check_missing(given["missing"]),
            warm_start=check_flag(given["warm_start"], "warm_start"),
            verbose=_check_verbose(given["verbose"]),
            verbose_interval=check_integer(given["verbose_interval"], "verbose_interval", 1),
            distributed=check_flag(given["distributed"], "distributed"),
            family=mode,
        )

    @property
    def is_special(self) -> bool:
        """Whether rows may lack values or be noise, or parameters are fixed."""
        return self.may_lack or bool(self.given["noise"]) or self.given["fixed"] is not None

    def sampling(self, seed: int) -> Sampling:
        """Return how many rows starts look at."""
        return Sampling(lambda n_features: sample_size(self.n_components, n_features), seed)

    def check_features(self, columns: Columns) -> None:
        """Raise a ValueError where the data has not as many features as were said, or has them in another order."""
        wanted, n_features = _check_n_features(self.given["n_features"]), columns.n_features or 0
        if wanted not in (None, n_features):
            raise ValueError(f"n_features={wanted}, but X has {n_features} features.")
        self.structure.n_parameters(1, n_features)  # raises where there are too many factors for so few features
        for name in BY_FEATURE:
            columns.require_order_of(self.given[name], name)

    def priors(self, n_features: int) -> Priors:
        """Return the priors in the user's units, of which none is the data's own."""
        return check_priors(self.structure, self.n_components, n_features, **self._given_priors)

    def priors_for(self, training: Training) -> Priors:
        """Return the priors in the user's units, those by default of the data."""
        chosen = with_defaults(self._given_priors, self.structure, self.n_components, training)
        return check_priors(self.structure, self.n_components, training.data.n_features, **chosen)

    @property
    def _given_priors(self) -> dict[str, Any]:
        return {name: self.given[name] for name in PRIORS}

    def update(self, training: Training, special: Special = NOTHING) -> Maximiser:
        """Return the M-step in the user's units."""
        return self.family(self, training, special)

    def origin(self, problem: Problem, responsibilities: Tensor | None, solution: Solution | None) -> Origin:
        """Return where runs start, in the frame: from the last solution, where that is wanted and there is one."""
        if self.warm_start and responsibilities is None and solution is not None:
            return self._warm_origin(problem, solution)
        frame, n_components, n_features = problem.frame, self.n_components, problem.data.n_features
        place, weights, covariances = frame.scale.device, self.given["init_weights"], self.given["init_covariances"]
        if weights is not None:
            noise = problem.noise is not None
            weights = check_mixing_weights(weights, n_components, "init_weights", beside_noise=noise).to(place)
        if covariances is not None:
            name = "init_covariances"
            covariances = check_covariances(covariances, self.structure, n_components, n_features, name)
            covariances = covariances.to(place).rescale(1 / frame.scale)
        origin = Origin(weights=weights, covariances=covariances)
        if responsibilities is not None:
            return replace(origin, name="init_responsibilities", responsibilities=responsibilities)
        means = check_init_means(self.given["init_means"], n_components, n_features)
        if isinstance(means, str):
            has_trials = means == AUTO
            name = UNTRIED if has_trials else means
            return replace(origin, name=name, start=STARTS[name], has_trials=has_trials)
        if isinstance(means, Tensor):
            return replace(origin, name="init_means", means=frame.rows_in(means.to(place)))
        return replace(origin, name="init_means", means=_called(means, problem))

    def _warm_origin(self, problem: Problem, solution: Solution) -> Origin:
        """Return the last solution as the start."""
        self.check_unchanged(solution, problem.data.n_features, "warm_start=True")
        place = problem.frame.shift.device
        return Origin("warm_start", solution=problem.frame.parameters_in(solution.mixture.parameters.to(place)))

    def check_unchanged(self, solution: Solution, n_features: int, what: str) -> None:
        """Raise a ValueError where the settings are no longer those of a solution."""
        mixture = solution.mixture
        same_shape = (mixture.n_components, mixture.n_features) == (self.n_components, n_features)
        if not (same_shape and self.structure.same(mixture.structure, n_features)):
            raise ValueError(
                f"{what} continues the last solution, but n_components, n_features, covariance_type or n_factors "
                "have changed since the last fit. "
                f"Restore them, or start a new fit{' with warm_start=False' * what.startswith('warm_start')}."
            )


def mode(settings: Settings, training: Training, special: Special) -> Update:
    """Return the M-step to the mode under the priors that were given, where there are some."""
    priors = settings.priors_for(training)
    return Update(settings.structure, priors, held=special.held, has_noise=special.noise is not None)


def _called(function: Callable, problem: Problem) -> Callable[[torch.Generator], Tensor]:
    """Return what makes centres in the frame by a user's function of rows, K and a generator, the same on each rank."""
    data, frame, n_components = problem.data, problem.frame, problem.n_components

    def centres(generator: torch.Generator) -> Tensor:
        rows = rows_for(data, problem)

        def found() -> Tensor:
            name = "the result of init_means"
            return check_means(function(rows, n_components, generator), n_components, data.n_features, name)

        return frame.rows_in(data.processes.agreed(found).to(frame.shift.device))

    return centres


def rows_for(data: Data, problem: Problem) -> Tensor:
    """Return all rows where they are in memory, else those that starts look at, (m, d) in the user's units."""
    if data.in_memory is None or problem.summary.n_gaps:
        return problem.whole_sample.rows
    return data.in_memory


def _check_n_features(value: Any) -> int | None:
    """Return the number of features that the data is to have, if any, or raise a ValueError."""
    if isinstance(value, str):
        raise ValueError(
            f"n_features must be an integer, or None to take it from the data; got {value!r}. The second "
            f"positional argument is n_features: pass others by keyword, covariance_type={value!r}."
        )
    return None if value is None else check_integer(value, "n_features", 1)


def _check_verbose(value: Any) -> bool:
    """Return whether to report progress, for a bool or a level as an integer, or raise a ValueError."""
    return value if isinstance(value, bool) else check_integer(value, "verbose", 0) > 0


def _check_missing(value: Any) -> bool:
    """Return whether rows may lack values, or raise a ValueError that names the choices."""
    if value not in (EM, ERROR):
        raise ValueError(f"missing must be {ERROR!r} or {EM!r}; got {value!r}.")
    return value == EM


def _check_accelerate(value: Any) -> bool:
    """Return whether EM is to be accelerated, or raise a ValueError that names the choices."""
    if value is not None and value != "squarem":
        raise ValueError(f"accelerate must be None or 'squarem'; got {value!r}.")
    return value is not None


def check_init_means(init_means: Any, n_components: int, n_features: int) -> str | Callable | Tensor:
    """Return the name of a start, a callable, or centres (K, d) in the user's units."""
    if isinstance(init_means, str):
        if init_means not in (AUTO, *STARTS):
            choices = ", ".join(repr(name) for name in (AUTO, *STARTS))
            raise ValueError(f"init_means must be one of {choices}, an array or a callable; got {init_means!r}.")
        return init_means
    return init_means if callable(init_means) else check_means(init_means, n_components, n_features, "init_means")


def check_priors(
    structure: Structure,
    n_components: int,
    n_features: int,
    *,
    weight_concentration_prior: Any,
    mean_prior: Any,
    mean_precision_prior: Any,
    covariance_prior: Any,
    degrees_of_freedom_prior: Any,
) -> Priors:
    """Return the priors in the user's units, or raise a ValueError that names the parameter at fault."""
    _require_pair(mean_prior, "mean_prior", mean_precision_prior, "mean_precision_prior")
    _require_pair(covariance_prior, "covariance_prior", degrees_of_freedom_prior, "degrees_of_freedom_prior")
    concentration = mean = mean_precision = covariance = degrees_of_freedom = None
    if weight_concentration_prior is not None:
        concentration = _check_vector(weight_concentration_prior, n_components, "weight_concentration_prior", 0.0)
    if mean_prior is not None:
        mean = as_float64(mean_prior, "mean_prior")
        if mean.shape not in ((n_features,), (n_components, n_features)):
            raise ValueError(
                f"mean_prior must have shape (n_features,) = ({n_features},) or (n_components, n_features) = "
                f"({n_components}, {n_features}); got shape {tuple(mean.shape)}."
            )
        require_finite(mean, "mean_prior")
        mean = mean.expand(n_components, n_features)
        mean_precision = _check_vector(mean_precision_prior, n_components, "mean_precision_prior", 0.0)
    if covariance_prior is not None:
        require_prior(structure)
        covariance = check_covariances(covariance_prior, structure, n_components, n_features, "covariance_prior")
        least = float(structure.form.prior_constant(n_features) - 2)  # d - 1 for full types, 0 for others
        degrees_of_freedom = _check_vector(
            degrees_of_freedom_prior, structure.n_covariances(n_components), "degrees_of_freedom_prior", least
        )
        degrees_of_freedom = structure.degrees_of_each(
            degrees_of_freedom, n_features, beside_means=mean_prior is not None
        )
    return Priors(concentration, mean, mean_precision, covariance, degrees_of_freedom)


def _check_vector(value: Any, size: int, name: str, above: float) -> Tensor:
    """Return (size,) numbers, all > above, from a scalar or a vector."""
    vector = as_float64(value, name)
    if vector.ndim == 0:
        vector = vector.expand(size)
    if vector.shape != (size,):
        raise ValueError(f"{name} must be a scalar or have shape ({size},); got shape {tuple(vector.shape)}.")
    if not (torch.isfinite(vector).all() and (vector > above).all()):
        raise ValueError(f"{name} must be finite and > {above:g}; got {vector.tolist()}.")
    return vector


def _require_pair(first: Any, first_name: str, second: Any, second_name: str) -> None:
    for given, missing, given_name, missing_name in (
        (first, second, first_name, second_name),
        (second, first, second_name, first_name),
    ):
        if given is not None and missing is None:
            raise ValueError(f"{given_name} needs {missing_name}: give both or neither.")
