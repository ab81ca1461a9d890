"""Many mixtures at once: a fit to each of many tables, or to each group of rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from tgmm.covariance import Structure
from tgmm.estimators.agreement import check_alike, check_same_problems, check_same_values, stamp
from tgmm.estimators.fitting import solved
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.groups import Groups, divided, of_each
from tgmm.estimators.mixtures import Mixtures
from tgmm.estimators.settings import Settings
from tgmm.estimators.special import notes_of_unused
from tgmm.estimators.together import Given, Part, solved_together
from tgmm.runtime.checks import among, check_flag
from tgmm.runtime.generators import as_generator
from tgmm.runtime.processes import ALONE, Group, Processes
from tgmm.runtime.progress import progress_bar

OF_ONE_FIT = ("checkpoint", "warm_start")  # settings that have no meaning for many
NAMED = 3  # problems that a warning names, at most

Found = tuple[list[Part], dict[int, str]]  # solutions, and of other problems why there is none, by their places


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
    given["random_state"] = processes.agreed(lambda: _integer(given["random_state"]))
    checked = processes.guard(lambda: Settings.of(given))
    rows, problems = processes.guard(lambda: divided(X, groups))
    keys = problems.keys
    check_same_problems(processes, keys)

    def starts_and_data() -> tuple[list[dict[str, Any]], dict[int, Given], list[int]]:
        """Return the starts of all problems, what those of this process are given, and stamps where they are compared.

        The parts of groups are made one after another.
        """
        by_row = {"sample_weight": sample_weight, "init_responsibilities": init_responsibilities, "labels": labels}
        parts = [problems.parts(values, name) for name, values in {"X": rows, **by_row}.items()]
        own = list(_starts_of_each(given, checked.structure, len(keys)))
        own_share, stamps = dict[int, Given](), list[int]()
        for place, each in enumerate(zip(*parts, own, problems.members, strict=True)):
            if place % processes.size == processes.rank:
                own_share[place] = Given(*each)
            if processes.size > 1:
                stamps.append(stamp(*each[:4]))
        return own, own_share, stamps

    own, mine, stamps = processes.guard(starts_and_data)
    check_same_values(processes, keys, stamps)
    quiet = replace(checked, verbose=checked.verbose and processes.rank == 0)
    parts, reasons = _shared(processes, lambda: _solved(quiet, mine))
    if not parts:
        raise ValueError(f"No problem could be fitted. That of {keys[0]!r}: {reasons[0]}")
    failures = {keys[place]: reason for place, reason in sorted(reasons.items())}
    notes = sorted((place, note) for part in parts for place, note in zip(part.places, part.notes, strict=True) if note)
    names = keys if isinstance(problems, Groups) else None
    mixtures = Mixtures(tuple(parts), given, own, names, failures, {keys[place]: note for place, note in notes})
    _warn_of(mixtures, keys, checked.policy.stopping.max_iter)
    for note in notes_of_unused(checked):
        warnings.warn(f"{note}.", stacklevel=2)
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
