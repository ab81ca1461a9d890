"""The components of a fitted estimator in another order, and its settings that have a value for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from tgmm.covariance import Structure
from tgmm.em.solution import Solution
from tgmm.mixture.ordering import order_of
from tgmm.runtime.dlpack import imported
from tgmm.runtime.options import Order

# The number of dimensions of a setting that has a value for each component; with fewer it serves all of them.
DIMENSIONS = {
    "init_weights": 1,
    "init_means": 2,
    "weight_concentration_prior": 1,
    "mean_prior": 2,
    "mean_precision_prior": 1,
    "degrees_of_freedom_prior": 1,
}


class Holder(Protocol):
    """An estimator that holds what a fit came to."""

    _solution: Solution

    def _fitted(self) -> Solution: ...
    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return all settings."""
        ...


H = TypeVar("H", bound=Holder)


def reorder(model: H, by: Order | Sequence[int] = "weight") -> H:
    """Put the components of the fitted mixture in another order, in place.

    A fit finds the components in an arbitrary order. Afterwards, all that depends on their order is in the new one:
    `weights_`, `means_`, `covariances_`, labels, probabilities, saved files, and what `warm_start` and
    `partial_fit` continue from. Settings that have a value for each component (`init_means`, priors, `fixed`) are
    put in that order too. A new fit that does not continue from this one finds an order of its own.

    Parameters
    ----------
    by : {"weight", "mean"} or sequence of int, default="weight"
        "weight" puts the heaviest component first. "mean" puts the component with the smallest mean of the first
        feature first; the next features break ties. A sequence lists the present numbers of the components in the
        order that you want: ``by=gmm.means_[:, 1].argsort()`` orders by the second feature.

    Returns
    -------
    self

    Raises
    ------
    ValueError
        If `by` is neither of the two words nor contains every component exactly once.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.25, 0.75], [[4.0], [0.0]], [1.0, 1.0], "spherical")
    >>> gmm.reorder(by="weight").weights_
    array([0.75, 0.25])
    >>> gmm.predict([[0.5]])
    array([0])
    """
    solution = model._fitted()
    order = order_of(solution.mixture, by)
    for name, value in reordered(model.get_params(deep=False), solution.mixture.structure, order).items():
        setattr(model, name, value)
    model._solution = solution.reordered(order)
    return model


def reordered(given: Mapping[str, Any], structure: Structure, order: Tensor) -> dict[str, Any]:
    """Return those settings that have a value for each component, with components in another order.

    Parameters
    ----------
    given : mapping
        All settings.
    structure : Structure
    order : Tensor of shape (K,)
        The present numbers of the components in the order that is wanted.
    """
    known, n_components = dict(DIMENSIONS), len(order)
    if not structure.shared:
        known["init_covariances"] = known["covariance_prior"] = len(structure.shape(n_components, 1))
    found = {
        name: _taken(value, order, name)
        for name, value in given.items()
        if name in known and np.ndim(value) == known[name] and len(value) == n_components
    }
    fixed = given.get("fixed")
    if isinstance(fixed, Mapping):
        found["fixed"] = {
            name: _taken(which, order, "fixed") if np.ndim(which) else which for name, which in fixed.items()
        }
    return found


def _taken(values: Any, order: Tensor, name: str) -> Any:
    """Return values of the components in another order, in the kind of array that they are in."""
    values = imported(values, name)
    if isinstance(values, Tensor):
        return values[order.to(values.device)]
    taken = np.asarray(values)[order.cpu().numpy()]
    return taken.tolist() if isinstance(values, list | tuple) else taken
