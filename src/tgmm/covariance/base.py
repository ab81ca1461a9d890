"""What covariances are as values, and what is computed with them once they are factored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment, Sums
from tgmm.runtime.devices import fields_of
from tgmm.runtime.frozen import kept

ROUNDING = 1e-13  # of the largest of the variances, in the entries of matrices that are made from their eigenvalues


class CovarianceCollapse(ValueError):
    """A covariance that is not positive definite to working precision: that of a component, or the shared one.

    Parameters
    ----------
    component : int or None
    bad : Tensor of bool, (..., B), optional
        Which covariances of a batch of mixtures are not.
    """

    def __init__(self, component: int | None, bad: Tensor | None = None) -> None:
        self.component, self.bad = component, bad
        whose = "the shared covariance" if component is None else f"the covariance of component {component}"
        super().__init__(f"{whose} collapsed")


@dataclass(frozen=True)
class Factor(ABC):
    """An inverse square root of covariances: factor once, use for everything."""

    log_det: Tensor  # (..., B) log-determinants of the covariances

    @abstractmethod
    def whiten(self, rows: Tensor) -> Tensor:
        """Return rows (..., B or K, c, d) in units in which their covariance is the identity."""

    @abstractmethod
    def colour(self, white: Tensor) -> Tensor:
        """Return the rows (..., B, c, d) whose whitened rows these are: a sample from standard normals."""

    @abstractmethod
    def times(self, vectors: Tensor) -> Tensor:
        """Return precision times vector for (..., K, d) vectors."""

    @abstractmethod
    def coefficients(self) -> Tensor:
        """Return (..., B, q): z' P z is their inner product with moment(z)."""

    def natural(self, means: Tensor, constants: Tensor) -> Tensor:
        """Return the natural parameters, (..., K, 1 + d + q); constants (..., K) are the log-densities at the means.

        constant - (z - m)' P (z - m) / 2 is their inner product with (1, z, moment(z)).
        """
        linear = self.times(means)
        constants = torch.sub(constants, torch.linalg.vecdot(means, linear), alpha=0.5)
        return torch.cat([constants.unsqueeze(-1), linear, self.coefficients().mul(-0.5)], -1)

    @abstractmethod
    def amplification(self, second: Tensor) -> Tensor:
        """Return by how much rounding in second moments is amplified in the variances, (..., K).

        ``second`` (..., K, d) are the components' second moments E[z_j^2] about the origin of the sums. With
        D = diag(sqrt(second)) and P the precision, rounding enters as eps D E D with entries of E of order 1
        and relative to the covariance as eps |D P D|, here in the infinity norm; for diagonal
        covariances this is eps E[z_j^2] / var_j, the classical E[x^2] - E[x]^2 cancellation
        (Chan, Golub & LeVeque 1983, The American Statistician 37).
        """

    def amplified_at_most(self, second: Tensor) -> float:
        """Return what the amplification does not exceed in any component, where that is less work."""
        return float(self.amplification(second).max())

    def distances(self, deviations: Tensor) -> Tensor:
        """Return the squared Mahalanobis distances (..., K, c) of deviations (..., B or K, c, d) from the means."""
        return self.whiten(deviations).square().sum(-1)

    def take(self, index: Any) -> Factor:
        """Return the factor of some of the components, by an index of the first dimension."""
        return self._each(lambda tensor: tensor[index])

    @staticmethod
    def joined(parts: Sequence[Factor]) -> Factor:
        """Return the factors of several batches of mixtures as those of one."""
        return type(parts[0])(*map(torch.cat, zip(*(fields_of(each).values() for each in parts), strict=True)))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Factor:
        """Return the factor on a device, in another float type if one is given."""
        return self._each(lambda tensor: tensor.to(device, dtype))

    def _each(self, convert: Callable[[Tensor], Tensor]) -> Factor:
        return type(self)(*map(convert, fields_of(self).values()))


C = TypeVar("C", bound="Covariances")


@dataclass(frozen=True)
class Covariances(ABC):
    """The covariances of the components of a mixture, or the one that they share; factored when that is first needed.

    One class for each form that covariances are kept in. How they are estimated is no matter of theirs; see
    `tgmm.covariance.structures`. They can be packed as moments are, (..., B, q): times `exponent`, that is the
    expectation of the moments about the mean.

    Parameters
    ----------
    values : Tensor
        (..., B, ...), B = K or 1 where they are shared; the last dimensions are the form's own.
    n_features : int
        d.
    shared : bool
        Whether all components have the same.
    """

    values: Tensor
    n_features: int
    shared: bool = False

    form: ClassVar[str]  # the name of the structure that knows no restriction but the form
    rescaled_form: ClassVar[str]  # the same, once each feature is given another unit
    spans: ClassVar[bool] = False  # whether an estimate is singular where rows do not span all features
    moment_type: ClassVar[type[Moment]]
    one_scale: ClassVar[bool] = False  # one variance, hence one unit, for all features

    @classmethod
    def moment(cls, *, shared: bool) -> Moment:
        """Return the moments that covariances of this form are functions of."""
        return _moment(cls.moment_type, shared)

    @staticmethod
    @abstractmethod
    def shape_of_one(n_features: int) -> tuple[int, ...]:
        """Return the shape of one covariance."""

    @staticmethod
    @abstractmethod
    def exponent(n_features: int) -> int:
        """Return the power of one variance in a row's density, times two: 1, or d for one shared variance."""

    @staticmethod
    @abstractmethod
    def prior_constant(n_features: int) -> int:
        """Return c of the inverse-Wishart density |Sigma|^-((nu + c)/2) exp(-tr(Psi Sigma^-1)/2)."""

    @staticmethod
    @abstractmethod
    def gamma_shifts(n_features: int) -> list[int]:
        """Return s_i such that the normalising constant of that density has the factors Gamma((nu - s_i) / 2)."""

    @staticmethod
    @abstractmethod
    def tied_squares(squares: Tensor) -> Tensor:
        """Return squares of whitened features (..., d), summed where one inverse-Wishart variable serves several."""

    @classmethod
    @abstractmethod
    def from_packed(cls: type[C], packed: Tensor, n_features: int, *, shared: bool) -> C:
        """Return covariances from what packs them, (..., B, q)."""

    @property
    @abstractmethod
    def packed(self) -> Tensor:
        """What packs the covariances, (..., B, q)."""

    @property
    @abstractmethod
    def variances(self) -> Tensor:
        """The variances of the features, (..., B, d)."""

    @property
    @abstractmethod
    def dense(self) -> Tensor:
        """The covariance matrices, (..., B, d, d)."""

    @abstractmethod
    def plus(self: C, amount: Tensor) -> C:
        """Return the covariances with amount, (..., d), or (...) where there is one variance, on every variance."""

    def over(self: C, divisor: Tensor) -> C:
        """Return the covariances divided by numbers (..., B)."""
        n_dimensions = len(self.shape_of_one(self.n_features))
        return self._of(self.values / divisor.reshape(*divisor.shape, *[1] * n_dimensions))

    @abstractmethod
    def rescale(self: C, scale: Tensor) -> C:
        """Return the covariances of rows multiplied by scale, equal entries where there is one scale.

        It is (d,), or (P, 1, d) of a batch.
        """

    @abstractmethod
    def restrict(self: C, dims: Tensor) -> C:
        """Return the covariances of the features dims."""

    def regression(self: C, observed: Tensor, rest: Tensor) -> tuple[Tensor, C]:
        """Return the slopes (B, r, o) of the features rest on those observed, and the covariances that are left.

        Here for features that are independent within a component; indices are (r,) and (o,).
        """
        slopes = self.variances.new_zeros(self.variances.shape[-2], rest.shape[0], observed.shape[0])
        return slopes, self.restrict(rest)

    @abstractmethod
    def least_rows(self) -> int:
        """Return how many rows a component has, if its own covariance is to be more than an accident of them."""

    @abstractmethod
    def thinness(self, whole: Covariances) -> Tensor:
        """Return the smallest variance in any direction, relative to that of one whole (1, ...) there, (..., B)."""

    def independent(self, least: Tensor) -> Tensor:
        """Return the features that vary by more than least (d,) besides those before them, as indices.

        Of one covariance (1, ...); here for features that are independent within a component.
        """
        return (self.variances[..., 0, :] > least).nonzero().flatten()

    @kept
    @abstractmethod
    def factor(self) -> Factor:
        """The factored covariances; raises CovarianceCollapse where they are not positive definite."""

    @kept
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest variance of any feature in any component; NaN where any is."""
        least, largest = self.variances.detach().aminmax()
        return float(least), float(largest)

    @property
    def own_moment(self) -> Moment:
        """The moments that these covariances are functions of."""
        return self.moment(shared=self.shared)

    @property
    def evaluating_moment(self) -> Sums:
        """The moments by which rows are evaluated fastest."""
        return self.own_moment

    @property
    def stored(self) -> Tensor:
        """The covariances as files have them."""
        return self.public

    @property
    def public(self) -> Tensor:
        """The covariances as users have them: (K, ...), or without K where they are shared."""
        return self.values.select(-1 - len(self.shape_of_one(self.n_features)), 0) if self.shared else self.values

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: what follows from it is not."""
        return fields_of(self)

    def to(self: C, device: torch.device) -> C:
        """Return the covariances on a device, factored where they were."""
        if self.values.device == device:
            return self
        return self._with_factor(self._of(self.values.to(device)), lambda factor: factor.to(device))

    def take(self: C, index: Any) -> C:
        """Return the covariances of some of the components, by an index of the first dimension, factored if these are.

        Where all share one, it is that of any.
        """
        if self.shared:
            return self
        return self._with_factor(self._of(self.values[index]), lambda factor: factor.take(index))

    def of_some(self: C, index: Any) -> C:
        """Return those of some mixtures of a batch, by an index of the first dimension, factored if these are."""
        return self._with_factor(self._of(self.values[index]), lambda factor: factor.take(index))

    @staticmethod
    def joined(parts: Sequence[C]) -> C:
        """Return the covariances of several batches of mixtures as those of one, factored if all of these are."""
        whole = parts[0]._of(torch.cat([each.values for each in parts]))
        if all("factor" in vars(each) for each in parts):
            vars(whole)["factor"] = Factor.joined([each.factor for each in parts])
        return whole

    def replaced(self: C, which: Tensor, others: C) -> C:
        """Return covariances with those of other components, or of one, in the place of some, which (..., K)."""
        if self.shared:
            return self
        mask = which.reshape(*which.shape, *[1] * len(self.shape_of_one(self.n_features)))
        return self._of(torch.where(mask, others.values, self.values))

    def apart(self: C, n_components: int) -> C:
        """Return a covariance for each of K components, where they share one the same for all."""
        if not self.shared:
            return self
        shape = (n_components, *self.values.shape[1:])
        return type(self)(self.values.expand(shape), self.n_features)

    def average(self: C, weights: Tensor) -> C:
        """Return the weighted mean of the components' covariances, as that of one component."""
        if self.shared:
            return self
        shares = (weights / weights.sum()).reshape(-1, *[1] * (self.values.ndim - 1))
        return self._of(torch.where(shares > 0, shares * self.values, 0.0).sum(0, keepdim=True))

    def _of(self: C, values: Tensor) -> C:
        """Return covariances of this form, for as many features, with other values."""
        return type(self)(values, self.n_features, self.shared)

    def _with_factor(self: C, other: C, convert: Callable[[Factor], Factor]) -> C:
        """Return other covariances, with the factor of these, converted, where there is one."""
        if "factor" in vars(self):
            vars(other)["factor"] = convert(self.factor)
        return other

    def _collapse(self, bad: Tensor) -> None:
        """Raise CovarianceCollapse for the first of the covariances (..., B) that are bad."""
        if bad.any():
            raise CovarianceCollapse(None if self.shared else int(bad.nonzero()[0, -1]), bad)

    def _require_positive(self) -> None:
        """Raise CovarianceCollapse where the variances are not all positive and finite."""
        least, largest = self.extremes
        if not (least > 0 and largest < torch.inf):
            variances = self.variances
            self._collapse(~((variances > 0) & torch.isfinite(variances)).all(-1))


def differ_by_rounding(found: Tensor, given: Tensor, rtol: float, atol: float) -> bool:
    """Whether nothing but rounding makes matrices (..., d, d) differ from those given.

    A difference counts relative to the entry, to the standard deviations of both features, of which one may have far
    larger units than the other, and for what an eigendecomposition rounds to the largest variance.
    """
    variances = given.diagonal(dim1=-2, dim2=-1).abs()  # (..., d)
    deviations = variances.sqrt()
    units = deviations[..., :, None] * deviations[..., None, :]
    rounding = ROUNDING * variances.amax(-1)[..., None, None]
    return bool(((found - given).abs() <= rtol * given.abs() + atol * units + rounding).all())


@cache
def _moment(kind: type[Moment], shared: bool) -> Moment:
    """Return the one object of a moment."""
    return kind(shared)
