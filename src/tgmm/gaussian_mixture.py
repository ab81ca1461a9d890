"""The estimator: it checks its input, delegates, and exposes the result."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from tgmm import (
    conditional,
    distances,
    evaluation,
    information,
    marginal,
    mixture_moments,
    online,
    persistence,
    sampling,
    settings,
)
from tgmm.checkpoint import Checkpoint
from tgmm.covariance import CovarianceStructure, structure_named
from tgmm.em.stepwise import Continuation
from tgmm.estimation import Result, estimate
from tgmm.inputs import Training
from tgmm.interop import module, sklearn_models, torch_distributions
from tgmm.parameters import Parameters
from tgmm.precision import working_type
from tgmm.random_state import RandomState


class GaussianMixture(DensityMixin, BaseEstimator):
    """Mixture of K Gaussians, fitted by expectation-maximisation.

    The maximum likelihood estimate, or with priors the exact mode of the joint posterior of weights, means and
    covariances. Fits do not depend on the offset or the units of the data.

    Parameters
    ----------
    n_components : int, default=1
        K.
    n_features : int, optional
        d; taken from the data where None, checked against the data otherwise.
    covariance_type : str, default="full"
        "full", "diag", "spherical", "tied_full" (or "tied"), "tied_diag", "tied_spherical".
    max_iter : int, default=200
        Most EM iterations of one run.
    tol : float, default=1e-4
        A run has converged when its average objective changes by less, in nats per unit of sample weight.
    reg_covar : float, default=1e-6
        Added to every variance, in units of the feature's pooled within-component variance at the run's start.
    n_init : int, default=1
        Runs from different starts; the best objective wins.
    init_means : str, array-like of shape (K, d) or callable, default="kmeans"
        "kmeans", "kpp" or "k-means++", "random" or "points", "maxdist", or ``f(X, K, generator) -> (K, d)``.
    init_weights : array-like of shape (K,), optional
        Taken from the start's assignment where None.
    init_covariances : array-like, optional
        In the type's shape, broadcast over K; taken from the start's assignment where None.
    random_state : int, numpy.random.RandomState or torch.Generator, optional
        The global generators are never touched.
    warm_start : bool, default=False
        Start from the last solution.
    accelerate : {None, "squarem"}, default=None
        Extrapolate between EM steps (Varadhan & Roland 2008): as monotone, fewer steps where they converge slowly.
    cem : bool, default=False
        Classification EM (Celeux & Govaert 1992).
    weight_concentration_prior : float or array-like of shape (K,), optional
        Concentration of a Dirichlet prior on the weights.
    mean_prior, mean_precision_prior : array-like of shape (d,) or (K, d), and float or (K,), optional
        m and kappa of mu_k ~ Normal(m, Sigma_k / kappa).
    covariance_prior, degrees_of_freedom_prior : array-like in the type's shape, and float or (K,), optional
        Psi and nu of the inverse-Wishart prior.
    verbose, verbose_interval : bool, default=False; int, default=10
        Progress every that many iterations.
    device : str or torch.device, optional
        None: the tensor's own, else CUDA where there is one, else the CPU.
    distributed : bool, default=False
        Whether every rank of the `torch.distributed` process group calls `fit`, each with its own rows, to get the
        fit to the rows of all. Nothing is communicated otherwise.
    checkpoint : path, optional
        A ``.pth`` or ``.safetensors`` file that `fit` keeps up to date, from which ``fit(..., resume=True)`` goes on.

    Attributes
    ----------
    weights_, means_, covariances_ : Tensor
        (K,), (K, d) and by type, in the float type of the fit.
    converged_ : bool
    n_iter_ : int
        M-steps of the best run.
    lower_bound_ : float
        Average log-likelihood of exactly these parameters on the training data, in nats.
    objective_history_ : list of float
        Average log-likelihood (with priors: plus log prior per unit of weight), from the start to these parameters.
    reg_covar_ : Tensor
        What was added to the variances, (d,) or ().

    Notes
    -----
    Predictions for NumPy arrays, data frames and lists are NumPy arrays; for tensors, tensors on their device; for
    arrays of other libraries that export themselves by DLPack (CuPy, JAX ...), which are read in place, arrays of
    that library's array API namespace, or NumPy arrays where it has none.

    EM: Dempster, Laird & Rubin 1977 (JRSS B 39). Priors: Fraley & Raftery 2007 (J. Classification 24).

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture
    >>> X = np.concatenate([np.zeros((50, 1)), np.ones((50, 1))]) + np.linspace(-0.1, 0.1, 100)[:, None]
    >>> gmm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> np.bincount(gmm.predict(X)).tolist()
    [50, 50]
    """

    _parameters: Parameters  # float64, in the user's units
    _dtype: torch.dtype
    _continuation: Continuation | None  # what `partial_fit` goes on from

    def __init__(
        self,
        n_components: int = 1,
        n_features: int | None = None,
        covariance_type: str = "full",
        *,
        max_iter: int = 200,
        tol: float = 1e-4,
        reg_covar: float = 1e-6,
        n_init: int = 1,
        init_means: str | Any | Callable = "kmeans",
        init_weights: Any = None,
        init_covariances: Any = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        accelerate: str | None = None,
        cem: bool = False,
        weight_concentration_prior: Any = None,
        mean_prior: Any = None,
        mean_precision_prior: Any = None,
        covariance_prior: Any = None,
        degrees_of_freedom_prior: Any = None,
        verbose: bool = False,
        verbose_interval: int = 10,
        device: Any = None,
        distributed: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_features = n_features
        self.covariance_type = covariance_type
        self.max_iter = max_iter
        self.tol = tol
        self.reg_covar = reg_covar
        self.n_init = n_init
        self.init_means = init_means
        self.init_weights = init_weights
        self.init_covariances = init_covariances
        self.random_state = random_state
        self.warm_start = warm_start
        self.accelerate = accelerate
        self.cem = cem
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_prior = mean_prior
        self.mean_precision_prior = mean_precision_prior
        self.covariance_prior = covariance_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.device = device
        self.distributed = distributed
        self.checkpoint = checkpoint

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        init_responsibilities: Any = None,
        resume: bool = False,
    ) -> GaussianMixture:
        """Fit the mixture to rows X.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            A source is read in batches, once an iteration, and never held in memory: the path of a .npy, .zarr,
            Parquet, Arrow or CSV file or of a folder of Parquet files, a memory map, a Zarr array, an Arrow table or
            dataset, a polars lazy frame, a `torch.utils.data.DataLoader`, a list or another re-iterable of arrays,
            tensors or pairs (rows, weights), or a `tgmm.data.Source`.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            Not negative; a weight of 2 equals the row twice.
        init_responsibilities : array-like of shape (n,) or (n, K), optional
            Labels or responsibilities to begin with, in place of `init_means`.
        resume : bool, default=False
            Go on from `checkpoint`, to the same bits as a fit that was never interrupted; from the beginning where
            there is no such file yet. The data and all settings but `tol` and `max_iter` must be the same.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable data or settings, when every run's covariances collapse, and for a checkpoint that is
            damaged or of another fit (`ModelFileError`). With `distributed`, an error on one rank is raised on all.
        """
        before = dict(self.__dict__)
        try:
            data = Training.of(self, X, sample_weight, reset=True)
            result = estimate(self, data, init_responsibilities, Checkpoint(self, resume=resume))
        except BaseException:
            self.__dict__ = before  # a fit that fails leaves the model as it was
            raise
        self._adopt(result, working_type(data.batches.dtype))
        if result.notes:
            warnings.warn("; ".join(result.notes), UserWarning, stacklevel=2)
        if not result.converged:
            warnings.warn(
                f"The fit has not converged in max_iter={self.max_iter} iterations: raise max_iter or tol, or try "
                "another start.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @classmethod
    def from_parameters(
        cls, weights: Any, means: Any, covariances: Any, covariance_type: str = "full"
    ) -> GaussianMixture:
        """Return a mixture with these parameters, as if fitted: what a fit reports about itself is empty.

        Parameters
        ----------
        weights : array-like of shape (K,)
        means : array-like of shape (K, d)
        covariances : array-like in the shape of the type
        covariance_type : str, default="full"

        Examples
        --------
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> gmm.predict([[0.5], [3.0]])
        array([0, 1])
        """
        parameters, dtype = settings.check_parameters(weights, means, covariances, covariance_type)
        n_components, n_features = parameters.means.shape
        model = cls(n_components, n_features, covariance_type)
        model.n_features_in_ = n_features
        return model._adopt(Result.of_parameters(parameters, structure_named(covariance_type)), dtype)

    save = persistence.save
    load = classmethod(persistence.load)
    save_state_dict = persistence.save_state_dict
    load_state_dict = persistence.load_state_dict

    def fit_predict(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit to X and return the most probable component of each row, (n,)."""
        return self.fit(X, y, **fit_params).predict(X)

    partial_fit = online.partial_fit
    predict = evaluation.predict
    predict_proba = evaluation.predict_proba
    score_samples = evaluation.score_samples
    score = evaluation.score
    aic = evaluation.aic
    bic = evaluation.bic
    icl = evaluation.icl
    sample = sampling.sample
    marginal = marginal.marginal
    condition = conditional.condition
    regress = conditional.regress
    mean = mixture_moments.mean
    covariance = mixture_moments.covariance
    entropy = information.entropy
    kl_divergence = information.kl_divergence
    kl_upper_bound = information.kl_upper_bound
    mahalanobis = distances.mahalanobis
    to_sklearn = sklearn_models.to_sklearn
    from_sklearn = classmethod(sklearn_models.from_sklearn)
    to_distribution = torch_distributions.to_distribution
    to_module = module.to_module
    log_prob = module.log_prob

    @property
    def weights_(self) -> Tensor:
        """Weights of the components, (K,)."""
        return self._fitted("weights_").weights.to(self._dtype)

    @property
    def means_(self) -> Tensor:
        """Means, (K, d), in the units of the data."""
        return self._fitted("means_").means.to(self._dtype)

    @property
    def covariances_(self) -> Tensor:
        """Covariances in the type's shape, in squared units of the data."""
        return self._structure.to_public(self._fitted("covariances_").covariances).to(self._dtype)

    @property
    def _structure(self) -> CovarianceStructure:
        return structure_named(self._structure_name)

    def _adopt(self, result: Result, dtype: torch.dtype) -> GaussianMixture:
        """Become the fitted model of a result, with parameters and predictions of this float type."""
        self._parameters, self._dtype = result.parameters, dtype
        self._structure_name = result.structure.name
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter
        self.lower_bound_ = result.log_likelihood
        self.objective_history_ = result.history
        self.reg_covar_ = result.regularisation.to(dtype)
        self._continuation = result.continuation
        self.fitted_ = True
        return self

    def _fitted(self, name: str) -> Parameters:
        """Return the fitted parameters, or raise AttributeError as for any attribute that is not there."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} before fit.")
        return self._parameters

    def __sklearn_is_fitted__(self) -> bool:
        """Whether fit has been called."""
        return hasattr(self, "fitted_")
