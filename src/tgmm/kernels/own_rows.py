"""Many mixtures at once, each over rows of its own: an E-step of all of them as two batched matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import BITS, Assignment
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.frozen import replace
from tgmm.runtime.parts import parts


@dataclass(frozen=True)
class OwnRows:
    """Statistics of the rows that each of a batch of mixtures has, in float64.

    The form is that of `tgmm.kernels.products`. Rows of weight 0 fill up where a mixture has fewer than others.

    Parameters
    ----------
    features : Tensor of shape (P, 1 + d [+ q], n)
        Of the rows, each in the frame of its problem.
    weights : Tensor of shape (P, n)
    weight : Tensor of shape (P,)
        Their sums.
    weigh_the_same : bool
        Whether each is 1.
    second : Tensor of shape (P, q), optional
        The sums of the moments of all rows, where these are shared.
    n_features : int
        d.
    """

    features: Tensor
    weights: Tensor
    weight: Tensor
    weigh_the_same: bool
    second: Tensor | None
    n_features: int

    @classmethod
    def of(cls, features: Tensor, weights: Tensor, n_features: int, moment: Moment) -> OwnRows:
        """Return the kernel of features from `begun`, whose rows have come into the frames, and weights (P, n)."""
        z, second = features[:, 1 : 1 + n_features], None
        if moment.shared:
            second = (weights[:, None] @ moment.of(z.mT))[:, 0]
        else:
            moment.fill(z.transpose(0, 1), features[:, 1 + n_features :].transpose(0, 1))
        return cls(features, weights, weights.sum(1), bool((weights == 1).all()), second, n_features)

    @staticmethod
    def begun(rows: Tensor, moment: Moment, device: torch.device) -> Tensor:
        """Return features (P, 1 + d [+ q], n) of rows (P, n, d) on a device, without moments yet.

        Along each feature the rows are side by side in memory: where features are few, that is several times as fast.
        """
        n_problems, n_rows, n_features = rows.shape
        n_columns = 1 + n_features + (0 if moment.shared else moment.size(n_features))
        features = torch.empty(n_problems, n_columns, n_rows, dtype=torch.float64, device=device)
        features[:, 0] = 1
        features[:, 1 : 1 + n_features] = rows.mT
        return features

    @property
    def rows(self) -> Tensor:
        """The rows, (P, n, d); along each feature they are side by side in memory."""
        return self.features[:, 1 : 1 + self.n_features].mT

    def of_some(self, index: Tensor) -> OwnRows:
        """Return the kernel of some of the mixtures."""
        if index.dtype == torch.bool and index.all():
            return self
        return replace(
            self,
            features=self.features[index],
            weights=self.weights[index],
            weight=self.weight[index],
            second=None if self.second is None else self.second[index],
        )

    def joint(self, parameters: Parameters) -> Tensor:
        """Return the joint log-densities of each mixture's components, in bits, (P, K, n).

        Where components share their covariance the quadratic part is left out.
        """
        eta = parameters.natural * BITS  # (P, K, 1 + d [+ q])
        return eta @ self.features[:, : eta.shape[-1]]

    def of_shares(self, shares: Tensor) -> Statistics:
        """Return the statistics of responsibilities that are known, (P, K, n); there is no likelihood."""
        nothing = torch.zeros_like(self.weight)
        return self._statistics((shares * self.weights[:, None]) @ self.features.mT, nothing, nothing)

    def statistics(self, parameters: Parameters, assignment: Assignment = soft) -> Statistics:
        """Return the statistics, each of its rows under its mixture."""
        eta = parameters.natural * BITS  # (P, K, 1 + d [+ q]), without the quadratic part where it is shared
        sums = eta.new_empty(*eta.shape[:2], self.features.shape[1])
        totals = eta.new_empty(2, eta.shape[0])  # log-likelihood, objective
        n_problems, n_columns, n_rows = self.features.shape
        for part in parts(n_problems, n_rows * (n_columns + 2 * eta.shape[1]), self.features.device):
            features, weights = self.features[part], self.weights[part]
            joint = eta[part] @ features[:, : eta.shape[-1]]
            likelihood, objective = assignment(joint, None)  # (p, n)
            totals[0, part] = self._total(likelihood, weights)
            totals[1, part] = totals[0, part] if objective is likelihood else self._total(objective, weights)
            torch.bmm(joint if self.weigh_the_same else joint.mul_(weights[:, None]), features.mT, out=sums[part])
        if self.second is not None:  # which the densities lack
            totals += (parameters.quadratic[:, 0] * self.second).sum(1)
        return self._statistics(sums, *totals)

    def _total(self, densities: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sums of log-densities (p, n), (p,)."""
        return densities.sum(1) if self.weigh_the_same else (densities * weights).sum(1)

    def _statistics(self, sums: Tensor, log_likelihood: Tensor, objective: Tensor) -> Statistics:
        """Return the statistics of sums of features (P, K, 1 + d [+ q])."""
        return Statistics(
            mass=sums[..., 0],
            first=sums[..., 1 : 1 + self.n_features],
            second=sums[..., 1 + self.n_features :] if self.second is None else self.second[:, None],
            log_likelihood=log_likelihood,
            objective=objective,
            weight=self.weight,
            centre=sums.new_zeros(1, self.n_features),
        )
