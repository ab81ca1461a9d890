"""The estimator: it turns its settings and its input into what the engine understands, and holds the outcome."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from tgmm.data.kinds import Arrays
from tgmm.em.solution import Solution
from tgmm.estimators.agreement import agreed_settings
from tgmm.estimators.base import MixtureEstimator, warn_of
from tgmm.estimators.fitting import journal_of, learnt_from, solved
from tgmm.estimators.hints import hinting
from tgmm.estimators.settings import Settings
from tgmm.estimators.special import notes_of_unused
from tgmm.mixture.mixture import Mixture
from tgmm.runtime.docstrings import described_as
from tgmm.runtime.generators import RandomState
from tgmm.runtime.options import CovarianceType, Missing, Start

if TYPE_CHECKING:
    import sklearn.mixture

# Settings that mean the same in scikit-learn. Its reg_covar is absolute.
SHARED_SETTINGS = ("tol", "max_iter", "n_init", "warm_start")


class GaussianMixture(MixtureEstimator):
    """Gaussian mixture, fitted by expectation-maximisation (EM).

    A mixture describes data as coming from several Gaussian components, each with a weight, a mean and a covariance.
    Use it to find clusters with soft assignments, to estimate a density, or to draw new rows. `fit` finds the maximum
    likelihood estimate or, if you give priors, the mode of the joint posterior of all parameters. The result does not
    depend on the offset of the features. For "full", "diag" and their tied forms, it does not depend on their units
    either.

    Parameters
    ----------
    n_components : int, default=1
        Number of mixture components (clusters). Choose it with `select` if you do not know it.
    n_features : int, optional
        Number of features. By default it is taken from the data. If you give it, `fit` checks the data against it.
    covariance_type : str, default="full"
        "full", "diag", "spherical", "tied_full" (or "tied"), "tied_diag", "tied_spherical", or another structure of
        the guide on covariances.
    n_factors : int, optional
        Number of factors q of "low_rank" and "factor". By default the integer part of the square root of d, or the
        largest possible number if that is smaller. Choose it with `select`.
    max_iter : int, default=200
        Maximum number of EM iterations of one run. Raise it if a `ConvergenceWarning` says that the fit has not
        converged. With 0, the result is the start.
    tol : float, default=1e-4
        Convergence threshold, in nats per row. A run stops when its last step changed the average objective by less
        than this and extrapolation from the last two steps (Aitken) says that less than this remains to be gained.
        Lower it to compare likelihoods closely. With 0, a run continues to `max_iter`.
    reg_covar : float, default=1e-12
        Regularization added to every variance, in units of the smallest variance of that feature within a component at
        the start of the run. The default only prevents singular covariances; you rarely need to change it. A warning
        names components in which it makes up more than 2 % of the variance in some direction. It is at least 1e-8 if
        there are too few distinct rows for any covariance matrix to be regular.
    n_init : int, default=1
        Number of starts with different random draws; the best result is kept. Raise it if results differ between seeds.
    init_means : str, array-like of shape (K, d) or callable, default="auto"
        How to find the initial means. "auto" tries several starts on a sample of the rows, splits and merges components
        of the best, and continues with that one on all rows. If that would cost much more than the fit itself (more
        than 100 components, or full covariances with hundreds of features), "kmeans" is used instead. The other names
        are "kmeans", "kpp" (or "k-means++"), "random" (or "points", random rows) and "maxdist" (rows far apart). You
        can also give the means themselves, or a function ``f(X, n_components, generator)`` that returns them.
    init_weights : array-like of shape (K,), optional
        Initial weights. By default they follow from the start. With ``noise=True``, weights that sum to less than 1,
        such as the `weights_` of an earlier fit, leave the noise the rest.
    init_covariances : array-like, optional
        Initial covariances, in the shape of `covariances_` or of one covariance for all components. By default they
        follow from the start.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        Seed or generator for the starts and for `sample`. Give an integer for results that you can repeat. The global
        generators of NumPy and PyTorch are never used.
    warm_start : bool, default=False
        If True, `fit` starts from the last solution instead of a new start.
    accelerate : {"squarem", None}, default="squarem"
        Extrapolation between EM steps (Varadhan & Roland 2008). It never lowers the objective, and needs far fewer
        steps where EM is slow. None is plain EM, as in other libraries; from the same start it can end in another
        optimum.
    cem : bool, default=False
        If True, assign each row to one component in every iteration: classification EM (Celeux & Govaert 1992). It is
        biased towards separate clusters of similar size.
    missing : {"error", "em"}, default="error"
        What to do with missing values (NaN). "error" refuses them. "em" fits to the values that are there, and
        predictions then accept rows with missing values too. This assumes that values are missing at random.
    noise : bool, default=False
        If True, add a noise component for rows that belong to no cluster: a uniform density (Banfield & Raftery 1993).
        Such rows get the label -1 and do not widen the clusters.
    noise_volume : "hypervolume" or float, default="hypervolume"
        Volume of the region that noise comes from; its density is one over this. "hypervolume" is the smaller of the
        boxes around the data along the axes and along the principal axes. A number is in the product of the units of
        all features.
    noise_init : float or array-like of bool of shape (n,), default=0.05
        Share of the rows that start as noise, those farthest from others; or a mask of these rows.
    fixed : str, collection of str, or dict, optional
        Parameters that stay at their initial values (`init_weights`, `init_means`, `init_covariances`, or the last
        solution with `warm_start`): "weights", "means" or "covariances", or several of them. A dict from these names to
        booleans of shape (K,) fixes them for some components.
    weight_concentration_prior : float or array-like of shape (K,), optional
        Concentration of a Dirichlet prior on the weights. Above 1 it supports small components; below 1 it lets them
        vanish.
    mean_prior, mean_precision_prior : array-like of shape (d,) or (K, d), and float or (K,), optional
        m and kappa of mu_k ~ Normal(m, Sigma_k / kappa), which pulls the means of small components towards m.
        ``mean_prior="default"``, alone, is the mean of the data with kappa = 0.01.
    covariance_prior, degrees_of_freedom_prior : array-like in the type's shape, and float or (K,), optional
        Psi and nu of the inverse-Wishart prior. Use it if components have few rows for their covariances.
        ``covariance_prior="default"``, alone, is the weak prior of mclust: the covariance of the data over K^(2/d),
        with nu = d + 2.
    verbose : bool, default=False
        If True, report the progress of the fit.
    verbose_interval : int, default=10
        Number of iterations between reports.
    device : str or torch.device, optional
        Where to compute, such as "cpu" or "cuda". By default this is the device of the tensor that you pass; for other
        data it is CUDA if available, otherwise the CPU.
    distributed : bool, default=False
        If True, every rank of the `torch.distributed` process group calls `fit` with its own rows, and each gets the
        fit to the rows of all ranks.
    checkpoint : path, optional
        File that `fit` saves its progress to, ``.pth`` or ``.safetensors``. After an interruption,
        ``fit(..., resume=True)`` continues from it.

    Attributes
    ----------
    mixture_ : Mixture
        The fitted mixture as an object that never changes. It has every method that needs no training.
    weights_ : array or Tensor of shape (K,)
        Weights of the components.
    means_ : array or Tensor of shape (K, d)
        Means of the components.
    covariances_ : array or Tensor
        Covariances of the components. The shape depends on `covariance_type`: (K, d, d) for "full".
    noise_weight_, noise_volume_ : float
        With ``noise=True``: the weight of the noise, and the volume that it comes from.
    converged_ : bool
        Whether the best run converged.
    n_iter_ : int
        Number of EM iterations of the best run on all rows.
    lower_bound_ : float
        Average log-likelihood of the training data under the fitted parameters, in nats.
    objective_history_ : list of float
        Average objective after each iteration, from the start to the result. The objective is the log-likelihood, plus
        the log-density of the priors if there are any.
    runs_ : list of FollowedRun
        The runs that were followed to the end, best first: the objective, start and seed of each. Runs with close
        objectives are rival solutions.
    reg_covar_ : array or Tensor of shape (d,) or ()
        What was added to the variances.

    See Also
    --------
    select : Choose the number of components and the covariance structure.
    fit_many : Fit a mixture to each of many groups of rows.
    Mixture : A mixture made from given parameters.

    Notes
    -----
    Predictions have the type of the input: NumPy arrays for arrays, data frames and lists, tensors on their own device
    for tensors, and arrays of the same library for others that support DLPack (CuPy, JAX). Fitted attributes are
    tensors if the training data was, otherwise NumPy arrays, and so is what `sample` returns. They are copies: changing
    one does not change the model.

    EM: Dempster, Laird & Rubin 1977 (JRSS B 39). Priors: Fraley & Raftery 2007 (J. Classification 24). Missing values:
    Ghahramani & Jordan 1994 (NIPS 6).

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture
    >>> X = np.concatenate([np.zeros((50, 1)), np.ones((50, 1))]) + np.linspace(-0.1, 0.1, 100)[:, None]
    >>> gmm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> np.bincount(gmm.predict(X)).tolist()
    [50, 50]
    """

    @hinting
    def __init__(
        self,
        n_components: int = 1,
        n_features: int | None = None,
        covariance_type: CovarianceType | str = "full",
        *,
        n_factors: int | None = None,
        max_iter: int = 200,
        tol: float = 1e-4,
        reg_covar: float = 1e-12,
        n_init: int = 1,
        init_means: Start | Callable[..., Any] | Arrays | Tensor = "auto",
        init_weights: Any = None,
        init_covariances: Any = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        accelerate: Literal["squarem"] | None = "squarem",
        cem: bool = False,
        missing: Missing = "error",
        noise: bool = False,
        noise_volume: Literal["hypervolume"] | float = "hypervolume",
        noise_init: Any = 0.05,
        fixed: Any = None,
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
        self.n_factors = n_factors
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
        self.missing = missing
        self.noise = noise
        self.noise_volume = noise_volume
        self.noise_init = noise_init
        self.fixed = fixed
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
        labels: Any = None,
        resume: bool = False,
    ) -> GaussianMixture:
        """Fit the mixture to data.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows to fit. A source is read in batches, once for each iteration, and is never held in memory as a
            whole. Sources are: the path of a .npy, .zarr, Parquet, Arrow or CSV file, or of a folder of Parquet files;
            a memory map, a Zarr array, an Arrow table or dataset, a polars lazy frame; a `torch.utils.data.DataLoader`;
            a list or any other iterable that can be read again of arrays, tensors or pairs (rows, weights); and a
            `tgmm.data.Source`.
        y : ignored
            Present for compatibility with scikit-learn.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, not negative. A weight of 2 counts as the row twice.
        init_responsibilities : array-like of shape (n,) or (n, K), optional
            Labels or responsibilities to start from, instead of `init_means`.
        labels : array-like of shape (n,) or (n, K), optional
            Known components of some rows: integers, with -1 or NaN for unknown. An array of shape (n, K) multiplies the
            weights of the components in each row; use 0 and 1 to say which components are possible.
        resume : bool, default=False
            If True, continue from `checkpoint`. The result has the same bits as a fit that was never interrupted. Data
            and settings must be the same, except `tol`, `max_iter` and those that do not change the result. Without a
            file, the fit starts from the beginning.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or settings cannot be used, if the covariances of every run collapse, or if the checkpoint is
            damaged or belongs to another fit (`ModelFileError`). With `distributed`, an error on one rank is raised on
            all.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> X = np.concatenate([rng.normal(0, 1, (100, 2)), rng.normal(6, 1, (100, 2))])
        >>> gmm = GaussianMixture(n_components=2, random_state=0).fit(X)
        >>> gmm.converged_, gmm.means_.shape
        (True, (2, 2))
        """
        given = self.get_params(deep=False)
        before = vars(self).get("_solution")
        arguments = {"resume": resume, "init_responsibilities": init_responsibilities, "labels": labels}
        continued = before if self.warm_start else None
        settings = agreed_settings(given, lambda: Settings.of(given), continued, **arguments)
        rows, journal = (X, sample_weight, init_responsibilities, labels), journal_of(settings, resume=resume)
        solution = solved(settings, *rows, owner=type(self).__name__, before=before, journal=journal)
        solution = replace(solution, notes=(*solution.notes, *notes_of_unused(settings)))
        self._adopt(solution)
        warn_of(solution, self.max_iter)
        return self

    def partial_fit(
        self, X: Any, y: Any = None, *, sample_weight: Any = None, step: float | None = None
    ) -> GaussianMixture:
        """Learn from one more batch of rows, by stepwise EM.

        Use it when data arrives in batches that you cannot keep. The expected statistics s of the batch are blended
        into those remembered, s = (1 - gamma) s + gamma s(batch), and an M-step follows.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            One batch. An unfitted model starts from the first batch, as `init_means` says, so this one should contain
            many rows of each component. Later batches may have any size.
        y : ignored
            Present for compatibility with scikit-learn.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, not negative. A weight of 2 counts as the row twice.
        step : float, optional
            The share gamma of the batch, in (0, 1]. By default it is (t + 2)^-0.6 after t batches, with which the
            estimate converges if all rows come from one distribution. Give a constant to follow a distribution that
            drifts: old batches are then forgotten at that rate.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or settings cannot be used, or if a covariance collapses. The model then stays as it was.

        Notes
        -----
        gamma is the share of a batch of average weight; for other batches, the odds gamma / (1 - gamma) are
        proportional to their weight. After `fit`, all its rows count as one batch. The parameters of a model that was
        never fitted count as one batch as heavy as X. Priors are weighed against all rows so far, or with a constant
        step against the rows that are not forgotten. `lower_bound_` and the new entries of `objective_history_` (the
        last 1000 are kept) are blended averages over the batches, each under the parameters before its step.
        `converged_` is False. `tol`, `max_iter`, `n_init`, `accelerate` and `checkpoint` are not used.

        Sources: Cappé & Moulines 2009 (J. Royal Statistical Society B 71); Liang & Klein 2009 (NAACL) for the
        schedule.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> gmm = GaussianMixture(n_components=2, random_state=0)
        >>> for _ in range(50):
        ...     labels = rng.integers(2, size=100)
        ...     gmm = gmm.partial_fit(rng.normal(5.0 * labels, 1.0)[:, None])
        >>> sorted(gmm.means_.ravel().round().tolist())
        [0.0, 5.0]
        """
        given, before = self.get_params(deep=False), vars(self).get("_solution")
        settings = agreed_settings(given, lambda: Settings.of(given), before, step=step)
        owner = type(self).__name__
        solution = learnt_from(settings, X, sample_weight, step, owner=owner, before=before)
        self._adopt(solution)
        warn_of(solution)
        return self

    @classmethod
    def from_parameters(
        cls,
        weights: Any,
        means: Any,
        covariances: Any,
        covariance_type: CovarianceType | str = "full",
        *,
        n_factors: int | None = None,
    ) -> GaussianMixture:
        """Return a model with given parameters, as if it had been fitted.

        Parameters
        ----------
        weights, means, covariances, covariance_type, n_factors
            As for `Mixture`, which also names the errors.

        Returns
        -------
        GaussianMixture
            A fitted model. What a fit reports about itself, such as `objective_history_`, is empty.

        Examples
        --------
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> gmm.predict([[0.5], [3.0]])
        array([0, 1])
        """
        return cls._of(Mixture(weights, means, covariances, covariance_type, n_factors=n_factors))

    @classmethod
    def _of(cls, mixture: Mixture) -> GaussianMixture:
        """Return a model of a mixture, as if fitted."""
        size = mixture.n_components, mixture.n_features
        model = cls(*size, mixture.covariance_type, n_factors=mixture.structure.n_factors, device=mixture.device)
        return model._adopt(Solution(mixture))

    @described_as(Mixture.marginal)
    def marginal(self, dims: Sequence[int | str]) -> GaussianMixture:
        """Return the model of some of the features: the fitted mixture with the other features integrated out."""
        return self._of(self.mixture_.marginal(dims)).set_params(missing=self.missing)

    def to_sklearn(self) -> Any:
        """Return the mixture as a fitted `sklearn.mixture.GaussianMixture`; see `Mixture.to_sklearn`.

        Returns
        -------
        sklearn.mixture.GaussianMixture
            A fitted model with the settings that mean the same in both libraries (`tol`, `max_iter`, `n_init`,
            `warm_start`, and `random_state` unless it is a generator of NumPy or PyTorch). All other settings have
            scikit-learn's defaults.
        """
        other = self.mixture_.to_sklearn()
        other.set_params(**{name: getattr(self, name) for name in SHARED_SETTINGS})
        if not isinstance(self.random_state, torch.Generator | np.random.Generator):
            other.set_params(random_state=self.random_state)
        other.converged_, other.n_iter_ = self.converged_, self.n_iter_
        other.lower_bound_, other.lower_bounds_ = self.lower_bound_, self.objective_history_[1:]
        return other

    @classmethod
    def from_sklearn(cls, model: sklearn.mixture.GaussianMixture) -> GaussianMixture:
        """Return a fitted `sklearn.mixture.GaussianMixture` as a model of this library.

        Parameters
        ----------
        model : sklearn.mixture.GaussianMixture
            A fitted model. Its covariance type "tied" is called "tied_full" here.

        Returns
        -------
        GaussianMixture
            A model with the parameters, the feature names, and the settings that mean the same in both libraries. What
            a fit reports about itself stays empty, because scikit-learn's lower bound is that before the last M-step.

        Raises
        ------
        ValueError
            If the model is of another class. A `BayesianGaussianMixture` does not predict as a Gaussian mixture does.
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.

        Examples
        --------
        >>> import numpy as np
        >>> import sklearn.mixture
        >>> from tgmm import GaussianMixture
        >>> X = np.concatenate([np.zeros((50, 1)), np.ones((50, 1))]) + np.linspace(-0.1, 0.1, 100)[:, None]
        >>> other = sklearn.mixture.GaussianMixture(2, covariance_type="tied", random_state=0).fit(X)
        >>> gmm = GaussianMixture.from_sklearn(other)
        >>> gmm.covariance_type
        'tied_full'
        >>> np.allclose(gmm.score_samples(X), other.score_samples(X), rtol=0, atol=1e-10)
        True
        """
        found = cls._of(Mixture.from_sklearn(model))
        shared = {name: getattr(model, name) for name in SHARED_SETTINGS}
        return found.set_params(random_state=model.random_state, **shared)


def fitted_as(solution: Solution, given: Mapping[str, Any]) -> GaussianMixture:
    """Return the model with these settings that found a solution."""
    return GaussianMixture(**given)._adopt(solution)
