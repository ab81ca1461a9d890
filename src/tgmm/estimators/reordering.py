"""The settings of an estimator that have a value for each component, in another order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from tgmm.covariance import Structure
from tgmm.runtime.dlpack import imported

# The number of dimensions of a setting that has a value for each component; with fewer it serves all of them.
DIMENSIONS = {
    "init_weights": 1,
    "init_means": 2,
    "weight_concentration_prior": 1,
    "mean_prior": 2,
    "mean_precision_prior": 1,
    "degrees_of_freedom_prior": 1,
}


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
        found["fixed"] = {name: _taken(which, order, "fixed") for name, which in fixed.items()}
    return found


def _taken(values: Any, order: Tensor, name: str) -> Any:
    """Return values of the components in another order, in the kind of array that they are in."""
    values = imported(values, name)
    if isinstance(values, Tensor):
        return values[order.to(values.device)]
    taken = np.asarray(values)[order.cpu().numpy()]
    return taken.tolist() if isinstance(values, list | tuple) else taken
