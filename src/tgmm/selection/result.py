"""What a selection found: its cells, their order, and how they read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tgmm.estimators.gaussian_mixture import GaussianMixture

# What is chosen by, and whether more of it is better.
CRITERIA = {"bic": False, "aic": False, "icl": False, "held_out": True}
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
    n_factors : int or None
        Where the search was over numbers of factors.
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
        types = list(dict.fromkeys(cell.structure for cell in self.cells))
        grid = {(cell.n_components, cell.structure): cell for cell in self.cells}
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
            name = f"{cell.structure}, {cell.n_components}"
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
