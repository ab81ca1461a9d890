"""The search: every number of components with every covariance structure."""

from __future__ import annotations

import inspect
import numbers
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning

from tgmm.covariance import ALIASES, COMMON, MCLUST, STRUCTURES, Factors, structure_named
from tgmm.em.solution import Solution
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.hints import check_parameter_names
from tgmm.estimators.special import notes_of_unused
from tgmm.mixture.evaluation import Criteria, criteria_on
from tgmm.runtime.checks import check_integer
from tgmm.runtime.devices import standalone
from tgmm.runtime.generators import RandomState, as_generator
from tgmm.runtime.options import CovarianceType, Criterion
from tgmm.runtime.progress import progress_bar
from tgmm.runtime.words import agreeing, number_of
from tgmm.selection.fitter import Fitted, Fitter
from tgmm.selection.folds import Fold, folds_of
from tgmm.selection.result import CRITERIA, NAN, Cell, Selection, ranked

LEVEL = 3  # of a warning of `select`, out of what `standalone` puts around it
UNLABELLED = ("icl", "held_out")  # criteria that labels have no part in


@standalone()
def select(
    X: Any,
    n_components: int | Iterable[int] = range(1, 10),
    covariance_types: CovarianceType | str | Iterable[CovarianceType | str] | None = None,
    criterion: Criterion | str = "bic",
    *,
    sample_weight: Any = None,
    labels: Any = None,
    n_init: int = 5,
    cv: int = 5,
    n_factors: Any = None,
    tol: float = 1e-8,
    max_iter: int = 1000,
    random_state: RandomState = None,
    device: Any = None,
    verbose: bool = False,
    **settings: Any,
) -> Selection:
    """Choose the number of components and the covariance type.

    Every combination ("cell") is fitted, and the one with the best criterion wins. A cell that cannot be fitted is
    reported and does not stop the search.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows, as `GaussianMixture.fit` accepts them.
    n_components : int or iterable of int, default=range(1, 10)
        Numbers of components to try. If the largest one wins, try larger ones.
    covariance_types : str or iterable of str, optional
        Covariance types to try. By default these are the six common ones, from "full" to "tied_spherical". "mclust"
        stands for its fourteen.
    criterion : {"bic", "aic", "icl", "held_out"}, default="bic"
        What to choose by. Lower is better for "bic" (Schwarz 1978, Annals of Statistics 6), which suits most uses; for
        "aic" (Akaike 1974, IEEE TAC 19), which prefers larger models; and for "icl" (Biernacki, Celeux & Govaert 2000,
        IEEE PAMI 22), which adds a penalty for ambiguous rows to BIC and so prefers clusters that are well separated.
        Higher is better for "held_out", the average log-likelihood of held-out rows in cross-validation (Smyth 2000,
        Statistics and Computing 10); it fits each cell `cv` more times.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows, not negative. A weight of 2 counts as the row twice.
    labels : array-like of shape (n,) or (n, K), optional
        Known components of some rows, as for `GaussianMixture.fit`. Cells with fewer components than there are labels
        fail, and say so. With an array of shape (n, K), only cells with K components can be fitted. The criteria use
        the likelihood of the rows with their labels. "icl", which would count labelled rows as ambiguous, and
        "held_out" cannot be combined with labels.
    n_init : int, default=5
        Number of starts of each cell with different random draws. Raise it if the winner changes with `random_state`.
        What the starts learn about the rows is shared by all cells.
    cv : int, default=5
        Number of random folds for "held_out". They are the same for all cells.
    n_factors : int or iterable of int, optional
        Numbers of factors of "low_rank" and "factor" to try, each in a cell of its own. By default the number is that
        of `GaussianMixture`.
    tol, max_iter : float, default=1e-8; int, default=1000
        As for `GaussianMixture`, but stricter, because BIC compares the likelihoods of different cells.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        Seed or generator. Give an integer for results that you can repeat. One seed is drawn from it for all cells.
        It becomes the ``random_state`` of ``best_``.
    device : str or torch.device, optional
        Where to compute, as for `GaussianMixture`.
    verbose : bool, default=False
        If True, show a progress bar over the cells if tqdm is installed. Use it for long searches, such as those with
        missing values, or over the fourteen structures of mclust.
    **settings
        Other parameters of `GaussianMixture`, such as priors or `reg_covar`, for all cells.

    Returns
    -------
    Selection
        ``best_`` is the fitted winner and ``summary()`` explains it. ``table()`` has every cell. Print the selection to
        see the criterion of all cells.

    Raises
    ------
    ValueError
        If data or arguments cannot be used, or if no cell could be fitted.

    Notes
    -----
    If a component sits on rows that lie on a point, a line or a plane, only `reg_covar` keeps its variance above zero,
    and its likelihood can become arbitrarily large. Such a cell is called degenerate. It wins only if all cells are
    degenerate.

    All cells share what the starts learn about the rows: a sample of them and its clusters, which are as many as the
    largest number of components needs. The same cell can therefore reach a slightly different optimum in a search with
    another range. The one with the higher likelihood is the better fit; if it matters, raise `n_init`.

    Features that are constant, or linear functions of other features, would decide the comparison by what `reg_covar`
    adds. Cells are compared without them, with a warning, and the winner is fitted to all features.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import select
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) + 6 * rng.integers(0, 2, size=(300, 1))
    >>> selection = select(X, n_components=range(1, 4), covariance_types=["full", "spherical", "tied_spherical"])
    >>> selection.best_.n_components, selection.best_.covariance_type
    (2, 'tied_spherical')
    >>> selection.best_.predict([[0.0, 0.0], [6.0, 6.0]]).shape
    (2,)
    """
    counts, kinds = _check_counts(n_components, "n_components"), _check_structures(covariance_types, n_factors)
    criterion = criterion.lower() if isinstance(criterion, str) else criterion
    if criterion not in CRITERIA:
        choices = ", ".join(repr(choice) for choice in CRITERIA)
        raise ValueError(f"criterion must be one of {choices}; got {criterion!r}.")
    if labels is not None and criterion in UNLABELLED:
        raise ValueError(f"criterion={criterion!r} cannot be combined with labels: choose by 'bic' or 'aic'.")
    n_init = check_integer(n_init, "n_init", 1)
    settings = {"tol": tol, "max_iter": max_iter, "device": device, **settings}
    known = {**inspect.signature(select).parameters, **GaussianMixture().get_params()}
    check_parameter_names(settings, "select", known=known)
    GaussianMixture(**settings)  # an unknown setting is the caller's error, not a cell's
    for name in ("distributed", "checkpoint"):
        if settings.get(name):
            raise ValueError(f"select compares many fits in one process; got {name}={settings[name]!r}: leave it out.")
    seed = int(torch.randint(2**31 - 1, (1,), generator=as_generator(random_state)))
    whole = Fitter(X, sample_weight, settings, counts, n_init, seed, labels)
    _ = whole.noise  # what is wrong with that is wrong with all cells
    dependent = whole.dependent()
    what = agreeing(len(dependent), "is constant or a linear function", "are constant or linear functions")
    which, them = f"{whole.training.columns.said(dependent)} {what}", agreeing(len(dependent), "it", "them")
    if dependent and not whole.settings.reg_covar:
        raise ValueError(
            f"{which} of others, so no model of all features can be fitted with reg_covar=0: leave {them} out of X, or "
            "give a reg_covar above 0."
        )
    judged = whole.restricted([j for j in range(whole.data.n_features) if j not in dependent]) if dependent else whole
    folds = folds_of(judged, cv) if criterion == "held_out" else []
    grid = [(count, *kind) for count in counts for kind in kinds]
    found = _search(grid, criterion, judged, folds, verbose=verbose)
    if dependent:
        notes = f"{which} of others: cells are compared without {them}"
        warnings.warn(f"{notes}, and best_ is fitted to all features.", stacklevel=LEVEL)
        cell = found.best_cell
        best = whole.fit(cell.n_components, cell.covariance_type, cell.n_factors).model()
        found = replace(found, best_=best, left_out=tuple(dependent))
    _warn_of(found.best_cell, found.best_)
    for note in notes_of_unused(whole.settings):
        warnings.warn(f"{note}.", stacklevel=LEVEL)
    return found


def _warn_of(best: Cell, fit: GaussianMixture) -> None:
    """Say what befell the fit of the best cell, as that fit alone would have, to who called `select`."""
    if best.status == "degenerate":
        warnings.warn(f"Every cell is degenerate. Of the best, {best.reason}.", stacklevel=LEVEL + 1)
    elif best.reason:
        which = f"{best.structure}, {number_of(best.n_components, 'component')}"
        warnings.warn(f"The best cell ({which}): {best.reason}.", stacklevel=LEVEL + 1)
    if not fit.converged_ and fit.max_iter > 0:
        what = f"{best.structure}, {best.n_components}, has not converged in max_iter={fit.max_iter} iterations"
        warnings.warn(f"The best cell, {what}: raise max_iter or tol.", ConvergenceWarning, stacklevel=LEVEL + 1)


def _check_counts(values: Any, name: str) -> list[int]:
    """Return different numbers of something, or raise a ValueError that names the argument."""
    if isinstance(values, str) or not isinstance(values, Iterable | numbers.Integral):
        is_type = name == "n_components" and isinstance(values, str)
        hint = f" Did you mean covariance_types={values!r}?" if is_type else ""
        raise ValueError(f"{name} must be an integer or several, such as range(1, 5); got {values!r}.{hint}")
    counts = [values] if isinstance(values, numbers.Integral) else list(values)
    if not counts:
        raise ValueError(f"{name} is empty: give at least one number.")
    return list(dict.fromkeys(check_integer(count, name, 1) for count in counts))


def _check_structures(covariance_types: Any, n_factors: Any) -> list[tuple[str, int | None]]:
    """Return the different structures by name and number of factors, or raise a ValueError that names the argument."""
    numbers_of = [None] if n_factors is None else _check_counts(n_factors, "n_factors")
    structures = [structure_named(name) for name in _check_names(covariance_types)]
    if n_factors is not None and not any(isinstance(structure, Factors) for structure in structures):
        raise ValueError(
            f"n_factors={n_factors!r} applies only to 'low_rank' and 'factor', neither of which is among "
            "covariance_types: leave it out, or add one of them."
        )
    kinds = [
        (structure.name, q)
        for structure in structures
        for q in (numbers_of if isinstance(structure, Factors) else [None])
    ]
    return list(dict.fromkeys(kinds))


def _check_names(covariance_types: Any) -> list[str]:
    """Return the names of structures, or raise a ValueError that names the argument."""
    if covariance_types is None:
        return list(COMMON)
    if isinstance(covariance_types, str) and covariance_types == "mclust":
        return list(MCLUST)
    one = isinstance(covariance_types, str) or not isinstance(covariance_types, Iterable)
    names: list[Any] = [covariance_types] if one else list(covariance_types)
    choices = (*STRUCTURES, *ALIASES)
    if not names:
        raise ValueError("covariance_types is empty: give at least one, or None for all.")
    for name in names:
        if name not in choices:
            known = ", ".join(map(repr, choices))
            raise ValueError(
                f"covariance_types must be one or several of {known}, or 'mclust' for its fourteen; got {name!r}."
            )
    return names


def _search(
    grid: list[tuple[int, str, int | None]], criterion: str, whole: Fitter, folds: list[Fold], *, verbose: bool
) -> Selection:
    """Fit all cells and keep the best model."""
    best: tuple[Fitted, Cell] | None = None
    cells: list[Cell] = []
    for fitter in (whole, *(fold.fitter for fold in folds)):
        fitter.prepare(grid)
    with progress_bar(enabled=verbose, desc="select", unit="model", total=len(grid)) as bar:
        for which in grid:
            cell, fitted = _evaluate(*which, whole, folds)
            cells.append(cell)
            bar.update()
            rivals = [cell] if best is None else [best[1], cell]
            if fitted is not None and ranked(rivals, criterion)[:1] == [cell]:
                best = fitted, cell
    if best is None:
        first = cells[0]
        raise ValueError(
            f"No cell could be fitted. For n_components={first.n_components}, covariance_type="
            f"{first.covariance_type!r}: {first.reason}"
        )
    return Selection(best[0].model(), best[1], tuple(cells), criterion)


def _evaluate(count: int, name: str, q: int | None, whole: Fitter, folds: list[Fold]) -> tuple[Cell, Fitted | None]:
    """Return a cell and its fit; whatever goes wrong is the cell's alone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fitted = whole.fit(count, name, q)
            held_out = _held_out(count, name, q, whole, folds)
            found = _criteria(fitted.solution, whole)
        except Exception as error:
            return Cell(count, name, reason=f"{type(error).__name__}: {error}", n_factors=q), None
    solution = fitted.solution
    others = [str(note.message) for note in caught if not issubclass(note.category, ConvergenceWarning)]
    status = "degenerate" if fitted.is_degenerate else "converged" if solution.converged else "not converged"
    cell = Cell(
        count,
        name,
        log_likelihood=found.log_likelihood,
        n_parameters=found.n_parameters,
        bic=found.bic,
        aic=found.aic,
        icl=found.icl,
        held_out=held_out,
        n_iter=solution.n_iter,
        status=status,
        reason="; ".join(dict.fromkeys([*solution.notes, *others])),
        n_factors=q,
    )
    return cell, fitted


def _held_out(count: int, name: str, q: int | None, whole: Fitter, folds: list[Fold]) -> float:
    """Return the average log-likelihood of the rows that fits had not seen; NaN without folds."""
    if not folds:
        return NAN
    return sum(fold.log_likelihood(count, name, q) for fold in folds) / whole.data.weight


def _criteria(solution: Solution, whole: Fitter) -> Criteria:
    """Return what a solution is worth, by one pass over the rows; the fit has told their likelihood."""
    found = criteria_on(solution.mixture, whole.data, whole.training.device)
    found = replace(found, log_likelihood=solution.log_likelihood * whole.data.weight)
    return found if whole.labels is None else replace(found, certainty=NAN)  # of rows whose components are known
