"""Models and selections as text and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from tgmm.cli.labels import Labels
from tgmm.covariance import LowRank
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.selection import Selection


def names_of(model: GaussianMixture) -> list[str]:
    """Return the names of the features, or their numbers."""
    names = getattr(model, "feature_names_in_", range(model.means_.shape[1]))
    return [str(name) for name in names]


def describe(model: GaussianMixture) -> dict[str, Any]:
    """Return a model as plain values."""
    n_components, n_features = model.means_.shape
    noise = {"noise_weight": model.noise_weight_, "noise_volume": model.noise_volume_} if model.noise else {}
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
        "weights": model.weights_.tolist(),
        "means": model.means_.tolist(),
        **_covariances(model),
    }


def _covariances(model: GaussianMixture) -> dict[str, Any]:
    """Return the covariances, or the loadings and noise variances that make them."""
    if isinstance(model.mixture_.parameters.covariances, LowRank):
        loadings, noise = model.factor_loadings_, model.noise_variances_
        return {"factor_loadings": loadings.tolist(), "noise_variances": noise.tolist()}
    return {"covariances": model.covariances_.tolist()}


def describe_fit(selection: Selection, data: str, n_rows: int, labels: Labels | None) -> dict[str, Any]:
    """Return a selection and its best model as plain values."""
    cell = asdict(selection.best_cell)
    fit = {name: cell[name] for name in ("log_likelihood", "n_parameters", "bic", "aic", "icl", "held_out", "status")}
    found = {"data": data, "n_rows": n_rows, **describe(selection.best_), **fit, "criterion": selection.criterion}
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


def model_text(model: GaussianMixture) -> str:
    """Return a model as text: what it is, and its components' weights, means and standard deviations."""
    n_components, n_features = model.means_.shape
    header = f"{n_components} component(s) in {n_features} feature(s), covariance type {model.mixture_.covariance_type}"
    deviations = model.mixture_.parameters.covariances.variances.sqrt().expand(n_components, -1)
    names = names_of(model)
    width = max(12, *(len(name) + 2 for name in names))
    lines = [header, "", f"{'component':<10}{'weight':>8}  {'':<6}" + "".join(name.rjust(width) for name in names)]
    for k in range(n_components):
        mean = "".join(f"{value:>{width}.6g}" for value in model.means_[k].tolist())
        spread = "".join(f"{value:>{width}.6g}" for value in deviations[k].tolist())
        lines.append(f"{k:<10}{float(model.weights_[k]):>8.4f}  {'mean':<6}{mean}")
        lines.append(f"{'':<18}  {'sd':<6}{spread}")
    if model.noise:
        lines.append(f"{'noise':<10}{model.noise_weight_:>8.4f}  in a volume of {model.noise_volume_:.6g}")
    return "\n".join(lines)


def fit_text(selection: Selection, data: str, n_rows: int, labels: Labels | None) -> str:
    """Return a selection and its best model as text."""
    cell = selection.best_cell
    facts = {
        "data": f"{data}, {n_rows} rows",
        "log-likelihood": f"{cell.log_likelihood:.4f}",
        "free parameters": f"{cell.n_parameters}",
        "BIC": f"{cell.bic:.4f}",
        "AIC": f"{cell.aic:.4f}",
        "ICL": f"{cell.icl:.4f}",
        "EM iterations": f"{cell.n_iter}, {cell.status}",
    }
    if labels is not None:
        facts["labels"] = f"of {int((labels.components >= 0).sum())} rows"
        facts |= {f"component {number}": name for name, number in labels.numbers.items()}
    table = "\n".join(f"{name:<18}{value}" for name, value in facts.items())
    parts = [repr(selection)] if len(selection.cells) > 1 else []
    return "\n\n".join([*parts, table, model_text(selection.best_)])
