"""The options that have a fixed set of values, as types: editors offer them, and type checkers know them.

Tests compare each with its registry. Where names are often in variables, plain strings are taken too.
"""

from __future__ import annotations

from typing import Literal

CovarianceType = Literal[
    "full",
    "diag",
    "spherical",
    "tied_full",
    "tied_diag",
    "tied_spherical",
    "tied",
    "VEI",
    "EVI",
    "VEE",
    "EVE",
    "VVE",
    "EEV",
    "VEV",
    "EVV",
    "EII",
    "VII",
    "EEI",
    "VVI",
    "EEE",
    "VVV",
    "low_rank",
    "factor",
]
Start = Literal["auto", "kmeans", "kpp", "k-means++", "random", "points", "maxdist"]
Criterion = Literal["bic", "aic", "icl", "held_out"]
Missing = Literal["error", "em"]
Order = Literal["weight", "mean"]
