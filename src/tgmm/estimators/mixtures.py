"""Many fitted mixtures as one object: the result of `fit_many`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.estimators.groups import with_groups
from tgmm.estimators.saved_many import Stored, content_of, state_of
from tgmm.estimators.together import Part
from tgmm.files.formats import format_of
from tgmm.files.plain import warn_of_unsaved
from tgmm.files.store import read_state, write_state
from tgmm.runtime.checks import among
from tgmm.runtime.devices import check_device


@dataclass(frozen=True, repr=False)
class Mixtures:
    """Fitted mixtures, one for each problem: the result of `fit_many`.

    Index it like a list, or by the label of a group if `fit_many` was given groups, to get a fitted
    :class:`GaussianMixture`. Iteration gives the models in the order of the problems; `keys`, `items` and
    ``in`` work as for a dict of groups or numbers. A problem that failed has a model that is not fitted.

    Attributes
    ----------
    groups_ : list or None
        Labels of the groups in increasing order, which is the order of the arrays below.
    failures_ : dict
        Reasons why problems failed, by number or group. The arrays contain NaN there.
    notes_ : dict
        Remarks on other problems, such as degenerate components, by number or group.
    weights_, means_, covariances_ : array or Tensor
        Parameters of all fits, with a leading axis of length B. Refitting or reordering a model does not change them.
    lower_bound_ : array of shape (B,)
        Average log-likelihood of the rows of each problem, in nats.
    converged_ : array of bool of shape (B,)
        Whether each fit converged. False if the problem failed.
    n_iter_ : array of shape (B,)
        Number of EM iterations of each best run. 0 if the problem failed.

    Examples
    --------
    >>> from tgmm import fit_many
    >>> mixtures = fit_many([[[0.0], [2.0]], [[4.0], [6.0], [8.0]]])
    >>> len(mixtures), mixtures.means_.shape, mixtures[1].means_
    (2, (2, 1, 1), array([[6.]]))
    """

    parts: tuple[Part, ...]
    settings: Mapping[str, Any]
    starts: Sequence[Mapping[str, Any]]  # the settings of each problem's start that are its own
    groups_: list[Any] | None
    failures_: dict[Any, str]
    notes_: dict[Any, str]

    def __len__(self) -> int:
        """Return how many problems there are."""
        return len(self.starts)

    def __iter__(self) -> Iterator[GaussianMixture]:
        """Iterate over the mixtures, in the order of the problems."""
        return (self._copied(place) for place in range(len(self)))

    def __contains__(self, key: Any) -> bool:
        """Return whether there is a mixture of this group, or without groups of this number: one of `keys`."""
        return key in self._places

    def __getitem__(self, key: Any) -> Any:
        """Return the mixture of a group; where there are none, that of a number, or those of a slice as a list.

        It is a copy, so that its components can be put in another order.
        """
        if self.groups_ is None:
            places = range(len(self))[key]
            return [self._copied(place) for place in places] if isinstance(key, slice) else self._copied(places)
        if key not in self:
            raise KeyError(f"There is no group {key!r} among the {len(self)}; groups_ lists them.")
        return self._copied(self._places[key])

    def keys(self) -> list[Any]:
        """Return the groups, or without groups the numbers of the problems.

        Returns
        -------
        list
            The groups in increasing order, or the numbers from 0. This is the order of the arrays.
        """
        return list(self._places)

    def items(self) -> Iterator[tuple[Any, GaussianMixture]]:
        """Iterate over the groups, or numbers, and their models.

        Returns
        -------
        iterator of pairs
            Each pair is a group, or a number, and a :class:`GaussianMixture`.
        """
        return zip(self.keys(), self, strict=True)

    def __repr__(self) -> str:
        """Return how many there are of what."""
        n_components, n_features = self.means_.shape[1:]
        failed = f", {len(self.failures_)} failed" * bool(self.failures_)
        return f"Mixtures({len(self)} problems, K={n_components}, d={n_features}{failed})"

    @property
    def weights_(self) -> Any:
        """Weights of the components, (B, K)."""
        return self._stacked(lambda part: part.parameters.weights)

    @property
    def means_(self) -> Any:
        """Means, (B, K, d)."""
        return self._stacked(lambda part: part.parameters.means)

    @property
    def covariances_(self) -> Any:
        """Covariances in the type's shape, after a leading B."""
        return self._stacked(lambda part: part.parameters.covariances.public)

    @property
    def lower_bound_(self) -> np.ndarray:
        """Average log-likelihood of each problem's rows, (B,), in nats."""
        return self._of_fitted(lambda part: part.log_likelihood, torch.nan)

    @property
    def converged_(self) -> np.ndarray:
        """Whether each fit has converged, (B,). False if the problem failed."""
        return self._of_fitted(lambda part: part.converged, False)

    @property
    def n_iter_(self) -> np.ndarray:
        """Number of EM iterations of each best run, (B,). 0 if the problem failed."""
        return self._of_fitted(lambda part: part.n_iter, 0)

    def predict(self, X: Any, groups: Any) -> Any:
        """Return the most probable component of each row under the mixture of its group.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
            The rows.
        groups : array-like of shape (n,) or str
            Group of each row, or the name of the column of X that holds it, as for `fit_many`. If the fit had no
            groups, give the number of a problem, from 0, for each row.

        Returns
        -------
        labels : array or Tensor of shape (n,)
            The number of a component of the mixture of the group.

        Raises
        ------
        ValueError
            If a group is unknown, or if its fit failed.

        Examples
        --------
        >>> from tgmm import fit_many
        >>> mixtures = fit_many([[0.0], [2.0], [8.0], [10.0]], groups=["a", "a", "b", "b"])
        >>> mixtures.predict([[1.0], [9.0]], ["a", "b"])
        array([0, 0])
        """
        return self._asked("predict", X, groups)

    def score_samples(self, X: Any, groups: Any) -> Any:
        """Return the log-density of each row under the mixture of its group, in nats.

        Parameters
        ----------
        X, groups
            As for `predict`.

        Returns
        -------
        log_density : array or Tensor of shape (n,)
            In nats.

        Raises
        ------
        ValueError
            If a group is unknown, or if its fit failed.

        Examples
        --------
        >>> from tgmm import fit_many
        >>> mixtures = fit_many([[0.0], [2.0], [8.0], [10.0]], groups=["a", "a", "b", "b"])
        >>> mixtures.score_samples([[1.0], [1.0]], ["a", "b"]).round(1)
        array([ -0.9, -32.9])
        """
        return self._asked("score_samples", X, groups)

    def _asked(self, verb: str, X: Any, groups: Any) -> Any:
        """Return what the mixtures of all rows say."""
        rows, found = with_groups(X, groups)
        for key, members in zip(found.keys, found.members, strict=True):
            if key not in self:
                raise ValueError(f"groups has {key!r} in row {members[0]}, which no mixture was fitted to.")
            if key in self.failures_:
                raise ValueError(
                    f"The mixture of {key!r}, to which row {members[0]} belongs, could not be fitted: "
                    f"{self.failures_[key]} Leave such rows out."
                )
        parts = zip(found.keys, found.parts(rows, "X"), found.members, strict=True)
        return found.together([self._judged(verb, *part) for part in parts])

    def _judged(self, verb: str, key: Any, rows: Any, numbers: np.ndarray) -> Any:
        """Return what the mixture of a group says of rows of this group, which have these numbers in X."""
        try:
            return getattr(self._model(self._places[key]), verb)(rows)
        except ValueError as error:
            raise ValueError(f"Group {key!r}: {among(error, numbers)}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all models to one file, with the groups, the settings, and the reasons of failures.

        The write is atomic, and the loaded models predict the same bits; see `GaussianMixture.save`.

        Parameters
        ----------
        path : str or path
            The file, whose name ends in ``.pth`` or ``.safetensors``.

        Warns
        -----
        UserWarning
            If settings are not plain data (a function, a generator) and so are left out. The warning names them.

        Raises
        ------
        ValueError
            If groups are neither numbers nor text, or the name has another suffix.

        Examples
        --------
        >>> import tempfile
        >>> from tgmm import Mixtures, fit_many
        >>> mixtures = fit_many([[0.0], [2.0], [8.0], [10.0]], groups=["a", "a", "b", "b"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mixtures.save(f"{folder}/mixtures.pth")
        ...     loaded = Mixtures.load(f"{folder}/mixtures.pth")
        >>> loaded["b"].means_
        array([[9.]])
        """
        format_of(path)
        solutions = {place: self._found[place][0].solution(self._found[place][1]) for place in sorted(self._found)}
        stored = Stored(self.settings, self.starts, solutions, self.groups_, self.failures_, self.notes_)
        state, left_out = state_of(stored)
        warn_of_unsaved(left_out)
        write_state(path, state)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device | None = None) -> Mixtures:
        """Return the models in a file that `save` wrote. No code in the file is run.

        Parameters
        ----------
        path, device
            As for `GaussianMixture.load`, which names the errors, too.

        Returns
        -------
        Mixtures
        """
        check_device(device)
        return read_state(path, lambda state: cls._of_state(state, device))

    @classmethod
    def _of_state(cls, state: Any, device: Any) -> Mixtures:
        """Return the models of a state dict, or raise an error that says what is wrong with it."""
        found = content_of(state, device)
        parts = tuple(Part.alone(place, solution) for place, solution in found.solutions.items())
        return cls(parts, found.settings, found.starts, found.groups, found.failures, found.notes)

    @cached_property
    def _places(self) -> dict[Any, int]:
        """The places of the mixtures by their number or group."""
        keys = range(len(self)) if self.groups_ is None else self.groups_
        return {key: place for place, key in enumerate(keys)}

    @cached_property
    def _models(self) -> dict[int, GaussianMixture]:
        """The models that were asked for."""
        return {}

    @cached_property
    def _found(self) -> dict[int, tuple[Part, int]]:
        """Where the solution of each problem is: in which part, and where in that."""
        return {place: (part, index) for part in self.parts for index, place in enumerate(part.places)}

    def _model(self, place: int) -> GaussianMixture:
        """Return the model of a problem, which is made when it is first asked for."""
        if place not in self._models:
            given = {**self.settings, **self.starts[place]}
            part, index = self._found.get(place, (None, 0))
            made = GaussianMixture(**given) if part is None else fitted_as(part.solution(index), given)
            self._models[place] = made
        return self._models[place]

    def _copied(self, place: int) -> GaussianMixture:
        """Return a copy of the model of a problem, which whoever has it may change."""
        return copy(self._model(place))

    def _stacked(self, of: Callable[[Part], Tensor]) -> Any:
        """Return parameters of all mixtures as one array, NaN where a problem failed."""
        first = self.parts[0]
        values = of(first).new_full((len(self), *of(first).shape[1:]), torch.nan)
        for part in self.parts:
            values[part.places] = of(part).to(values.device)
        dtypes = {part.dtype for part in self.parts}
        return first.columns[0].own_array(values if len(dtypes) > 1 else values.to(first.dtype))

    def _of_fitted(self, of: Callable[[Part], Tensor], missing: float) -> np.ndarray:
        """Return a number of all mixtures, (B,), and another where a problem failed."""
        values = of(self.parts[0]).new_full((len(self),), missing, device="cpu")
        for part in self.parts:
            values[part.places] = of(part).cpu()
        return values.numpy()
