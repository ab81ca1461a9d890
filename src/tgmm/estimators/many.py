"""Many mixtures at once: a fit to each of many tables, or to each group of rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from tgmm.covariance import Structure
from tgmm.estimators.agreement import check_alike, check_same_problems
from tgmm.estimators.fitting import solved
from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.estimators.groups import Groups, divided, of_each, with_groups
from tgmm.estimators.saved_many import Stored, content_of, state_of
from tgmm.estimators.settings import Settings
from tgmm.estimators.together import Given, Part, solved_together
from tgmm.files.formats import format_of
from tgmm.files.store import format_to_load, model_file_errors, read_file, write_state
from tgmm.runtime.checks import among, check_flag
from tgmm.runtime.devices import check_device
from tgmm.runtime.generators import as_generator
from tgmm.runtime.processes import ALONE, Group, Processes
from tgmm.runtime.progress import progress_bar

OF_ONE_FIT = ("checkpoint", "warm_start")  # settings that have no meaning for many
NAMED = 3  # problems that a warning names, at most

Found = tuple[list[Part], dict[int, str]]  # solutions, and of other problems why there is none, by their places


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
            In the order of the arrays; numbers begin with 0.
        """
        return list(self._places)

    def items(self) -> Iterator[tuple[Any, GaussianMixture]]:
        """Iterate over the groups, or numbers, and their models.

        Returns
        -------
        iterator of pairs
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
        """Whether each has converged, (B,)."""
        return self._of_fitted(lambda part: part.converged, False)

    @property
    def n_iter_(self) -> np.ndarray:
        """M-steps of each best run, (B,)."""
        return self._of_fitted(lambda part: part.n_iter, 0)

    def predict(self, X: Any, groups: Any) -> Any:
        """Return the most probable component of each row under the mixture of its group.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
            The rows.
        groups : array-like of shape (n,) or str
            Group of each row, or the name of the column of X that holds it, as for `fit_many`. If that had no groups,
            the number of a problem, from 0, for each row.

        Returns
        -------
        labels : array or Tensor of shape (n,)

        Raises
        ------
        ValueError
            For a group that is unknown, or whose fit failed.
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

        Raises
        ------
        ValueError
            For a group that is unknown, or whose fit failed.
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

        Raises
        ------
        ValueError
            If groups are neither numbers nor text, or the name has another suffix.
        """
        format_of(path)
        solutions = {place: self._found[place][0].solution(self._found[place][1]) for place in sorted(self._found)}
        stored = Stored(self.settings, self.starts, solutions, self.groups_, self.failures_, self.notes_)
        state, left_out = state_of(stored)
        if left_out:
            warnings.warn(f"Not saved, because they are not plain data: {', '.join(left_out)}.", stacklevel=2)
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
        encoding, data = format_to_load(path), read_file(path)
        check_device(device)
        with model_file_errors(f"{os.fspath(path)!r}"):
            found = content_of(encoding.decode(data), device)
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


def fit_many(
    X: Any,
    groups: Any = None,
    *,
    sample_weight: Any = None,
    init_responsibilities: Any = None,
    labels: Any = None,
    **settings: Any,
) -> Mixtures:
    """Fit a mixture to each of many tables, or to each group of rows.

    Each result equals what `GaussianMixture.fit` finds for those rows alone, to 1e-8, and many small problems are
    fitted much faster together. A problem that cannot be fitted is marked with the reason and does not stop the others.

    Parameters
    ----------
    X : array or Tensor of shape (B, n, d), list of array-likes of shape (n_b, d), or rows of shape (n, d) with groups
        The data: one array for problems of equal size, a list of tables, or one table of rows with `groups`.
    groups : array-like of shape (n,) or str, optional
        Group of each row of X. If X is a data frame, this can be the name of the column with the groups; the other
        columns are then the features.
    sample_weight : array-like, optional
        Weights of the rows: of shape (n,) with groups, otherwise one array of shape (n_b,) for each problem.
    init_responsibilities : array-like, optional
        Labels or responsibilities to start from, as for `GaussianMixture.fit`: of shape (n,) or (n, K) with groups,
        otherwise one array for each problem.
    labels : array-like, optional
        Known components of some rows, as for `GaussianMixture.fit`: of shape (n,) or (n, K) with groups, otherwise one
        array for each problem, or None for a problem of which nothing is known.
    **settings
        Parameters of `GaussianMixture`, the same for all problems, such as ``n_components=3``. `init_means`,
        `init_weights` and `init_covariances` may have a leading axis of length B, with a start for each problem. If
        `random_state` is not an integer, one integer is drawn from it and used for every fit. With `verbose`, one
        progress bar covers all problems. With `distributed`, every rank of the `torch.distributed` process group calls
        `fit_many` with all problems and the same settings; each rank fits some of them, and all get the whole result.

    Returns
    -------
    Mixtures
        The fitted models, by number or group, with all parameters as stacked arrays and reasons in `failures_`.

    Warns
    -----
    UserWarning
        Once for the problems that failed, and once for those with remarks; the first of them are named.
    ConvergenceWarning
        Once for the problems that have not converged; the first of them are named.

    Raises
    ------
    ValueError
        If settings or shapes fit no problem, if ranks were given different problems, or if every problem fails.

    Notes
    -----
    Problems with similar numbers of rows are fitted together in one pass. Each still has its own start and its own
    end, and a problem with a difficulty, such as a component that loses all its rows, is fitted alone. Problems are
    fitted together if their rows are float64, or few in float32 on the CPU, and they start from given parameters, from
    responsibilities, from the default start, or with ``n_init=1`` from another named start. Other problems, such as
    those with labels, are fitted one after another. Apart from the data and the results, memory does not grow with the
    number of problems.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import fit_many
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 1)) + np.repeat([0.0, 8.0, 16.0], 100)[:, None]
    >>> mixtures = fit_many(X, groups=np.repeat(["a", "b", "c"], 100), random_state=0)
    >>> mixtures.means_.round().ravel().tolist()
    [0.0, 8.0, 16.0]
    >>> mixtures["b"].means_.shape
    (1, 1)
    """
    given = GaussianMixture(**settings).get_params(deep=False)
    for name in OF_ONE_FIT:
        if given[name]:
            raise ValueError(f"fit_many makes many fits at once; got {name}={given[name]!r}: leave it out.")
    processes = Group() if check_flag(given["distributed"], "distributed") else ALONE
    if processes.size > 1:
        check_alike(processes, given)
    given["distributed"] = False  # each fit is made by one process
    given["random_state"] = processes.first(_integer(given["random_state"]))
    checked = Settings.of(given)
    rows, problems = processes.guard(lambda: divided(X, groups))
    keys = problems.keys
    check_same_problems(processes, keys)

    def starts_and_data() -> tuple[list[dict[str, Any]], dict[int, Given]]:
        """Return the starts of all problems, and what those of this process are given."""
        by_row = {"sample_weight": sample_weight, "init_responsibilities": init_responsibilities, "labels": labels}
        parts = [problems.parts(values, name) for name, values in {"X": rows, **by_row}.items()]
        own = list(_starts_of_each(given, checked.structure, len(keys)))
        data = enumerate(zip(*parts, own, problems.members, strict=True))
        return own, {place: Given(*each) for place, each in data if place % processes.size == processes.rank}

    own, mine = processes.guard(starts_and_data)
    quiet = replace(checked, verbose=checked.verbose and processes.rank == 0)
    parts, reasons = _shared(processes, lambda: _solved(quiet, mine))
    if not parts:
        raise ValueError(f"No problem could be fitted. That of {keys[0]!r}: {reasons[0]}")
    failures = {keys[place]: reason for place, reason in sorted(reasons.items())}
    notes = sorted((place, note) for part in parts for place, note in zip(part.places, part.notes, strict=True) if note)
    names = keys if isinstance(problems, Groups) else None
    mixtures = Mixtures(tuple(parts), given, own, names, failures, {keys[place]: note for place, note in notes})
    _warn_of(mixtures, keys, checked.policy.stopping.max_iter)
    return mixtures


def _shared(processes: Processes, work: Callable[[], Found]) -> Found:
    """Return what all processes found, each of some of the problems."""
    parts: list[Part] = []
    reasons: dict[int, str] = {}
    for others, failed in processes.exchange(processes.guard(work)):
        parts += others
        reasons |= failed
    return sorted(parts, key=lambda part: part.places[0]), reasons


def _solved(settings: Settings, problems: Mapping[int, Given]) -> Found:
    """Return the solutions of problems, and of those that failed why, by their places."""
    parts: list[Part] = []
    reasons: dict[int, str] = {}
    with progress_bar(enabled=settings.verbose, desc="fit_many", unit="fit", total=len(problems)) as bar:
        for part in solved_together(settings, problems, GaussianMixture.__name__):
            parts.append(part)
            bar.update(len(part.places))
        done = {place for part in parts for place in part.places}
        for place, problem in problems.items():
            if place in done:
                continue
            try:
                parts.append(_alone(settings, place, problem))
            except Exception as error:
                reasons[place] = _reason(error, problem)
            bar.update()
    return parts, reasons


def _reason(error: Exception, problem: Given) -> str:
    """Return why a problem has no solution, with the number in X of the row that is to blame, if one is."""
    return f"{type(error).__name__}: {among(error, problem.numbers)}"


def _alone(settings: Settings, place: int, problem: Given) -> Part:
    """Return the solution of one problem."""
    checked = Settings.of({**settings.given, **problem.start, "verbose": False})
    data = (problem.rows, problem.weights, problem.responsibilities, problem.labels)
    return Part.alone(place, solved(checked, *data, owner=GaussianMixture.__name__, before=None, journal=None))


def _integer(random_state: Any) -> int:
    """Return an integer that stands for a random state: itself where it is one."""
    generator = as_generator(random_state)  # raises for what is no random state
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(torch.randint(2**31 - 1, (1,), generator=generator))


def _starts_of_each(given: dict[str, Any], structure: Structure, count: int) -> Iterator[dict[str, Any]]:
    """Yield the settings of each problem's start that are its own."""
    axes = {"init_means": 2, "init_weights": 1, "init_covariances": len(structure.shape(given["n_components"], 1))}
    own = {}
    for name, n_axes in axes.items():
        value = given[name]
        if value is None or isinstance(value, str) or callable(value) or np.ndim(value) != n_axes + 1:
            continue
        own[name] = of_each(value, count, name)
    return ({name: values[b] for name, values in own.items()} for b in range(count))


def _warn_of(mixtures: Mixtures, keys: list[Any], max_iter: int) -> None:
    """Say once what befell fits, on behalf of the function that called."""
    for found, what in ((mixtures.failures_, "could not be fitted, see failures_"), (mixtures.notes_, "see notes_")):
        if found:
            first = "; ".join(f"{key!r}: {reason}" for key, reason in list(found.items())[:NAMED])
            warnings.warn(
                f"{len(found)} of {len(keys)} problems: {what}. The first: {first}", UserWarning, stacklevel=3
            )
    unsettled = [
        key for key, done in zip(keys, mixtures.converged_, strict=True) if not done and key not in mixtures.failures_
    ]
    if unsettled and max_iter > 0:
        warnings.warn(
            f"{len(unsettled)} of {len(keys)} fits have not converged in max_iter={max_iter} iterations, the first: "
            f"{', '.join(repr(key) for key in unsettled[:NAMED])}. Raise max_iter or tol, or try another start.",
            ConvergenceWarning,
            stacklevel=3,
        )
