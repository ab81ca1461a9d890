"""Components given what is observed of a row: the density of that, and what follows for the values it lacks.

Little & Rubin 2019 (Statistical Analysis with Missing Data, 3rd edition, 11.2) for one Gaussian; Ghahramani & Jordan
1994 (NIPS 6) for mixtures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tgmm.covariance import Full, FullFactor
from tgmm.model.parameters import Parameters

NUMBERS = 1 << 20  # entries of the largest tensors held at a time
ROWS = 1 << 16  # that are converted at a time
BITS = 52  # that a float64 tells apart
FEW_ROWS = 8  # of a pattern, up to which patterns of fewer are computed along with it


@dataclass(frozen=True)
class Block:
    """Rows of a few patterns, as many of each: where a pattern has fewer, one of its rows is repeated."""

    observed: Tensor  # (P, d) which values the rows of a pattern have
    index: Tensor  # (P, n) of the rows
    counts: Tensor  # (P, n) whether a row is not a repetition


def blocks_of(observed: Tensor, which: Tensor, n_components: int) -> Iterator[Block]:
    """Yield some of the rows (c, d) by what is observed of them, so that few operations serve many.

    Parameters
    ----------
    observed : Tensor of bool, (c, d)
    which : Tensor of int64
        The indices of the rows to yield.
    n_components : int
    """
    if not which.numel():
        return
    n_features, observed = observed.shape[1], observed[which]
    number = numbered(observed)  # of each row's pattern
    sizes = number.bincount()
    by_size = sizes.argsort(descending=True, stable=True)
    sizes = sizes[by_size]
    order = by_size.argsort()[number].argsort(stable=True)  # (c,) rows, pattern by pattern
    begins = sizes.cumsum(0) - sizes
    patterns = observed[order[begins]]  # (P, d)
    first, list_of_sizes = 0, sizes.tolist()
    of_a_row = max(n_components * n_features, 1 + n_features * (n_features + 3) // 2)
    most = max(1, NUMBERS // of_a_row)  # rows
    while first < len(list_of_sizes):
        n_rows = list_of_sizes[first]
        if n_rows > most:
            pattern = patterns[first, None]  # the same for all of its blocks: what follows from it can be kept
            for index in which[order[int(begins[first]) :][:n_rows]].split(most):
                yield Block(pattern, index[None], torch.ones_like(index[None], dtype=torch.bool))
            first += 1
            continue
        numbers = max(n_rows * of_a_row, n_components * n_features**2)  # of a pattern
        last = first + 1
        least = 1 if n_rows <= FEW_ROWS else n_rows / 2
        while last < len(list_of_sizes) and list_of_sizes[last] >= least and (last - first) * numbers < NUMBERS:
            last += 1
        own = slice(first, last)
        place = torch.arange(n_rows, device=observed.device)
        counts = place < sizes[own, None]  # (P, n)
        yield Block(patterns[own], which[order[begins[own, None] + torch.where(counts, place, 0)]], counts)
        first = last


def numbered(observed: Tensor) -> Tensor:
    """Return the same number, from 0, for rows (c, d) that are the same, (c,) int64."""
    number = torch.zeros_like(observed[:, 0], dtype=torch.int64)
    for part in observed.split(BITS, dim=1):
        powers = torch.arange(part.shape[1], device=part.device).double().exp2()
        code = torch.cat([rows.double() @ powers for rows in part.split(ROWS)])  # exact
        different, code = code.unique(return_inverse=True)
        number = (number * different.shape[0] + code).unique(return_inverse=True)[1]
    return number


@dataclass(frozen=True)
class Observed:
    """The components of a mixture, given the values that rows of some patterns have.

    Parameters
    ----------
    parameters : Parameters
    observed : Tensor of bool, (P, d)
    """

    parameters: Parameters
    observed: Tensor

    def deviations(self, rows: Tensor) -> Tensor:
        """Return observed values of rows (P, n, d) minus the means, 0 where there is none, (P, K, n, d)."""
        gaps = rows[:, None] - self.parameters.means[:, None]
        return torch.where(self.observed[:, None, None], gaps, 0.0)

    def log_joint(self, deviations: Tensor) -> Tensor:
        """Return log(weight_k p_k) of what is observed, (P, K, n)."""
        return self._log_constants[..., None] - 0.5 * self.distances(deviations)

    def distances(self, deviations: Tensor) -> Tensor:
        """Return the squared Mahalanobis distances of what is observed, (P, K, n)."""
        return self._factor.distances(deviations)

    @property
    def _log_constants(self) -> Tensor:
        """Log weight plus the log-density at the mean, (P, K)."""
        n_observed = self.observed.to(self.parameters.means.dtype).sum(-1)  # (P,)
        constant = n_observed[:, None] * math.log(2 * math.pi) + self._log_det  # (P, B)
        return self.parameters.weights.log() - 0.5 * constant

    @cached_property
    def means(self) -> Tensor:
        """The means of what is observed, 0 elsewhere, (P, K, d)."""
        return torch.where(self.observed[:, None], self.parameters.means, 0.0)

    @cached_property
    def natural(self) -> Tensor:
        """The natural parameters of what is observed, (P, K, 1 + d + q): see `tgmm.model.parameters`."""
        linear = self._factor.times(self.means)  # (P, K, d)
        constant = self._log_constants - 0.5 * (self.means * linear).sum(-1)  # (P, K)
        quadratic = (-0.5 * self._factor.coefficients()).expand(*linear.shape[:-1], -1)
        return torch.cat([constant[..., None], linear, quadratic], -1)

    @cached_property
    def completion(self) -> Tensor:
        """What makes an expected deviation in all features of an observed one, (P, B, d, d).

        Observed values stay, and the others are regressed on them.
        """
        slopes = self._between.mT @ self._factor.precision  # (P, B, d, d): rows that are missing, columns observed
        return slopes + torch.diag_embed(self.observed.to(slopes))[:, None]

    @cached_property
    def leftover(self) -> Tensor:
        """The covariance of missing values that the observed ones leave, 0 elsewhere, (P, B, d, d)."""
        missing = ~self.observed
        own = self._dense * (missing[:, None, :, None] & missing[:, None, None, :])
        told = self._factor.whiten(self._between.mT)  # whose products are what the observed features tell
        return own - told @ told.mT

    @property
    def _dense(self) -> Tensor:
        return self.parameters.covariances.dense  # (B, d, d)

    @cached_property
    def _between(self) -> Tensor:
        """The covariances of observed with missing features, 0 elsewhere, (P, B, d, d)."""
        observed = self.observed
        return self._dense * (observed[:, None, :, None] & ~observed[:, None, None, :])

    @cached_property
    def _factor(self) -> FullFactor:
        """The factor of covariances in which missing features vary alone."""
        observed = self.observed
        pairs = observed[:, None, :, None] & observed[:, None, None, :]
        alone = torch.eye(observed.shape[-1], dtype=torch.bool, device=observed.device)
        values = torch.where(pairs | alone, self._dense, 0.0)
        return Full(values, observed.shape[-1]).factor

    @property
    def _log_det(self) -> Tensor:
        """The log-determinants of the covariances of what is observed, (P, B)."""
        variances = self.parameters.covariances.variances  # (B, d)
        return self._factor.log_det - torch.where(self.observed[:, None], 0.0, variances.log()).sum(-1)
