"""The mixture as an object of `torch.distributions`."""

from __future__ import annotations

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from tgmm.mixture.base import BaseMixture


def to_distribution(mixture: BaseMixture) -> MixtureSameFamily:
    """Return the mixture as a `torch.distributions.MixtureSameFamily`.

    Its `log_prob` is differentiable in the value. It is on the device and in the float type of the mixture.

    Returns
    -------
    torch.distributions.MixtureSameFamily
        A mixture of multivariate normal distributions or, for diagonal and spherical covariances, of independent normal
        distributions.

    Examples
    --------
    >>> import torch
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> distribution = mixture.to_distribution()
    >>> distribution.mean
    tensor([2.], dtype=torch.float64)
    >>> x = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    >>> distribution.log_prob(x).backward()
    >>> x.grad
    tensor([0.], dtype=torch.float64)
    """
    parameters, dtype = mixture.parameters, mixture.dtype
    means, covariances = parameters.means.to(dtype, copy=True), parameters.covariances
    if covariances.own_moment.mixes:
        roots = torch.linalg.cholesky(covariances.dense)  # (B, d, d)
        components = MultivariateNormal(means, scale_tril=roots.to(dtype))
    else:
        deviations = covariances.variances.sqrt()  # (B, d)
        components = Independent(Normal(means, deviations.to(dtype)), 1)
    # By logits, because probabilities of 0 would be raised to the float type's epsilon.
    return MixtureSameFamily(Categorical(logits=parameters.weights.to(dtype).log()), components)
