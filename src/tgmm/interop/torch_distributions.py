"""The mixture as an object of `torch.distributions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn.utils.validation import check_is_fitted
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


def to_distribution(model: GaussianMixture) -> MixtureSameFamily:
    """Return the mixture as a `torch.distributions.MixtureSameFamily`.

    Its `log_prob` is differentiable in the value. It lives on the device of the parameters, in the float type of the
    fit.

    Returns
    -------
    torch.distributions.MixtureSameFamily
        Of K multivariate normal distributions, or of K independent normal ones a feature for diagonal and spherical
        covariances.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Before `fit`.

    Examples
    --------
    >>> import torch
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> distribution = gmm.to_distribution()
    >>> distribution.mean
    tensor([2.], dtype=torch.float64)
    >>> x = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    >>> distribution.log_prob(x).backward()
    >>> x.grad
    tensor([0.], dtype=torch.float64)
    """
    check_is_fitted(model)
    means, covariances = model.means_, model._parameters.covariances  # (K, d), (B, ...)
    if covariances.ndim == 3:
        components = MultivariateNormal(means, scale_tril=torch.linalg.cholesky(covariances).to(means.dtype))
    else:
        deviations = model._structure.variances(covariances, means.shape[1]).sqrt()  # (B, d)
        components = Independent(Normal(means, deviations.to(means.dtype)), 1)
    # By logits, because probabilities of 0 would be raised to the float type's epsilon.
    return MixtureSameFamily(Categorical(logits=model.weights_.log()), components)
