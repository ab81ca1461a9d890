"""Models and selections as text and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tgmm.cli.labels import Labels
from tgmm.cli.messages import called
from tgmm.covariance import LowRank
from tgmm.estimators.base import MixtureEstimator, solution_of
from tgmm.estimators.explaining import ending, notes_of
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.mixture.profiles import Profiles
from tgmm.mixture.summary import FEATURES, noted, summarised, terms
from tgmm.selection import Selection


def names_of(model: MixtureEstimator) -> list[str]:
    """Return the names of the features, or their numbers."""
    names = getattr(model, "feature_names_in_", range(model.means_.shape[1]))
    return [str(name) for name in names]


def describe(model: MixtureEstimator) -> dict[str, Any]:
    """Return a model as plain values."""
    (n_components, n_features), names = model.means_.shape, solution_of(model).component_names
    noise = {"noise_weight": model.noise_weight_, "noise_volume": model.noise_volume_} if model.mixture_.noise else {}
    return {
        "n_components": n_components,
        "n_features": n_features,
        "features": names_of(model),
        "covariance_type": model.mixture_.covariance_type,
        "float_type": str(model.mixture_.dtype).removeprefix("torch."),
        "converged": model.converged_,
        "n_iter": model.n_iter_,
        "average_log_likelihood": model.lower_bound_,
        "missing": model.missing,
        **noise,
        **({"component_names": list(names)} if names else {}),
        "weights": model.weights_.tolist(),
        "means": model.means_.tolist(),
        **_covariances(model),
    }


def _covariances(model: MixtureEstimator) -> dict[str, Any]:
    """Return the covariances, or the loadings and noise variances that make them."""
    if isinstance(model.mixture_.parameters.covariances, LowRank):
        loadings, noise = model.factor_loadings_, model.noise_variances_
        return {"factor_loadings": loadings.tolist(), "noise_variances": noise.tolist()}
    return {"covariances": model.covariances_.tolist()}


def describe_fit(
    selection: Selection, profiles: Profiles, data: str, n_rows: int, labels: Labels | None
) -> dict[str, Any]:
    """Return a selection and its best model as plain values."""
    cell = asdict(selection.best_cell)
    fit = {name: cell[name] for name in ("log_likelihood", "n_parameters", "bic", "aic", "icl", "held_out", "status")}
    found = {"data": data, "n_rows": n_rows, **describe(selection.best_), **fit, "criterion": selection.criterion}
    found["sizes"] = None if profiles.sizes is None else profiles.sizes.tolist()
    if labels is not None:
        found["labels"] = {"n_rows": int((labels.components >= 0).sum()), "components": labels.numbers or None}
    return {**found, "cells": [asdict(each) for each in selection.cells]}


def as_json(values: dict[str, Any]) -> str:
    """Return plain values as JSON, in which NaN is null."""
    return json.dumps(_plain(values))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def info_text(model: GaussianMixture) -> str:
    """Return a model as text."""
    facts = {"Average log-likelihood": f"{model.lower_bound_:.6f}"} if model.n_iter_ else {}
    names = enumerate(solution_of(model).component_names)
    facts |= {f"Component {number}": name for number, name in names if name != str(number)}
    return _text(model, facts, Profiles.of(model.mixture_))


def fit_text(selection: Selection, profiles: Profiles, data: str, n_rows: int, labels: Labels | None) -> str:
    """Return a selection and its best model as text."""
    cell = selection.best_cell
    facts = {
        "Rows": n_rows,
        "Log-likelihood": f"{cell.log_likelihood:.4f}",
        "BIC": f"{cell.bic:.4f}",
        "AIC": f"{cell.aic:.4f}",
        "Free parameters": cell.n_parameters,  # with --scale, those of the type that was fitted
    }
    if selection.best_.mixture_.covariance_type != cell.covariance_type:
        facts["Fitted as"] = f"{cell.structure}, to standardised features"
    if not math.isnan(cell.held_out):
        facts["Held-out log-likelihood"] = f"{cell.held_out:.6f}"
    if not math.isnan(cell.icl):  # as of rows whose components are known
        facts["ICL"] = f"{cell.icl:.4f}"
    if cell.status == "degenerate":
        facts["Status"] = cell.status
    if labels is not None:
        facts["Labelled rows"] = int((labels.components >= 0).sum())
        facts |= {f"Component {number}": name for name, number in labels.numbers.items()}
    parts = [repr(selection)] if len(selection.cells) > 1 else []
    return "\n\n".join([*parts, f"Gaussian mixture of {called(Path(data))}", _text(selection.best_, facts, profiles)])


def _text(model: GaussianMixture, facts: dict[str, Any], profiles: Profiles) -> str:
    """Return the summary of a model with what else is known of it."""
    mixture, solution = model.mixture_, solution_of(model)
    if solution.history:
        facts["Converged"] = ending(solution)
    if model.noise:
        facts["Noise volume"] = f"{model.noise_volume_:.6g}"
    profiles = replace(profiles, names=names_of(model))
    notes = [*terms(facts, profiles), *notes_of(model)]
    if mixture.n_features > FEATURES:
        notes.append(f"{FEATURES} of {mixture.n_features} features are shown; --json has all of them.")
    tables = summarised(mixture, facts, profiles).tables
    return "\n\n".join([*(table.text() for table in tables), noted(notes)]).rstrip()
