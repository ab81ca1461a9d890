"""`tgmm.Mixture`: a Gaussian mixture as a plain, frozen object with every verb that needs no training."""

from __future__ import annotations

from typing import Any

from tgmm.data.columns import Columns, arrays_of
from tgmm.mixture import (
    conditional,
    densities,
    distributions,
    evaluation,
    imputation,
    information,
    marginal,
    module,
    ordering,
    sampling,
    saving,
    scikit_learn,
    summary,
)
from tgmm.mixture.base import BaseMixture, check_parameters, without_noise
from tgmm.runtime.options import CovarianceType


class Mixture(BaseMixture):
    """A Gaussian mixture with given parameters.

    Use it if you already know the parameters, or take it from a fitted estimator as `GaussianMixture.mixture_`. It has
    every method that needs no training: it predicts, samples, conditions, converts and explains itself. A mixture never
    changes, and its attributes are copies.

    Parameters
    ----------
    weights : array-like of shape (K,)
        Weights of the components. They are not negative and sum to 1.
    means : array-like of shape (K, d)
        Means of the components. Float32 means give a mixture in float32, all others one in float64. Tensors decide the
        device of the results.
    covariances : array-like
        Covariances of the components, in the shape of the covariance type ((K, d, d) for "full"), or one covariance for
        all components.
    covariance_type : str, default="full"
        The structure of the covariances; see `GaussianMixture`.
    n_factors : int, optional
        Number of factors of each component. Only "low_rank" and "factor" have factors; see `GaussianMixture`.

    Attributes
    ----------
    weights, means, covariances : array or Tensor
        Parameters in the float type of the mixture. They are tensors if the means, or the data of the fit, were
        tensors, otherwise NumPy arrays.
    covariance_type : str
        Structure of the covariances.
    n_components, n_features : int
        Number of components K and number of features d.
    n_parameters : int
        Number of free parameters: weights, means and covariances.
    factor_loadings, noise_variances : array or Tensor
        For "low_rank" and "factor": the loadings of the factors, (K, d, q), and the variances that the factors leave,
        (K,) for "low_rank" and (K, d) for "factor".
    feature_names : ndarray of str, or None
        Names of the features, if an estimator was fitted to data that had them.
    dtype : torch.dtype
        Float type of the parameters and predictions.
    device : str, torch.device or None
        Where to compute, as for `GaussianMixture`.
    noise : object or None
        The noise of a fit with ``noise=True``, whose ``volume`` is in the product of the units of all features. Its
        weight is 1 minus the sum of `weights`.

    Raises
    ------
    ValueError
        If the parameters are not those of a mixture. The message names the one at fault.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.25, 0.75], [[0.0, 0.0], [4.0, 4.0]], [[1.0, 1.0], [2.0, 1.0]], "diag")
    >>> mixture
    Mixture(n_components=2, n_features=2, covariance_type='diag')
    >>> mixture.predict([[0.5, 0.5], [3.0, 4.0]])
    array([0, 1])
    >>> mixture.marginal([0]).mean()
    array([3.])
    """

    def __init__(
        self,
        weights: Any,
        means: Any,
        covariances: Any,
        covariance_type: CovarianceType | str = "full",
        *,
        n_factors: int | None = None,
    ) -> None:
        parameters, structure, dtype = check_parameters(weights, means, covariances, covariance_type, n_factors)
        super().__init__(parameters, structure, dtype, Columns(parameters.n_features, arrays=arrays_of(means)))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set: a mixture never changes; make a new one.")

    predict = evaluation.predict
    predict_proba = evaluation.predict_proba
    score_samples = evaluation.score_samples
    score = evaluation.score
    aic = evaluation.aic
    bic = evaluation.bic
    icl = evaluation.icl
    sample = sampling.sample
    mean = without_noise(marginal.mean)
    covariance = without_noise(marginal.covariance)
    marginal = without_noise(marginal.marginal)
    condition = without_noise(conditional.condition)
    regress = without_noise(conditional.regress)
    entropy = without_noise(information.entropy)
    kl_divergence = without_noise(information.kl_divergence)
    kl_upper_bound = without_noise(information.kl_upper_bound)
    mahalanobis = densities.mahalanobis
    reorder = ordering.reorder
    summary = summary.summary
    impute = imputation.impute
    save = saving.save
    load = classmethod(saving.load)
    to_sklearn = without_noise(scikit_learn.to_sklearn)
    from_sklearn = classmethod(scikit_learn.from_sklearn)
    to_distribution = without_noise(distributions.to_distribution)
    to_module = without_noise(module.to_module)
    log_prob = without_noise(module.log_prob)

    def _repr_html_(self) -> str:
        """Return the summary as HTML, for notebooks."""
        return self.summary()._repr_html_()
