"""The exponential-family form: an E-step and its statistics as two matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.covariance import Factor
from tgmm.covariance.moments import Moment
from tgmm.data.chunk import Accumulator, Chunk
from tgmm.kernels import chunking
from tgmm.kernels.base import BITS, Assignment, Buffer, Kernel
from tgmm.kernels.multiplication import multiply
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import float64_device, transferred, widen

BY_ROWS = 32  # features from which on a row of them is long enough to be worked on by itself


class Operands(NamedTuple):
    """What joint log-densities are made from."""

    eta: Tensor  # (K, 1 + d [+ q]), in bits
    factor: Factor | None  # of the quadratic part that is left out, where there is one


class Products(Kernel):
    """Joint log-densities are eta @ phi and statistics R @ phi' with phi = (1, z, moment(z)).

    Features are built in a (features, rows) layout in one reused buffer, or where there are many, and the moments do
    not mix them, row by row, so that nothing is transposed. Where the quadratic part is shared
    (tied structures) it is left out of both products: it cancels in the responsibilities, and its sum over
    rows is a constant of the data, found in the first pass. A kernel that makes passes therefore serves one data.
    """

    moment: Moment

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.n_columns = 1 + self.n_features + (0 if self.moment.shared else self.n_moments)
        self.n_rows = chunking.rows_per_chunk(self.n_columns + 2 * self.n_components, self.dtype.itemsize, self.device)
        elementwise = self.moment.shared or not self.moment.mixes
        self.by_rows = self.device.type == "cpu" and elementwise and self.n_features >= BY_ROWS
        self.pooled_second: Tensor | None = None  # (1, q) float64
        self._own_buffer = self.buffer()
        self._kept: tuple[Tensor, Tensor] | None = None  # rows that stay, and their features
        self._weight: tuple[int, Tensor] | None = None  # a number of rows without weights, and their weight
        self._origin = torch.zeros(1, self.n_features, dtype=torch.float64, device=self.frame.shift.device)

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics about the frame's origin; centre is not used."""
        return ProductSums(self, parameters, assignment)

    def operands(self, parameters: Parameters) -> Operands:
        """Return natural parameters, and the factor of a quadratic part that they leave out."""
        shared = parameters.covariances.shared
        factor = parameters.covariances.factor.to(float64_device(self.device)) if shared else None
        return Operands(self.bits(parameters.natural), factor)

    def log_joint(self, rows: Tensor, operands: Operands, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return the joint log-densities by one product, and the shared part by whitening."""
        phi = self.features(rows, buffer)
        joint = multiply(operands.eta, phi)
        if operands.factor is None:
            return joint, None
        distances = operands.factor.distances(widen(phi[1:]).T[None])[0]  # (c,)
        return joint, (-0.5 * BITS * distances).to(joint)

    def bits(self, coefficients: Tensor) -> Tensor:
        """Return natural parameters in bits, in the kernel's float type."""
        found = coefficients * BITS
        return found if found.dtype == self.dtype and found.device == self.device else found.to(self.device, self.dtype)

    def features_of(self, chunk: Chunk) -> Tensor:
        """Return the features of a chunk's rows; where all passes give these rows, they are made once."""
        if self._kept is not None and self._kept[0] is chunk.rows:
            return self._kept[1]
        phi = self.features(chunk.rows, self._own_buffer)
        self._kept = (chunk.rows, phi) if chunk.stays else None  # what the buffer held is given up
        return phi

    def features(self, rows: Tensor, buffer: Buffer) -> Tensor:
        """Return the features of rows, (1 + d [+ q], c), without moments where all components share them."""
        if self.by_rows:
            phi = buffer.take(rows.shape[0], self.n_columns).T
        else:
            phi = buffer.take(self.n_columns, rows.shape[0])
        phi[0] = 1
        z = self.standardise(rows, phi[1 : 1 + self.n_features])
        if not self.moment.shared:
            self.moment.fill(z, phi[1 + self.n_features :])
        return phi

    def weight_of(self, chunk: Chunk, like: Tensor) -> Tensor:
        """Return the weight of a chunk, (), where another total is; a number of rows is kept for the next pass."""
        if chunk.weights is not None:
            return chunk.weights.to(float64_device(self.device)).sum()
        n_rows = chunk.rows.shape[0]
        if self._weight is None or self._weight[0] != n_rows:
            self._weight = (n_rows, torch.full_like(like, n_rows))
        return self._weight[1]

    def statistics(self, sums: Tensor, totals: Sequence[Tensor], parameters: Parameters) -> Statistics:
        """Return the statistics of sums (K, 1 + d [+ q]) and totals () of likelihood, objective and weight."""
        sums, log_likelihood, objective, weight = transferred(self.frame.shift.device, sums, *totals)
        first, second = sums[:, 1 : 1 + self.n_features], sums[:, 1 + self.n_features :]
        if self.moment.shared and self.pooled_second is not None:
            second = self.pooled_second
            if parameters.covariances.own_moment == self.moment:
                offset = second[0] @ parameters.quadratic[0]
                log_likelihood, objective = log_likelihood + offset, objective + offset
        return Statistics(
            mass=sums[:, 0],
            first=first,
            second=second,
            log_likelihood=log_likelihood,
            objective=objective,
            weight=weight,
            centre=self._origin,
        )


class ProductSums(Accumulator[Statistics]):
    """Gathers statistics by products."""

    def __init__(self, kernel: Products, parameters: Parameters, assignment: Assignment) -> None:
        self.kernel, self.parameters, self.assignment = kernel, parameters, assignment
        self.n_rows = kernel.n_rows
        self.eta = kernel.bits(parameters.natural)  # (K, 1 + d [+ q])
        self.is_pooling = kernel.moment.shared and kernel.pooled_second is None
        self.found: list[Tensor] = []  # sums, totals and, where second moments are pooled, these; none of no rows

    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk."""
        kernel, weights = self.kernel, chunk.weights
        phi = kernel.features_of(chunk)
        used = phi if self.eta.shape[1] == phi.shape[0] else phi[: self.eta.shape[1]]
        joint = multiply(self.eta, used)
        likelihood, objective = self.assignment(joint, chunk.known)
        if weights is not None:
            weights = weights.to(float64_device(kernel.device))
            joint.mul_(weights.to(kernel.device, kernel.dtype))
        total = weighted_total(likelihood, weights)
        climbed = total if objective is likelihood else weighted_total(objective, weights)
        weight = kernel.weight_of(chunk, total)
        found = [widen(multiply(joint, phi.T)), total, climbed, weight]
        if self.is_pooling:
            row_weights = phi[0] if weights is None else weights
            found.append(kernel.moment.weighted_sum(widen(phi[1:]).T, widen(row_weights))[None])
        self.found = [before + more for before, more in zip(self.found, found, strict=True)] if self.found else found

    def result(self) -> Statistics:
        """Return the statistics."""
        sums, log_likelihood, objective, weight, *second = self.found or self._nothing()
        if self.is_pooling:
            self.kernel.pooled_second = second[0].to(self.kernel.frame.shift.device)
        return self.kernel.statistics(sums, (log_likelihood, objective, weight), self.parameters)

    def _nothing(self) -> list[Tensor]:
        """Return the sums of no rows."""
        kernel = self.kernel
        where = float64_device(kernel.device)
        shapes = [(kernel.n_components, kernel.n_columns), (), (), (), (1, kernel.n_moments)]
        return [torch.zeros(shape, dtype=torch.float64, device=where) for shape in shapes]


def weighted_total(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted sum over the last dimension, in float64."""
    return widen(values).sum(-1) if weights is None else widen(values) @ widen(weights)
