"""The textbook form: rows minus means, whitened one component at a time.

Slower than the products and safe wherever the covariances are: nothing cancels. It is the specification the
other kernels are tested against, and what they fall back to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.batches import Batches, chunks
from tgmm.kernels import chunking
from tgmm.kernels.base import BITS, Assignment, Kernel
from tgmm.mixture import Mixture
from tgmm.placement import transferred
from tgmm.precision import float64_device, widen
from tgmm.statistics import Statistics


class Centred(Kernel):
    """Joint log-densities from Mahalanobis distances, statistics about a centre per component."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        n_columns = 4 * self.n_features + 2 * self.n_components
        self.rows = chunking.rows_per_chunk(n_columns, self.dtype.itemsize, self.device)

    def expectation(
        self, batches: Batches, mixture: Mixture, assignment: Assignment, centre: Tensor | None = None
    ) -> Statistics:
        """Return the statistics about centre (K, d), or about the mixture's means."""
        if centre is None:
            centre = mixture.parameters.means
        mixture = mixture.to(float64_device(self.device))
        centres = centre.to(self.dtype).to(self.device)  # (K, d)
        mass = torch.zeros(self.n_components, dtype=torch.float64, device=float64_device(self.device))
        first = mass.new_zeros(self.n_components, self.n_features)
        second = mass.new_zeros(self.n_components, self.n_moments)
        log_likelihood, objective, weight = mass.new_zeros(()), mass.new_zeros(()), mass.new_zeros(())
        for rows, weights, index in chunks(batches, self.rows):
            z = self._standardised(rows)  # (c, d)
            joint = self._log_joint(z, mixture)
            row_likelihood, row_objective = assignment(joint, index)
            row_weights = z.new_ones(z.shape[0]) if weights is None else weights.to(self.device, self.dtype)
            joint.mul_(row_weights)
            for k in range(self.n_components):
                deviations = z - centres[k]  # (c, d)
                mass[k] += widen(joint[k].sum())
                first[k] += widen(joint[k] @ deviations)
                second[k] += widen(self.structure.moment.weighted_sum(deviations, joint[k]))
            log_likelihood += widen(row_weights) @ widen(row_likelihood)
            objective += widen(row_weights) @ widen(row_objective)
            weight += widen(row_weights).sum()
        sums = transferred(
            self.frame.shift.device, mass, first, second, log_likelihood, objective, weight, widen(centres)
        )
        mass, first, second, log_likelihood, objective, weight, centres = sums
        shift = weight * self.frame.log_volume
        return Statistics(mass, first, second, log_likelihood - shift, objective - shift, weight, centres)

    def log_joint(self, rows: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
        """Return the joint log-densities, one component at a time; nothing is split off."""
        mixture = mixture.to(float64_device(self.device))
        joint = self._log_joint(self._standardised(rows), mixture)
        return joint, joint.new_zeros(joint.shape[1])

    def _standardised(self, rows: Tensor) -> Tensor:
        z = torch.empty(self.n_features, rows.shape[0], dtype=self.dtype, device=self.device)
        return self.standardise(rows, z).T.contiguous()

    def _log_joint(self, z: Tensor, mixture: Mixture) -> Tensor:
        """Return log2(weight_k p_k(z)), (K, c)."""
        means = mixture.parameters.means.to(self.dtype).to(self.device)
        constants = mixture.log_constants.to(self.dtype).to(self.device)
        joint = z.new_empty(self.n_components, z.shape[0])
        for k in range(self.n_components):
            factor = mixture.factor.select(0 if mixture.structure.pooled else k)
            white = factor.whiten((z - means[k])[None].to(factor.log_det.device, factor.log_det.dtype))[0]
            joint[k] = constants[k] - 0.5 * white.square().sum(-1).to(self.device, self.dtype)
        return joint.mul_(BITS)
