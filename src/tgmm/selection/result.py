"""What a selection found: its cells, their order, and how they read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.mixture.summary import FEATURES, Summary
from tgmm.mixture.tables import Table, shown
from tgmm.runtime.words import number_of

# What is chosen by, and whether more of it is better.
CRITERIA = {"bic": False, "aic": False, "icl": False, "held_out": True}
FOOTNOTES = {
    "degenerate": "? degenerate: reg_covar, not the data, keeps a variance above zero; it wins only if all cells are.",
    "failed": "failed: it could not be fitted; table() has the reason.",
}
NAN = float("nan")
LISTED = 5  # cells of a summary


@dataclass(frozen=True)
class Cell:
    """One combination of a number of components and a covariance type, with its result.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    log_likelihood : float
        Total log-likelihood in nats. It is NaN, like the criteria, if the cell failed.
    n_parameters : int
        Number of free parameters. 0 if the cell failed.
    bic, aic, icl : float
        Information criteria. Lower is better; icl is NaN if labels were given.
    held_out : float
        Average log-likelihood of held-out rows. Higher is better. NaN unless it was the criterion.
    n_iter : int
        Number of EM iterations of the final run.
    status : str
        "converged", "not converged", "degenerate" (a variance of a component is due to regularization rather than to
        the data, so the likelihood means nothing) or "failed".
    reason : str
        Why the cell failed, or the warnings of its fit.
    n_factors : int or None
        Number of factors, if the search was over these.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import select
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> cell = select(X, [1, 2], "spherical", random_state=0).best_cell
    >>> cell.n_components, cell.n_parameters, cell.status
    (1, 3, 'converged')
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
    n_factors: int | None = None

    @property
    def structure(self) -> str:
        """The covariance structure, with the number of factors where that was chosen."""
        return self.covariance_type if self.n_factors is None else f"{self.covariance_type} q={self.n_factors}"


@dataclass(frozen=True, repr=False)
class Selection:
    """The result of `select`: the fitted winner, and every cell of the search.

    Print it for a table of the criterion. `summary` explains the winner.

    Attributes
    ----------
    best_ : GaussianMixture
        The fitted winner.
    best_cell : Cell
        The winner's cell.
    cells : tuple of Cell
        All cells, ordered by number of components and then by covariance type.
    criterion : str
        The criterion of the choice.
    left_out : tuple of int
        The features that cells were compared without, since they are constant or linear functions of others. The
        winner is fitted to all features.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import select
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> selection = select(X, [1, 2], ["diag", "spherical"], random_state=0)
    >>> selection.best_.covariance_type, selection.best_.n_components, len(selection.cells)
    ('spherical', 1, 4)
    """

    best_: GaussianMixture
    best_cell: Cell
    cells: tuple[Cell, ...]
    criterion: str
    left_out: tuple[int, ...] = ()

    def table(self) -> Any:
        """Return a table with one row per cell.

        Returns
        -------
        pandas.DataFrame, or a list of dicts where pandas is not installed
            With the attributes of `Cell` as columns.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import select
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> table = select(X, [1, 2], ["diag", "spherical"], random_state=0).table()
        >>> table[["n_components", "covariance_type", "n_parameters"]]
           n_components covariance_type  n_parameters
        0             1            diag             4
        1             1       spherical             3
        2             2            diag             9
        3             2       spherical             7
        """
        records = [asdict(cell) for cell in self.cells]
        try:
            import pandas
        except ImportError:
            return records
        return pandas.DataFrame.from_records(records)

    def summary(self, X: Any = None, *, sample_weight: Any = None, max_features: int | None = FEATURES) -> Summary:
        """Explain the selection: its best cells, and the model that was chosen.

        Parameters
        ----------
        X, sample_weight, max_features
            As for `GaussianMixture.summary`.

        Returns
        -------
        Summary
            ``print`` it to read it as text; a notebook shows it as tables. ``to_frame()`` has the components of the
            best model; all cells are in ``table()``.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import select
        >>> X = np.random.default_rng(0).normal(size=(100, 2))
        >>> summary = select(X, [1, 2], ["diag", "spherical"], random_state=0).summary()
        >>> summary.title
        'Selection by BIC: spherical, 1 component'
        """
        order, best = ranked(self.cells, self.criterion), self.best_cell
        size = number_of(best.n_components, "component")
        found = self.best_.summary(X, sample_weight=sample_weight, max_features=max_features)
        return replace(
            found,
            title=f"Selection by {name_of(self.criterion)}: {best.structure}, {size}",
            tables=(self._table_of(order[:LISTED]), *found.tables),
        )

    def _table_of(self, cells: list[Cell]) -> Table:
        """Return cells as a table, with the criteria that are known of any."""
        known = [name for name in CRITERIA if any(getattr(cell, name) == getattr(cell, name) for cell in cells)]
        header = ("covariance", "components", "log-likelihood", "parameters", *map(name_of, known), "status")
        rows = [
            (
                *(cell.structure, str(cell.n_components), shown(cell.log_likelihood), str(cell.n_parameters)),
                *(f"{getattr(cell, name):.{digits_of(name)}f}" for name in known),
                cell.status,
            )
            for cell in cells
        ]
        title = f"The best {len(cells)} of {len(self.cells)} cells"
        if self.left_out:
            title += f", compared without {self.best_.mixture_.columns.said(self.left_out)}"
        return Table(title, header, rows)

    def _repr_html_(self) -> str:
        """Return the summary as HTML, for notebooks."""
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        """Return the criterion of every cell as text, and the best three."""
        better = "higher" if CRITERIA[self.criterion] else "lower"
        types = list(dict.fromkeys(cell.structure for cell in self.cells))
        grid = {(cell.n_components, cell.structure): cell for cell in self.cells}
        width = max(14, *(len(name) + 2 for name in types))
        lines = [
            f"Selection by {self.criterion} ({better} is better; * best)",
            " " * 4 + "".join(name.rjust(width) for name in types),
        ]
        for count in dict.fromkeys(cell.n_components for cell in self.cells):
            row = (self._entry(grid[count, name]).rjust(width) for name in types)
            lines.append(f"{count:>4}" + "".join(row))
        lines += [note for status, note in FOOTNOTES.items() if any(cell.status == status for cell in self.cells)]
        lines.append("Best:")
        for cell in ranked(self.cells, self.criterion)[:3]:
            name = f"{cell.structure}, {cell.n_components}"
            value = f"{getattr(cell, self.criterion):.{digits_of(self.criterion)}f}"
            lines.append(f"  {name:<20}{value:>12}  log-likelihood {cell.log_likelihood:.2f}, {_count(cell)}")
        return "\n".join(lines)

    def _entry(self, cell: Cell) -> str:
        """Return a cell's criterion with its mark."""
        if cell.status == "failed":
            return "failed "
        mark = "*" if cell == self.best_cell else "?" if cell.status == "degenerate" else " "
        return f"{getattr(cell, self.criterion):.{digits_of(self.criterion)}f}{mark}"


def name_of(criterion: str) -> str:
    """Return how a criterion is written."""
    return "held-out" if criterion == "held_out" else criterion.upper()


def digits_of(criterion: str) -> int:
    """Return how many decimals of a criterion matter; "held_out" is an average."""
    return 4 if criterion == "held_out" else 2


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
