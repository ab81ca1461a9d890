"""Labels, noise and fixed parameters: what users say of them, checked and turned into what the engine understands."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.data.source import require_order
from tgmm.data.training import Training
from tgmm.em.solution import Solution
from tgmm.em.special import Special
from tgmm.estimators.default_priors import PARTNERS
from tgmm.estimators.settings import Settings
from tgmm.mixture.base import SLACK, check_covariances, check_means, check_mixing_weights
from tgmm.model.held import Held
from tgmm.model.noise import Noise
from tgmm.model.parameters import Parameters
from tgmm.runtime.checks import as_float64, at_row, check_flag, is_number
from tgmm.runtime.devices import widen
from tgmm.runtime.frozen import replace
from tgmm.runtime.words import agreeing

HYPERVOLUME, NOISE_SHARE = "hypervolume", 0.05  # the defaults of noise_volume and noise_init
FIXED = ("weights", "means", "covariances")


def special_of(settings: Settings, training: Training, labels: Any, before: Solution | None) -> Special:
    """Return what is known of rows and parameters beforehand; all processes are to call this together."""
    given, data = settings.given, training.data
    n_components = settings.n_components
    held = held_of(settings, data.n_features, before)
    known = None
    if labels is not None:
        if training.source is not None:
            require_order(training.source, "labels")
        known = data.processes.guard(lambda: check_labels(labels, data.n_given, n_components))
    if not check_flag(given["noise"], "noise"):
        return Special(labels=known, held=held)
    if held is not None and bool(held.weights.all()) and not held.values.rest > SLACK:
        raise ValueError("With noise=True, fixed weights must sum to less than 1: lower them, or fix fewer.")
    return replace(noise_of(settings, training), labels=known, held=held)


def notes_of_unused(settings: Settings) -> list[str]:
    """Return what is to be said of settings of noise where there is none."""
    defaults = {"noise_volume": HYPERVOLUME, "noise_init": NOISE_SHARE}
    given = {name: settings.given.get(name, default) for name, default in defaults.items()}
    names = [
        name for name, value in given.items() if type(value) is not type(defaults[name]) or value != defaults[name]
    ]
    if settings.given["noise"] or not names:
        return []
    return [f"{' and '.join(names)} {agreeing(len(names), 'has', 'have')} no effect without noise=True"]


def noise_of(settings: Settings, training: Training) -> Special:
    """Return what is known of noise among the rows beforehand."""
    share, is_noise = _noise_init(settings.given["noise_init"], training)
    return Special(noise=_noise(settings.given["noise_volume"], training), noise_share=share, is_noise=is_noise)


def check_labels(labels: Any, n_rows: int, n_components: int) -> Tensor:
    """Return labels (n,) int64, -1 for unknown, which NaN is too, or multiples of the weights (n, K) in float64."""
    values = label_numbers(labels)
    if values.shape not in ((n_rows,), (n_rows, n_components)):
        raise ValueError(
            f"labels must have shape (n_samples,) = ({n_rows},), one component per row, or (n_samples, n_components) = "
            f"({n_rows}, {n_components}), multiples of the components' weights; got shape {tuple(values.shape)}."
        )
    if values.ndim == 1:
        values = torch.where(torch.isnan(values), -1.0, values) if values.is_floating_point() else values
        found = values.to(torch.int64)
        bad = torch.nonzero((found != values) | (found < -1) | (found >= n_components)).flatten()
        if bad.numel():
            row = int(bad[0])
            raise at_row(
                f"labels must be integers from 0 to n_components - 1 = {n_components - 1}, or -1 where the component "
                f"is not known; got {values[row].item()} at row {row}.",
                row,
            )
        return found
    values = widen(values)
    bad = torch.nonzero(~((values >= 0) & torch.isfinite(values)).all(1) | ~(values > 0).any(1)).flatten()
    if bad.numel():
        row = int(bad[0])
        raise at_row(
            f"labels of shape (n, K) must be finite, >= 0, and somewhere > 0 in each row; row {row} is "
            f"{values[row].tolist()}.",
            row,
        )
    return values


def label_numbers(labels: Any) -> Tensor:
    """Return labels as a tensor of numbers, with NaN for other marks of a missing value: of pandas, masks, None."""
    if isinstance(labels, Tensor):
        return labels.detach()
    if isinstance(labels, np.ma.MaskedArray):
        labels = np.ma.filled(labels.astype(object), np.nan)
    given = np.asarray(labels)
    if given.dtype == object:
        unknown = [value is None or type(value).__name__ == "NAType" for value in given.flat]
        labels = np.where(np.reshape(unknown, given.shape), np.nan, given)
    return as_float64(labels, "labels")


def _noise_init(value: Any, training: Training) -> tuple[float, Tensor | None]:
    """Return the share of rows that begin as noise, and which they are, (n,), where that is said."""
    name, data = "noise_init", training.data
    if is_number(value) and 0 < value < 1:
        return float(value), None
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise ValueError(f"{name} must be a share in (0, 1), or booleans of shape (n_samples,); got {value!r}.")
    numbers = as_float64(value, name)  # a file keeps numbers
    mask = numbers == 1
    if not bool((mask | (numbers == 0)).all()) or mask.shape != (data.n_given,):
        raise ValueError(
            f"{name} must be a share in (0, 1), or booleans of shape (n_samples,) = ({data.n_given},); got shape "
            f"{tuple(numbers.shape)}{'' if mask.shape != (data.n_given,) else ' with other values than 0 and 1'}."
        )
    if data.in_memory is None:
        raise ValueError(f"{name} as booleans needs all rows in memory, in one process: give a share.")
    kept = mask if (own := getattr(data, "mask", None)) is None else mask[own.cpu()]
    if not 0 < int(kept.sum()) < len(kept):
        raise ValueError(f"{name} marks {int(kept.sum())} of {len(kept)} rows as noise: mark some, and not all.")
    return float(kept.double().mean()), kept.to(data.device)


def _noise(volume: Any, training: Training) -> Noise:
    """Return the noise on a box of this volume."""
    summary = training.survey.summary
    constant = summary.constant.nonzero().flatten().tolist()
    if constant:
        which, n_constant = training.columns.said(constant), len(constant)
        are, them = agreeing(n_constant, "is", "are"), agreeing(n_constant, "it", "them")
        raise ValueError(f"noise=True needs features that vary; {which} {are} constant: leave {them} out.")
    if volume == HYPERVOLUME:
        log_volume = training.log_hypervolume
    else:
        if not is_number(volume) or not volume > 0:
            raise ValueError(f"noise_volume must be {HYPERVOLUME!r} or a finite number > 0; got {volume!r}.")
        log_volume = float(torch.tensor(float(volume), dtype=torch.float64).log())
    return Noise(summary.minimum, summary.maximum, log_volume)


def held_of(settings: Settings, n_features: int, before: Solution | None) -> Held | None:
    """Return the parameters that stay as they are, in the user's units, or None where all are free."""
    masks = _fixed(settings.given["fixed"], settings.n_components)
    if not any(bool(mask.any()) for mask in masks.values()):
        return None
    structure = settings.structure
    some = bool(masks["covariances"].any()) and not bool(masks["covariances"].all())
    if some and structure.relates_components:
        raise ValueError(
            f"fixed covariances of some components need a covariance_type that does not relate them to the others; "
            f"{structure.name!r} does: fix all, or choose another covariance_type."
        )
    values = _start_values(settings, n_features, before, masks)
    weights = values.weights
    if bool(masks["weights"].all()) and not settings.given["noise"] and values.rest > SLACK:
        raise ValueError(
            f"fixed weights with the sum {float(weights.sum()):.4g} leave the rest to noise: give noise=True, or do "
            "not fix the weights."
        )
    if (
        bool(masks["weights"].any())
        and not bool(masks["weights"].all())
        and float(weights[masks["weights"]].sum()) >= 1
    ):
        raise ValueError("fixed weights sum to 1, which leaves nothing for the other components: lower them.")
    return Held(masks["weights"], masks["means"], masks["covariances"], values)


def _fixed(value: Any, n_components: int) -> dict[str, Tensor]:
    """Return which components each kind of parameters is fixed for, (K,) bool."""
    nowhere = torch.zeros(n_components, dtype=torch.bool)
    masks: dict[str, Tensor] = dict.fromkeys(FIXED, nowhere)
    if value is None:
        return masks
    chosen = {value: True} if isinstance(value, str) else value
    if not isinstance(chosen, Mapping):
        chosen = dict.fromkeys(chosen, True) if isinstance(chosen, Collection) else {str(value): True}
    for name, which in chosen.items():
        if name not in FIXED:
            raise ValueError(f"fixed must be names among {', '.join(map(repr, FIXED))}; got {name!r}.")
        mask = torch.as_tensor(which)
        if mask.dtype != torch.bool or mask.shape not in ((), (n_components,)):
            raise ValueError(
                f"fixed[{name!r}] must be booleans of shape (n_components,) = ({n_components},); got {which!r}."
            )
        masks[name] = mask.expand(n_components).clone()
    return masks


def _start_values(
    settings: Settings, n_features: int, before: Solution | None, masks: Mapping[str, Tensor]
) -> Parameters:
    """Return the values of what is fixed; those of what is not are of no account."""
    if settings.warm_start and before is not None:
        settings.check_unchanged(before, n_features, "warm_start=True")
        return before.mixture.parameters.to(torch.device("cpu"))
    given, structure, n_components = settings.given, settings.structure, settings.n_components
    for name in FIXED:
        own = given[f"init_{name}"]
        if bool(masks[name].any()) and (own is None or isinstance(own, str) or callable(own)):
            raise ValueError(f"fixed={name!r} keeps the {name} of the start: give init_{name}, or warm_start=True.")
    weights = torch.full((n_components,), 1 / n_components, dtype=torch.float64)
    if bool(masks["weights"].any()):
        noise = bool(given["noise"])
        weights = check_mixing_weights(given["init_weights"], n_components, "init_weights", beside_noise=noise).cpu()
    means = torch.zeros(n_components, n_features, dtype=torch.float64)
    if bool(masks["means"].any()):
        means = check_means(given["init_means"], n_components, n_features, "init_means").cpu()
    if bool(masks["covariances"].any()):
        values, name = given["init_covariances"], "init_covariances"
        covariances: Covariances = check_covariances(values, structure, n_components, n_features, name)
    else:
        one = torch.ones(structure.form.shape_of_one(n_features), dtype=torch.float64)
        covariances = structure.from_public(one, n_components, n_features)
    return Parameters(weights, means, covariances.to(torch.device("cpu")))


def require_plain(settings: Settings) -> None:
    """Raise a ValueError where settings are given that `partial_fit` does not know."""
    for name, default in (("noise", False), ("fixed", None)):
        value = settings.given[name]
        if value is not default and value != default:
            raise ValueError(f"partial_fit cannot be combined with {name}={value!r}: leave it out, or use fit.")
    for name in PARTNERS:
        if isinstance(settings.given[name], str):
            raise ValueError(
                f"partial_fit cannot be combined with {name}={settings.given[name]!r}, which is found from all rows: "
                "give numbers, or use fit."
            )
