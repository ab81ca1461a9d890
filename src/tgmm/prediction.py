"""Densities and posterior probabilities of rows, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure
from tgmm.data.batches import TensorBatches, chunks
from tgmm.data.frame import Frame
from tgmm.kernels.assignment import most_probable, soft
from tgmm.kernels.base import BITS
from tgmm.kernels.choose import kernels_for
from tgmm.kernels.guard import first_precise
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.precision import widen

# Quadratic parts of the exponent this close are equal: what separates them is rounding.
TIE = 1e-12
# Rows are far where the rounding of their joint log-densities exceeds this.
FAR = 1e-3
FAR_NUMBERS = 1 << 22  # entries of the (K, m, d) deviations of far rows held at a time


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
        self.log_volume = float(self.frame.log_volume)
        self.dtype, self.device = dtype, device
        self.n_components = parameters.weights.shape[0]

    def log_density(self, rows: Tensor) -> Tensor:
        """Return the log-densities of rows, (n,)."""
        out = torch.empty(rows.shape[0], dtype=self.dtype, device=self.device)
        for part, joint, common, far in self._joint(rows):
            log_density, _ = soft(joint, part.start)
            out[part] = log_density + common / BITS - self.log_volume
            if far.numel():
                out[far] = self._far(rows, far)[0]
        return out

    def responsibilities(self, rows: Tensor) -> Tensor:
        """Return the posterior probabilities of the components, (n, K)."""
        out = torch.empty(rows.shape[0], self.n_components, dtype=self.dtype, device=self.device)
        for part, joint, _, far in self._joint(rows):
            soft(joint, part.start)
            out[part] = joint.T
            if far.numel():
                out[far] = self._far(rows, far)[1].T
        return out

    def labels(self, rows: Tensor) -> Tensor:
        """Return the most probable components, (n,) int64."""
        out = torch.empty(rows.shape[0], dtype=torch.int64, device=self.device)
        for part, joint, _, far in self._joint(rows):
            out[part] = most_probable(joint)
            if far.numel():
                out[far] = self._far(rows, far)[1].argmax(0)
        return out

    def log_certainty(self, rows: Tensor) -> Tensor:
        """Return the log-probability of each row's most probable component, (n,)."""
        out = torch.empty(rows.shape[0], dtype=self.dtype, device=self.device)
        for part, joint, _, far in self._joint(rows):
            soft(joint, part.start)
            out[part] = joint.amax(0).log_()
            if far.numel():
                out[far] = self._far(rows, far)[1].amax(0).log()
        return out

    def _joint(self, rows: Tensor) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Yield slices of rows, joint log-densities in bits (K, c) and (c,), and the indices of far rows.

        Far are rows for which the joint log-densities' rounding is no longer small, or that overflowed.
        """
        # A sum over d features is no farther for their number.
        limit = FAR / torch.finfo(self.kernel.dtype).eps * (1 + self.frame.shift.shape[0] / 1000)
        for chunk in chunks(TensorBatches(rows), self.kernel.rows):
            part = slice(chunk.first, chunk.first + chunk.rows.shape[0])
            joint, common = self.kernel.log_joint(chunk.rows, self.mixture)
            far = torch.nonzero(~(joint.amax(0).abs() + common.abs() < limit)).flatten()
            yield part, joint, common, part.start + far

    def _far(self, rows: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-densities (m,) and responsibilities (K, m) of the rows with indices far (m,)."""
        means = self.mixture.parameters.means
        parts = [self._far_part(rows[part.to(rows.device)]) for part in far.split(max(1, FAR_NUMBERS // means.numel()))]
        densities, posteriors = zip(*parts, strict=True)
        return torch.cat(densities), torch.cat(posteriors, 1)

    def _far_part(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-densities (m,) and responsibilities (K, m) of far rows.

        Distances are computed for rows divided by their size. Where the log-density's own rounding hides the
        differences between components, or it leaves the float type and is -inf, what grows fastest with the row
        decides: the quadratic part of the exponent, and among components for which that is the same the linear part.
        """
        mixture, frame = self.mixture, self.frame
        weights, means = mixture.parameters.weights, mixture.parameters.means
        rows = widen(rows)
        size = rows.abs().amax(1).clamp(min=1.0)  # (m,)
        scaled = (rows / size[:, None] - frame.shift / size[:, None]) / frame.scale  # (m, d)
        deviations = scaled - means[:, None] / size[:, None]  # (K, m, d)
        distances = mixture.factor.whiten(deviations).square().sum(-1) * size * size  # (K, m)
        joint = mixture.log_constants[:, None] - 0.5 * distances
        log_density = joint.logsumexp(0) - self.log_volume
        quadratic = mixture.factor.whiten(scaled.expand_as(deviations)).square().sum(-1)  # (K, m)
        quadratic = torch.where(weights[:, None] > 0, quadratic, torch.inf)
        linear = mixture.factor.times(means)  # (K, d)
        rest = mixture.log_constants - 0.5 * (means * linear).sum(-1)  # (K,)
        rest = rest[:, None] / size + linear @ scaled.T  # (K, m)
        rest = torch.where(quadratic <= quadratic.amin(0) * (1 + TIE), rest, -torch.inf)
        limit = (rest - rest.amax(0)) * size
        hidden = ~(log_density.abs() < FAR / torch.finfo(torch.float64).eps)
        posterior = torch.where(hidden, limit, joint).softmax(0)
        return log_density.to(self.device, self.dtype), posterior.to(self.device, self.dtype)
