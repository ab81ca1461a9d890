"""Fits in standardised units, with the model in the units of the data."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from tgmm.covariance import structure_named
from tgmm.estimators.base import solution_of
from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.selection import Cell, Selection


def in_units(selection: Selection, shift: Tensor, scale: Tensor, weight: float) -> Selection:
    """Return a selection that was made from (x - shift) / scale as one from x.

    The log-likelihoods change by the volume of the units, so that the criteria are those of the data.
    """
    volume = float(scale.log().sum())
    cells = {cell: _cell_in_units(cell, volume, weight) for cell in selection.cells}
    best = model_in_units(selection.best_, shift, scale)
    return Selection(best, cells[selection.best_cell], tuple(cells.values()), selection.criterion)


def _cell_in_units(cell: Cell, volume: float, weight: float) -> Cell:
    change = weight * volume
    return replace(
        cell,
        log_likelihood=cell.log_likelihood - change,
        bic=cell.bic + 2 * change,
        aic=cell.aic + 2 * change,
        icl=cell.icl + 2 * change,
        held_out=cell.held_out - volume,
    )


def model_in_units(model: GaussianMixture, shift: Tensor, scale: Tensor) -> GaussianMixture:
    """Return a model of (x - shift) / scale as one of x, of a wider structure where features had one unit in common."""
    mixture = model.mixture_
    name = mixture.structure.rescaled_name
    given = {"n_components": mixture.n_components, "n_features": mixture.n_features, "covariance_type": name}
    return fitted_as(solution_of(model).in_units(shift, scale, structure_named(name)), given)


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
