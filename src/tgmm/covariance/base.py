"""What a covariance structure is: a moment, a factor and a few counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.moments import Moment


class CovarianceCollapse(ValueError):
    """A covariance that is not positive definite to working precision."""

    def __init__(self, component: int | None) -> None:
        self.component = component
        super().__init__(f"the covariance of component {component} collapsed")


@dataclass(frozen=True)
class Factor(ABC):
    """An inverse square root of covariances: factor once, use for everything."""

    log_det: Tensor  # (B,) log-determinants of the covariances

    @abstractmethod
    def whiten(self, rows: Tensor) -> Tensor:
        """Return rows (B or K, c, d) in units in which their covariance is the identity."""

    @abstractmethod
    def colour(self, white: Tensor) -> Tensor:
        """Return the rows (B, c, d) whose whitened rows these are: what makes a sample from standard normals."""

    @abstractmethod
    def times(self, vectors: Tensor) -> Tensor:
        """Return precision times vector for (K, d) vectors."""

    @abstractmethod
    def coefficients(self) -> Tensor:
        """Return (B, q): z' P z is their inner product with moment(z)."""

    @abstractmethod
    def amplification(self, second: Tensor) -> Tensor:
        """Return by how much rounding in second moments is amplified in the variances, (K,).

        ``second`` (K, d) are the components' second moments E[z_j^2] about the origin of the sums. With
        D = diag(sqrt(second)) and P the precision, rounding enters as eps D E D with entries of E of order 1
        and relative to the covariance as eps |D P D|, here in the infinity norm; for diagonal
        covariances this is eps E[z_j^2] / var_j, the classical E[x^2] - E[x]^2 cancellation
        (Chan, Golub & LeVeque 1983, The American Statistician 37).
        """

    @abstractmethod
    def select(self, component: int) -> Factor:
        """Return the factor of one component, B = 1."""


class CovarianceStructure(ABC):
    """One way to restrict the covariances of a mixture, one for each component or one for all.

    Covariances have a leading dimension B (K, or 1 where they are pooled); the rest of their shape is the
    structure's own. Scatter matrices are packed: (B, q), the sums of ``moment`` about the means.

    Where one covariance serves all components ("tied"), the quadratic part of the log-density is the same for
    each: it cancels in the responsibilities, and the second moment summed over the components does not depend
    on them, so an iteration needs no second moments at all.

    Parameters
    ----------
    pooled : bool
        Whether all components share one covariance.
    """

    form: str  # the name of the structure, without "tied_"
    moment: Moment
    isotropic = False  # one variance, hence one scale, for all features

    def __init__(self, *, pooled: bool = False) -> None:
        self.pooled = pooled
        self.name = f"tied_{self.form}" if pooled else self.form

    def n_covariances(self, n_components: int) -> int:
        """Return B, the number of distinct covariances."""
        return 1 if self.pooled else n_components

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of the public ``covariances_``."""
        shape = self.shape_of_one(n_features)
        return shape if self.pooled else (n_components, *shape)

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters in the covariances."""
        return self.n_covariances(n_components) * self.moment.size(n_features)

    def from_public(self, covariances: Tensor, n_components: int, n_features: int) -> Tensor:
        """Return covariances (B, ...) from a public array, broadcast over K where it lacks that dimension."""
        return covariances.expand(self.n_covariances(n_components), *self.shape_of_one(n_features))

    def to_public(self, covariances: Tensor) -> Tensor:
        """Return the public array of covariances (B, ...)."""
        return covariances[0] if self.pooled else covariances

    @abstractmethod
    def shape_of_one(self, n_features: int) -> tuple[int, ...]:
        """Return the shape of one covariance."""

    @abstractmethod
    def exponent(self, n_features: int) -> int:
        """Return the power of one variance in a row's density, times two: 1, or d for one shared variance."""

    @abstractmethod
    def prior_constant(self, n_features: int) -> int:
        """Return c of the inverse-Wishart density |Sigma|^-((nu + c)/2) exp(-tr(Psi Sigma^-1)/2)."""

    @abstractmethod
    def unpack(self, packed: Tensor, n_features: int) -> Tensor:
        """Return covariances (B, ...) from packed moments (B, q)."""

    @abstractmethod
    def pack(self, covariances: Tensor) -> Tensor:
        """Return packed moments (B, q) of covariances (B, ...)."""

    @abstractmethod
    def variances(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return the variances of the features, (B, d)."""

    @abstractmethod
    def add_to_variances(self, covariances: Tensor, amount: Tensor) -> Tensor:
        """Return covariances with amount, (d,) or () for isotropic structures, added to every variance."""

    @abstractmethod
    def rescale(self, covariances: Tensor, scale: Tensor) -> Tensor:
        """Return the covariances of rows multiplied by scale (d,), equal entries for isotropic structures."""

    @abstractmethod
    def factor(self, covariances: Tensor, n_features: int) -> Factor:
        """Factor covariances, or raise CovarianceCollapse."""

    @abstractmethod
    def restrict(self, covariances: Tensor, dims: Tensor) -> Tensor:
        """Return the covariances of the features dims."""

    def regression(self, covariances: Tensor, observed: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slopes (B, r, o) of the features rest on those observed, and the covariances (B, ...) left.

        Here for features that are independent within a component; indices are (r,) and (o,).
        """
        slopes = covariances.new_zeros(covariances.shape[0], rest.shape[0], observed.shape[0])
        return slopes, self.restrict(covariances, rest)

    @abstractmethod
    def dense(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return covariance matrices (B, d, d)."""


def require_positive(variances: Tensor) -> None:
    """Raise CovarianceCollapse for the first component with variances (B, d) not all positive and finite."""
    bad = ~((variances > 0) & torch.isfinite(variances)).all(1)  # (B,)
    if bad.any():
        raise CovarianceCollapse(int(bad.nonzero()[0]))
