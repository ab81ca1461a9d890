"""The estimator: it turns its settings and its input into what the engine understands, and holds the outcome."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from tgmm.data.kinds import Arrays
from tgmm.em.solution import Solution
from tgmm.estimators.agreement import check_alike
from tgmm.estimators.base import MixtureEstimator
from tgmm.estimators.fitting import journal_of, learnt_from, solved
from tgmm.estimators.hints import hinting
from tgmm.estimators.settings import Settings
from tgmm.mixture.mixture import Mixture
from tgmm.runtime.checks import check_flag
from tgmm.runtime.generators import RandomState
from tgmm.runtime.options import CovarianceType, Missing, Start
from tgmm.runtime.processes import Group

if TYPE_CHECKING:
    import sklearn.mixture

# Settings that mean the same in scikit-learn. Its reg_covar is absolute.
SHARED_SETTINGS = ("tol", "max_iter", "n_init", "warm_start")


class GaussianMixture(MixtureEstimator):
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
        "full", "diag", "spherical", "tied_full" (or "tied"), "tied_diag", "tied_spherical", or another structure of
        the guide on covariances.
    max_iter : int, default=200
        Most EM iterations of one run; 0 returns the start.
    tol : float, default=1e-4
        A run has converged when its last step changed the average objective by less, and what it would still gain,
        foreseen from two steps (Aitken's extrapolation), is less too, in nats per unit of sample weight. 0: runs go on
        to `max_iter`, and have converged where the last step changed nothing.
    reg_covar : float, default=1e-12
        Added to every variance, in units of the feature's smallest variance within a component at the run's start.
        The default changes nothing that float64 can tell; components whose variance rests on it are reported. It is at
        least 1e-8 where no more different rows than features make every covariance matrix singular.
    n_init : int, default=1
        Runs from different starts, or trials with different draws; the best objective wins.
    init_means : str, array-like of shape (K, d) or callable, default="auto"
        "auto" tries several starts on a sample of the rows, splits and merges components of the best, and follows that
        on all rows; it is "kmeans" where this would cost far more than the fit (more than 100 components, full
        covariances in hundreds of dimensions). Else "kmeans", "kpp" or "k-means++", "random" or "points", "maxdist",
        K centres, or ``f(X, K, generator) -> (K, d)``.
    init_weights : array-like of shape (K,), optional
        Taken from the start's assignment where None.
    init_covariances : array-like, optional
        In the type's shape, broadcast over K; taken from the start's assignment where None.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        The global generators are never touched.
    warm_start : bool, default=False
        Start from the last solution.
    accelerate : {"squarem", None}, default="squarem"
        Extrapolate between EM steps (Varadhan & Roland 2008): as monotone, and far fewer steps where they are slow.
        None is plain EM, as in other libraries; from the same start the two can end in different optima (18 of 991).
    cem : bool, default=False
        Classification EM (Celeux & Govaert 1992).
    missing : {"error", "em"}, default="error"
        What becomes of rows that lack values, which are NaN. "error" refuses them; "em" fits to what is there, exactly,
        where it hangs on the values observed alone which others are missing. Predictions then take such rows too.
    noise : bool, default=False
        Whether there is noise: rows of no component, with one density everywhere (Banfield & Raftery 1993). They are
        labelled -1, and do not widen the clusters.
    noise_volume : "hypervolume" or float, default="hypervolume"
        The volume of the noise, whose density is one over it: the smaller of the boxes around the data along the axes
        and along the principal axes, or a number, in units of the product of all features.
    noise_init : float or array-like of bool of shape (n,), default=0.05
        Which rows begin as noise, or what share of them does: those farthest from others then.
    fixed : str, collection of str, or dict, optional
        What stays as it starts, by `init_weights` and so on or `warm_start`: "weights", "means", "covariances", or a
        dict from these names to booleans (K,) for some components. All else is estimated given these.
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
    mixture_ : Mixture
        The fitted mixture, a frozen object; whatever needs no training is asked of it.
    weights_, means_, covariances_ : array or Tensor
        (K,), (K, d) and by type, in the float type of the fit.
    noise_weight_, noise_volume_ : float
        With `noise`: the share of noise, which `weights_` leave of 1, and its volume.
    converged_ : bool
    n_iter_ : int
        M-steps of the best run on all rows.
    lower_bound_ : float
        Average log-likelihood of exactly these parameters on the training data, in nats.
    objective_history_ : list of float
        Average log-likelihood (with priors: plus log prior per unit of weight), from the start to these parameters.
    runs_ : list of FollowedRun
        Objective, start and seed of each run that was followed to the end, best first: close ones are rival optima.
    reg_covar_ : array or Tensor
        What was added to the variances, (d,) or ().

    Notes
    -----
    Predictions are of the kind of X: NumPy arrays for arrays, data frames and lists; tensors on their device for
    tensors; for arrays with DLPack (CuPy, JAX ...) those of their array API namespace, or NumPy's where it has none.
    Attributes are tensors where the data of the fit was, or a loader's batches were, else NumPy arrays. They are
    copies: changing one changes no model. Draws of `sample` are tensors.

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
        labels : array-like of shape (n,) or (n, K), optional
            What is known of the components of rows: integers, -1 where nothing is, or numbers that multiply the
            components' weights in that row, such as 0 and 1 for those that are out of the question or possible.
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
        given = self.get_params(deep=False)
        before = vars(self).get("_solution")
        if check_flag(self.distributed, "distributed"):
            agreement = {
                "resume": resume,
                "init_responsibilities": init_responsibilities,
                "labels": labels,
                "before": before,
            }
            check_alike(Group(), given, **agreement)
        settings = Settings.of(given)
        rows, journal = (X, sample_weight, init_responsibilities, labels), journal_of(settings, resume=resume)
        solution = solved(settings, *rows, owner=type(self).__name__, before=before, recorded=journal)
        self._adopt(solution)
        _warn_of(solution)
        if not solution.converged and self.max_iter > 0:
            what = f"max_iter={self.max_iter} iterations: raise max_iter or tol, or try another start."
            warnings.warn(f"The fit has not converged in {what}", ConvergenceWarning, stacklevel=2)
        return self

    @overload
    def fit_predict(self, X: Tensor, y: Any = None, **fit_params: Any) -> Tensor: ...
    @overload
    def fit_predict(self, X: Arrays, y: Any = None, **fit_params: Any) -> np.ndarray: ...
    @overload
    def fit_predict(self, X: Any, y: Any = None, **fit_params: Any) -> Any: ...
    def fit_predict(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit to X and return the most probable component of each row, (n,)."""
        return self.fit(X, y, **fit_params).predict(X)

    def partial_fit(
        self, X: Any, y: Any = None, *, sample_weight: Any = None, step: float | None = None
    ) -> GaussianMixture:
        """Learn from one more batch of rows, each of which is seen once: stepwise EM.

        The expected statistics of the batch are blended into those remembered, with a share gamma, and an M-step
        follows: s = (1 - gamma) s + gamma s(batch).

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            One batch. The first one is what an unfitted model starts from, by `init_means` and its companions, and
            is to hold many rows of each component; later ones may have any size.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            Not negative; a weight of 2 equals the row twice.
        step : float, optional
            gamma in (0, 1]. None: (t + 2)^-0.6 after t batches, with which a stream of rows from one distribution
            converges to the estimate from all of them at once. A constant forgets old batches at that rate, and so
            follows a distribution that drifts.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable data or settings, and when a covariance collapses; the model is then as it was before.

        Notes
        -----
        gamma is that of a batch of average weight: the odds gamma / (1 - gamma) of others are in proportion to their
        weight. After `fit`, all its rows count as one batch; for a model from parameters these are a batch as heavy
        as X. Priors are weighed against all rows so far, or with a constant step against those not forgotten.
        `lower_bound_` and the new entries of `objective_history_`, of which the last 1000 are kept, are averages,
        blended like the statistics, over the batches under the parameters before their steps. `converged_` is False.
        `tol`, `max_iter`, `n_init` and `accelerate` are not used.

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
        settings, before = Settings.of(self.get_params(deep=False)), vars(self).get("_solution")
        solution = learnt_from(settings, X, sample_weight, step, owner=type(self).__name__, before=before)
        self._adopt(solution)
        _warn_of(solution)
        return self

    @classmethod
    def from_parameters(
        cls, weights: Any, means: Any, covariances: Any, covariance_type: CovarianceType | str = "full"
    ) -> GaussianMixture:
        """Return a mixture with these parameters, as if fitted: what a fit reports about itself is empty.

        Parameters
        ----------
        weights, means, covariances, covariance_type
            As for `Mixture`.

        Examples
        --------
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> gmm.predict([[0.5], [3.0]])
        array([0, 1])
        """
        return cls._of(Mixture(weights, means, covariances, covariance_type))

    @classmethod
    def _of(cls, mixture: Mixture) -> GaussianMixture:
        """Return a model of a mixture, as if fitted."""
        model = cls(mixture.n_components, mixture.n_features, mixture.covariance_type, device=mixture.device)
        return model._adopt(Solution(mixture))

    def marginal(self, dims: Sequence[int | str]) -> GaussianMixture:
        """Return the mixture of some of the features, as if fitted; see `Mixture.marginal`.

        Parameters
        ----------
        dims : sequence of int or str
            The features to keep, by number or name, in the order wanted.
        """
        return self._of(self.mixture_.marginal(dims)).set_params(missing=self.missing)

    def to_sklearn(self) -> Any:
        """Return the mixture as a fitted `sklearn.mixture.GaussianMixture`; see `Mixture.to_sklearn`.

        Returns
        -------
        sklearn.mixture.GaussianMixture
            With the settings that mean the same in both libraries (`tol`, `max_iter`, `n_init`, `warm_start`, and a
            `random_state` that it takes); all others are its defaults.
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
            Fitted. Its "tied" is "tied_full" here.

        Returns
        -------
        GaussianMixture
            With the parameters, the features' names, and the settings that mean the same in both libraries. What a fit
            reports about itself stays empty: scikit-learn's lower bound is that before the last M-step.

        Raises
        ------
        ValueError
            For any other object. The predictions of a `BayesianGaussianMixture` are no Gaussian mixture's.
        sklearn.exceptions.NotFittedError
            Where the model has not been fitted.

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


def _warn_of(solution: Solution) -> None:
    """Say once what befell a fit, on behalf of the method that called."""
    if solution.notes:
        warnings.warn("; ".join(solution.notes), UserWarning, stacklevel=3)


def fitted_as(solution: Solution, given: Mapping[str, Any]) -> GaussianMixture:
    """Return the model with these settings that found a solution."""
    return GaussianMixture(**given)._adopt(solution)
