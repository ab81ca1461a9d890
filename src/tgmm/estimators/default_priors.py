"""Weak priors that the data itself gives: those of mclust's ``priorControl()``.

Source: Fraley & Raftery 2007 (J. Classification 24, corrected Technical Report 486), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Full, Structure
from tgmm.data.covariance import unbiased
from tgmm.data.training import Training

DEFAULT = "default"
PARTNERS = {"mean_prior": "mean_precision_prior", "covariance_prior": "degrees_of_freedom_prior"}
MEAN_PRECISION = 0.01


def without_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return priors as they are given, without those that only data can tell.

    Raises
    ------
    ValueError
        If a name is none, or a default prior has a partner.
    """
    kept = dict(given)
    for name, partner in PARTNERS.items():
        if isinstance(value := given[name], str):
            if value != DEFAULT:
                raise ValueError(f"{name} must be an array, None or {DEFAULT!r}; got {value!r}.")
            if given[partner] is not None:
                raise ValueError(
                    f"{name}={DEFAULT!r} brings its own {partner}: leave that out, or give both as numbers."
                )
            kept[name] = None
    return kept


def require_prior(structure: Structure) -> None:
    """Raise a ValueError where a structure has no prior of its covariances."""
    if not structure.takes_prior:
        raise ValueError(
            f"covariance_prior is not defined for covariance_type={structure.name!r}: leave it and "
            "degrees_of_freedom_prior out, or choose another covariance_type."
        )


def with_defaults(
    given: Mapping[str, Any], structure: Structure, n_components: int, training: Training
) -> dict[str, Any]:
    """Return priors with those of the data in the place of "default".

    As in mclust, one variance, the mean of all, is the scale of diagonal and spherical covariances, and the covariance
    matrix that of others; where there are no more rows than features, or it is singular, it is its diagonal.
    """
    filled = without_defaults(given)
    summary = training.survey.summary
    if given["mean_prior"] is not None and filled["mean_prior"] is None:
        filled |= {"mean_prior": summary.origin + summary.mean, "mean_precision_prior": MEAN_PRECISION}
    if given["covariance_prior"] is not None and filled["covariance_prior"] is None:
        require_prior(structure)
        psi = _matrix(training) if structure.moment.mixes else _variances(training).mean()
        psi = psi / math.pow(n_components, 2 / training.data.n_features)
        shape = structure.form.shape_of_one(training.data.n_features)
        filled |= {"covariance_prior": psi.expand(shape), "degrees_of_freedom_prior": training.data.n_features + 2.0}
    return filled


def _variances(training: Training) -> Tensor:
    """Return the variances of the features, (d,); where one is constant, the mean of the others, or 1."""
    summary = training.survey.summary
    variances, varies = summary.variance * unbiased(summary), ~summary.constant
    usual = variances[varies].mean() if bool(varies.any()) else torch.ones_like(variances[0])
    return torch.where(varies, variances, usual)


def _matrix(training: Training) -> Tensor:
    """Return the covariance matrix of the rows, or a diagonal one where that has no inverse, (d, d)."""
    variances, n_features = _variances(training), training.data.n_features
    if training.data.n_rows > n_features:
        constant = training.survey.summary.constant
        matrix = training.covariance + torch.diag(torch.where(constant, variances, 0.0)).cpu()
        try:
            _ = Full(matrix[None], n_features).factor
        except CovarianceCollapse:
            return torch.diag(variances)
        return matrix
    return torch.diag(variances)
