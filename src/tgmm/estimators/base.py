"""What estimators of a mixture have in common: the verbs of the mixture that they hold, delegated to it."""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import NotFittedError

from tgmm.em.solution import Solution
from tgmm.em.state import FollowedRun
from tgmm.estimators import hints, saving
from tgmm.estimators.settings import EM
from tgmm.files.formats import format_of
from tgmm.files.plain import State, plain_values
from tgmm.files.store import model_file_errors, read_file, write_state
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


class MixtureEstimator(DensityMixin, BaseEstimator):
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file: parameters, settings, priors and fit results.

        The write is atomic: the file has the old content or the new, whatever happens in between, and a save that fails
        leaves no other file behind. Parameters are stored in float64 beside the float type of the fit, so that the
        loaded model predicts the same bits.

        Parameters
        ----------
        path : str or path
            ``.pth``: a torch file that ``torch.load(path, weights_only=True)`` reads. ``.safetensors``: needs
            ``pip install tgmm[safetensors]``.

        Warns
        -----
        UserWarning
            Once, naming the settings that are not plain data (a callable, a generator) and so are left out.
            `device`, `distributed` and `checkpoint` are left out silently: they belong to the machine.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For another suffix, and where settings changed since the fit cannot be loaded again.
        OSError
            Where the file cannot be written; an old file at that path is left as it was.

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
        """Return the model in a file that `save` wrote. No code in the file is ever run.

        Settings that were left out of the file have their defaults; those that were arrays are tensors. A file of
        `Mixture.save` gives a model as if fitted.

        Parameters
        ----------
        path : str or path
        device : str or torch.device, optional
            As in the constructor, whatever device the model was saved from.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        ModelFileError
            Where the file is not such a file, is damaged, or comes from a newer version. A `ValueError`.
        FileNotFoundError
            Where there is none.

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
        model, encoding = cls(device=device), format_of(path)
        check_device(device)
        data = read_file(path)
        with model_file_errors(f"{os.fspath(path)!r}"):
            content = saving.content_of(encoding.decode(data), model._saved_names(), cls.__name__)
        return model._restore(content)

    def save_state_dict(self) -> State:
        """Return what `save` stores as a flat dict: float64 tensors on the CPU, and plain values.

        It shares no memory with the model, and survives ``torch.save`` and ``torch.load`` with their defaults.

        Returns
        -------
        dict
            Settings under the constructor's names, fit results under those of the attributes, ``float_type`` and
            ``fitted_covariance_type`` of the fit, ``format_version``, and a ``checksum`` over all the rest.

        Warns
        -----
        UserWarning
            As `save` does.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            Where settings changed since the fit cannot be loaded again.

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> gmm.save_state_dict()["means_"].tolist()
        [[0.0], [4.0]]
        """
        return self._state()

    def load_state_dict(self: E, state: State) -> E:
        """Become the model of a state dict, or refuse it and change nothing.

        Settings that the state dict lacks, and `device`, `distributed` and `checkpoint`, stay as they are.

        Parameters
        ----------
        state : dict
            From `save_state_dict`; it is copied.

        Returns
        -------
        self

        Raises
        ------
        ModelFileError
            Where it is not such a dict, or was changed. A `ValueError`.

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
        >>> GaussianMixture().load_state_dict(gmm.save_state_dict()).predict([[0.5], [3.0]])
        array([0, 1])
        """
        with model_file_errors("The state dict"):
            content = saving.content_of(state, self._saved_names(), type(self).__name__)
        return self._restore(content)

    def to(self: E, device: str | torch.device | None) -> E:
        """Move the fitted mixture to a device, on which all is computed from now on.

        Parameters
        ----------
        device : str or torch.device, optional
            As in the constructor, whose parameter `device` it becomes.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a device that cannot be used.

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
        """Set parameters of the constructor by name, and return self."""
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
                f"{name} cannot be set: what a fit has found never changes. To make a model of parameters, use "
                f"{type(self).__name__}.from_parameters(weights, means, covariances, covariance_type)."
            )
        super().__setattr__(name, value)

    def _saved_names(self) -> set[str]:
        """Return the names of the settings that are stored."""
        return self.get_params(deep=False).keys() - OF_THE_MACHINE

    def _state(self) -> State:
        """Return the model's state, which will load again, and warn about what it leaves out."""
        settings, left_out = settings_of(self)
        state = saving.state_of(self._fitted(), settings)
        saving.content_of(state, self._saved_names(), type(self).__name__)
        if left_out:
            warnings.warn(
                f"Not saved, because they are not plain data: {', '.join(left_out)}. Set them again after load.",
                UserWarning,
                stacklevel=3,
            )
        return state

    def _restore(self: E, content: saving.Content) -> E:
        """Become the model of a state dict, on the device that its own setting asks for."""
        place = float64_device(check_device(self.device))
        solution = saving.on_device(content.solution, place, self.device)
        self.set_params(**content.settings)
        return self._adopt(solution)

    @property
    def mixture_(self) -> Mixture:
        """The fitted mixture, a frozen object."""
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
        """Covariances in the type's shape, in squared units of the data."""
        return self.mixture_.covariances

    @property
    def noise_weight_(self) -> float:
        """The share of noise among the rows; there with `noise` alone."""
        self._noise("noise_weight_")
        return float(self.mixture_.parameters.rest)

    @property
    def noise_volume_(self) -> float:
        """The volume of the noise, in the product of the features' units; there with `noise` alone."""
        return math.exp(self._noise("noise_volume_").log_volume)

    def _noise(self, name: str) -> Noise:
        """Return the noise, or raise an error that says why it is not there."""
        noise = self.mixture_.noise
        if noise is None:
            raise AttributeError(hints.missing(type(self).__name__, name))
        return noise

    @property
    def converged_(self) -> bool:
        """Whether the best run has converged."""
        return self._fitted().converged

    @property
    def n_iter_(self) -> int:
        """M-steps of the best run."""
        return self._fitted().n_iter

    @property
    def lower_bound_(self) -> float:
        """Average log-likelihood of exactly these parameters on the training data, in nats."""
        return self._fitted().log_likelihood

    @property
    def objective_history_(self) -> list[float]:
        """The average objective, from the start to these parameters."""
        return list(self._fitted().history)

    @property
    def runs_(self) -> list[FollowedRun]:
        """The runs that were followed to the end, best first: objective, start and seed of each."""
        return list(self._fitted().runs)

    @property
    def reg_covar_(self) -> Any:
        """What was added to the variances, (d,) or ()."""
        return own_array(self.mixture_, self._fitted().regularisation)

    @property
    def fitted_(self) -> bool:
        """True; not there before a fit."""
        return bool(self._fitted())

    @property
    def n_features_in_(self) -> int:
        """The number of features of the training data."""
        return self._fitted().mixture.n_features

    @property
    def feature_names_in_(self) -> np.ndarray:
        """The names of the features, (d,); not there where the training data had none."""
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
