"""A fitted mixture as a frozen object: what it consists of, and what follows from that, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import takewhile
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Covariances, LowRank, Structure, separate, structure_named
from tgmm.covariance.base import differ_by_rounding
from tgmm.data.columns import Columns
from tgmm.model.noise import Noise
from tgmm.model.parameters import Parameters
from tgmm.runtime.checks import as_float64, check_integer, require_finite
from tgmm.runtime.devices import fields_of, standalone
from tgmm.runtime.dlpack import imported

M = TypeVar("M", bound="BaseMixture")
T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

KEPT = 32  # how much that follows from a mixture is kept: conditioning on ever other features must not fill the memory
SYMMETRY = 1e-6  # relative difference of entries that rounding can explain, of matrices that users hand in
SLACK = 1e-6  # of the sum of weights, that float32 can explain


@dataclass(frozen=True, eq=False, repr=False)
class BaseMixture:
    """What a mixture consists of.

    Parameters
    ----------
    parameters : Parameters
        In the user's units, float64.
    structure : Structure
    dtype : torch.dtype
        The float type of parameters and predictions as users see them.
    columns : Columns
        Of the data that it is a mixture of.
    device : str or torch.device, optional
        Where rows are computed with; None: the tensor's own, else CUDA where there is one, else the CPU.
    noise : Noise, optional
        What rows are that are of no component; its weight is what the components' weights leave.
    """

    parameters: Parameters
    structure: Structure
    dtype: torch.dtype
    columns: Columns
    device: Any = None
    noise: Noise | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "_derived", {})

    @classmethod
    def of(
        cls: type[M],
        parameters: Parameters,
        structure: Structure,
        dtype: torch.dtype,
        columns: Columns,
        device: Any = None,
        noise: Noise | None = None,
    ) -> M:
        """Return the mixture that consists of these."""
        mixture = object.__new__(cls)
        BaseMixture.__init__(mixture, parameters, structure, dtype, columns, device, noise)
        return mixture

    def changed(self: M, **changes: Any) -> M:
        """Return the mixture with some of its parts replaced."""
        return self.of(**fields_of(self) | changes)

    def derived(self, make: Callable[..., T], *arguments: Any) -> T:
        """Return what a function makes of this mixture and hashable arguments: made once, and kept among the last."""
        known: dict[Any, Any] = vars(self)["_derived"]
        key = (make, *arguments)
        found = known.get(key)
        if found is None:
            while len(known) >= KEPT:
                known.pop(next(iter(known)), None)
            with standalone():
                found = known[key] = make(self, *arguments)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: what follows from it is not."""
        return fields_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was pickled."""
        BaseMixture.__init__(self, **state)

    @property
    def n_components(self) -> int:
        """The number of components, K."""
        return self.parameters.n_components

    @property
    def n_features(self) -> int:
        """The number of features, d."""
        return self.parameters.n_features

    @property
    def covariance_type(self) -> str:
        """The covariance structure."""
        return self.structure.name

    @property
    def feature_names(self) -> np.ndarray | None:
        """The names of the features, (d,), where there are some."""
        return self.columns.public_names

    @property
    def weights(self) -> Any:
        """Weights of the components, (K,)."""
        return own_array(self, self.parameters.weights)

    @property
    def means(self) -> Any:
        """Means, (K, d), in the units of the data."""
        return own_array(self, self.parameters.means)

    @property
    def covariances(self) -> Any:
        """Covariances in the shape of the type, in squared units of the data."""
        return own_array(self, self.parameters.covariances.public)

    @property
    def factor_loadings(self) -> Any:
        """Loadings W of the factors, (K, d, q). Only "low_rank" and "factor" have them.

        They are rotated so that W' Psi^-1 W is diagonal with descending entries. Their signs are chosen so that the
        largest entry of each column is positive.
        """
        return own_array(self, self._factored("factor_loadings").loadings)

    @property
    def noise_variances(self) -> Any:
        """Variances that the factors do not explain: (K,) for "low_rank" and (K, d) for "factor"."""
        noise = self._factored("noise_variances").noise
        return own_array(self, noise[:, 0] if self.structure.one_scale else noise)

    def _factored(self, name: str) -> LowRank:
        """Return the covariances, with identified loadings, or raise an error that says why there are none."""
        covariances = self.parameters.covariances
        if not isinstance(covariances, LowRank):
            kind = self.covariance_type
            raise AttributeError(f"{name} exists only for covariance_type='low_rank' and 'factor'; this is {kind!r}.")
        return covariances.canonical

    @property
    def n_parameters(self) -> int:
        """The number of free parameters: covariances, means and weights, that of noise among them."""
        free = self.structure.n_parameters(self.n_components, self.n_features)
        n_weights = self.n_components - (self.noise is None)
        return free + self.n_components * self.n_features + n_weights

    def __repr__(self) -> str:
        """Return the type and the size."""
        name, kind = type(self).__name__, self.covariance_type
        return f"{name}(n_components={self.n_components}, n_features={self.n_features}, covariance_type={kind!r})"


COMPONENTS_ALONE = (
    "For the components alone, make a Mixture(weights / weights.sum(), means, covariances, covariance_type)."
)


def without_noise(verb: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """Return a verb that refuses mixtures with noise, for which it is not defined."""

    @wraps(verb)
    def checked(mixture: M, *args: P.args, **kwargs: P.kwargs) -> R:
        if mixture.noise is not None:
            raise ValueError(
                f"{verb.__name__} is not defined for a mixture with noise (noise=True). {COMPONENTS_ALONE}"
            )
        return verb(mixture, *args, **kwargs)

    return checked


def own_array(mixture: BaseMixture, values: Tensor) -> Any:
    """Return what a mixture says of itself in its float type, as a copy in its kind of array: it never changes."""
    return mixture.columns.own_array(values.to(mixture.parameters.means.device, mixture.dtype))


def as_mixture(model: Any, name: str) -> BaseMixture:
    """Return a mixture, or the one that a fitted estimator holds, or raise a ValueError that names the argument."""
    if isinstance(model, BaseMixture):
        return model
    if not hasattr(type(model), "mixture_"):
        kind = public_name(type(model))
        convert = " Convert it by tgmm.Mixture.from_sklearn." if kind == "sklearn.mixture.GaussianMixture" else ""
        raise ValueError(f"{name} must be a tgmm.GaussianMixture or a tgmm.Mixture; got a {kind}.{convert}")
    check_is_fitted(model)
    return model.mixture_


def public_name(kind: type) -> str:
    """Return the name of a class with that of its module, without what is private of the latter."""
    public = takewhile(lambda part: not part.startswith("_"), kind.__module__.split("."))
    return ".".join([*(part for part in public if part != "builtins"), kind.__qualname__])


def check_parameters(
    weights: Any, means: Any, covariances: Any, covariance_type: str, n_factors: int | None = None
) -> tuple[Parameters, Structure, torch.dtype]:
    """Return the parameters of a mixture in float64, their structure, and the float type they came in.

    They are copies, on the device of the means.
    """
    structure = structure_named(covariance_type, check_n_factors(n_factors))
    means = imported(means, "means")
    dtype = means.dtype if isinstance(means, Tensor) else np.asarray(means).dtype
    device = means.device if isinstance(means, Tensor) else torch.device("cpu")
    checked = as_float64(means, "means")
    if checked.ndim != 2 or 0 in checked.shape:
        raise ValueError(f"means must have shape (n_components, n_features); got shape {tuple(checked.shape)}.")
    n_components, n_features = checked.shape
    parameters = Parameters(
        check_mixing_weights(weights, n_components, "weights").to(device),
        check_means(means, n_components, n_features, "means").to(device, copy=True),
        check_covariances(covariances, structure, n_components, n_features, "covariances").to(device),
    )
    _require_variance(parameters)
    return parameters, structure, torch.float32 if str(dtype).endswith(("float32", "float16")) else torch.float64


def _require_variance(parameters: Parameters) -> None:
    """Raise a ValueError where means are so far apart that the variance between them leaves float64."""
    present = parameters.weights > 0
    weights, means = parameters.weights[present], parameters.means[present]
    variances = weights @ (means - weights @ means).square()
    if not torch.isfinite(variances.sum()):
        feature = int(variances.argmax())
        low, high = float(means[:, feature].amin()), float(means[:, feature].amax())
        raise ValueError(
            f"means reach from {low:g} to {high:g} in feature {feature}: the square of that leaves the range of "
            "float64. Rescale that feature."
        )


def check_n_factors(value: Any) -> int | None:
    """Return a number of factors, if any is given, or raise a ValueError."""
    return None if value is None else check_integer(value, "n_factors", 1)


def check_means(value: Any, n_components: int, n_features: int, name: str) -> Tensor:
    """Return (K, d) finite means, or raise a ValueError that names the parameter."""
    means = as_float64(value, name)
    if means.shape != (n_components, n_features):
        raise ValueError(
            f"{name} must have shape (n_components, n_features) = ({n_components}, {n_features}); "
            f"got shape {tuple(means.shape)}."
        )
    require_finite(means, name)
    return means


def check_mixing_weights(value: Any, n_components: int, name: str, beside_noise: bool = False) -> Tensor:
    """Return weights (K,) that sum to 1, or raise a ValueError that names the parameter.

    Beside noise they may sum to less, which leaves it the rest.
    """
    weights = as_float64(value, name)
    if weights.shape != (n_components,):
        raise ValueError(
            f"{name} must have shape (n_components,) = ({n_components},); got shape {tuple(weights.shape)}."
        )
    total, are_weights = float(weights.sum()), bool((torch.isfinite(weights) & (weights >= 0)).all())
    if beside_noise and are_weights and 0 < total < 1 - SLACK:
        return weights
    if not (are_weights and abs(total - 1) < 1e-3):
        less = ", or to less, which leaves the noise the rest" * beside_noise
        raise ValueError(f"{name} must be >= 0 and sum to 1{less}; got {weights.tolist()}: divide by their sum.")
    return weights / total


def check_covariances(value: Any, structure: Structure, n_components: int, n_features: int, name: str) -> Covariances:
    """Return positive definite covariances of the structure, broadcast over K, or raise a ValueError."""
    values = as_float64(value, name).clone()  # a mixture does not share its memory with whoever made it
    wanted = structure.shape(n_components, n_features)
    alone = structure.form.shape_of_one(n_features)
    if values.shape not in (wanted, alone):
        either = f"{wanted}" if wanted == alone else f"{wanted} or {alone}"
        raise ValueError(
            f"{name} must have shape {either} for covariance_type={structure.name!r}, K={n_components} and "
            f"d={n_features}; got shape {tuple(values.shape)}."
        )
    require_finite(values, name)
    shape = (structure.n_covariances(n_components), *alone)
    given = separate(structure).form(values.expand(shape).clone(), n_features, structure.shared)
    symmetric = given.from_packed(given.packed, n_features, shared=structure.shared)
    if len(alone) == 2 and not differ_by_rounding(symmetric.values, given.values, SYMMETRY, 1e-8):
        raise ValueError(f"{name} must be symmetric.")
    try:
        _ = symmetric.factor
    except CovarianceCollapse as error:
        which = "" if error.component is None else f"; that of component {error.component} is not"
        raise ValueError(f"{name} must be positive definite{which}.") from error
    if not structure.contains(symmetric):
        raise ValueError(
            f"{name} must have the structure of covariance_type={structure.name!r}: {structure.restriction}."
        )
    return structure.adopted(symmetric)
