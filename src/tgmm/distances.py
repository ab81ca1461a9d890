"""How far rows are from the components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sklearn.utils.validation import check_is_fitted

from tgmm.kernels.chunking import rows_per_chunk
from tgmm.mixture import Mixture
from tgmm.placement import standalone
from tgmm.precision import widen
from tgmm.validation import check_rows

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


@standalone()
def mahalanobis(model: GaussianMixture, X: Any) -> Any:
    """Return the Mahalanobis distance of each row from each component, (n, K), in standard deviations.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, d)

    Returns
    -------
    array or Tensor of shape (n, K)
        sqrt((x - mu_k)' Sigma_k^-1 (x - mu_k)); NumPy for arrays, a tensor for tensors.

    Notes
    -----
    Mahalanobis 1936 (Proceedings of the National Institute of Sciences of India 2). For rows of component k its square
    is chi-square distributed with d degrees of freedom.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [9.0]], [1.0, 4.0], "spherical")
    >>> gmm.mahalanobis([[3.0]])
    array([[3., 3.]])
    """
    check_is_fitted(model)
    rows = check_rows(model, X, reset=False)
    means = model._parameters.means
    factor = Mixture.of(model._parameters, model._structure).factor
    parts = []
    for part in rows.tensor.split(rows_per_chunk(3 * means.numel(), 8, means.device)):
        deviations = widen(part).to(means.device) - means[:, None]  # (K, c, d)
        # Rows as far away as the float type reaches have squares that it does not: take their size out.
        size = deviations.abs().amax(-1)  # (K, c)
        unit = deviations / torch.where(size > 0, size, 1.0)[..., None]
        parts.append((torch.linalg.vector_norm(factor.whiten(unit), dim=-1) * size).T.to(model._dtype))
    return rows.give_back(torch.cat(parts))
