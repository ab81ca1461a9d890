"""`reg_covar`, resolved: what is added to every variance of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.model.parameters import Parameters

# Below this share of a squared mean a variance is the rounding of identical values: sums about a mean that is
# right to 1e-16 leave 1e-16 of the square of that.
ROUNDING = 1e-46


@dataclass(frozen=True)
class Regularisation:
    """Regularisation in units of the variance within components, inside the frame.

    Parameters
    ----------
    reg_covar : float
    one_scale : bool
        Whether all features have one unit, and get the same.
    constant : Tensor of bool, (d,)
        Features that have one value only; in the frame the variance of the others is 1, or with one scale 1 on average.
    """

    reg_covar: float
    one_scale: bool
    constant: Tensor

    def within(self, parameters: Parameters) -> Tensor:
        """Return the pooled within-component variance, sum over k of weight_k Sigma_k,jj, (d,) or ()."""
        weights, squares = parameters.weights, parameters.means.square()  # (K, d)
        variances = parameters.covariances.variances.expand(squares.shape)
        if parameters.covariances.shared:
            squares = (weights @ squares).expand(squares.shape)
        pooled = weights @ torch.where(variances > ROUNDING * squares, variances, 0.0)  # (d,)
        return pooled.mean() if self.one_scale else pooled

    def resolve(self, parameters: Parameters) -> Tensor:
        """Return what to add to every variance, (d,) or (), for a run that starts from these parameters.

        Where the within-component variance is 0 its place is taken by the feature's variance in the data, 1 in the
        frame, and for a constant feature by 1 in the user's units, which is 1 in the frame too.
        """
        within = self.within(parameters)
        return self.reg_covar * torch.where(within > 0, within, 1.0)

    def is_resolved(self, parameters: Parameters, centre: Tensor, rounding: float) -> bool:
        """Whether sums about centre with this relative rounding give the within-component variance."""
        distances = parameters.weights @ (parameters.means - centre).square()  # (d,)
        within = self.within(parameters)
        if self.one_scale:
            return bool(within > rounding * (within + distances.mean()))
        return bool((self.constant | (within > rounding * (within + distances))).all())
