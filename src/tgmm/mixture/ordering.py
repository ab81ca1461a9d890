"""Components in another order: a mixture is the same in any, and a fit finds an arbitrary one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from tgmm.mixture.base import BaseMixture
from tgmm.runtime.options import Order

M = TypeVar("M", bound=BaseMixture)


def reorder(mixture: M, by: Order | Sequence[int] = "weight") -> M:
    """Return the same mixture with its components in another order.

    Parameters
    ----------
    by : {"weight", "mean"} or sequence of int, default="weight"
        "weight" puts the heaviest component first. "mean" puts the component with the smallest mean of the first
        feature first; the next features break ties. A sequence lists the present numbers of the components in the
        order that you want: ``by=mixture.means[:, 1].argsort()`` orders by the second feature.

    Returns
    -------
    Mixture
        A new mixture. Its weights, means, covariances, labels and probabilities are all in the new order.

    Raises
    ------
    ValueError
        If `by` is neither of the two words nor contains every component exactly once.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.25, 0.75], [[4.0], [0.0]], [1.0, 1.0], "spherical")
    >>> mixture.reorder(by="weight").weights
    array([0.75, 0.25])
    >>> mixture.reorder(by="mean").means.ravel()
    array([0., 4.])
    """
    return mixture.changed(parameters=mixture.parameters.reordered(order_of(mixture, by)))


def order_of(mixture: BaseMixture, by: Any) -> Tensor:
    """Return the present numbers of the components in the order that is asked for, (K,)."""
    weights, means = mixture.parameters.weights, mixture.parameters.means
    if isinstance(by, str):
        if by == "weight":
            return weights.argsort(descending=True, stable=True)
        if by == "mean":
            return torch.from_numpy(np.lexsort(means.cpu().numpy().T[::-1])).to(means.device)
        raise ValueError(f"by must be 'weight', 'mean' or a sequence of component numbers; got {by!r}.")
    numbers = np.asarray(by.tolist() if hasattr(by, "tolist") else list(by) if isinstance(by, Iterable) else by)
    is_of_integers = numbers.ndim == 1 and numbers.dtype.kind in "iu"
    if not is_of_integers or sorted(numbers.tolist()) != list(range(mixture.n_components)):
        raise ValueError(
            f"by must contain each of the component numbers 0 to {mixture.n_components - 1} exactly once; got "
            f"{numbers.tolist()}."
        )
    return torch.from_numpy(numbers.astype(np.int64)).to(means.device)
