"""Structures whose components share volume, shape or orientation, each by itself; named by mclust's codes.

A covariance is lambda D A D': its volume lambda = |Sigma|^(1/d), its shape A, diagonal with determinant 1, and its
orientation D. The letters of a name say of each in turn whether it is equal (E) or varying (V) over the components, or
the identity (I). Source: Celeux & Govaert 1995 (Pattern Recognition 28).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from tgmm.covariance.axes import common_axes, variances_along
from tgmm.covariance.base import Covariances, differ_by_rounding
from tgmm.covariance.diagonal import Diagonal
from tgmm.covariance.full import Full
from tgmm.covariance.structures import NO_ROWS, Structure, of_variances
from tgmm.covariance.volumes import common_matrix, factors_of, of_diagonals, of_matrices

EPS, ROUNDINGS = torch.finfo(torch.float64).eps, 32  # of inverses, that an estimate may have
ALIKE = 1e-6  # relative difference that rounding can explain, of covariances that users hand in

Rule = Callable[[Tensor, Tensor], Tensor]  # from variances (..., K, d) and counts (..., K) to the likeliest allowed
PriorRows = Callable[[Tensor, int], Tensor]  # from nu (K,), one more beside a prior of means, and d to rows (K,)


class Parsimonious(Structure):
    """Covariances with a volume, a shape and an orientation that are each shared, or not.

    Parameters
    ----------
    name : str
        mclust's code.
    restriction : str
    prior_rows : callable, optional
        How many rows a prior of covariances and means together is worth for each volume, as mclust has it; without it
        there is no prior of covariances.
    """

    def __init__(self, name: str, restriction: str, prior_rows: PriorRows | None = None) -> None:
        self.name, self.restriction, self.prior_rows = name, restriction, prior_rows
        self.takes_prior = prior_rows is not None
        self.rescaled_name = self.form.form if self.one_scale else name

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the sum of those of the volume, 1, the shape, d - 1, and the orientation, d (d - 1) / 2."""
        times = {"E": 1, "V": n_components, "I": 0}
        volume, shape, orientation = (times[letter] for letter in self.name)
        return volume + shape * (n_features - 1) + orientation * n_features * (n_features - 1) // 2

    def of_one_feature(self) -> Structure:
        """Return that of the volumes, which is all there is."""
        return of_variances(shared=self.name[0] == "E")

    def estimate(self, scatter: Covariances, counts: Tensor, previous: Covariances | None = None) -> Covariances:
        """Return the estimate from the mean squares of each component."""
        return self._of(scatter.over(counts.clamp(min=NO_ROWS)), counts, previous)

    def project(self, covariances: Covariances, weights: Tensor) -> Covariances:
        """Return the estimate from rows that have these covariances."""
        return self._of(covariances, weights, None)

    def contains(self, covariances: Covariances) -> bool:
        """Whether the estimate from rows that have these covariances is the same."""
        largest = covariances.variances.amax((-2, -1), keepdim=True)[..., 0]
        covariances = covariances.over(largest)  # so that in small units no variance counts as none
        variances = covariances.variances
        projected = self.project(covariances, torch.ones_like(variances[..., 0]))
        if self.form is Full:  # whose estimates are made of inverses, which round the more the nearer to singular
            inverses = EPS * float(covariances.factor.amplification(variances).amax())
            return differ_by_rounding(projected.values, covariances.values, ALIKE, ALIKE + ROUNDINGS * inverses)
        return torch.allclose(projected.values, covariances.values, rtol=ALIKE, atol=0.0)

    def degrees_of_each(self, degrees_of_freedom: Tensor, n_features: int, *, beside_means: bool) -> Tensor:
        """Return nu with which the densities of single covariances count as many rows as mclust counts."""
        assert self.prior_rows is not None
        one = int(beside_means)
        rows = self.prior_rows(degrees_of_freedom + one, n_features)
        return rows - one - self.form.prior_constant(n_features)

    @abstractmethod
    def _of(self, squares: Covariances, counts: Tensor, previous: Covariances | None) -> Covariances:
        """Return the estimate from the mean squares of so many rows of each component."""


class AlongFeatures(Parsimonious):
    """Diagonal covariances, VEI and EVI.

    Parameters
    ----------
    name, restriction, prior_rows
        See `Parsimonious`.
    rule : callable
        What the variances have in common.
    marginal_name : str
    """

    form = Diagonal

    def __init__(self, name: str, restriction: str, prior_rows: PriorRows, rule: Rule, marginal_name: str) -> None:
        super().__init__(name, restriction, prior_rows)
        self.rule, self.marginal_name = rule, marginal_name

    def _of(self, squares: Covariances, counts: Tensor, previous: Covariances | None) -> Diagonal:
        return Diagonal(self.rule(squares.variances, counts), squares.n_features)


class AlongOwnAxes(Parsimonious):
    """Ellipsoids in directions of their own whose variances along their axes have something in common, VEV and EEV.

    Another unit for each feature would leave them, and so does the choice of some features. The axes are those of each
    scatter, its variances along them in the same order for all (Celeux & Govaert 1995, 4.3).
    """

    form = Full
    one_scale = True
    marginal_name = "full"

    def __init__(self, name: str, restriction: str, prior_rows: PriorRows, rule: Rule) -> None:
        super().__init__(name, restriction, prior_rows)
        self.rule = rule

    def _of(self, squares: Covariances, counts: Tensor, previous: Covariances | None) -> Full:
        values, axes = torch.linalg.eigh(squares.dense)  # (..., K, d) ascending, (..., K, d, d)
        return _along(axes, self.rule(values.clamp(min=0), counts))


class AlongCommonAxes(Parsimonious):
    """Ellipsoids along the same axes, whichever these are, EVE and VVE: common principal components.

    Another unit for each feature would leave them, and so does the choice of some features. The likelihood may have
    several maxima in the axes; the one near the previous axes is taken, so that EM climbs.
    """

    form = Full
    one_scale = True
    marginal_name = "full"

    def __init__(self, name: str, restriction: str, *, equal_volumes: bool) -> None:
        super().__init__(name, restriction)
        self.equal_volumes = equal_volumes

    def _of(self, squares: Covariances, counts: Tensor, previous: Covariances | None) -> Full:
        near = None if previous is None else previous.dense
        axes = common_axes(squares.dense, counts, near, equal_volumes=self.equal_volumes)  # (..., d, d)
        variances = variances_along(axes, squares.dense)
        return _along(axes[..., None, :, :], equal_volumes(variances, counts) if self.equal_volumes else variances)


class EVV(Parsimonious):
    """Ellipsoids of one volume: matrices C_k of determinant 1, times lambda."""

    form = Full
    marginal_name = "full"

    def _of(self, squares: Covariances, counts: Tensor, previous: Covariances | None) -> Full:
        n_features = squares.n_features
        volumes = (torch.linalg.slogdet(squares.dense).logabsdet / n_features).exp()  # (..., K)
        factors = _mean(volumes, counts) / volumes.clamp(min=NO_ROWS)
        return Full(squares.dense * factors[..., None, None], n_features)


class VEE(Parsimonious):
    """Ellipsoids that are multiples of one another: a matrix C of determinant 1, times lambda_k.

    Of given volumes C follows, and of C the volumes (Celeux & Govaert 1995, 4.2): see `tgmm.covariance.volumes`.
    """

    form = Full
    marginal_name = "VEE"

    def _of(self, squares: Covariances, counts: Tensor, previous: Covariances | None) -> Full:
        matrices = squares.dense
        volumes = (squares if previous is None else previous).variances.mean(-1)  # (..., K)
        common = common_matrix(factors_of(matrices, counts, volumes, of_matrices), matrices)  # (..., d, d)
        precision = torch.linalg.inv_ex(common).inverse
        volumes = (matrices * precision[..., None, :, :]).sum((-2, -1)) / squares.n_features
        return Full(volumes[..., None, None] * common[..., None, :, :], squares.n_features)


def equal_variances(variances: Tensor, counts: Tensor) -> Tensor:
    """Return the mean over the components, for each of them."""
    return _mean(variances.mT, counts[..., None, :]).mT.expand_as(variances)


def equal_volumes(variances: Tensor, counts: Tensor) -> Tensor:
    """Return variances of one geometric mean, the mean of their own (Celeux & Govaert 1995, 4.2)."""
    volumes = variances.clamp(min=NO_ROWS).log().mean(-1).exp()  # (..., K)
    return variances * (_mean(volumes, counts) / volumes)[..., None]


def equal_shapes(variances: Tensor, counts: Tensor) -> Tensor:
    """Return variances that are multiples of one another."""
    volumes, shape = volumes_and_shape(variances, counts)
    return volumes[..., None] * shape[..., None, :]


def volumes_and_shape(variances: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the volumes lambda (..., K) and the shape a (..., d), with product 1, of variances lambda_k a_j.

    They minimise the sum over k and j of n_k (log(lambda_k a_j) + v_kj / (lambda_k a_j)), which is convex in their
    logarithms (Celeux & Govaert 1995, 4.2). Components of count 0 get the volume that suits the shape, and do not
    matter for it.

    Parameters
    ----------
    variances : Tensor of shape (..., K, d)
        v, of each component's rows.
    counts : Tensor of shape (..., K)
        n, the numbers of rows.
    """
    shape = _unit(counts, variances)
    volumes = (variances / shape[..., None, :]).mean(-1)
    shape = _unit(factors_of(variances, counts, volumes, of_diagonals), variances)
    return (variances / shape[..., None, :]).mean(-1), shape


def _unit(factors: Tensor, variances: Tensor) -> Tensor:
    """Return the sum over k of factors (..., K) times variances (..., K, d), of geometric mean 1, (..., d)."""
    logarithms = (factors[..., None, :] @ variances)[..., 0, :].clamp(min=NO_ROWS).log()
    return (logarithms - logarithms.mean(-1, keepdim=True)).exp()


def _along(axes: Tensor, variances: Tensor) -> Full:
    """Return covariances with variances (..., K, d) along axes (..., K or 1, d, d)."""
    return Full((axes * variances[..., None, :]) @ axes.mT, variances.shape[-1])


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of values (..., K) with such counts, (..., 1)."""
    return (counts * values).sum(-1, keepdim=True) / counts.sum(-1, keepdim=True)


# What mclust's ``me`` counts (version 6; its ``mstep`` counts otherwise): for each volume, or for the one of all. For
# VEV it leaves nu out. See Fraley & Raftery 2007, TR 486.


def _vei_rows(nu: Tensor, n_features: int) -> Tensor:
    return (nu + 2) / n_features


def _evi_rows(nu: Tensor, n_features: int) -> Tensor:
    return (nu + 1) / nu.shape[-1]


def _eev_rows(nu: Tensor, n_features: int) -> Tensor:
    return (nu + n_features + 1) / nu.shape[-1]


def _vev_rows(nu: Tensor, n_features: int) -> Tensor:
    return torch.zeros_like(nu)


PARSIMONIOUS: list[Structure] = [
    AlongFeatures("VEI", "the variances of every component are a multiple of the same", _vei_rows, equal_shapes, "VEI"),
    AlongFeatures("EVI", "the variances of every component have the same product", _evi_rows, equal_volumes, "diag"),
    VEE("VEE", "the matrices are multiples of one another"),
    AlongCommonAxes("EVE", "all have the same eigenvectors and the same determinant", equal_volumes=True),
    AlongCommonAxes("VVE", "all have the same eigenvectors", equal_volumes=False),
    AlongOwnAxes("EEV", "all have the same eigenvalues", _eev_rows, equal_variances),
    AlongOwnAxes("VEV", "the eigenvalues of every component are a multiple of the same", _vev_rows, equal_shapes),
    EVV("EVV", "all have the same determinant"),
]
