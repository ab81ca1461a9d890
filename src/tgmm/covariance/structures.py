"""Covariance structures: how the covariances of a mixture are estimated, and how they may differ from each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from tgmm.covariance.base import Covariances
from tgmm.covariance.moments import Moment, Sums
from tgmm.runtime.frozen import kept

NO_ROWS = 1e-300  # in place of a count of 0, so that nothing over nothing is 0


class Structure(ABC):
    """A family of covariances, and the rule that finds the most probable of them.

    Attributes
    ----------
    name : str
        The ``covariance_type``.
    form : type of Covariances
        What its covariances are kept as.
    shared : bool
        Whether all components have the same.
    one_scale : bool
        Whether features must keep one unit in common: with a unit for each the family would be another.
    takes_prior : bool
        Whether an inverse-Wishart prior of its covariances is defined.
    n_factors : int or None
        The number of factors, where that is a setting and was given.
    marginal_name : str
        The structure that the mixture of some of the features has.
    rescaled_name : str
        The structure that the mixture has where each feature is given another unit.
    restriction : str
        What its covariances have in common besides their form, in words, where they do.
    """

    name: str
    form: type[Covariances]
    shared: bool = False
    one_scale: bool = False
    takes_prior: bool = True
    n_factors: int | None = None
    marginal_name: str
    rescaled_name: str
    restriction: str = ""

    @property
    def relates_components(self) -> bool:
        """Whether the covariance of one component restricts those of others."""
        return self.shared or bool(self.restriction)

    @kept
    def moment(self) -> Moment:
        """The moments of rows that the covariances are functions of."""
        return self.form.moment(shared=self.shared)

    @property
    def sums(self) -> Sums:
        """The sums that the estimate is made from: of these moments."""
        return self.moment

    @abstractmethod
    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters in the covariances."""

    @abstractmethod
    def estimate(self, scatter: Covariances, counts: Tensor, previous: Covariances | None = None) -> Covariances:
        """Return the covariances Sigma_k that minimise the sum over k of n_k log |Sigma_k| + tr(S_k Sigma_k^-1).

        Parameters
        ----------
        scatter : Covariances
            The scatter matrices S_k, kept as the covariances are: summed over the components where these are shared.
        counts : Tensor of shape (B,)
            n_k; where it is 0, what comes out is not to be used, and is not to matter for the others.
        previous : Covariances, optional
            Those of the last iteration, for an estimate that has to be iterated itself.
        """

    def scatter(self, packed: Tensor, n_features: int) -> Covariances:
        """Return the scatter that sums of moments about the means (..., B, q) are, for `estimate`."""
        return self.form.from_packed(packed, n_features, shared=self.shared)

    def same(self, other: Structure, n_features: int) -> bool:
        """Whether another structure is this one, for so many features."""
        return self is other

    def of_one_feature(self) -> Structure:
        """Return the first structure that is the same mixture as this one, of one feature: where there is one."""
        return self

    def streamed(self, n_features: int) -> Structure:
        """Return the same structure with the sums to be made in a pass over rows of so many features.

        These may be all that it takes for maximum likelihood of whole rows and nothing besides.
        """
        return self

    def marginal(self, covariances: Covariances, dims: Tensor) -> tuple[Structure, Covariances]:
        """Return what the mixture of the features dims has of a mixture with these covariances."""
        from tgmm.covariance import structure_named

        return structure_named(self.marginal_name), covariances.restrict(dims)

    def rescaled(self, n_features: int) -> Structure:
        """Return the structure that the mixture has where each feature is given another unit."""
        from tgmm.covariance import structure_named

        return structure_named(self.rescaled_name)

    def keeps(self, covariances: Covariances) -> bool:
        """Whether covariances are of the form of this structure."""
        return isinstance(covariances, self.form) and covariances.shared == self.shared

    def project(self, covariances: Covariances, weights: Tensor) -> Covariances:
        """Return covariances of the structure near ones of its form, of components with these weights (K,)."""
        return covariances

    def adopted(self, covariances: Covariances) -> Covariances:
        """Return covariances that users hand in, of the form that has no restriction, in the form of the structure."""
        return covariances

    def contains(self, covariances: Covariances) -> bool:
        """Whether covariances of its form are covariances of the structure, up to rounding."""
        return True

    def degrees_of_each(self, degrees_of_freedom: Tensor, n_features: int, *, beside_means: bool) -> Tensor:
        """Return nu of the inverse-Wishart densities of single covariances whose product the prior is, (B,).

        Parameters
        ----------
        degrees_of_freedom : Tensor of shape (B,)
            nu as users give it.
        n_features : int
        beside_means : bool
            Whether means have a prior too.
        """
        return degrees_of_freedom

    def n_covariances(self, n_components: int) -> int:
        """Return B, the number of covariances that are kept."""
        return 1 if self.shared else n_components

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of the public ``covariances_``."""
        shape = self.form.shape_of_one(n_features)
        return shape if self.shared else (n_components, *shape)

    def stored_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of covariances in files."""
        return self.shape(n_components, n_features)

    def of_stored(self, covariances: Tensor) -> Structure:
        """Return the structure that stored covariances have."""
        return self

    def values_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of what covariances are kept as."""
        return (self.n_covariances(n_components), *self.form.shape_of_one(n_features))

    def from_public(self, covariances: Tensor, n_components: int, n_features: int) -> Covariances:
        """Return covariances from a public array, broadcast over K where it lacks that dimension."""
        shape = (self.n_covariances(n_components), *self.form.shape_of_one(n_features))
        return self.form(covariances.expand(shape).clone(), n_features, self.shared)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name: there is one object of each structure."""
        from tgmm.covariance import structure_named

        return structure_named, (self.name,)


class Free(Structure):
    """Covariances with no restriction but their form: one for each component, or one for all.

    Parameters
    ----------
    form : type of Covariances
    shared : bool
    """

    def __init__(self, form: type[Covariances], *, shared: bool) -> None:
        self.form, self.shared, self.one_scale = form, shared, form.one_scale
        self.name = self.marginal_name = self._named(form.form)
        self.rescaled_name = self._named(form.rescaled_form)

    def _named(self, form: str) -> str:
        return f"tied_{form}" if self.shared else form

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return B times the number of different moments."""
        return self.n_covariances(n_components) * self.moment.size(n_features)

    def of_one_feature(self) -> Structure:
        """Return the first with as many covariances."""
        return of_variances(shared=self.shared)

    def estimate(self, scatter: Covariances, counts: Tensor, previous: Covariances | None = None) -> Covariances:
        """Return the scatter over the counts; one variance for d features counts each row d times."""
        exponent = self.form.exponent(scatter.n_features)
        return scatter.over((counts if exponent == 1 else exponent * counts).clamp_min(NO_ROWS))


def of_variances(*, shared: bool) -> Structure:
    """Return the first of the structures whose components, of one feature, have a variance each, or share one."""
    from tgmm.covariance import structure_named

    return structure_named("tied_full" if shared else "full")
