"""Components given what is observed of rows that each lack other values.

What is observed of few rows is not worth a factor of its own. Of a partitioned precision matrix the block of the
missing features alone has to be factored (Rue & Held 2005, Gaussian Markov Random Fields, 2.5).
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from tgmm.covariance import FullFactor
from tgmm.model.parameters import Parameters


class OwnGaps:
    """Rows that lack as many values each, but others.

    With P the precision, u the observed deviations, 0 where there is none, and m the missing features, (P u)_m is
    P_mo u_o, the covariance that is left is P_mm^-1, the missing deviations are expected to be -P_mm^-1 (P u)_m, and

        u_o' S_oo^-1 u_o = u' P u - (P u)_m' P_mm^-1 (P u)_m,    log |S_oo| = log |S| + log |P_mm|.

    Parameters
    ----------
    parameters : Parameters
    factor : FullFactor
        Of the covariances as matrices, (B, d, d).
    rows : Tensor of shape (n, d)
        NaN where a value is missing.
    missing : Tensor of int64, (n, m)
        The features that each row lacks.
    units : Tensor of shape (n,)
        The logarithm of what densities are multiplied by.
    """

    def __init__(
        self, parameters: Parameters, factor: FullFactor, rows: Tensor, missing: Tensor, units: Tensor
    ) -> None:
        self.parameters, self.factor, self.missing, self.units = parameters, factor, missing, units
        gaps = torch.isnan(rows)  # (n, d)
        deviations = torch.where(gaps, 0.0, rows) - parameters.means[:, None]
        self.deviations = deviations.masked_fill_(gaps, 0.0)  # (K, n, d)
        self.told = self.deviations @ factor.precision  # (K, n, d)
        i, j = self.missing[:, :, None], self.missing[:, None, :]
        self.root = torch.linalg.cholesky(factor.precision[:, i, j])  # (B, n, m, m)

    @cached_property
    def expected(self) -> Tensor:
        """The expected deviations of missing features, (K, n, m)."""
        return -torch.cholesky_solve(self._told_of_missing[..., None], self.root)[..., 0]

    @property
    def _told_of_missing(self) -> Tensor:
        return self.told.gather(2, self.missing.expand(len(self.told), -1, -1))  # (K, n, m)

    def joint(self) -> Tensor:
        """Return log(weight_k p_k) of what is observed, (K, n)."""
        n_observed = self.deviations.shape[2] - self.missing.shape[1]
        distances = (self.deviations * self.told).sum(-1) + (self._told_of_missing * self.expected).sum(-1)
        log_det = self.factor.log_det[:, None] + 2 * self.root.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # (B, n)
        constant = n_observed * math.log(2 * math.pi) + log_det
        return self.parameters.weights.log()[:, None] - 0.5 * (constant + distances) + self.units

    def sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return masses (K,), and the expected sums of deviations (K, d) and of their products (K, d, d)."""
        n_components, _, n_features = self.deviations.shape
        whole = self.deviations.scatter(2, self.missing.expand(n_components, -1, -1), self.expected)
        weighted = whole * shares[..., None]
        products = (weighted.mT @ whole).flatten(1)  # (K, d d)
        left = shares[..., None, None] * torch.cholesky_inverse(self.root)  # (K, n, m, m)
        places = (self.missing[:, :, None] * n_features + self.missing[:, None, :]).flatten()
        products.index_add_(1, places, left.flatten(1))
        return shares.sum(1), weighted.sum(1), products.view(n_components, n_features, n_features)
