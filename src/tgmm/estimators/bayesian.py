"""`BayesianGaussianMixture`: variational Bayes, with a finite or an unbounded number of components."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tgmm.em.fit import Policy
from tgmm.estimators import saving
from tgmm.estimators.agreement import agreed_settings
from tgmm.estimators.base import MixtureEstimator, warn_of
from tgmm.estimators.fitting import journal_of, learnt_from, solved
from tgmm.estimators.hints import hinting
from tgmm.estimators.posterior import (
    PROCESS,
    check_chosen,
    family,
    in_use,
    in_use_first,
    is_of_process,
    plugged_in,
    resolved,
    restored,
    stored_names,
    stored_posterior,
)
from tgmm.estimators.settings import ERROR, Settings
from tgmm.files.plain import State
from tgmm.mixture.base import own_array
from tgmm.mixture.mixture import Mixture
from tgmm.mixture.predictive import log_predictive, mean_log_predictive, sample_predictive
from tgmm.model.posterior import Posterior
from tgmm.model.variational import Variational
from tgmm.runtime.checks import check_flag
from tgmm.runtime.docstrings import described_as
from tgmm.runtime.generators import RandomState
from tgmm.start import AUTO, STARTS

# What the settings of `GaussianMixture` are where there is nothing to set: priors keep variances positive.
UNSET: dict[str, Any] = {
    "reg_covar": 0.0,
    "cem": False,
    "missing": ERROR,
    "noise": False,
    "fixed": None,
    "init_weights": None,
    "init_covariances": None,
}


class BayesianGaussianMixture(MixtureEstimator):
    """Bayesian Gaussian mixture, fitted by variational Bayes.

    Weights, means and covariances have a posterior distribution instead of a single value. Components that the data
    does not need lose their weight, so `n_components` is only an upper limit. Use it to find the number of components
    in one fit, or for densities that account for uncertain parameters.

    Parameters
    ----------
    n_components : int, default=1
        Maximum number of components. Choose it larger than the number that you expect.
    n_features : int, optional
        Number of features. If given, the data is checked against it.
    covariance_type : str, default="full"
        "full", "diag", "spherical", "tied_full" (or "tied"), "tied_diag" or "tied_spherical".
    max_iter : int, default=200
        Maximum number of iterations of one run. 0 returns the start.
    tol : float, default=1e-4
        A run has converged when its last step changed the average bound by less than this, and its expected further
        gain is less than this, too, in nats per unit of sample weight. A move must gain at least as much.
    n_init : int, default=1
        Number of runs from different starts. The one with the best bound is kept.
    init_means : str, array-like of shape (K, d) or callable, default="kmeans"
        Where runs start, as for `GaussianMixture` but without "auto".
    weight_concentration_prior_type : {"dirichlet_process", "dirichlet_distribution"}, default="dirichlet_process"
        Prior of the weights. "dirichlet_process" (stick-breaking) prefers few large components.
    weight_concentration_prior : float or array-like of shape (K,), optional
        Concentration of this prior, 1 / K by default. Lower it to have fewer components.
    mean_precision_prior : float or array-like of shape (K,), optional
        Number of rows that the prior of each mean is worth (kappa), 1 by default.
    mean_prior : array-like of shape (d,) or (K, d), optional
        Prior mean of the means, by default the mean of the data.
    degrees_of_freedom_prior : float or array-like of shape (K,), optional
        Degrees of freedom of the inverse-Wishart prior of the covariances (nu), d by default.
    covariance_prior : array-like in the type's shape, optional
        Scale matrix of this prior (Psi), by default the covariance of the data in the form of `covariance_type`, with
        1e-6 of the variances added where it is singular, or 1e-6 for a constant feature.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        Seed or generator. Give an integer for results that you can repeat.
    warm_start : bool, default=False
        If True, `fit` starts from the last solution.
    accelerate : {"squarem", None}, default="squarem"
        Acceleration of the iteration (Varadhan & Roland 2008). None gives scikit-learn's iteration.
    moves : bool, default=True
        If True, a converged run also tries to merge, delete or reorder components (Hughes & Sudderth 2013).
    verbose, verbose_interval : bool, default=False; int, default=10
        If True, report the progress every that many iterations.
    device : str or torch.device, optional
        Where to compute, as for `GaussianMixture`.
    distributed : bool, default=False
        If True, every rank of the `torch.distributed` process group calls `fit` with its own rows.
    checkpoint : path, optional
        A ``.pth`` or ``.safetensors`` file that `fit` keeps up to date. ``fit(..., resume=True)`` continues from it.

    Attributes
    ----------
    mixture_ : Mixture
        The components in use, with their expected parameters.
    n_components_ : int
        Number of components in use, those with the mass of more than one row.
    weights_, means_, covariances_ : array or Tensor
        Expected weights and means of all K components, and Psi / nu, the inverse of the expected precision. Under a
        Dirichlet process, the weights are those of the first K sticks, divided by their sum.
    weight_concentration_ : array or Tensor, or a pair of them
        Parameters of the Dirichlet posterior, (K,), or both parameters of the beta posterior of each stick, (K,) each.
    mean_precision_, degrees_of_freedom_ : array or Tensor
        Posterior kappa, (K,), and nu, (K,) or (1,) if components share their covariance.
    weight_concentration_prior_, mean_prior_, mean_precision_prior_, degrees_of_freedom_prior_, covariance_prior_
        The priors that were used, with defaults filled in.
    converged_ : bool
        Whether the best run converged.
    n_iter_ : int
        Number of iterations of the best run, including moves.
    lower_bound_ : float
        Evidence lower bound per unit of sample weight, in nats and with all constants; the log evidence if K = 1.
    objective_history_ : list of float
        The bound after each iteration, from the start to the end. It never falls.
    runs_ : list of FollowedRun
        Bound, start and seed of each run, best first.

    Notes
    -----
    `predict` and `predict_proba` use the variational responsibilities. `score_samples` and `score` use the posterior
    predictive density, which is a mixture of Student-t distributions. All other methods use `mixture_`. Predictions
    have the type of X.

    The components in use come first among the K components if their order has no meaning: with
    "dirichlet_distribution", if all components have the same prior and `init_means` is a name. In a Dirichlet process,
    the moves sort the components by size.

    Sources: Attias 2000 (NIPS 12); Bishop 2006 (PRML, 10.2); Blei & Jordan 2006 (Bayesian Analysis 1); Kurihara,
    Welling & Teh 2007 (IJCAI).

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import BayesianGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-5, 1, (200, 1)), rng.normal(5, 1, (200, 1))])
    >>> bgm = BayesianGaussianMixture(n_components=6, random_state=0).fit(X)
    >>> bgm.n_components_
    2
    """

    missing = ERROR

    @hinting
    def __init__(
        self,
        n_components: int = 1,
        n_features: int | None = None,
        covariance_type: str = "full",
        *,
        max_iter: int = 200,
        tol: float = 1e-4,
        n_init: int = 1,
        init_means: str | Any | Callable = "kmeans",
        weight_concentration_prior_type: str = PROCESS,
        weight_concentration_prior: Any = None,
        mean_precision_prior: Any = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: Any = None,
        covariance_prior: Any = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        accelerate: str | None = "squarem",
        moves: bool = True,
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
        self.n_init = n_init
        self.init_means = init_means
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.accelerate = accelerate
        self.moves = moves
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
    ) -> BayesianGaussianMixture:
        """Fit the posterior to the rows of X.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as `GaussianMixture.fit` accepts them.
        y : ignored
            Present for compatibility with scikit-learn.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, not negative. A weight of 2 counts as the row twice, also in comparison with the prior.
        init_responsibilities : array-like of shape (n,) or (n, K), optional
            Labels or responsibilities to start from, instead of `init_means`.
        resume : bool, default=False
            If True, continue from `checkpoint`. The result has the same bits as a fit that was never interrupted.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or settings cannot be used, or if the checkpoint is damaged or belongs to another fit
            (`ModelFileError`).
        """
        given, before = self.get_params(deep=False), vars(self).get("_solution")
        arguments = {"resume": resume, "init_responsibilities": init_responsibilities}
        settings = agreed_settings(given, self._settings, before if self.warm_start else None, **arguments)
        journal = journal_of(settings, resume=resume, has_posterior=True)
        rows = (X, sample_weight, init_responsibilities)
        solution = solved(settings, *rows, owner=type(self).__name__, before=before, journal=journal)
        is_anywhere = isinstance(self.init_means, str) and init_responsibilities is None and not settings.warm_start
        if is_anywhere:  # no component is where it was put
            solution = in_use_first(solution)
        self._adopt(solution)
        warn_of(solution, self.max_iter)
        return self

    def partial_fit(
        self, X: Any, y: Any = None, *, sample_weight: Any = None, step: float | None = None
    ) -> BayesianGaussianMixture:
        """Learn from one more batch of rows, each of which is seen once: stochastic variational inference.

        The expected statistics of the batch are blended into the running statistics, with a share gamma. These are
        scaled to the weight of all rows so far and determine the new posterior. This is a natural-gradient step of
        length gamma.

        Parameters
        ----------
        X, y, sample_weight, step
            As for `GaussianMixture.partial_fit`. How you divide the rows into batches matters little.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or settings cannot be used. The model then stays as it was.

        Notes
        -----
        The default priors come from the first batch. `lower_bound_` is an estimate from the batches. Source: Hoffman,
        Blei, Wang & Paisley 2013 (JMLR 14).
        """
        before = vars(self).get("_solution")
        known = before.update if before is not None and isinstance(before.update, Variational) else None
        given = self.get_params(deep=False)
        settings = agreed_settings(given, lambda: self._settings(known), before, step=step)
        solution = learnt_from(settings, X, sample_weight, step, owner=type(self).__name__, before=before)
        self._adopt(solution)
        warn_of(solution)
        return self

    def predict(self, X: Any, *, out: Any = None) -> Any:
        """Return the most probable component of each row under the variational posterior.

        Parameters
        ----------
        X, out
            As for `GaussianMixture.predict`.

        Returns
        -------
        labels : array or Tensor of shape (n,)
            The most probable component of each row, from 0 to K - 1.
        """
        return self._whole.predict(X, out=out)

    def predict_proba(self, X: Any, *, out: Any = None) -> Any:
        """Return the probabilities of the components for each row under the variational posterior.

        Parameters
        ----------
        X, out
            As for `GaussianMixture.predict_proba`.

        Returns
        -------
        probabilities : array or Tensor of shape (n, K)
            Each row sums to 1.
        """
        return self._whole.predict_proba(X, out=out)

    @described_as(Mixture.score_samples)
    def score_samples(self, X: Any, *, out: Any = None) -> Any:
        """Return the logarithm of the posterior predictive density of each row.

        This is the density of a mixture of Student-t distributions (Bishop, PRML, 10.81). For diagonal covariance
        types, each component is a product of univariate t distributions.
        """
        return log_predictive(self._whole, X, out)

    @described_as(Mixture.score)
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the average log posterior predictive density of the rows of X, in nats. Higher is better."""
        return mean_log_predictive(self._whole, X, sample_weight)

    def sample(
        self,
        n_samples: int = 1,
        *,
        component: int | None = None,
        confidence: float | None = None,
        std_range: Sequence[float] | None = None,
        posterior: bool = False,
        random_state: RandomState = None,
    ) -> tuple[Any, Any]:
        """Draw rows from the mixture with the expected parameters, or from the posterior predictive distribution.

        Parameters
        ----------
        n_samples, component, confidence, std_range, random_state
            As for `GaussianMixture.sample`.
        posterior : bool, default=False
            Whether to draw the parameters of each row from the posterior, instead of taking the expected ones.

        Returns
        -------
        X : array or Tensor of shape (n_samples, d)
        components : array or Tensor of shape (n_samples,)
            The component of each row, numbered from 0 to K - 1 as by `predict`.

        Raises
        ------
        ValueError
            If arguments are out of range, or if `confidence` or `std_range` is given together with `posterior`.
        """
        random_state = self.random_state if random_state is None else random_state
        if not check_flag(posterior, "posterior"):
            bounds = {"confidence": confidence, "std_range": std_range}
            return self._whole.sample(n_samples, component=component, **bounds, random_state=random_state)
        if confidence is not None or std_range is not None:
            raise ValueError(
                "confidence and std_range bound distances in a mixture whose parameters are known: leave them out with "
                "posterior=True."
            )
        return sample_predictive(self._whole, n_samples, component, random_state)

    @property
    def _whole(self) -> Mixture:
        """All components with the posterior: its densities are the exponentials of expected log-densities."""
        return super().mixture_

    @property
    def mixture_(self) -> Mixture:
        """The mixture of the components in use, with their expected parameters, renumbered from 0."""
        used = in_use(self._fitted()).nonzero().flatten().tolist()
        return self._whole.derived(plugged_in, tuple(used))

    @property
    def reorder(self) -> Any:
        """Not there: the prior of the weights, and so their posterior, may depend on the order of the components."""
        raise AttributeError(
            "A posterior keeps the order of its components, on which the prior of the weights may depend. "
            "Use mixture_.reorder() for the mixture in another order."
        )

    @property
    def _posterior(self) -> Posterior:
        posterior = self._whole.parameters.posterior
        assert posterior is not None
        return posterior

    @property
    def _prior(self) -> Variational:
        prior = self._fitted().update
        assert isinstance(prior, Variational)
        return prior

    @property
    def n_components_(self) -> int:
        """Number of components that hold more than one row; at least 1."""
        return int(in_use(self._fitted()).sum())

    @property
    def weights_(self) -> Any:
        """Expected weights, (K,)."""
        return self._whole.weights

    @property
    def means_(self) -> Any:
        """Expected means, (K, d), in the units of the data."""
        return self._whole.means

    @property
    def covariances_(self) -> Any:
        """Inverse of the expected precision of each component, in the shape of the covariance type."""
        return self._whole.covariances

    @property
    def weight_concentration_(self) -> Any:
        """Concentration of the Dirichlet posterior, (K,), or a pair: both parameters of the sticks, (K,) each."""
        first, second = (own_array(self._whole, each) for each in self._posterior.sticks)
        of_one = len(self._prior.sticks[0]) == 1 and self.weight_concentration_prior_type == PROCESS
        return (first, second) if of_one or is_of_process(self._prior.sticks) else first

    @property
    def mean_precision_(self) -> Any:
        """Precision of each posterior mean, kappa, as a number of rows, (K,)."""
        return own_array(self._whole, self._posterior.mean_precision)

    @property
    def degrees_of_freedom_(self) -> Any:
        """Degrees of freedom of each posterior covariance, nu: (K,), or (1,) for a shared covariance."""
        return own_array(self._whole, self._posterior.degrees_of_freedom)

    @property
    def weight_concentration_prior_(self) -> Any:
        """Concentration of the prior that the fit used, (K,)."""
        return self._resolved("weight_concentration_prior")

    @property
    def mean_prior_(self) -> Any:
        """Mean of the prior that the fit used, (K, d), in the units of the data."""
        return self._resolved("mean_prior")

    @property
    def mean_precision_prior_(self) -> Any:
        """Precision of the prior of the means that the fit used, kappa, as a number of rows, (K,)."""
        return self._resolved("mean_precision_prior")

    @property
    def degrees_of_freedom_prior_(self) -> Any:
        """Degrees of freedom of the prior that the fit used, nu: (K,), or (1,) for a shared covariance."""
        return self._resolved("degrees_of_freedom_prior")

    @property
    def covariance_prior_(self) -> Any:
        """Scale of the prior of the covariances that the fit used, Psi, in the shape of the covariance type."""
        return self._resolved("covariance_prior")

    @property
    def lower_bound_(self) -> float:
        """The evidence lower bound per unit of sample weight, in nats."""
        return self._fitted().history[-1]

    def _resolved(self, name: str) -> Any:
        return own_array(self._whole, resolved(self._prior)[name])

    def _settings(self, before: Variational | None = None) -> Settings:
        """Return the settings; where a fit goes on, with the defaults that it began with."""
        settings = Settings.of({**UNSET, **self.get_params(deep=False)})
        start = self.init_means
        if isinstance(start, str) and start not in STARTS:
            why = " (its trials compare likelihoods)" if start == AUTO else ""
            choices = ", ".join(map(repr, STARTS))
            raise ValueError(f"init_means must be one of {choices}, an array or a callable; got {start!r}{why}.")
        policy: Policy = replace(settings.policy, moves=check_flag(self.moves, "moves"))
        return replace(settings, policy=policy, family=family(before))

    def _besides(self) -> State:
        """Return the posterior and the prior as a file holds them."""
        return stored_posterior(self._fitted())

    def _content(self, state: Any) -> saving.Content:
        """Return the content of a state dict with a posterior, or raise an error that says what is wrong with it."""
        names, owner = stored_names(), type(self).__name__
        found = saving.content_of(state, self._saved_names() | names, owner, check_chosen)
        settings = {name: found.settings[name] for name in found.settings.keys() - names}
        return saving.Content(restored(found.solution, state), settings)
