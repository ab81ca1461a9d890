"""`reg_covar`, resolved: what is added to every variance of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.model.parameters import Parameters

# Below this share of a squared mean a variance is the rounding of identical values: sums about a mean that is
# right to 1e-16 leave 1e-16 of the square of that.
ROUNDING = 1e-46
ENOUGH = 0.1  # of the average weight, for a component whose variances may be the unit of what regularises
# What is added to a variance is at least so many times the number of features times the component's own variance of
# that feature: a covariance matrix to which less is added remains singular in its own rounding.
SINGULAR = 16 * torch.finfo(torch.float64).eps


def floors(amount: Tensor, variances: Tensor, signs: Tensor | float | None = None) -> Tensor:
    """Return what keeps variances (..., B, d) positive where amount (..., d) is what regularises, (..., B, d).

    Both may be multiplied by the numbers of rows. Where nothing regularises, nothing is added. Signs of the amount can
    be given where they are known.
    """
    signs = amount.sign() if signs is None else signs
    return torch.maximum(amount, signs * (SINGULAR * variances.shape[-1]) * variances)


@dataclass(frozen=True)
class Regularisation:
    """Regularisation in units of the smallest variance within a component, inside the frame.

    Neither a wide component nor a few rows far away make it larger.

    Parameters
    ----------
    reg_covar : float
    one_scale : bool
        Whether all features have one unit, and get the same.
    constant : Tensor of bool, (..., d)
        Features that have one value only; in the frame the variance of the others is 1, or with one scale 1 on average,
        and more only where few rows are far away.
    """

    reg_covar: float
    one_scale: bool
    constant: Tensor

    def within(self, parameters: Parameters) -> Tensor:
        """Return the smallest variance of each feature within a component, (..., d), or of any on average, (...).

        Components count that have a tenth of the average weight, or all where none of these varies; 0 where none does.
        """
        weights, squares = parameters.weights, parameters.means.square()  # (..., K, d)
        covariances = parameters.covariances
        variances = covariances.variances.expand(squares.shape)
        if covariances.shared:
            squares = _average(weights, squares)[..., None, :].expand(squares.shape)
        variances = torch.where(variances > ROUNDING * (1 + squares), variances, 0.0)
        if self.one_scale:
            variances = variances.mean(-1, keepdim=True)  # (..., K, 1)
        enough = covariances.shared | (weights >= ENOUGH / weights.shape[-1])  # (..., K)
        among_enough = _smallest(variances, (variances > 0) & enough[..., None])
        within = torch.where(among_enough > 0, among_enough, _smallest(variances, variances > 0))
        return within[..., 0] if self.one_scale else within

    def resolve(self, parameters: Parameters) -> Tensor:
        """Return what to add to every variance, (..., d) or (...), for a run that starts from these parameters.

        Where there is no variance within components its place is taken by the feature's variance in the data, 1 in the
        frame, and for a constant feature by 1 in the user's units, which is 1 in the frame too.
        """
        within = self.within(parameters)
        return self.reg_covar * torch.where(within > 0, within, 1.0)

    def is_resolved(self, parameters: Parameters, centre: Tensor, rounding: float) -> Tensor:
        """Return whether sums about centre with this relative rounding give the within-component variance, (...)."""
        distances = _average(parameters.weights, (parameters.means - centre).square())  # (..., d)
        within = self.within(parameters)
        if self.one_scale:
            return within > rounding * (within + distances.mean(-1))
        return (self.constant | (within > rounding * (within + distances))).all(-1)


def _smallest(variances: Tensor, counted: Tensor) -> Tensor:
    """Return the smallest of the variances (..., K, d) that are counted, or 0 where none is, (..., d)."""
    smallest = torch.where(counted, variances, torch.inf).amin(-2)
    return torch.where(smallest < torch.inf, smallest, 0.0)


def _average(weights: Tensor, values: Tensor) -> Tensor:
    """Return the weighted sum over components of values (..., K, d), (..., d)."""
    return (weights[..., None] * values).sum(-2)
