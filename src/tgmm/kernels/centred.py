"""The textbook form: rows minus means, whitened one component at a time.

Slower than the products and safe wherever the covariances are: nothing cancels. It is the specification the
other kernels are tested against, and what they fall back to.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.covariance import Factor
from tgmm.covariance.moments import Moment
from tgmm.data.chunk import Accumulator, Chunk
from tgmm.kernels import chunking
from tgmm.kernels.base import BITS, Assignment, Buffer, Kernel
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import float32_products, float64_device, transferred, widen

NUMBERS = 1 << 15  # deviations of rows from means that are worked on at a time, or those of one component
MOST = 0.75  # of the rows of a chunk: where a component has a part of no more, the others are left out of its sums
# The power of the rounding error, relative to a component's part of a chunk, up to which a share counts as 0: even of a
# million rows at a million standard deviations, such shares add less than sums in that float type resolve.
NEGLIGIBLE = 4


class Operands(NamedTuple):
    """What joint log-densities are made from."""

    means: Tensor  # (K, d)
    constants: Tensor  # (K,)
    factor: Factor


class Centred(Kernel):
    """Joint log-densities from Mahalanobis distances, statistics about a centre per component."""

    moment: Moment

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        n_columns = 4 * self.n_features + 2 * self.n_components
        self.n_rows = chunking.rows_per_chunk(n_columns, self.dtype.itemsize, self.device)

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics about centre (K, d), or about the means."""
        return CentredSums(self, parameters, assignment, parameters.means if centre is None else centre)

    def operands(self, parameters: Parameters) -> Operands:
        """Return means, constants and the factor: in the kernel's float type, or on the host in a wider one.

        A device without float64 has no more precise kernel than this.
        """
        where = float64_device(self.device)
        dtype = self.dtype if where == self.device else torch.float64
        return Operands(
            parameters.means.to(self.dtype).to(self.device),
            parameters.log_constants.to(self.dtype).to(self.device),
            parameters.covariances.factor.to(where, dtype),
        )

    @float32_products()
    def log_joint(self, rows: Tensor, operands: Operands, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return the joint log-densities, one component at a time; nothing is split off."""
        return self.joint(self.standardised(rows), operands), None

    def standardised(self, rows: Tensor) -> Tensor:
        """Return rows in the frame, (c, d)."""
        z = torch.empty(rows.shape[0], self.n_features, dtype=self.dtype, device=self.device)
        return self.standardise(rows, z.T).T

    def joint(self, z: Tensor, operands: Operands) -> Tensor:
        """Return log2(weight_k p_k(z)) of rows in the frame, (K, c)."""
        means, constants, factor = operands
        where, dtype, shared = factor.log_det.device, factor.log_det.dtype, factor.log_det.shape[0] == 1
        joint = z.new_empty(self.n_components, z.shape[0])
        size = max(1, NUMBERS // max(1, z.numel()))  # components at a time
        for first in range(0, self.n_components, size):
            part = slice(first, first + size)
            deviations = (z - means[part, None]).to(where, dtype)  # (k, c, d)
            distances = (factor if shared else factor.take(part)).distances(deviations)
            torch.sub(constants[part, None], distances.to(self.device, self.dtype), alpha=0.5, out=joint[part])
        return joint.mul_(BITS)


class CentredSums(Accumulator[Statistics]):
    """Gathers statistics about centres (K, d)."""

    def __init__(self, kernel: Centred, parameters: Parameters, assignment: Assignment, centre: Tensor) -> None:
        self.kernel, self.assignment = kernel, assignment
        self.n_rows = kernel.n_rows
        self.operands = kernel.operands(parameters)
        self.centres = centre.to(kernel.dtype).to(kernel.device)  # (K, d)
        where = float64_device(kernel.device)
        self.mass = torch.zeros(kernel.n_components, dtype=torch.float64, device=where)
        self.first = self.mass.new_zeros(kernel.n_components, kernel.n_features)
        self.second = self.mass.new_zeros(kernel.n_components, kernel.n_moments)
        self.totals = self.mass.new_zeros(3)  # log-likelihood, objective, weight

    @float32_products()
    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk."""
        kernel = self.kernel
        z = kernel.standardised(chunk.rows)  # (c, d)
        joint = kernel.joint(z, self.operands)
        likelihood, objective = self.assignment(joint, chunk.known)
        weights = z.new_ones(z.shape[0]) if chunk.weights is None else chunk.weights.to(kernel.device, kernel.dtype)
        joint.mul_(weights)
        self.mass += widen(joint.sum(1))
        for k in range(kernel.n_components):
            own, shares = rows_of(z, joint[k])
            deviations = own - self.centres[k]  # (m, d)
            self.first[k] += widen(shares @ deviations)
            self.second[k] += widen(kernel.moment.weighted_sum(deviations, shares))
        self.totals[0] += widen(weights) @ widen(likelihood)
        self.totals[1] += widen(weights) @ widen(objective)
        self.totals[2] += widen(weights).sum()

    def result(self) -> Statistics:
        """Return the statistics."""
        second = self.kernel.moment.pooled(self.second)
        mass, first, second, totals, centres = transferred(
            self.kernel.frame.shift.device, self.mass, self.first, second, self.totals, widen(self.centres)
        )
        return Statistics(mass, first, second, totals[0], totals[1], totals[2], centres)


def rows_of(z: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of which a component has shares (c,), and these, where that leaves many of the rows z (c, d) out.

    In many dimensions most rows are without doubt those of one component. A GPU would have to wait to know which.
    """
    kept = kept_of(shares)
    return (z, shares) if kept is None else (z.index_select(0, kept), shares.index_select(0, kept))


def kept_of(shares: Tensor) -> Tensor | None:
    """Return the rows of which a component has shares (c,), as indices, or None where that is next to all."""
    if shares.device.type != "cpu":
        return None
    (kept,) = (shares > shares.sum() * torch.finfo(shares.dtype).eps ** NEGLIGIBLE).nonzero(as_tuple=True)
    return kept if kept.shape[0] <= MOST * shares.shape[0] else None
