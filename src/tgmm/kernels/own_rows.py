"""Many mixtures at once, each over rows of its own: an E-step of all of them as two batched matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import BITS, Assignment
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics


class OwnRows:
    """Statistics of the rows that each of a batch of mixtures has, in float64.

    The form is that of `tgmm.kernels.products`. Rows of weight 0 fill up where a mixture has fewer than others.

    Parameters
    ----------
    features : Tensor of shape (1 + d [+ q], P, n)
        Of the rows, each in the frame of its problem.
    weights : Tensor of shape (P, n)
    second : Tensor of shape (P, q)
        The sums of the moments of all rows, where these are shared.
    n_features : int
        d.
    moment : Moment
        Which sums the statistics hold.
    """

    def __init__(
        self, features: Tensor, weights: Tensor, second: Tensor | None, n_features: int, moment: Moment
    ) -> None:
        self.features, self.weights, self.second = features, weights, second
        self.n_features, self.moment = n_features, moment
        self.weight = weights.sum(1)  # (P,)
        self._weigh_the_same = bool((weights == 1).all())

    @classmethod
    def of(cls, rows: Tensor, weights: Tensor, moment: Moment) -> OwnRows:
        """Return the kernel of rows (P, n, d) and their weights (P, n)."""
        n_problems, n_rows, n_features = rows.shape
        n_columns = 1 + n_features + (0 if moment.shared else moment.size(n_features))
        features = rows.new_empty(n_columns, n_problems * n_rows)
        features[0] = 1
        z = features[1 : 1 + n_features]
        z.copy_(rows.flatten(0, 1).T)
        second = None
        if moment.shared:
            second = (weights[:, None] @ moment.of(rows))[:, 0]
        else:
            moment.fill(z, features[1 + n_features :])
        return cls(features.view(n_columns, n_problems, n_rows), weights, second, n_features, moment)

    def of_some(self, index: Tensor) -> OwnRows:
        """Return the kernel of those of the mixtures that are marked, (P,)."""
        if index.all():
            return self
        second = None if self.second is None else self.second[index]
        return OwnRows(self.features[:, index], self.weights[index], second, self.n_features, self.moment)

    def joint(self, parameters: Parameters) -> Tensor:
        """Return the joint log-densities of each mixture's components, in bits, (P, K, n).

        Where components share their covariance the quadratic part is left out.
        """
        eta = parameters.natural * BITS  # (P, K, 1 + d [+ q])
        return eta @ self.features[: eta.shape[-1]].transpose(0, 1)

    def of_shares(self, shares: Tensor) -> Statistics:
        """Return the statistics of responsibilities that are known, (P, K, n); there is no likelihood."""
        nothing = torch.zeros_like(self.weight)
        return self._statistics(shares * self.weights[:, None], nothing, nothing)

    def statistics(self, parameters: Parameters, assignment: Assignment = soft) -> Statistics:
        """Return the statistics, each of its rows under its mixture."""
        joint = self.joint(parameters)
        likelihood, objective = assignment(joint, None)  # (P, n)
        total = self._total(likelihood, parameters)
        climbed = total if objective is likelihood else self._total(objective, parameters)
        return self._statistics(joint if self._weigh_the_same else joint.mul_(self.weights[:, None]), total, climbed)

    def _total(self, densities: Tensor, parameters: Parameters) -> Tensor:
        """Return the sums of log-densities (P, n) that may lack the quadratic part, (P,)."""
        total = (densities * self.weights).sum(1)
        if self.second is None:
            return total
        return total + (parameters.quadratic[:, 0] * self.second).sum(1)

    def _statistics(self, masses: Tensor, log_likelihood: Tensor, objective: Tensor) -> Statistics:
        """Return the statistics of weighted responsibilities (P, K, n)."""
        sums = masses @ self.features.permute(1, 2, 0)  # (P, K, 1 + d [+ q])
        return Statistics(
            mass=sums[..., 0],
            first=sums[..., 1 : 1 + self.n_features],
            second=sums[..., 1 + self.n_features :] if self.second is None else self.second[:, None],
            log_likelihood=log_likelihood,
            objective=objective,
            weight=self.weight,
            centre=sums.new_zeros(1, self.n_features),
        )
