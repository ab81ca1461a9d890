"""What estimators of a mixture have in common: the verbs of the mixture that they hold, delegated to it."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from sklearn.base import DensityMixin
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from tgmm.em.solution import Solution
from tgmm.em.state import FollowedRun
from tgmm.estimators import explaining, hints, reordering, saving
from tgmm.estimators.clustering import FitPredictMixin
from tgmm.estimators.explained import ExplainedEstimator
from tgmm.estimators.settings import EM
from tgmm.files.formats import format_of
from tgmm.files.plain import State, plain_values, warn_of_unsaved
from tgmm.files.store import model_file_errors, read_state, write_state
from tgmm.mixture.base import own_array
from tgmm.mixture.mixture import Mixture
from tgmm.model.noise import Noise
from tgmm.runtime.devices import check_device, float64_device

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound="MixtureEstimator")

OF_THE_MACHINE = {"checkpoint", "device", "distributed"}  # settings that are not stored


def delegated(verb: Callable[Concatenate[Mixture, P], R]) -> Callable[Concatenate[MixtureEstimator, P], R]:
    """Return a method that asks the fitted mixture: one mechanism, with the signature and the words of the verb.

    Where a verb always draws, it does so by the estimator's own `random_state` unless another is given.
    """
    draws = "random_state" in inspect.signature(verb).parameters and verb is not Mixture.impute

    @wraps(verb)
    def asked(self: MixtureEstimator, *args: P.args, **kwargs: P.kwargs) -> R:
        if draws and kwargs.get("random_state") is None:
            kwargs["random_state"] = self.random_state
        return verb(self.mixture_, *args, **kwargs)

    asked.__module__, asked.__qualname__ = __name__, f"MixtureEstimator.{verb.__name__}"
    return asked


def settings_of(estimator: MixtureEstimator) -> tuple[State, list[str]]:
    """Return the settings that are stored, what to fit and not where, and the names of those that cannot be."""
    given = estimator.get_params(deep=False)
    return plain_values({name: given[name] for name in given.keys() - OF_THE_MACHINE})


def solution_of(estimator: MixtureEstimator) -> Solution:
    """Return all that the last fit of an estimator came to."""
    return estimator._fitted()


def warn_of(solution: Solution, max_iter: int = 0) -> None:
    """Say once what befell a fit, and whether so many iterations were too few, on behalf of the method that called."""
    if solution.notes:
        warnings.warn("; ".join(solution.notes), UserWarning, stacklevel=3)
    if not solution.converged and max_iter > 0:
        what = f"max_iter={max_iter} iterations: raise max_iter or tol, or try another start."
        warnings.warn(f"The fit has not converged in {what}", ConvergenceWarning, stacklevel=3)


class MixtureEstimator(FitPredictMixin, DensityMixin, ExplainedEstimator):
    """An estimator that holds the mixture it has fitted, and answers for it.

    Subclasses fit, and hand what came out to `_adopt`. All that a fit leaves behind is that one object.
    """

    device: Any
    random_state: Any
    missing: str
    _solution: Solution

    predict = delegated(Mixture.predict)
    predict_proba = delegated(Mixture.predict_proba)
    score_samples = delegated(Mixture.score_samples)
    score = delegated(Mixture.score)
    aic = delegated(Mixture.aic)
    bic = delegated(Mixture.bic)
    icl = delegated(Mixture.icl)
    sample = delegated(Mixture.sample)
    condition = delegated(Mixture.condition)
    regress = delegated(Mixture.regress)
    mean = delegated(Mixture.mean)
    covariance = delegated(Mixture.covariance)
    entropy = delegated(Mixture.entropy)
    kl_divergence = delegated(Mixture.kl_divergence)
    kl_upper_bound = delegated(Mixture.kl_upper_bound)
    mahalanobis = delegated(Mixture.mahalanobis)
    impute = delegated(Mixture.impute)
    to_distribution = delegated(Mixture.to_distribution)
    to_module = delegated(Mixture.to_module)
    log_prob = delegated(Mixture.log_prob)
    summary = explaining.summary
    reorder = reordering.reorder
    _essentials = explaining.essentials

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file: parameters, settings, priors and fit results.

        The write is atomic: the file has either the old content or the new one, and a save that fails leaves no other
        file behind. The loaded model predicts the same bits.

        Parameters
        ----------
        path : str or path
            The name ends in ``.pth``, for a file that ``torch.load(path, weights_only=True)`` reads, or in
            ``.safetensors``, which needs ``pip install safetensors``.

        Warns
        -----
        UserWarning
            If settings are not plain data (a callable, a generator) and so are left out. The warning names them.
            `device`, `distributed` and `checkpoint` are never saved, because they belong to the machine.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the name has another suffix, or if settings were changed after the fit so that they cannot be loaded.
        OSError
            If the file cannot be written. An old file at that path stays as it was.

        Examples
        --------
        >>> import tempfile
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gmm.save(f"{folder}/gmm.pth")
        ...     loaded = GaussianMixture.load(f"{folder}/gmm.pth")
        >>> loaded.predict([[0.5], [3.0]])
        array([0, 1])
        """
        self._fitted()
        format_of(path)  # before anything is said about the settings
        write_state(path, self._state())

    @classmethod
    def load(cls: type[E], path: str | os.PathLike[str], device: str | torch.device | None = None) -> E:
        """Return the model in a file that `save` wrote. No code in the file is run.

        Settings that were left out of the file have their defaults. Settings that were arrays are tensors. A file of
        `Mixture.save` gives a model as if it had been fitted.

        Parameters
        ----------
        path : str or path
            The file.
        device : str or torch.device, optional
            Where to compute, as in the constructor. It does not matter which device the model was saved from.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        ModelFileError
            If the file was not written by `save`, is damaged, or comes from a newer version. It is a `ValueError`.
        FileNotFoundError
            If there is no such file.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from tgmm import GaussianMixture, ModelFileError
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "gmm.pth")
        ...     _ = path.write_bytes(b"something else")
        ...     try:
        ...         GaussianMixture.load(path)
        ...     except ModelFileError:
        ...         print("not a model")
        not a model
        """
        check_device(device)
        return read_state(path, lambda state: cls._of_state(state, device))

    @classmethod
    def _of_state(cls: type[E], state: Any, device: Any) -> E:
        """Return the model of a state dict, or raise an error that says what is wrong with it."""
        model = cls(device=device)
        return model._restore(model._content(state))

    def save_state_dict(self) -> State:
        """Return the model as a flat dict of float64 tensors on the CPU and plain values.

        Use it to store the model inside a file of your own. The dict shares no memory with the model, and works with
        ``torch.save`` and ``torch.load`` with their defaults.

        Returns
        -------
        dict
            Settings under the names of the constructor, fit results under the names of the attributes, ``float_type``
            and ``fitted_covariance_type`` of the fit, ``format_version``, and a ``checksum`` of all the rest.

        Warns
        -----
        UserWarning
            As `save` does.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If settings were changed after the fit so that they cannot be loaded.

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> gmm.save_state_dict()["means_"].tolist()
        [[0.0], [4.0]]
        """
        return self._state()

    def load_state_dict(self: E, state: State) -> E:
        """Load a state dict into this model. If it cannot be loaded, the model does not change.

        Settings that the state dict lacks stay as they are, and so do `device`, `distributed` and `checkpoint`.

        Parameters
        ----------
        state : dict
            A dict from `save_state_dict`. It is copied.

        Returns
        -------
        self

        Raises
        ------
        ModelFileError
            If the dict does not come from `save_state_dict`, or was changed. It is a `ValueError`.

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> GaussianMixture().load_state_dict(gmm.save_state_dict()).predict([[0.5], [3.0]])
        array([0, 1])
        """
        with model_file_errors("The state dict"):
            content = self._content(state)
        return self._restore(content)

    def to(self: E, device: str | torch.device | None) -> E:
        """Move the fitted mixture to a device, and compute there from now on.

        Parameters
        ----------
        device : str or torch.device, optional
            The new value of the parameter `device`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the device cannot be used.

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> gmm.to("cpu").device
        'cpu'
        """
        place = float64_device(check_device(device))
        if self.__sklearn_is_fitted__():
            self._solution = saving.on_device(self._solution, place, device)
        self.device = device
        return self

    def set_params(self: E, **params: Any) -> E:
        """Set parameters of the constructor.

        Parameters
        ----------
        **params
            New values by name. An unknown name is a `ValueError`.

        Returns
        -------
        self
        """
        hints.check_parameter_names(params, type(self).__name__, ValueError)
        return super().set_params(**params)

    def __getattr__(self, name: str) -> Any:
        """Raise as for any attribute that is not there; for a name of another library, say what it is here."""
        hint = hints.missing(type(self).__name__, name)
        if hint is not None:
            raise AttributeError(hint)
        return object.__getattribute__(self, name)  # which says what it said before

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, but none of those that a fit leaves."""
        found = getattr(type(self), name, None)
        if name in hints.ATTRIBUTES or (isinstance(found, property) and found.fset is None):
            raise AttributeError(
                f"{name} cannot be set: the result of a fit never changes. To make a model of parameters, use "
                f"{type(self).__name__}.from_parameters(weights, means, covariances, covariance_type)."
            )
        super().__setattr__(name, value)

    def _saved_names(self) -> set[str]:
        """Return the names of the settings that are stored."""
        return self.get_params(deep=False).keys() - OF_THE_MACHINE

    def _state(self) -> State:
        """Return the model's state, which will load again, and warn about what it leaves out."""
        settings, left_out = settings_of(self)
        state = saving.state_of(self._fitted(), settings | self._besides())
        self._content(state)
        warn_of_unsaved(left_out, 2)
        return state

    def _besides(self) -> State:
        """Return what is stored of a fitted estimator besides its mixture, its settings and what the fit reported."""
        return {}

    def _content(self, state: Any) -> saving.Content:
        """Return the content of a state dict, or raise an error that says what is wrong with it."""
        return saving.content_of(state, self._saved_names(), type(self).__name__)

    def _restore(self: E, content: saving.Content) -> E:
        """Become the model of a state dict, on the device that its own setting asks for."""
        place = float64_device(check_device(self.device))
        solution = saving.on_device(content.solution, place, self.device)
        self.set_params(**content.settings)
        return self._adopt(solution)

    @property
    def mixture_(self) -> Mixture:
        """The fitted mixture, an object that never changes."""
        mixture = self._fitted().mixture
        may_lack = self.missing == EM
        if mixture.device != self.device or mixture.columns.may_lack != may_lack:  # it was set since
            mixture = mixture.changed(device=self.device, columns=replace(mixture.columns, may_lack=may_lack))
            self._solution = replace(self._solution, mixture=mixture)
        return mixture

    @property
    def weights_(self) -> Any:
        """Weights of the components, (K,)."""
        return self.mixture_.weights

    @property
    def means_(self) -> Any:
        """Means, (K, d), in the units of the data."""
        return self.mixture_.means

    @property
    def covariances_(self) -> Any:
        """Covariances in the shape of the covariance type, in squared units of the data."""
        return self.mixture_.covariances

    @property
    def factor_loadings_(self) -> Any:
        """Loadings of the factors, (K, d, q). Only "low_rank" and "factor" have them."""
        return self.mixture_.factor_loadings

    @property
    def noise_variances_(self) -> Any:
        """Noise variances, (K,) for "low_rank" and (K, d) for "factor". Other covariance types have none."""
        return self.mixture_.noise_variances

    @property
    def noise_weight_(self) -> float:
        """Weight of the noise. Only with ``noise=True``."""
        self._noise("noise_weight_")
        return float(self.mixture_.parameters.rest)

    @property
    def noise_volume_(self) -> float:
        """Volume of the noise, in the product of the units of all features. Only with ``noise=True``."""
        return self._noise("noise_volume_").volume

    def _noise(self, name: str) -> Noise:
        """Return the noise, or raise an error that says why it is not there."""
        noise = self.mixture_.noise
        if noise is None:
            raise AttributeError(hints.missing(type(self).__name__, name))
        return noise

    @property
    def converged_(self) -> bool:
        """Whether the best run converged."""
        return self._fitted().converged

    @property
    def n_iter_(self) -> int:
        """Number of iterations of the best run on all rows. Those of the trials of a start do not count."""
        return self._fitted().n_iter

    @property
    def lower_bound_(self) -> float:
        """Average log-likelihood of the training data under the fitted parameters, in nats."""
        return self._fitted().log_likelihood

    @property
    def objective_history_(self) -> list[float]:
        """Average objective after each iteration, from the start to the fitted parameters: `n_iter_` + 1 numbers."""
        return list(self._fitted().history)

    @property
    def runs_(self) -> list[FollowedRun]:
        """Runs that were followed to the end, best first: objective, start and seed of each."""
        return list(self._fitted().runs)

    @property
    def reg_covar_(self) -> Any:
        """What was added to the variances, of shape (d,) or (), in squared units of the data."""
        return own_array(self.mixture_, self._fitted().regularisation)

    @property
    def fitted_(self) -> bool:
        """True. The attribute does not exist before a fit."""
        return bool(self._fitted())

    @property
    def n_features_in_(self) -> int:
        """The number of features of the training data."""
        return self._fitted().mixture.n_features

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the features, (d,). The attribute does not exist if the training data had no names."""
        names = self._fitted().mixture.feature_names
        if names is None:
            raise AttributeError(f"{type(self).__name__} was fitted to data without feature names.")
        return names

    @feature_names_in_.setter
    def feature_names_in_(self, names: Any) -> None:
        self._rename(tuple(str(name) for name in names))

    @feature_names_in_.deleter
    def feature_names_in_(self) -> None:
        self._rename(None)

    def _rename(self, names: tuple[str, ...] | None) -> None:
        """Give the features other names, or none."""
        mixture = self._fitted().mixture
        columns = replace(mixture.columns, names=names)
        self._solution = replace(self._solution, mixture=mixture.changed(columns=columns))

    def _fitted(self) -> Solution:
        """Return what the last fit came to, or raise as for any attribute that is not there."""
        solution = vars(self).get("_solution")
        if solution is None:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
                "using this estimator."
            )
        return solution

    def _adopt(self: E, solution: Solution) -> E:
        """Become the estimator that found a solution."""
        columns = replace(solution.mixture.columns, owner=type(self).__name__)
        mixture = solution.mixture.changed(device=self.device, columns=columns)
        self._solution = replace(solution, mixture=mixture)
        return self

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is to know of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == EM
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there was a fit."""
        return "_solution" in vars(self)
