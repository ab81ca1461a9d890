"""The options that have a fixed set of values, as types: editors offer them, and type checkers know them.

Tests compare each with its registry. Where names are often in variables, plain strings are taken too.
"""

from __future__ import annotations

from typing import Literal

Common = Literal["full", "diag", "spherical", "tied_full", "tied_diag", "tied_spherical"]
Parsimonious = Literal["VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV"]
Factored = Literal["low_rank", "factor"]
Code = Literal["EII", "VII", "EEI", "VVI", "EEE", "VVV"]  # mclust's, of the common ones
CovarianceType = Literal[Common, Parsimonious, Factored, "tied", Code]
Start = Literal["auto", "kmeans", "kpp", "k-means++", "random", "points", "maxdist"]
Criterion = Literal["bic", "aic", "icl", "held_out"]
Missing = Literal["error", "em"]
Order = Literal["weight", "mean"]
