"""The exponential-family form: an E-step and its statistics as two matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.batches import Batches, chunks
from tgmm.kernels import chunking
from tgmm.kernels.base import BITS, Assignment, Kernel
from tgmm.kernels.multiplication import multiply
from tgmm.mixture import Mixture
from tgmm.placement import transferred
from tgmm.precision import float32_products, float64_device, widen
from tgmm.statistics import Statistics


class Products(Kernel):
    """Joint log-densities are eta @ phi and statistics R @ phi' with phi = (1, z, moment(z)).

    Features are built in a (features, rows) layout in one reused buffer. Where the quadratic part is shared
    (tied structures) it is left out of both products: it cancels in the responsibilities, and its sum over
    rows is a constant of the data, found in the first pass.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.n_columns = 1 + self.n_features + (0 if self.structure.pooled else self.n_moments)
        self.rows = chunking.rows_per_chunk(self.n_columns + 2 * self.n_components, self.dtype.itemsize, self.device)
        self.features = torch.empty(0, dtype=self.dtype, device=self.device)  # the reused buffer
        self.pooled_second: Tensor | None = None  # (1, q) float64

    @float32_products()
    def expectation(
        self, batches: Batches, mixture: Mixture, assignment: Assignment, centre: Tensor | None = None
    ) -> Statistics:
        """Return the statistics about the frame's origin; centre is not used."""
        eta = self.bits(mixture.natural.eta)
        pooling = self.structure.pooled and self.pooled_second is None
        sums = torch.zeros(self.n_components, self.n_columns, dtype=torch.float64, device=float64_device(self.device))
        second = sums.new_zeros(1, self.n_moments)
        totals = sums.new_zeros(3)  # log-likelihood, objective, weight
        for rows, weights, first in chunks(batches, self.rows):
            phi = self._features(rows)
            joint = multiply(eta, phi[: eta.shape[1]])
            likelihood, objective = assignment(joint, first)
            if weights is not None:
                weights = weights.to(self.device)
                joint.mul_(weights.to(self.dtype))
            sums += widen(multiply(joint, phi.T))
            if pooling:
                row_weights = phi[0] if weights is None else weights
                second += self.structure.moment.weighted_sum(widen(phi[1:]).T, widen(row_weights))
            total = weighted_total(likelihood, weights)
            totals[0] += total
            totals[1] += total if objective is likelihood else weighted_total(objective, weights)
            totals[2] += phi.shape[1] if weights is None else widen(weights).sum()
        if pooling:
            self.pooled_second = second.to(self.frame.shift.device)
        return self.statistics(sums, totals, mixture)

    def statistics(self, sums: Tensor, totals: Tensor, mixture: Mixture) -> Statistics:
        """Return the statistics of sums (K, 1 + d [+ q]) and totals (3,), with what pooled structures left out."""
        sums, totals = transferred(self.frame.shift.device, sums, totals)
        first, second = sums[:, 1 : 1 + self.n_features], sums[:, 1 + self.n_features :]
        offset = -totals[2] * self.frame.log_volume
        if self.structure.pooled and self.pooled_second is not None:
            second, shared = self.pooled_second, mixture.natural.shared
            if shared is not None and mixture.structure is self.structure:
                offset = offset + second[0] @ shared
        return Statistics(
            mass=sums[:, 0],
            first=first,
            second=second,
            log_likelihood=totals[0] + offset,
            objective=totals[1] + offset,
            weight=totals[2],
            centre=torch.zeros_like(first[:1]),
        )

    @float32_products()
    def log_joint(self, rows: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
        """Return the joint log-densities by one product, and the shared part by whitening."""
        phi = self._features(rows)
        eta = self.bits(mixture.natural.eta)
        joint = multiply(eta, phi[: eta.shape[1]])
        if not self.structure.pooled:
            return joint, joint.new_zeros(joint.shape[1])
        factor = mixture.to(float64_device(self.device)).factor
        distances = factor.whiten(widen(phi[1:]).T[None])[0].square().sum(-1)  # (c,)
        return joint, (-0.5 * BITS * distances).to(joint)

    def bits(self, coefficients: Tensor) -> Tensor:
        """Return natural parameters in bits, in the kernel's float type."""
        return (coefficients * BITS).to(self.dtype).to(self.device)

    def _features(self, rows: Tensor) -> Tensor:
        """Return the features of rows, (1 + d [+ q], c), in the reused buffer; without moments where all share them."""
        size = self.n_columns * rows.shape[0]
        if self.features.shape[0] < size:
            self.features = self.features.new_empty(size)
        phi = self.features[:size].view(self.n_columns, -1)
        phi[0] = 1
        z = self.standardise(rows, phi[1 : 1 + self.n_features])
        if not self.structure.pooled:
            self.structure.moment.fill(z, phi[1 + self.n_features :])
        return phi


def weighted_total(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted sum over the last dimension, in float64."""
    return widen(values).sum(-1) if weights is None else widen(values) @ widen(weights)
