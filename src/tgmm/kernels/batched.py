"""Many mixtures at once over rows that are kept in memory: an E-step of all of them as two matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import BITS, Assignment
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics

FEATURES = 1 << 21  # of rows that are computed with at a time
KEPT = 1 << 23  # the most that are kept from pass to pass, 64 MB: of many features they take as long as an E-step
NUMBERS = 1 << 19  # joint log-densities of as many mixtures as are computed at a time


class Batched:
    """Statistics of rows under each of a batch of mixtures, in float64.

    The form is that of `tgmm.kernels.products`. Where rows are few, their features are made once for all passes.

    Parameters
    ----------
    rows : Tensor of shape (m, d)
        In the frame, near whose origin they are.
    weights : Tensor of shape (m,)
    moment : Moment
        Which sums the statistics hold.
    """

    def __init__(self, rows: Tensor, weights: Tensor, moment: Moment) -> None:
        self.rows, self.weights, self.moment = rows, weights, moment
        self.n_features = rows.shape[1]
        self.n_columns = 1 + self.n_features + (0 if moment.shared else moment.size(self.n_features))
        is_kept = rows.shape[0] * self.n_columns <= KEPT
        self.size = rows.shape[0] if is_kept else max(1, FEATURES // self.n_columns)  # rows at a time
        self.weight = weights.sum()
        self.centre = rows.new_zeros(1, self.n_features)
        self._weigh_the_same = bool((weights == 1).all())
        self.total_second = moment.weighted_sum(rows, weights)  # (q,)
        self.n_passes = 0  # over all rows, of one mixture each
        self.features = self._features(slice(None)) if is_kept else None  # (1 + d [+ q], m)

    def of_some(self, index: Any) -> Batched:
        """Return the kernel of some of the mixtures: it is the same, since all have these rows."""
        return self

    def count(self, n_passes: int, n_mixtures: int) -> None:
        """Count so many passes over all rows by each of so many mixtures."""
        self.n_passes += n_passes * n_mixtures

    def joint(self, parameters: Parameters) -> Tensor:
        """Return the joint log-densities of each mixture's components, in bits, (R, K, m).

        Where components share their covariance the quadratic part is left out.
        """
        parts = [self._joint(parameters, phi) for _, phi in self._chunks()]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def of_shares(self, shares: Tensor) -> Statistics:
        """Return the statistics of responsibilities that are known, (R, K, m); there is no likelihood."""
        sums = torch.zeros(*shares.shape[:2], self.n_columns, dtype=torch.float64)
        for part, phi in self._chunks():
            sums += self._sums(shares[..., part] * self.weights[part], phi)
        nothing = sums.new_zeros(shares.shape[0])
        return self._statistics(sums, nothing, nothing)

    def statistics(self, parameters: Parameters, assignment: Assignment = soft) -> Statistics:
        """Return the statistics under a batch of mixtures: (R, K), (R, K, d), (R, B, q), (R,)."""
        n_mixtures = parameters.means.shape[0]
        size = max(1, NUMBERS // (parameters.n_components * min(self.rows.shape[0], self.size)))
        if n_mixtures <= size:
            return self._under(parameters, assignment)
        some = (slice(first, first + size) for first in range(0, n_mixtures, size))
        return stacked([self._under(parameters.of_some(part), assignment) for part in some])

    def _under(self, parameters: Parameters, assignment: Assignment) -> Statistics:
        totals: list[Tensor] = []  # log-likelihood, objective, sums
        for part, phi in self._chunks():
            joint = self._joint(parameters, phi)
            likelihood, objective = assignment(joint, None)  # (R, c)
            weights = self.weights[part]
            total = likelihood @ weights
            found = [total, total if objective is likelihood else objective @ weights]
            found.append(self._sums(joint if self._weigh_the_same else joint.mul_(weights), phi))
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
        log_likelihood, objective, sums = totals
        if parameters.covariances.shared:
            common = parameters.quadratic[..., 0, :] @ self.total_second
            log_likelihood, objective = log_likelihood + common, objective + common
        return self._statistics(sums, log_likelihood, objective)

    def _chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the features of all rows, (1 + d [+ q], c), with the part of the rows that each are of."""
        if self.features is not None:
            yield slice(None), self.features
            return
        for first in range(0, self.rows.shape[0], self.size):
            part = slice(first, first + self.size)
            yield part, self._features(part)

    def _features(self, part: slice) -> Tensor:
        rows = self.rows[part]
        phi = rows.new_empty(self.n_columns, rows.shape[0])
        phi[0] = 1
        phi[1 : 1 + self.n_features] = rows.T
        if not self.moment.shared:
            self.moment.fill(phi[1 : 1 + self.n_features], phi[1 + self.n_features :])
        return phi

    def _joint(self, parameters: Parameters, phi: Tensor) -> Tensor:
        eta = parameters.natural * BITS  # (R, K, 1 + d [+ q])
        return (eta.flatten(0, 1) @ phi[: eta.shape[-1]]).view(*eta.shape[:-1], -1)

    def _sums(self, masses: Tensor, phi: Tensor) -> Tensor:
        """Return the sums of features under weighted responsibilities (R, K, c), (R, K, 1 + d [+ q])."""
        return (masses.flatten(0, 1) @ phi.T).view(*masses.shape[:2], -1)

    def _statistics(self, sums: Tensor, log_likelihood: Tensor, objective: Tensor) -> Statistics:
        second = sums[..., 1 + self.n_features :]
        if self.moment.shared:
            second = self.total_second.expand(sums.shape[0], 1, -1)
        return Statistics(
            mass=sums[..., 0],
            first=sums[..., 1 : 1 + self.n_features],
            second=second,
            log_likelihood=log_likelihood,
            objective=objective,
            weight=self.weight,
            centre=self.centre,
        )


def stacked(parts: Sequence[Statistics]) -> Statistics:
    """Return the statistics of several batches as those of one."""
    first = parts[0]
    joined = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("mass", "first", "second", "log_likelihood", "objective")
    }
    weight = torch.cat([part.weight for part in parts]) if first.weight.ndim else first.weight
    return Statistics(**joined, weight=weight, centre=first.centre)
