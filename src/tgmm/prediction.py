"""Densities and posterior probabilities of rows, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure
from tgmm.data.batches import TensorBatches, chunks
from tgmm.data.frame import Frame
from tgmm.kernels.choose import kernels_for
from tgmm.kernels.guard import first_precise
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.precision import widen

# Quadratic parts of the exponent this close are equal: what separates them is rounding.
TIE = 1e-12


class Predictor:
    """Evaluates a mixture at rows, in its own frame.

    Parameters
    ----------
    parameters : Parameters
        In the user's units, float64.
    structure : CovarianceStructure
    dtype : torch.dtype
        The float type of the results.
    device : torch.device
        Where rows are moved to.
    """

    def __init__(
        self, parameters: Parameters, structure: CovarianceStructure, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.frame = Frame.around(parameters, structure, dtype)
        self.mixture = Mixture.of(self.frame.parameters_in(parameters, structure), structure)
        kernels = kernels_for(structure, self.frame, parameters.weights.shape[0], dtype, device)
        self.kernel = kernels[first_precise(kernels, self.mixture)]
        self.dtype, self.device = dtype, device
        self.n_components = parameters.weights.shape[0]

    def log_density(self, rows: Tensor) -> Tensor:
        """Return the log-densities of rows, (n,)."""
        out = torch.empty(rows.shape[0], dtype=self.dtype, device=self.device)
        for part, joint in self._joint(rows):
            out[part] = (joint.logsumexp(0) - self.frame.log_volume.to(self.device)).to(self.dtype)
            far = torch.nonzero(~torch.isfinite(out[part])).flatten()
            if far.numel():
                out[part.start + far] = self._far(rows[part.start + far.to(rows.device)])[0]
        return out

    def responsibilities(self, rows: Tensor) -> Tensor:
        """Return the posterior probabilities of the components, (n, K)."""
        out = torch.empty(rows.shape[0], self.n_components, dtype=self.dtype, device=self.device)
        for part, joint in self._joint(rows):
            out[part] = joint.softmax(0).T
            far = torch.nonzero(~torch.isfinite(joint.amax(0))).flatten()
            if far.numel():
                out[part.start + far] = self._far(rows[part.start + far.to(rows.device)])[1].T
        return out

    def labels(self, rows: Tensor) -> Tensor:
        """Return the most probable components, (n,) int64."""
        out = torch.empty(rows.shape[0], dtype=torch.int64, device=self.device)
        for part, joint in self._joint(rows):
            largest, out[part] = joint.max(0)
            far = torch.nonzero(~torch.isfinite(largest)).flatten()
            if far.numel():
                out[part.start + far] = self._far(rows[part.start + far.to(rows.device)])[1].argmax(0)
        return out

    def log_posterior_of_labels(self, rows: Tensor) -> Tensor:
        """Return the log-probability of each row's most probable component, (n,)."""
        out = torch.empty(rows.shape[0], dtype=self.dtype, device=self.device)
        for part, joint in self._joint(rows):
            out[part] = joint.log_softmax(0).amax(0).nan_to_num(0.0)
        return out

    def _joint(self, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of rows and their joint log-densities in the frame, (K, c)."""
        for chunk in chunks(TensorBatches(rows), self.kernel.rows):
            part = slice(chunk.first, chunk.first + chunk.rows.shape[0])
            yield part, self.kernel.log_joint(chunk.rows, self.mixture)

    def _far(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-densities (m,) and responsibilities (K, m) of rows whose squares overflow.

        Distances are computed for rows divided by their size. Where even the log-density leaves the float type it
        is -inf, and what grows fastest with the row decides: the quadratic part of the exponent, and among
        components for which that is the same the linear part.
        """
        mixture, frame = self.mixture, self.frame
        weights, means = mixture.parameters.weights, mixture.parameters.means
        rows = widen(rows)
        size = (rows.abs().amax(1) / frame.scale.amin()).clamp(min=1.0)  # (m,)
        scaled = (rows / size[:, None] - frame.shift / size[:, None]) / frame.scale  # (m, d)
        deviations = scaled - means[:, None] / size[:, None]  # (K, m, d)
        distances = mixture.factor.whiten(deviations).square().sum(-1) * size * size  # (K, m)
        joint = mixture.log_constants[:, None] - 0.5 * distances
        log_density = joint.logsumexp(0) - frame.log_volume
        quadratic = mixture.factor.whiten(scaled.expand_as(deviations)).square().sum(-1)  # (K, m)
        quadratic = torch.where(weights[:, None] > 0, quadratic, torch.inf)
        linear = mixture.factor.times(means)  # (K, d)
        rest = mixture.log_constants - 0.5 * (means * linear).sum(-1)  # (K,)
        rest = (rest[:, None] + (linear @ scaled.T) * size).clamp(min=torch.finfo(rows.dtype).min)
        limit = torch.where(quadratic <= quadratic.amin(0) * (1 + TIE), rest, -torch.inf)
        posterior = torch.where(torch.isfinite(log_density), joint, limit).softmax(0)
        return log_density.to(self.device, self.dtype), posterior.to(self.device, self.dtype)
