"""Fits in standardised units, with the model in the units of the data."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from tgmm.estimators.base import solution_of
from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.selection import Cell, Selection


def in_units(selection: Selection, shift: Tensor, scale: Tensor, n_values: Tensor, n_rows: int) -> Selection:
    """Return a selection that was made from (x - shift) / scale as one from x.

    The log-likelihoods change by the units of the values, of which each feature has so many, (d,), so that the criteria
    are those of the data. Cells know nothing of the features that they were compared without.
    """
    changes = n_values * scale.log()
    compared = [j for j in range(len(scale)) if j not in selection.left_out]
    cells = {cell: _cell_in_units(cell, float(changes[compared].sum()), n_rows) for cell in selection.cells}
    best = model_in_units(selection.best_, shift, scale, float(changes.sum()) / n_rows)
    return replace(selection, best_=best, best_cell=cells[selection.best_cell], cells=tuple(cells.values()))


def _cell_in_units(cell: Cell, change: float, n_rows: int) -> Cell:
    return replace(
        cell,
        log_likelihood=cell.log_likelihood - change,
        bic=cell.bic + 2 * change,
        aic=cell.aic + 2 * change,
        icl=cell.icl + 2 * change,
        held_out=cell.held_out - change / n_rows,
    )


def model_in_units(model: GaussianMixture, shift: Tensor, scale: Tensor, change: float) -> GaussianMixture:
    """Return a model of (x - shift) / scale as one of x, whose log-likelihood is less by a change, in nats a row.

    Its structure is a wider one where features had one unit in common.
    """
    before, structure = solution_of(model), model.mixture_.structure.rescaled(model.n_features_in_)
    found = before.in_units(shift, scale, structure)
    solution = replace(
        found,
        log_likelihood=before.log_likelihood - change,
        history=tuple(objective - change for objective in before.history),
    )
    given = {name: getattr(model, name) for name in ("n_components", "n_features", "missing", "noise")}
    return fitted_as(solution, given | {"covariance_type": structure.name, "n_factors": structure.n_factors})


def moments(model: GaussianMixture) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviations (d,) of the data, from a fit of one diagonal component."""
    parameters = model.mixture_.parameters
    return parameters.means[0].cpu(), parameters.covariances.variances[0].cpu().sqrt()


def psi(model: GaussianMixture, n_components: int) -> Tensor:
    """Return the scale of mclust's default prior, the data's covariance over K^(2/d), from a fit of one component.

    Source: Fraley & Raftery 2007, Journal of Classification 24.
    """
    mixture = model.mixture_
    covariance = mixture.parameters.covariances.public
    return (covariance if mixture.structure.shared else covariance[0]) / math.pow(n_components, 2 / mixture.n_features)
