"""Rows that lack values: those without gaps go to another kernel, of the others what is observed counts.

The expectation of a row's moments given what is observed of it takes the place of the moments (Ghahramani & Jordan
1994, NIPS 6), in the same statistics. What is summed over rows is what is observed, by products as in
`tgmm.kernels.products`, or where these are not precise about the means as in `tgmm.kernels.centred`; the expectation of
the rest follows from the sums. All of it is in float64.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from tgmm.covariance import Full, FullFactor
from tgmm.covariance.moments import Moment, upper_triangle
from tgmm.data.chunk import Accumulator, Chunk, joined
from tgmm.kernels.assignment import Noisy
from tgmm.kernels.base import BITS, TOLERANCE, Assignment, Buffer, Kernel
from tgmm.kernels.centred import Centred
from tgmm.model.observed import NUMBERS, Block, Observed, blocks_of, numbered
from tgmm.model.own_gaps import OwnGaps
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import float32_products, float64_device, transferred, widen

MANY_ROWS = 8  # of a pattern, for which its own factor pays
# Amplification of rounding above which sums about the origin are not precise in float64.
AMPLIFIED = TOLERANCE[torch.float64] / torch.finfo(torch.float64).eps
WAITING = 1 << 19  # entries of rows with gaps that are added together


class Gaps(Kernel):
    """A kernel for rows that may lack values.

    Parameters
    ----------
    complete : Kernel
        That of the rows that lack none.
    """

    moment: Moment

    def __init__(self, complete: Kernel) -> None:
        super().__init__(complete.moment, complete.frame, complete.n_components, complete.dtype, complete.device)
        self.complete, self.n_rows = complete, complete.n_rows

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics of rows as the other kernel does."""
        return GapSums(self, parameters, assignment, self.complete.gather(parameters, assignment, centre))

    def operands(self, parameters: Parameters) -> tuple:
        """Return what the other kernel needs, and what the rows with gaps do."""
        return self.complete.operands(parameters), self.incomplete(parameters)

    def log_joint(self, rows: Tensor, operands: tuple, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return the joint log-densities of what is observed."""
        whole, incomplete = operands
        lacks = torch.isnan(rows).any(1)
        if not lacks.any():
            return self.complete.log_joint(rows, whole, buffer)
        joint = torch.empty(self.n_components, rows.shape[0], dtype=self.dtype, device=self.device)
        common = joint.new_zeros(rows.shape[0])
        is_whole, lacks = ~lacks, lacks.to(self.device)
        if is_whole.any():
            bits, shared = self.complete.log_joint(rows[is_whole], whole, buffer)
            joint[:, ~lacks] = bits.to(joint)
            if shared is not None:
                common[~lacks] = shared.to(joint)
        joint[:, lacks] = incomplete.log_joint(self.framed(rows[~is_whole])).to(joint) * BITS
        return joint, common

    def incomplete(self, parameters: Parameters) -> Incomplete:
        """Return the components as rows with gaps meet them."""
        parameters = parameters.to(float64_device(self.device))
        mixes = self.moment.mixes or parameters.covariances.own_moment.mixes
        log_scale = self.frame.scale.log().to(parameters.means.device)
        amplified = parameters.amplification_about_origin > AMPLIFIED
        centred = isinstance(self.complete, Centred) and amplified  # which is chosen for its speed, too
        return (Dependent if mixes else Independent)(parameters, log_scale, centred)

    def framed(self, rows: Tensor) -> Tensor:
        """Return rows in the frame, (c, d), in float64."""
        return self.frame.rows_in(widen(rows.to(self.device)))


class GapSums(Accumulator[Statistics]):
    """Gathers the statistics of rows that lack values, and hands the others on."""

    def __init__(
        self, kernel: Gaps, parameters: Parameters, assignment: Assignment, complete: Accumulator[Statistics]
    ) -> None:
        self.kernel, self.complete, self.assignment, self.n_rows = kernel, complete, assignment, complete.n_rows
        self.incomplete = kernel.incomplete(parameters)
        means = self.incomplete.parameters.means
        self.mass, self.first = torch.zeros_like(means[:, 0]), torch.zeros_like(means)
        self.second = means.new_zeros(len(means), kernel.n_moments)
        self.totals = means.new_zeros(3)  # log-likelihood, objective, weight
        self.waiting: list[Chunk] = []
        self.n_waiting = 0

    @float32_products()
    def add_all(self, chunks: Iterable[Chunk]) -> None:
        """Take in chunk after chunk."""
        super().add_all(chunks)

    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk."""
        lacks = torch.isnan(chunk.rows).any(1)
        if not lacks.any():
            self.complete.add(chunk)
            return
        if not lacks.all():
            self.complete.add(chunk.part(~lacks))
        self.waiting.append(chunk.part(lacks))
        self.n_waiting += int(lacks.sum())
        if self.n_waiting * self.kernel.n_features >= WAITING:
            self._add_waiting()

    def _add_waiting(self) -> None:
        """Add the rows with gaps that have come together: the more they are, the more have a pattern in common."""
        some = joined(self.waiting)
        self.waiting, self.n_waiting = [], 0
        rows = self.kernel.framed(some.rows)
        weights = some.own_weights().to(rows.device)
        self.totals[2] += weights.sum()
        known = None if some.known is None else some.known.to(rows.device)
        # A row without any value tells nothing, not even of the weights; of noise, its own weight would tell.
        if known is None and not isinstance(self.assignment, Noisy):
            empty = torch.isnan(rows).all(1)
            self.totals[:2] += weights[empty].sum() * self.kernel.frame.log_volume
            weights = torch.where(empty, 0.0, weights)
        for part in self.incomplete.parts(rows, weights, known, self.assignment):
            self._add(*part)

    def _add(self, likelihood: Tensor, objective: Tensor, sums: tuple[Tensor, Tensor, Tensor]) -> None:
        """Add the weighted likelihood and objective of rows, and the sums of their expected moments."""
        self.totals[0] += likelihood
        self.totals[1] += objective
        mass, first, second = sums
        self.mass += mass
        self.first += first
        moment = self.kernel.moment
        self.second += moment.of_products(second) if second.ndim == 3 else moment.of_squares(second)

    def result(self) -> Statistics:
        """Return the statistics of all rows about the centre that those of rows without gaps have."""
        if self.waiting:
            self._add_waiting()
        complete, moment = self.complete.result(), self.kernel.moment
        centre = self.incomplete.parameters.means
        sums = (self.mass, self.first, moment.pooled(self.second), self.totals, centre)
        mass, first, second, totals, centre = transferred(complete.mass.device, *sums)
        own = Statistics(mass, first, second, totals[0], totals[1], totals[2], centre)
        return complete + own.about(complete.centre, moment)


class Incomplete(ABC):
    """The components of a mixture in the frame, as rows that lack values meet them.

    Densities are multiplied by the units of missing values, so that the frame's whole volume leads out of it.

    Parameters
    ----------
    parameters : Parameters
    log_scale : Tensor of shape (d,)
        Of the frame.
    centred : bool
        Whether to compute about the means.
    """

    def __init__(self, parameters: Parameters, log_scale: Tensor, centred: bool) -> None:
        self.parameters, self.log_scale, self.centred = parameters, log_scale, centred

    @abstractmethod
    def log_joint(self, rows: Tensor) -> Tensor:
        """Return log(weight_k p_k) of what is observed of rows (c, d), in nats, (K, c)."""

    @abstractmethod
    def parts(self, rows: Tensor, weights: Tensor, known: Tensor | None, assignment: Assignment) -> Iterable[tuple]:
        """Yield the log-likelihood and the objective of rows (c, d), and their sums about the means, part by part.

        The sums are the masses (K,), the expected deviations (K, d), and their expected products (K, d, d) or
        squares (K, d).
        """


class Dependent(Incomplete):
    """Components whose features tell of each other.

    Rows of a pattern of many are computed together; others with those that lack as many values.
    """

    def log_joint(self, rows: Tensor) -> Tensor:
        """Return the joint log-densities."""
        joint = rows.new_empty(self.parameters.n_components, rows.shape[0])
        together, apart = self._split(rows)
        for block in blocks_of(~torch.isnan(rows), together, self.parameters.n_components):
            found = self._part(block, rows).joint()  # (P, K, n)
            joint[:, block.index[block.counts]] = found.transpose(0, 1)[:, block.counts]
        for index, own in self._own(rows, apart):
            joint[:, index] = own.log_joint() + self._units(own.gaps)
        return joint

    def parts(self, rows: Tensor, weights: Tensor, known: Tensor | None, assignment: Assignment) -> Iterable[tuple]:
        """Yield the sums of some rows at a time."""
        together, apart = self._split(rows)
        for block in blocks_of(~torch.isnan(rows), together, self.parameters.n_components):
            part = self._part(block, rows)
            joint = part.joint().transpose(0, 1)  # (K, P, n)
            flat = joint.reshape(joint.shape[0], -1)
            observed = block.observed[:, None].expand(*block.index.shape, -1).flatten(0, 1)
            likelihood, objective = _assigned(flat, _known_of(known, block.index.flatten()), observed, assignment)
            own = torch.where(block.counts, weights[block.index], 0.0)  # (P, n)
            shares = (flat.view_as(joint) * own).transpose(0, 1)  # (P, K, n)
            yield likelihood @ own.flatten(), objective @ own.flatten(), _expected(part.given, *part.sums(shares))
        for index, gaps in self._own(rows, apart):
            joint, own = gaps.log_joint() + self._units(gaps.gaps), weights[index]
            likelihood, objective = _assigned(joint, _known_of(known, index), ~gaps.gaps, assignment)
            yield likelihood @ own, objective @ own, gaps.sums(joint.mul_(own))

    @cached_property
    def _factor(self) -> FullFactor:
        """The factor of the covariances as matrices."""
        return Full(self.parameters.covariances.dense, self.parameters.n_features).factor

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows (c, d) whose pattern many have, and the others, as indices."""
        everything = torch.arange(rows.shape[0], device=rows.device)
        if self.centred:  # the others' distances are differences
            return everything, everything[:0]
        number = numbered(~torch.isnan(rows))
        have_many = number.bincount()[number] >= MANY_ROWS
        return everything[have_many], everything[~have_many]

    def _own(self, rows: Tensor, index: Tensor) -> Iterable[tuple[Tensor, OwnGaps]]:
        """Yield some of the rows with these indices at a time, that lack as many values each."""
        n_missing = torch.isnan(rows[index]).sum(1)
        for count in n_missing.unique().tolist():
            numbers = self.parameters.n_components * max(rows.shape[1], count**2)  # of a row
            for part in index[n_missing == count].split(max(1, NUMBERS // numbers)):
                yield part, OwnGaps(self.parameters, self._factor, rows[part])

    def _part(self, block: Block, rows: Tensor) -> Part:
        given = Observed(self.parameters, block.observed)
        form = AboutMeans if self.centred else AboutOrigin
        return form(given, self._units(~block.observed), rows[block.index])

    def _units(self, gaps: Tensor) -> Tensor:
        """Return the logarithms of the units of missing values, (c,)."""
        return gaps.to(self.log_scale) @ self.log_scale


class Part(ABC):
    """Rows of a few patterns, (P, n, d), and what is summed of their observed values.

    Parameters
    ----------
    given : Observed
    units : Tensor of shape (P,)
        The logarithm of the units of missing values.
    rows : Tensor of shape (P, n, d)
    """

    def __init__(self, given: Observed, units: Tensor, rows: Tensor) -> None:
        self.given, self.units = given, units

    @abstractmethod
    def joint(self) -> Tensor:
        """Return the joint log-densities, in nats, (P, K, n)."""

    @abstractmethod
    def sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the masses (P, K) of shares (P, K, n), and the sums of deviations and of their products.

        Deviations are from the means: (P, K, d), and (P, K, d, d) of the products.
        """


class AboutOrigin(Part):
    """Sums by two products with the features (1, z, z z') of rows."""

    def __init__(self, given: Observed, units: Tensor, rows: Tensor) -> None:
        super().__init__(given, units, rows)
        rows, self.n_features = rows.nan_to_num(nan=0.0), rows.shape[-1]
        i, j = upper_triangle(self.n_features, rows.device)
        self.features = torch.cat([torch.ones_like(rows[..., :1]), rows, rows[..., i] * rows[..., j]], -1)

    def joint(self) -> Tensor:
        """Return the products with natural parameters."""
        return self.given.natural @ self.features.mT + self.units[:, None, None]

    def sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums about the frame's origin, moved to the means."""
        sums = shares @ self.features  # (P, K, 1 + d + q)
        mass, first, second = sums.split([1, self.n_features, sums.shape[-1] - 1 - self.n_features], -1)
        products = Full.from_packed(second, self.n_features, shared=False).values  # (P, K, d, d)
        means = self.given.means
        cross = first[..., :, None] * means[..., None, :]
        about = products - cross - cross.mT + mass[..., None] * means[..., :, None] * means[..., None, :]
        return mass[..., 0], first - mass * means, about


class AboutMeans(Part):
    """Sums of deviations from the means, one component at a time."""

    def __init__(self, given: Observed, units: Tensor, rows: Tensor) -> None:
        super().__init__(given, units, rows)
        self.deviations = given.deviations(rows)  # (P, K, n, d)

    def joint(self) -> Tensor:
        """Return what follows from distances."""
        return self.given.log_joint(self.deviations) + self.units[:, None, None]

    def sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums."""
        first = (shares[..., None, :] @ self.deviations)[..., 0, :]
        return shares.sum(-1), first, (self.deviations * shares[..., None]).mT @ self.deviations


def _expected(given: Observed, mass: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the expected sums (K, ...) of whole rows, from those of observed deviations u (P, K, ...).

    With A what completes deviations and C what is left: the sums of A u, and of A u u' A' + C.
    """
    complete = given.completion  # (P, B, d, d)
    products = complete @ second @ complete.mT + mass[..., None, None] * given.leftover
    return mass.sum(0), (complete @ first[..., None])[..., 0].sum(0), products.sum(0)


def _assigned(joint: Tensor, known: Tensor | None, observed: Tensor, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Overwrite joint (K, c), in nats, by responsibilities; return the log-densities and the objective, (c,) each.

    What noise has more of density for values that a row lacks, components are given less.
    """
    more: Tensor | float = 0.0
    if isinstance(assignment, Noisy):
        more = (~observed).to(joint) @ assignment.log_sides.to(joint)  # (c,)
    likelihood, objective = assignment(joint.sub_(more).mul_(BITS), known)
    return likelihood + more, objective + more


def _known_of(known: Tensor | None, index: Tensor) -> Tensor | None:
    """Return what is known of some of the rows."""
    return None if known is None else known[index]


class Independent(Incomplete):
    """Components whose features are independent: a missing value has its component's mean and variance."""

    def log_joint(self, rows: Tensor) -> Tensor:
        """Return the joint log-densities."""
        return self._joint(rows, ~torch.isnan(rows))

    def parts(self, rows: Tensor, weights: Tensor, known: Tensor | None, assignment: Assignment) -> Iterable[tuple]:
        """Yield the sums of all rows."""
        observed = ~torch.isnan(rows)
        joint = self._joint(rows, observed)  # (K, c)
        likelihood, objective = _assigned(joint, known, observed, assignment)
        shares = joint.mul_(weights)
        mass, there = shares.sum(1), shares @ observed.to(shares)  # (K,), (K, d)
        first, second = self._sums(rows, shares, there)
        missing = mass[:, None] - there
        yield likelihood @ weights, objective @ weights, (mass, first, second + missing * self._variances)

    @property
    def _variances(self) -> Tensor:
        return self.parameters.covariances.variances.expand_as(self.parameters.means)  # (K, d)

    def _joint(self, rows: Tensor, observed: Tensor) -> Tensor:
        """Return the joint log-densities of rows with these values observed, (K, c)."""
        means, variances, there = self.parameters.means, self._variances, observed.to(rows)
        constant = variances.log() + math.log(2 * math.pi)  # (K, d)
        if self.centred:
            distances = torch.stack(
                [_deviations(rows, mean).square() @ (1 / own) for mean, own in zip(means, variances, strict=True)]
            )
        else:
            z = rows.nan_to_num(nan=0.0)
            distances = (1 / variances) @ z.square().T - 2 * (means / variances) @ z.T
            constant = constant + means.square() / variances
        units = (1 - there) @ self.log_scale  # (c,)
        return self.parameters.weights.log()[:, None] - 0.5 * (distances + constant @ there.T) + units

    def _sums(self, rows: Tensor, shares: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of deviations from the means and of their squares, (K, d) each, of so much there (K, d)."""
        means = self.parameters.means
        if self.centred:
            first, second = torch.empty_like(means), torch.empty_like(means)
            for k, mean in enumerate(means):
                deviations = _deviations(rows, mean)  # (c, d)
                first[k], second[k] = shares[k] @ deviations, shares[k] @ deviations.square()
            return first, second
        z = rows.nan_to_num(nan=0.0)
        first, second = shares @ z, shares @ z.square()
        return first - there * means, second - 2 * means * first + there * means.square()


def _deviations(rows: Tensor, mean: Tensor) -> Tensor:
    """Return rows minus a mean, 0 where they have no value."""
    return (rows - mean).nan_to_num(nan=0.0)
