"""The exponential-family form: an E-step and its statistics as two matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.batches import Batches, Chunk, chunks
from tgmm.kernels import chunking
from tgmm.kernels.base import Assignment, Kernel
from tgmm.mixture import Mixture
from tgmm.precision import widen
from tgmm.statistics import Statistics


class Products(Kernel):
    """Joint log-densities are eta @ phi and statistics R @ phi' with phi = (1, z, moment(z)).

    Features are built in a (features, rows) layout in one reused buffer. Where the quadratic part is shared
    (tied structures) it is left out of both products: it cancels in the responsibilities, and its sum over
    rows is a constant of the data, found in the first pass.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        n_columns = 1 + self.n_features + self.n_moments
        self.rows = chunking.rows_per_chunk(n_columns + 2 * self.n_components, self.dtype.itemsize, self.device)
        self.features = torch.empty(0, dtype=self.dtype, device=self.device)  # (1 + d + q, rows)
        self.joint = torch.empty(0, dtype=self.dtype, device=self.device)  # (K, rows)
        self.pooled_second: Tensor | None = None  # (1, q) float64

    def expectation(
        self, batches: Batches, mixture: Mixture, assignment: Assignment, centre: Tensor | None = None
    ) -> Statistics:
        """Return the statistics about the frame's origin; centre is not used."""
        natural = mixture.natural()
        eta = natural.eta.to(self.dtype).to(self.device)
        pooling = self.structure.pooled and self.pooled_second is None
        n_sums = 1 + self.n_features + (0 if self.structure.pooled else self.n_moments)
        n_built = 1 + self.n_features + (self.n_moments if pooling else 0)
        sums = torch.zeros(self.n_components, n_sums, dtype=torch.float64, device=widen(self.shift).device)
        second = sums.new_zeros(1, self.n_moments)
        log_likelihood, objective, weight = sums.new_zeros(()), sums.new_zeros(()), sums.new_zeros(())
        for chunk in chunks(batches, self.rows):
            phi = self._features(chunk.rows, max(n_built, n_sums, eta.shape[1]))
            joint = torch.mm(eta, phi[: eta.shape[1]], out=self.joint[:, : phi.shape[1]])
            row_likelihood, row_objective = assignment(joint, chunk.first)
            weights = self._weights(chunk)
            if weights is not None:
                joint.mul_(weights.to(self.dtype))
            sums += widen(torch.mm(joint, phi[:n_sums].T))
            if pooling:
                second += _total(phi[1 + self.n_features :], weights)
            log_likelihood += _total(row_likelihood, weights)
            objective += _total(row_objective, weights)
            weight += phi.shape[1] if weights is None else widen(weights).sum()
        if pooling:
            self.pooled_second = second
        if self.structure.pooled:
            second = self.pooled_second
            assert second is not None
            if natural.shared is not None and mixture.structure is self.structure:
                shared = second[0] @ natural.shared
                log_likelihood, objective = log_likelihood + shared, objective + shared
        else:
            second = sums[:, 1 + self.n_features :]
        shift = weight * self.frame.log_volume
        first = sums[:, 1 : 1 + self.n_features]
        return Statistics(
            mass=sums[:, 0],
            first=first,
            second=second,
            log_likelihood=log_likelihood - shift,
            objective=objective - shift,
            weight=weight,
            centre=torch.zeros_like(first[:1]),
        )

    def log_joint(self, rows: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
        """Return the joint log-densities by one product, and the shared part by another."""
        natural = mixture.natural()
        eta = natural.eta.to(self.dtype).to(self.device)
        phi = self._features(rows, 1 + self.n_features + self.n_moments)
        joint = eta @ phi[: eta.shape[1]]
        if natural.shared is None:
            return joint, joint.new_zeros(joint.shape[1])
        return joint, natural.shared.to(self.dtype).to(self.device) @ phi[1 + self.n_features :]

    def _features(self, rows: Tensor, n_built: int) -> Tensor:
        """Return the first n_built features of rows, (n_built or more, c), in the reused buffer."""
        n_rows = rows.shape[0]
        if self.features.shape[-1] < n_rows:
            self.features = self.features.new_empty(1 + self.n_features + self.n_moments, n_rows)
            self.features[0] = 1
            self.joint = self.joint.new_empty(self.n_components, n_rows)
        phi = self.features[:, :n_rows]
        z = self.standardise(rows, phi[1 : 1 + self.n_features])
        if n_built > 1 + self.n_features:
            self.structure.moment.fill(z, phi[1 + self.n_features :])
        return phi

    def _weights(self, chunk: Chunk) -> Tensor | None:
        return None if chunk.weights is None else chunk.weights.to(self.device)


def _total(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted sum over the last dimension, in float64."""
    return widen(values).sum(-1) if weights is None else widen(values) @ widen(weights)
