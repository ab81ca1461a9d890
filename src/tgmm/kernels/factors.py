"""The form for covariances of few factors: densities and sums at O(K d q) a row, nothing of size d^2.

Rows are multiplied once by the scores of all components' factors, (d, K q). What that takes from the distances in
units of the noise alone is, by the identity of Woodbury, the squared norm of the scores; and expected factors, and
their products with rows, are linear in the scores. Sources: Ghahramani & Hinton 1996 (CRG-TR-96-1); Zhao & Yu 2008
(Neural Networks 21) for sums that avoid scatter matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.covariance import Latent, LowRank
from tgmm.data.chunk import Accumulator, Chunk
from tgmm.kernels import chunking
from tgmm.kernels.base import BITS, Assignment, Buffer, Kernel
from tgmm.kernels.centred import NEGLIGIBLE, kept_of
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import float32_products, float64_device, transferred, widen

FEW = 1 / 8  # of the shares: where no more count, looking for each component's rows costs less than it saves
SEED = 0  # of the directions whose projections stand for factors before there are some


class Operands(NamedTuple):
    """What joint log-densities are made from."""

    scores: Tensor  # (K q, d)
    linear: Tensor  # (K q + K, d): the scores, and in bits the linear part of what noise alone makes of log-densities
    offsets: Tensor  # (K q + K, 1): what is added to either
    inverse: Tensor  # (K, d): one over the noise variances
    constants: Tensor  # (K,): the log-densities at the means, in bits
    means: Tensor  # (K, d)


class Scored(Kernel):
    """Joint log-densities by products about the frame's origin, and sums about it.

    The parameters of a pass that is to begin a run have no factors: projections of rows on directions drawn at random
    then stand for them, from which a first estimate follows (that of Nystrom: Halko, Martinsson & Tropp 2011, SIAM
    Review 53, 5.5).
    """

    moment: Latent

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.n_factors = self.moment.n_factors
        n_columns = 2 * self.n_features + self.n_components * (self.n_factors + 1)
        self.n_rows = chunking.rows_per_chunk(n_columns, self.dtype.itemsize, self.device)

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics about the frame's origin; centre is not used."""
        return ScoredSums(self, parameters, assignment)

    def operands(self, parameters: Parameters) -> Operands:
        """Return natural parameters of the noise, and scores."""
        means, covariances = parameters.means, parameters.covariances.apart(self.n_components)
        if isinstance(covariances, LowRank):
            inverse, scores = covariances.factor.inverse_sd.square(), covariances.factor.scores.mT  # (K, d), (K, q, d)
        else:
            inverse, scores = 1 / covariances.variances, means.new_zeros(self.n_components, 0, self.n_features)
        scores, slopes = scores.flatten(0, 1), inverse * means
        at_means = (scores.view(self.n_components, -1, self.n_features) @ means[..., None]).reshape(-1)
        constants = parameters.log_constants * BITS
        offsets = torch.cat([-at_means, constants - 0.5 * BITS * (means * slopes).sum(-1)])
        linear = torch.cat([scores, BITS * slopes])
        each = (scores, linear, offsets[:, None], inverse, constants, means)
        return Operands(*[tensor.to(self.dtype).to(self.device) for tensor in each])

    def amplification(self, parameters: Parameters, centre: Tensor | None) -> float:
        """Return the largest ratio of a second moment about centre (K, d), or the origin, to what factors leave of it.

        Noise variances are differences of squares, as variances of one feature are.
        """
        covariances = parameters.covariances
        if not isinstance(covariances, LowRank):
            return super().amplification(parameters, centre)
        gaps = parameters.means if centre is None else parameters.means - centre
        ratios = (gaps.square() + covariances.variances) / covariances.noise  # (K, d)
        return float(torch.where(parameters.weights > 0, ratios.amax(-1), 0.0).amax())

    def amplified_at_most(self, parameters: Parameters) -> float:
        """Return the amplification itself."""
        return self.amplification(parameters, None)

    @float32_products()
    def log_joint(self, rows: Tensor, operands: Operands, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return the joint log-densities; nothing is split off."""
        z, squares = self.standardised(rows, buffer)
        return self.found(z, squares, operands, self.buffer())[len(operands.scores) :], None

    def standardised(self, rows: Tensor, buffer: Buffer) -> tuple[Tensor, Tensor]:
        """Return rows in the frame and their squares, (c, d) each."""
        z, squares = buffer.take(2 * len(rows), self.n_features).chunk(2)
        self.standardise(rows, z.T)
        return z, torch.mul(z, z, out=squares)

    def found(self, z: Tensor, squares: Tensor, operands: Operands, buffer: Buffer) -> Tensor:
        """Return scores of rows and their squares in the frame (c, d), (K q, c), above log2(weight_k p_k), (K, c)."""
        found = buffer.take(len(operands.linear), len(z))
        torch.addmm(operands.offsets, operands.linear, z.T, out=found)
        scores, joint = found.split([len(operands.scores), self.n_components])
        joint.addmm_(operands.inverse, squares.T, alpha=-0.5 * BITS)
        for factor in scores.view(self.n_components, -1, len(z)).unbind(1):
            joint.addcmul_(factor, factor, value=0.5 * BITS)
        return found


class Deviating(Scored):
    """The same about the means, one component at a time: the precise form, in which nothing cancels."""

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics about centre (K, d), or about the means."""
        return ScoredSums(self, parameters, assignment, parameters.means if centre is None else centre)

    def found(self, z: Tensor, squares: Tensor, operands: Operands, buffer: Buffer) -> Tensor:
        """Return scores of rows in the frame (c, d), (K q, c), above log2(weight_k p_k), (K, c), without squares."""
        found = buffer.take(len(operands.linear), len(z))
        scores, joint = found.split([len(operands.scores), self.n_components])
        each = zip(operands.scores.chunk(self.n_components), scores.chunk(self.n_components), strict=True)
        for k, (slopes, own) in enumerate(each):
            deviations = z - operands.means[k]
            torch.mm(slopes, deviations.T, out=own)
            distances = deviations.square() @ operands.inverse[k] - own.square().sum(0)
            joint[k] = operands.constants[k] - 0.5 * BITS * distances
        return found


class ScoredSums(Accumulator[Statistics]):
    """Gathers statistics about the frame's origin, or about centres (K, d).

    Scores u are linear in rows, so that their own sums follow from those of u x'. Where few shares count, as in many
    dimensions, each component's sums leave the rows of others out.
    """

    def __init__(
        self, kernel: Scored, parameters: Parameters, assignment: Assignment, centres: Tensor | None = None
    ) -> None:
        self.kernel, self.assignment, self.n_rows = kernel, assignment, kernel.n_rows
        self.parameters, self.operands = parameters, kernel.operands(parameters)
        self.centres = None if centres is None else centres.to(kernel.dtype).to(kernel.device)
        self.directions = None if isinstance(parameters.covariances, LowRank) else _directions(kernel)  # (q, d)
        n_components, n_features, q = kernel.n_components, kernel.n_features, kernel.n_factors
        where = float64_device(kernel.device)
        self.mass = torch.zeros(n_components, dtype=torch.float64, device=where)
        self.sums = self.mass.new_zeros(n_components * (q + 1), n_features)  # of u x', and of x, as found
        self.squares = self.mass.new_zeros(n_components, n_features)
        self.totals = self.mass.new_zeros(3)  # log-likelihood, objective, weight
        self.for_rows, self.for_found = kernel.buffer(), kernel.buffer()

    @float32_products()
    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk."""
        kernel = self.kernel
        z, squares = kernel.standardised(chunk.rows, self.for_rows)  # (c, d)
        found = kernel.found(z, squares, self.operands, self.for_found)
        joint = found[-kernel.n_components :]
        likelihood, objective = self.assignment(joint, chunk.known)
        weights = z.new_ones(z.shape[0]) if chunk.weights is None else chunk.weights.to(kernel.device, kernel.dtype)
        joint.mul_(weights)
        counting = joint > joint.sum(1, keepdim=True) * torch.finfo(joint.dtype).eps ** NEGLIGIBLE
        joint.mul_(counting)  # products with denormal results cost many times as much
        self.mass += joint.sum(1)
        if self.directions is not None:
            scores = self.directions @ z.T - (self.operands.means @ self.directions.T)[..., None]  # (K, q, c)
            found = torch.cat([scores.flatten(0, 1), joint])
        self._parts(found)[0].mul_(joint[:, None])
        if self.centres is None and not are_few(counting):
            self.sums += found @ z
            self.squares += joint @ squares
        else:
            for k, own in enumerate(self._parts(found)[0]):
                self._add_own(k, z, own, joint[k])
        self.totals[0] += widen(weights) @ widen(likelihood)
        self.totals[1] += widen(weights) @ widen(objective)
        self.totals[2] += widen(weights).sum()

    def _parts(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return what belongs to scores, (K, q, ...), and to shares, (K, ...), of what is found, (K q + K, ...)."""
        n_components = self.kernel.n_components
        scores, shares = found.tensor_split([len(found) - n_components])
        return scores.unflatten(0, (n_components, -1)), shares

    def _add_own(self, k: int, z: Tensor, scores: Tensor, shares: Tensor) -> None:
        """Add the sums of a component over those rows z (c, d) of which it has shares (c,).

        Its scores (q, c) are already multiplied by them.
        """
        kept = kept_of(shares)
        if kept is not None:
            z, scores, shares = z.index_select(0, kept), scores.index_select(1, kept), shares.index_select(0, kept)
        deviations = z if self.centres is None else z - self.centres[k]  # (m, d)
        cross, first = self._parts(self.sums)
        cross[k] += scores @ deviations
        first[k] += shares @ deviations
        self.squares[k] += shares @ deviations.square()

    def result(self) -> Statistics:
        """Return the statistics."""
        centre = self.sums.new_zeros(1, self.kernel.n_features) if self.centres is None else widen(self.centres)
        each = (self.mass, self.sums, self.squares, self.totals, centre)
        mass, sums, squares, totals, centre = transferred(self.kernel.frame.shift.device, *each)
        covariances, gaps = self.parameters.covariances, self.parameters.means - centre  # (K, d)
        cross, first = self._parts(sums)
        cross = cross.mT
        if isinstance(covariances, LowRank):
            products, scores = of_scores(covariances.factor.scores, mass, cross, first, gaps)
            cross, products, scores = expected(covariances, mass, cross, products, scores)
        else:
            products, scores = of_scores(_directions(self.kernel).T.to(sums), mass, cross, first, gaps)
        second = self.kernel.moment.joined(cross, squares, products, scores)
        return Statistics(mass, first, second, totals[0], totals[1], totals[2], centre)


def of_scores(slopes: Tensor, mass: Tensor, cross: Tensor, first: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums of u u' and u, u = A'(x - gap), from those of 1, x u' and x, with slopes A (d, q) or (K, d, q)."""
    scores = ((first - mass[..., None] * gaps)[..., None, :] @ slopes)[..., 0, :]
    products = slopes.mT @ (cross - gaps[..., None] * scores[..., None, :])
    return (products + products.mT) / 2, scores


def are_few(counting: Tensor) -> bool:
    """Whether so few of the shares count (K, c) that each component's rows are best looked for."""
    return counting.device.type == "cpu" and int(counting.sum()) <= FEW * counting.numel()


def expected(
    covariances: LowRank, mass: Tensor, cross: Tensor, products: Tensor, scores: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums of x z', z z' and z of factors z, expected given rows x, from those of scores u.

    With the rotation R of the scaled loadings V = Psi^-1/2 W R and their strengths lambda, a row's factors are
    R u / sqrt(1 + lambda) on average, with the covariance R diag(1 / (1 + lambda)) R'.
    """
    strengths, rotation = covariances.spectrum
    inverse = 1 / (1 + strengths)  # (K, q)
    back = (rotation * inverse.sqrt()[..., None, :]).mT  # (K, q, q)
    left = (rotation * inverse[..., None, :]) @ rotation.mT
    products = back.mT @ products @ back + mass[..., None, None] * left
    return cross @ back, products, (back.mT @ scores[..., None])[..., 0]


def _directions(kernel: Scored) -> Tensor:
    """Return directions (q, d) that are the same at every call."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(kernel.n_features, kernel.n_factors, dtype=torch.float64, generator=generator)
    return torch.linalg.qr(drawn)[0].T.to(kernel.dtype).to(kernel.device)
