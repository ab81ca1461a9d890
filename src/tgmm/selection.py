"""Choosing the number of components and the covariance structure."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from torch import Tensor

from tgmm import settings as checks
from tgmm.covariance import STRUCTURES, CovarianceCollapse, structure_named
from tgmm.data.batches import TensorBatches
from tgmm.evaluation import n_parameters
from tgmm.gaussian_mixture import GaussianMixture
from tgmm.progress import progress_bar
from tgmm.random_state import RandomState, as_generator
from tgmm.start.shared import SharedStarts
from tgmm.validation import check_rows, check_weights, working_rows

# What is chosen by, and whether more of it is better.
CRITERIA = {"bic": False, "aic": False, "icl": False, "held_out": True}
SHORT_TOL, SHORT_MAX_ITER = 1e-4, 100
NAN = float("nan")


@dataclass(frozen=True)
class Cell:
    """One number of components with one covariance structure, and what came of it.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    log_likelihood : float
        Total, in nats; NaN, like the criteria, where the cell failed.
    n_parameters : int
        Free parameters; 0 where the cell failed.
    bic, aic, icl : float
        Lower is better.
    held_out : float
        Average log-likelihood of rows that the fit had not seen, higher is better; NaN unless asked for.
    n_iter : int
        EM iterations of the final run.
    status : str
        "converged", "not converged", "degenerate" (some variance of a component is regularisation more than data, so
        that the likelihood says nothing) or "failed".
    reason : str
        Why a cell failed, and the warnings of the others.
    """

    n_components: int
    covariance_type: str
    log_likelihood: float = NAN
    n_parameters: int = 0
    bic: float = NAN
    aic: float = NAN
    icl: float = NAN
    held_out: float = NAN
    n_iter: int = 0
    status: str = "failed"
    reason: str = ""


@dataclass(frozen=True, repr=False)
class Selection:
    """What `select` found: the fitted winner, and every cell of the search.

    Attributes
    ----------
    best_ : GaussianMixture
        The fitted winner.
    best_cell : Cell
        The winner's cell.
    cells : tuple of Cell
        All cells, by number of components and then by covariance structure.
    criterion : str
        What was chosen by.
    """

    best_: GaussianMixture
    best_cell: Cell
    cells: tuple[Cell, ...]
    criterion: str

    def table(self) -> Any:
        """Return all cells, one a row.

        Returns
        -------
        pandas.DataFrame, or a list of dicts where pandas is not installed
            With the attributes of `Cell` as columns.
        """
        records = [asdict(cell) for cell in self.cells]
        try:
            import pandas
        except ImportError:
            return records
        return pandas.DataFrame.from_records(records)

    def __repr__(self) -> str:
        """Return the criterion of every cell as text, and the best three."""
        better = "higher" if CRITERIA[self.criterion] else "lower"
        types = list(dict.fromkeys(cell.covariance_type for cell in self.cells))
        grid = {(cell.n_components, cell.covariance_type): cell for cell in self.cells}
        width = max(14, *(len(name) + 2 for name in types))
        lines = [
            f"Selection by {self.criterion} ({better} is better; * best, ? degenerate)",
            " " * 4 + "".join(name.rjust(width) for name in types),
        ]
        for count in dict.fromkeys(cell.n_components for cell in self.cells):
            row = (self._entry(grid[count, name]).rjust(width) for name in types)
            lines.append(f"{count:>4}" + "".join(row))
        lines.append("Best:")
        for cell in ranked(self.cells, self.criterion)[:3]:
            name = f"{cell.covariance_type}, {cell.n_components}"
            value = f"{getattr(cell, self.criterion):.{self._digits}f}"
            lines.append(f"  {name:<20}{value:>12}  log-likelihood {cell.log_likelihood:.2f}, {_count(cell)}")
        return "\n".join(lines)

    @property
    def _digits(self) -> int:
        return 4 if self.criterion == "held_out" else 2

    def _entry(self, cell: Cell) -> str:
        """Return a cell's criterion with its mark."""
        if cell.status == "failed":
            return "failed "
        mark = "*" if cell == self.best_cell else "?" if cell.status == "degenerate" else " "
        return f"{getattr(cell, self.criterion):.{self._digits}f}{mark}"


def _count(cell: Cell) -> str:
    return f"{cell.n_parameters} parameters" + ("" if cell.status == "converged" else f", {cell.status}")


def ranked(cells: Iterable[Cell], criterion: str) -> list[Cell]:
    """Return the cells that did not fail, best first; degenerate ones come last.

    Of equal cells the one with fewer parameters comes first.
    """
    sign = -1 if CRITERIA[criterion] else 1
    usable = [cell for cell in cells if getattr(cell, criterion) == getattr(cell, criterion)]
    return sorted(
        usable, key=lambda cell: (cell.status == "degenerate", sign * getattr(cell, criterion), cell.n_parameters)
    )


def select(
    X: Any,
    n_components: Any = range(1, 10),
    covariance_types: Any = None,
    criterion: str = "bic",
    *,
    sample_weight: Any = None,
    n_init: int = 5,
    cv: int = 5,
    tol: float = 1e-6,
    max_iter: int = 1000,
    random_state: RandomState = None,
    device: Any = None,
    verbose: bool = False,
    **settings: Any,
) -> Selection:
    """Choose the number of components and the covariance structure.

    Every combination is fitted. A combination ("cell") that cannot be fitted is reported as such and does not stop
    the search.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, d)
    n_components : int or iterable of int, default=range(1, 10)
        The numbers of components to try.
    covariance_types : str or iterable of str, optional
        The structures to try; all six where None.
    criterion : {"bic", "aic", "icl", "held_out"}, default="bic"
        What to choose by. "bic" (Schwarz 1978, Annals of Statistics 6), "aic" (Akaike 1974, IEEE TAC 19) and "icl"
        (Biernacki, Celeux & Govaert 2000, IEEE PAMI 22: BIC plus the price of ambiguous rows, for clusters that are
        apart) are lower the better. "held_out" is the average log-likelihood of held-out rows in nats, by
        cross-validation (Smyth 2000, Statistics and Computing 10), higher the better; it fits each cell `cv` times
        more.
    sample_weight : array-like of shape (n,), optional
        Not negative; a weight of 2 equals the row twice.
    n_init : int, default=5
        Starts by k-means for each number of components, next to one by Ward's hierarchical clustering. The starts
        are shared between the structures; short runs of EM from each decide which one is followed to the end
        (Biernacki, Celeux & Govaert 2003, Computational Statistics & Data Analysis 41). With `init_means` among the
        settings, that start is used instead, `n_init` times where it is random.
    cv : int, default=5
        Folds of "held_out", shuffled, the same for all cells.
    tol, max_iter : float, default=1e-6; int, default=1000
        As for `GaussianMixture`, but closer to the limit: BIC compares likelihoods across cells.
    random_state : int, numpy.random.RandomState or torch.Generator, optional
        The global generators are never touched.
    device : str or torch.device, optional
        As for `GaussianMixture`.
    verbose : bool, default=False
        A progress bar over the cells, where tqdm is installed.
    **settings
        Further parameters of `GaussianMixture`: priors, `reg_covar`, ...

    Returns
    -------
    Selection
        ``best_`` is the fitted winner, ``table()`` has every cell, and its repr is the table of the criterion.

    Raises
    ------
    ValueError
        For unusable data or arguments, and when no cell could be fitted.

    Notes
    -----
    Where a component sits on rows that lie on a point, a line or a plane, its variance is what `reg_covar` adds and
    the likelihood can be made as large as one likes. Such a cell is called degenerate, and wins only where all are.

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
    counts, names = _check_counts(n_components), _check_structures(covariance_types)
    if criterion not in CRITERIA:
        choices = ", ".join(repr(choice) for choice in CRITERIA)
        raise ValueError(f"criterion must be one of {choices}; got {criterion!r}.")
    n_init = checks.check_integer(n_init, "n_init", 1)
    settings = {"tol": tol, "max_iter": max_iter, "device": device, **settings}
    GaussianMixture(**settings)  # an unknown setting is the caller's error, not a cell's
    rows = check_rows(GaussianMixture(), X, reset=True)
    data = working_rows(rows, checks.check_device(device, rows.tensor, from_tensor=rows.from_tensor))
    weights = check_weights(sample_weight, data.shape[0])
    seed = int(torch.randint(2**31 - 1, (1,), generator=as_generator(random_state)))
    whole = _Fitter(X, data, weights, settings, n_init, seed)
    folds = _folds(data, weights, cv, settings, n_init, seed) if criterion == "held_out" else []
    grid = [(count, name) for count in counts for name in names]
    return _search(grid, criterion, whole, folds, verbose=verbose)


def _check_counts(n_components: Any) -> list[int]:
    """Return the different numbers of components, or raise a ValueError that names the argument."""
    counts = [n_components] if isinstance(n_components, numbers.Integral) else list(n_components)
    if not counts:
        raise ValueError("n_components is empty: give at least one number of components.")
    return list(dict.fromkeys(checks.check_integer(count, "n_components", 1) for count in counts))


def _check_structures(covariance_types: Any) -> list[str]:
    """Return the names of the different structures, or raise a ValueError that names the argument."""
    if covariance_types is None:
        return list(STRUCTURES)
    names = [covariance_types] if isinstance(covariance_types, str) else list(covariance_types)
    if not names:
        raise ValueError("covariance_types is empty: give at least one, or None for all.")
    return list(dict.fromkeys(structure_named(name).name for name in names))


class _Fitter:
    """Fits cells to the same rows, from starts they share.

    Parameters
    ----------
    X : array-like or Tensor
        What `fit` is given.
    rows : Tensor of shape (n, d)
        The same, checked and on the device.
    weights : Tensor of shape (n,), float64, or None
    settings : dict
        Parameters of `GaussianMixture`.
    n_init, seed : int
    """

    def __init__(
        self, X: Any, rows: Tensor, weights: Tensor | None, settings: dict[str, Any], n_init: int, seed: int
    ) -> None:
        self.X, self.weights, self.settings = X, weights, settings
        self.n_init, self.seed = n_init, seed
        self.total_weight = float(rows.shape[0] if weights is None else weights.sum())
        if weights is not None:
            weights = weights.to(rows.device)
            rows, weights = rows[weights > 0], weights[weights > 0]
        self.n_rows = rows.shape[0]
        batches = TensorBatches(rows, weights)
        # The second kind depends on the units as only the spherical structures may.
        self.starts = [
            SharedStarts(batches, isotropic=isotropic, n_kmeans=n_init, seed=seed) for isotropic in (False, True)
        ]

    def fit(self, n_components: int, covariance_type: str) -> GaussianMixture:
        """Return the fitted model of a cell."""
        settings = {"n_components": n_components, "covariance_type": covariance_type, **self.settings}
        if "init_means" in settings:
            return self._run({"n_init": self.n_init, "random_state": self.seed, **settings})
        if n_components > self.n_rows:
            return self._run(settings)  # fit says what is wrong
        return self._run({**settings, "init_means": self._best_start(settings)})

    def _best_start(self, settings: dict[str, Any]) -> Tensor:
        """Return the centres (K, d) from which a short run gets highest."""
        shared = self.starts if structure_named(settings["covariance_type"]).isotropic else self.starts[:1]
        starts = [centres for source in shared for centres in source.centres(settings["n_components"])]
        if len(starts) == 1:
            return starts[0]
        short = {
            **settings,
            "tol": max(settings["tol"], SHORT_TOL),
            "max_iter": min(settings["max_iter"], SHORT_MAX_ITER),
        }
        heights = [self._height({**short, "init_means": centres}) for centres in starts]
        return starts[heights.index(max(heights))]

    def _height(self, settings: dict[str, Any]) -> float:
        """Return the objective that a run reaches; minus infinity where its covariance collapses."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self._run(settings).objective_history_[-1]
            except ValueError as error:
                if not isinstance(error.__cause__, CovarianceCollapse):
                    raise
                return float("-inf")

    def _run(self, settings: dict[str, Any]) -> GaussianMixture:
        return GaussianMixture(**settings).fit(self.X, sample_weight=self.weights)


@dataclass(frozen=True)
class _Fold:
    """A part of the rows to fit, and the rest to judge the fit by."""

    fitter: _Fitter
    rows: Tensor
    weights: Tensor | None

    def log_likelihood(self, n_components: int, covariance_type: str) -> float:
        """Return the total log-likelihood of the held-out rows."""
        weight = float(self.rows.shape[0] if self.weights is None else self.weights.sum())
        if weight == 0:
            return 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit to all rows says the same once
            model = self.fitter.fit(n_components, covariance_type)
        return model.score(self.rows, sample_weight=self.weights) * weight


def _folds(
    data: Tensor, weights: Tensor | None, cv: int, settings: dict[str, Any], n_init: int, seed: int
) -> list[_Fold]:
    """Return the folds of a cross-validation."""
    cv = checks.check_integer(cv, "cv", 2)
    if cv > data.shape[0]:
        raise ValueError(f"cv={cv} folds need at least as many rows, but X has n_samples={data.shape[0]}: lower cv.")
    folds = []
    for seen, held_out in KFold(cv, shuffle=True, random_state=seed).split(range(data.shape[0])):
        (rows, seen_weights), (rest, rest_weights) = (
            (data[part.to(data.device)], None if weights is None else weights[part])
            for part in (torch.from_numpy(seen), torch.from_numpy(held_out))
        )
        folds.append(_Fold(_Fitter(rows, rows, seen_weights, settings, n_init, seed), rest, rest_weights))
    return folds


def _search(
    grid: list[tuple[int, str]], criterion: str, whole: _Fitter, folds: list[_Fold], *, verbose: bool
) -> Selection:
    """Fit all cells and keep the best model."""
    best: tuple[GaussianMixture, Cell] | None = None
    cells: list[Cell] = []
    with progress_bar(enabled=verbose, desc="select", unit="model", total=len(grid)) as bar:
        for count, name in grid:
            cell, model = _evaluate(count, name, whole, folds)
            cells.append(cell)
            bar.update()
            rivals = [cell] if best is None else [best[1], cell]
            if model is not None and ranked(rivals, criterion)[:1] == [cell]:
                best = model, cell
    if best is None:
        first = cells[0]
        raise ValueError(
            f"No cell could be fitted. For n_components={first.n_components}, covariance_type="
            f"{first.covariance_type!r}: {first.reason}"
        )
    return Selection(best[0], best[1], tuple(cells), criterion)


def _evaluate(count: int, name: str, whole: _Fitter, folds: list[_Fold]) -> tuple[Cell, GaussianMixture | None]:
    """Return a cell and its model; whatever goes wrong is the cell's alone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = whole.fit(count, name)
            held_out = sum(fold.log_likelihood(count, name) for fold in folds) / whole.total_weight if folds else NAN
        except Exception as error:
            return Cell(count, name, reason=f"{type(error).__name__}: {error}"), None
    notes = [str(note.message) for note in caught if not issubclass(note.category, ConvergenceWarning)]
    status = "degenerate" if _is_degenerate(model) else "converged" if model.converged_ else "not converged"
    cell = Cell(
        count,
        name,
        log_likelihood=model.score(whole.X, sample_weight=whole.weights) * whole.total_weight,
        n_parameters=n_parameters(model),
        bic=model.bic(whole.X, whole.weights),
        aic=model.aic(whole.X, whole.weights),
        icl=model.icl(whole.X, whole.weights),
        held_out=held_out,
        n_iter=model.n_iter_,
        status=status,
        reason="; ".join(notes),
    )
    return cell, model


def _is_degenerate(model: GaussianMixture) -> bool:
    """Whether some component has a direction whose variance is more than half `reg_covar_`."""
    n_features = model.means_.shape[1]
    regularisation = model.reg_covar_.double().expand(n_features)
    if not (regularisation > 0).all():
        return False
    structure, covariances = model._structure, model._parameters.covariances
    scaled = structure.rescale(covariances, regularisation.rsqrt())
    least = scaled.new_full((() if structure.isotropic else (n_features,)), 2.0)
    try:
        structure.factor(structure.add_to_variances(scaled, -least), n_features)
    except CovarianceCollapse:
        return True
    return False
