"""Choosing the number of components and the covariance structure."""

from tgmm.selection.result import CRITERIA, Cell, Selection, ranked
from tgmm.selection.search import select

__all__ = ["CRITERIA", "Cell", "Selection", "ranked", "select"]
