"""The components of a mixture as rows that lack values meet them: log-densities of what is observed, expected sums."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from tgmm.covariance import Full, FullFactor
from tgmm.kernels.assignment import Noisy
from tgmm.kernels.base import BITS, Assignment
from tgmm.kernels.patterns import AboutMeans, AboutOrigin
from tgmm.model.observed import NUMBERS, Block, Observed, blocks_of, numbered
from tgmm.model.own_gaps import OwnGaps
from tgmm.model.parameters import Parameters

MANY_ROWS = 8  # of a pattern, for which its own factor pays


@dataclass(frozen=True)
class Alike:
    """Rows that are computed together, whatever their patterns."""

    index: Tensor  # (c,)
    missing: Tensor | None = None  # (c, m) int32, the features that each lacks, where all lack as many

    @property
    def counts(self) -> Tensor:
        """Whether a row is not a repetition: none is, (c,)."""
        return torch.ones_like(self.index, dtype=torch.bool)


Group = Block | Alike


class Met(Protocol):
    """Components and rows of a group, of c rows with repetitions."""

    def joint(self) -> Tensor:
        """Return log(weight_k p_k) of what is observed, in nats, (K, c)."""
        ...

    def sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return sums of shares (K, c), and of expected deviations from the means and their products, with shares.

        They are the masses (K,), (K, d), and (K, d, d), or the squares alone, (K, d).
        """
        ...


class Incomplete(ABC):
    """The components of a mixture in the frame.

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
    def groups(self, observed: Tensor, which: Tensor) -> Iterator[Group]:
        """Yield the rows with the indices which by groups, given what is observed (c, d) of all rows.

        They depend on no parameters.
        """

    @abstractmethod
    def met(self, group: Group, rows: Tensor) -> Met:
        """Return the components and the rows (c, d) of a group."""

    def log_joint(self, rows: Tensor) -> Tensor:
        """Return log(weight_k p_k) of what is observed of rows (c, d), in nats, (K, c)."""
        joint = rows.new_empty(self.parameters.n_components, rows.shape[0])
        everything = torch.arange(rows.shape[0], device=rows.device)
        for group in self.groups(~torch.isnan(rows), everything):
            index, counts = group.index.flatten(), group.counts.flatten()
            joint[:, index[counts]] = self.met(group, rows[index]).joint()[:, counts]
        return joint

    def sums(
        self, group: Group, rows: Tensor, weights: Tensor, known: Tensor | None, assignment: Assignment
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Return the log-likelihood and the objective of a group's rows (c, d), and their expected sums.

        See `Met` for the sums; rows, weights (c,) and what is known are those of the group's index.
        """
        met = self.met(group, rows)
        joint = met.joint()
        likelihood, objective = _assigned(joint, known, rows, assignment)
        weights = torch.where(group.counts.flatten(), weights, 0.0)
        return likelihood @ weights, objective @ weights, met.sums(joint.mul_(weights))

    def units(self, observed: Tensor) -> Tensor:
        """Return the logarithms of the units of values that are not observed (c, d), (c,)."""
        return (~observed).to(self.log_scale) @ self.log_scale


class Dependent(Incomplete):
    """Components whose features tell of each other.

    Rows of a pattern of many are computed together; others with those that lack as many values.
    """

    _given: tuple[Tensor, Observed] | None = None  # the components given the patterns of a block

    def groups(self, observed: Tensor, which: Tensor) -> Iterator[Group]:
        """Yield blocks of patterns of many rows, and the others."""
        n_components, n_features = self.parameters.n_components, observed.shape[1]
        together, apart = self._split(observed, which)
        yield from blocks_of(observed, together, n_components)
        gaps = ~observed[apart]
        n_missing = gaps.sum(1)
        for count in n_missing.unique().tolist():
            own = (n_missing == count).nonzero()[:, 0]
            missing = gaps[own].nonzero()[:, 1].view(len(own), -1).int()
            n_rows = max(1, NUMBERS // (n_components * max(n_features, count**2)))
            for index, part in zip(apart[own].split(n_rows), missing.split(n_rows), strict=True):
                yield Alike(index, part)

    def met(self, group: Group, rows: Tensor) -> Met:
        """Return the components given a block's patterns, or each row's own gaps."""
        if isinstance(group, Alike):
            assert group.missing is not None
            units = self.units(~torch.isnan(rows))
            return OwnGaps(self.parameters, self._factor, rows, group.missing.long().to(rows.device), units)
        if self._given is None or self._given[0] is not group.observed:  # that of the last block may serve this one
            self._given = group.observed, Observed(self.parameters, group.observed.to(rows.device))
        given = self._given[1]
        form = AboutMeans if self.centred else AboutOrigin
        return form(given, self.units(given.observed), rows.view(*group.index.shape, -1))

    @cached_property
    def _factor(self) -> FullFactor:
        """The factor of the covariances as matrices."""
        return Full(self.parameters.covariances.dense, self.parameters.n_features).factor

    def _split(self, observed: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Return those rows whose pattern many have, and the others, as indices."""
        if self.centred or not which.numel():  # the others' distances are differences
            return which, which[:0]
        number = numbered(observed[which])
        have_many = number.bincount()[number] >= MANY_ROWS
        return which[have_many], which[~have_many]


class Independent(Incomplete):
    """Components whose features are independent: a missing value has its component's mean and variance."""

    def groups(self, observed: Tensor, which: Tensor) -> Iterator[Group]:
        """Yield the rows, some at a time."""
        for index in which.split(max(1, NUMBERS // observed.shape[1])):
            yield Alike(index)

    def met(self, group: Group, rows: Tensor) -> Met:
        """Return the components and the rows."""
        return OneByOne(self, rows)


class OneByOne:
    """Components of independent features, and rows (c, d).

    Parameters
    ----------
    components : Independent
    rows : Tensor of shape (c, d)
    """

    def __init__(self, components: Independent, rows: Tensor) -> None:
        self.rows, self.observed, self.centred = rows, ~torch.isnan(rows), components.centred
        self.parameters, self.units = components.parameters, components.units(self.observed)
        self.variances = self.parameters.covariances.variances.expand_as(self.parameters.means)  # (K, d)

    def joint(self) -> Tensor:
        """Return the joint log-densities, (K, c)."""
        means, variances, there = self.parameters.means, self.variances, self.observed.to(self.rows)
        constant = variances.log() + math.log(2 * math.pi)  # (K, d)
        if self.centred:
            distances = torch.stack(
                [self._deviations(mean).square() @ (1 / own) for mean, own in zip(means, variances, strict=True)]
            )
        else:
            z = self.rows.nan_to_num(nan=0.0)
            distances = (1 / variances) @ z.square().T - 2 * (means / variances) @ z.T
            constant = constant + means.square() / variances
        return self.parameters.weights.log()[:, None] - 0.5 * (distances + constant @ there.T) + self.units

    def sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return masses (K,), and expected deviations and squares (K, d), with shares."""
        mass, there = shares.sum(1), shares @ self.observed.to(shares)  # (K,), (K, d)
        first, second = self._observed_sums(shares, there)
        return mass, first, second + (mass[:, None] - there) * self.variances

    def _observed_sums(self, shares: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of deviations from the means and of their squares, (K, d) each, of so much there (K, d)."""
        means = self.parameters.means
        if self.centred:
            first, second = torch.empty_like(means), torch.empty_like(means)
            for k, mean in enumerate(means):
                deviations = self._deviations(mean)  # (c, d)
                first[k], second[k] = shares[k] @ deviations, shares[k] @ deviations.square()
            return first, second
        z = self.rows.nan_to_num(nan=0.0)
        first, second = shares @ z, shares @ z.square()
        return first - there * means, second - 2 * means * first + there * means.square()

    def _deviations(self, mean: Tensor) -> Tensor:
        """Return the rows minus a mean, 0 where they have no value."""
        return (self.rows - mean).nan_to_num(nan=0.0)


def _assigned(joint: Tensor, known: Tensor | None, rows: Tensor, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Overwrite joint (K, c), in nats, by responsibilities; return the log-densities and the objective, (c,) each.

    What noise has more of density for values that a row lacks, components are given less.
    """
    if not isinstance(assignment, Noisy):
        return assignment(joint.mul_(BITS), known)
    more = torch.isnan(rows).to(joint) @ assignment.log_sides.to(joint)  # (c,)
    likelihood, objective = assignment(joint.sub_(more).mul_(BITS), known)
    return likelihood + more, objective + more
