"""Starts: K centres to begin with, and their registry.

A start is a function of rows (m, d) in the frame, their weights (m,), K and a generator that gives
centres (K, d). Registering it here makes it a value of ``init_means``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tgmm.start.kmeans import kmeans
from tgmm.start.seeding import farthest_first, kmeans_plusplus, random_rows

AUTO = "auto"  # trials of many starts, see `tgmm.em.starts`
UNTRIED = "kmeans"  # the start where trials are not worth their time

Start = Callable[[Tensor, Tensor, int, torch.Generator], Tensor]

STARTS: dict[str, Start] = {
    "kmeans": kmeans,
    "kpp": kmeans_plusplus,
    "k-means++": kmeans_plusplus,
    "random": random_rows,
    "points": random_rows,
    "maxdist": farthest_first,
}

__all__ = ["AUTO", "STARTS", "UNTRIED", "Start"]
