"""Rows of a few patterns of missing values, and what is summed of their observed values.

The expectation of the rest follows from the sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tgmm.covariance import Full
from tgmm.covariance.moments import Outer
from tgmm.model.observed import Observed

OUTER = Outer()


class Patterns(ABC):
    """Rows of P patterns, n of each, and the components given what is observed of them.

    Parameters
    ----------
    given : Observed
    units : Tensor of shape (P,)
        The logarithm of the units of missing values.
    rows : Tensor of shape (P, n, d)
    """

    def __init__(self, given: Observed, units: Tensor, rows: Tensor) -> None:
        self.given, self.units, self.shape = given, units, rows.shape

    def joint(self) -> Tensor:
        """Return the joint log-densities, in nats, (K, P n)."""
        return (self._joint() + self.units[:, None, None]).transpose(0, 1).flatten(1)

    def sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the expected sums of whole rows, with shares (K, P n), from those of observed deviations u.

        With A what completes deviations and C what is left: the masses (K,), the sums of A u (K, d), and those of
        A u u' A' + C (K, d, d).
        """
        n_patterns, n_rows, _ = self.shape
        mass, first, second = self._sums(shares.view(-1, n_patterns, n_rows).transpose(0, 1))
        complete = self.given.completion  # (P, B, d, d)
        products = complete @ second @ complete.mT + mass[..., None, None] * self.given.leftover
        return mass.sum(0), (complete @ first[..., None])[..., 0].sum(0), products.sum(0)

    @abstractmethod
    def _joint(self) -> Tensor:
        """Return the joint log-densities without units, (P, K, n)."""

    @abstractmethod
    def _sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the masses (P, K) of shares (P, K, n), and the sums of deviations and of their products.

        Deviations are from the means: (P, K, d), and (P, K, d, d) of the products.
        """


class AboutOrigin(Patterns):
    """Sums by two products with the features (1, z, z z') of rows."""

    def __init__(self, given: Observed, units: Tensor, rows: Tensor) -> None:
        super().__init__(given, units, rows)
        n_patterns, n_rows, d = rows.shape
        phi = rows.new_empty(1 + d + OUTER.size(d), n_patterns * n_rows)
        phi[0] = 1
        z = torch.nan_to_num(rows.reshape(-1, d).T, nan=0.0, out=phi[1 : 1 + d])
        OUTER.fill(z, phi[1 + d :])
        self.features = phi.view(-1, n_patterns, n_rows).transpose(0, 1)  # (P, 1 + d + q, n)

    def _joint(self) -> Tensor:
        """Return the products with natural parameters."""
        return self.given.natural @ self.features

    def _sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums about the frame's origin, moved to the means."""
        d = self.shape[-1]
        sums = shares @ self.features.mT  # (P, K, 1 + d + q)
        mass, first, second = sums.split([1, d, OUTER.size(d)], -1)
        products = Full.from_packed(second, d, shared=False).values  # (P, K, d, d)
        means = self.given.means
        cross = first[..., :, None] * means[..., None, :]
        about = products - cross - cross.mT + mass[..., None] * means[..., :, None] * means[..., None, :]
        return mass[..., 0], first - mass * means, about


class AboutMeans(Patterns):
    """Sums of deviations from the means, one component at a time."""

    def __init__(self, given: Observed, units: Tensor, rows: Tensor) -> None:
        super().__init__(given, units, rows)
        self.deviations = given.deviations(rows)  # (P, K, n, d)

    def _joint(self) -> Tensor:
        """Return what follows from distances."""
        return self.given.log_joint(self.deviations)

    def _sums(self, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums."""
        first = (shares[..., None, :] @ self.deviations)[..., 0, :]
        return shares.sum(-1), first, (self.deviations * shares[..., None]).mT @ self.deviations
