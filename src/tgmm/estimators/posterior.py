"""The prior of a variational fit, from settings and data; and what a file holds of its posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import COMMON, CovarianceCollapse, Covariances, Structure
from tgmm.data.covariance import covariance_of, unbiased
from tgmm.data.training import Training
from tgmm.em.solution import Solution
from tgmm.em.special import Special
from tgmm.estimators.saving import is_of
from tgmm.estimators.settings import PRIORS, Settings, check_priors
from tgmm.files.plain import State, stored
from tgmm.files.store import own, require_entries
from tgmm.mixture.mixture import Mixture
from tgmm.model.parameters import Parameters
from tgmm.model.posterior import Posterior, after
from tgmm.model.variational import Variational

PROCESS, DISTRIBUTION = "dirichlet_process", "dirichlet_distribution"
SINGULAR = 1e-6  # of a variance, which is added to each where the covariance of the data is singular
CONSTANT = 1e-6  # the variance in the default prior of a feature that has none, in its own units
STORED = ("sticks", "mean_precision", "degrees_of_freedom")  # of a posterior
STORED_PRIOR = ("sticks", "mean", "mean_precision", "scale", "degrees_of_freedom")


def in_use(solution: Solution) -> Tensor:
    """Return which components have more than one row's mass, or the most, (K,)."""
    prior, posterior = solution.update, solution.mixture.parameters.posterior
    assert isinstance(prior, Variational) and posterior is not None
    mass = posterior.mean_precision - prior.mean_precision.to(posterior.mean_precision.device)
    return (mass > 1) | (mass == mass.amax())


def in_use_first(solution: Solution) -> Solution:
    """Return the same solution with the components in use before the others, where all can change places."""
    prior = solution.update
    if not (isinstance(prior, Variational) and prior.is_exchangeable):
        return solution
    return solution.reordered((~in_use(solution)).to(torch.int8).argsort(stable=True))


def plugged_in(mixture: Mixture, kept: tuple[int, ...]) -> Mixture:
    """Return the mixture of some components at their expected parameters, without the posterior."""
    parameters, index = mixture.parameters, list(kept)
    weights = parameters.weights[index]
    covariances = parameters.covariances.take(index)
    return mixture.changed(parameters=Parameters(weights / weights.sum(), parameters.means[index], covariances))


def family(before: Variational | None = None) -> Callable[[Settings, Training, Special], Variational]:
    """Return what makes the step of settings and data; where a fit goes on, defaults are those that it began with."""
    return partial(_variational, before=before)


def _variational(settings: Settings, training: Training, special: Special, before: Variational | None) -> Variational:
    given, structure = settings.given, settings.structure
    n_components, n_features = settings.n_components, training.data.n_features
    if structure.name not in COMMON:
        choices = ", ".join(map(repr, COMMON))
        raise ValueError(
            f"covariance_type={structure.name!r} has no conjugate prior, so BayesianGaussianMixture does not support "
            f"it: choose one of {choices}, or use GaussianMixture."
        )
    chosen = {name: given[name] for name in PRIORS}
    defaults = _defaults(chosen, structure, n_components, training) if before is None else resolved(before)
    chosen = {name: defaults[name] if value is None else value for name, value in chosen.items()}
    return variational(structure, n_components, n_features, given["weight_concentration_prior_type"], chosen)


def variational(
    structure: Structure, n_components: int, n_features: int, kind: Any, chosen: dict[str, Any]
) -> Variational:
    """Return the step under priors, all of which are given, or raise a ValueError that names the one at fault."""
    if kind not in (PROCESS, DISTRIBUTION):
        raise ValueError(f"weight_concentration_prior_type must be {PROCESS!r} or {DISTRIBUTION!r}; got {kind!r}.")
    priors = check_priors(structure, n_components, n_features, **chosen)
    assert priors.concentration is not None and priors.mean is not None and priors.mean_precision is not None
    assert priors.covariance is not None and priors.degrees_of_freedom is not None
    sticks = _sticks(priors.concentration, kind)
    return Variational(
        structure, sticks, priors.mean, priors.mean_precision, priors.covariance, priors.degrees_of_freedom
    )


def _sticks(concentration: Tensor, kind: str) -> Tensor:
    """Return both parameters of each stick, (2, K): those of a Dirichlet distribution end with all that is left.

    One component has all of the weight in either case.
    """
    if kind == PROCESS:
        rest = concentration if len(concentration) > 1 else torch.zeros_like(concentration)
        return torch.stack([torch.ones_like(concentration), rest])
    return torch.stack([concentration, after(concentration)])


def _defaults(chosen: dict[str, Any], structure: Structure, n_components: int, training: Training) -> dict[str, Any]:
    """Return scikit-learn's default priors: as if one row had been seen, where the data is, and as wide as the data."""
    summary, n_features = training.survey.summary, training.data.n_features
    defaults: dict[str, Any] = {
        "weight_concentration_prior": 1 / n_components,
        "mean_prior": summary.origin + summary.mean,
        "mean_precision_prior": 1.0,
        "degrees_of_freedom_prior": float(n_features),
        "covariance_prior": None,
    }
    if chosen["covariance_prior"] is None:
        covariances = _covariance_of(structure, training)
        if not bool(torch.isfinite(covariances.values).all()):
            raise ValueError("X has values so far apart that their covariances leave float64: rescale the features.")
        defaults["covariance_prior"] = covariances.public
    return defaults


def check_chosen(chosen: State, mixture: Mixture) -> None:
    """Raise a ValueError where priors among settings, if these are of a fit to such a mixture, do not fit it."""
    if not is_of(chosen, mixture):
        return
    n_features, structure = mixture.n_features, mixture.structure
    one = torch.ones(structure.form.shape_of_one(n_features), dtype=torch.float64)
    anything = {
        "weight_concentration_prior": 1.0,
        "mean_prior": torch.zeros(n_features, dtype=torch.float64),
        "mean_precision_prior": 1.0,
        "degrees_of_freedom_prior": float(n_features),
        "covariance_prior": one if one.ndim < 2 else torch.eye(n_features, dtype=torch.float64),
    }
    given = {name: value for name in PRIORS if (value := chosen.get(name)) is not None}
    kind = chosen.get("weight_concentration_prior_type")
    variational(structure, mixture.n_components, n_features, kind, anything | given)


def _covariance_of(structure: Structure, training: Training) -> Covariances:
    """Return the unbiased covariance of the data in a structure's form, positive definite in any case."""
    summary, n_features, form = training.survey.summary, training.data.n_features, structure.form
    variance = (unbiased(summary) * torch.where(summary.constant, CONSTANT, summary.variance)).cpu()  # (d,)
    products = torch.diag_embed(variance)
    if structure.moment.mixes:
        products = covariance_of(training.data, summary).diagonal_scatter(variance)
    packed = structure.moment.of_products(products) / form.exponent(n_features)
    covariances = form.from_packed(packed[None], n_features, shared=True)
    covariances = replace(covariances, shared=True)
    try:
        _ = covariances.factor
    except CovarianceCollapse:
        covariances = covariances.plus(SINGULAR * covariances.variances)
    return covariances


def is_of_process(sticks: Tensor) -> bool:
    """Whether sticks (2, K) are those of a Dirichlet process, and not of one component, where that is no difference."""
    return sticks.shape[1] > 1 and bool(sticks[1, -1] > 0)


def resolved(update: Variational) -> dict[str, Any]:
    """Return the priors of a step as settings have them."""
    first, second = update.sticks
    return {
        "weight_concentration_prior": second if is_of_process(update.sticks) else first,
        "mean_prior": update.mean,
        "mean_precision_prior": update.mean_precision,
        "degrees_of_freedom_prior": update.degrees_of_freedom,
        "covariance_prior": update.scale.public,
    }


def stored_posterior(solution: Solution) -> State:
    """Return what a file holds of a posterior and of the prior that it came from."""
    posterior, update = solution.mixture.parameters.posterior, solution.update
    assert posterior is not None and isinstance(update, Variational)
    state = {f"{name}_": stored(getattr(posterior, name)) for name in STORED}
    for name in STORED_PRIOR:
        value = getattr(update, name)
        state[f"{name}_of_prior_"] = stored(value.public if isinstance(value, Covariances) else value)
    return state


def stored_names() -> set[str]:
    """Return the names of these entries."""
    return {f"{name}_" for name in STORED} | {f"{name}_of_prior_" for name in STORED_PRIOR}


def restored(solution: Solution, state: State) -> Solution:
    """Return a solution of a file with the posterior and the prior that the file holds, or raise a ValueError."""
    mixture, names = solution.mixture, stored_names()
    require_entries(state, names)
    entries = {name: own(state[name]) for name in names}
    if wrong := [name for name in sorted(names) if not isinstance(entries[name], Tensor)]:
        raise ValueError(f"{wrong[0]} must be a tensor.")
    n_components, structure = mixture.n_components, mixture.structure
    prior = {name: entries[f"{name}_of_prior_"] for name in STORED_PRIOR}
    update = variational(
        structure,
        n_components,
        mixture.n_features,
        PROCESS,
        {
            "weight_concentration_prior": 1.0,
            "mean_prior": prior["mean"],
            "mean_precision_prior": prior["mean_precision"],
            "degrees_of_freedom_prior": prior["degrees_of_freedom"],
            "covariance_prior": prior["scale"],
        },
    )
    update = replace(update, sticks=_checked_sticks(prior["sticks"], n_components))
    least = structure.form.prior_constant(mixture.n_features) - 2
    posterior = Posterior(
        _checked_sticks(entries["sticks_"], n_components),
        _checked(entries["mean_precision_"], "mean_precision_", (n_components,), 0.0),
        _checked(
            entries["degrees_of_freedom_"], "degrees_of_freedom_", (structure.n_covariances(n_components),), least
        ),
    )
    parameters = replace(mixture.parameters, posterior=posterior)
    return replace(solution, mixture=mixture.changed(parameters=parameters), update=update)


def _checked_sticks(sticks: Tensor, n_components: int) -> Tensor:
    checked = _checked(sticks, "sticks_", (2, n_components), -1.0)
    if not (bool((checked[0] > 0).all()) and bool((checked[1, :-1] > 0).all()) and float(checked[1, -1]) >= 0):
        raise ValueError("sticks_ must be positive, except for the last.")
    return checked


def _checked(values: Tensor, name: str, shape: tuple[int, ...], above: float) -> Tensor:
    """Return numbers of a shape, all > above, or raise a ValueError."""
    if values.shape != shape or not bool((torch.isfinite(values) & (values > above)).all()):
        raise ValueError(f"{name} must be finite numbers > {above:g} of shape {shape}.")
    return values
