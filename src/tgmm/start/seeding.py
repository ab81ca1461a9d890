"""Starts that pick rows: at random, by k-means++ and farthest first."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def random_rows(rows: Tensor, weights: Tensor, n_components: int, generator: torch.Generator) -> Tensor:
    """Return different rows at random, with probability in proportion to their weights, (K, d)."""
    return rows[draw(weights, n_components, generator, replacement=False)]


def kmeans_plusplus(rows: Tensor, weights: Tensor, n_components: int, generator: torch.Generator) -> Tensor:
    """Return rows drawn one after another with probability in proportion to weight times squared distance, (K, d).

    Each time the best of a few draws is taken: the one that lowers the summed distance most (Arthur &
    Vassilvitskii 2007, SODA; greedy with 2 + log K candidates as in section 6 of their paper).
    """
    n_trials = 2 + int(math.log(n_components))
    chosen = [int(draw(weights, 1, generator))]
    nearest = _squared_distances(rows, rows[chosen])[:, 0]  # (m,)
    while len(chosen) < n_components:
        potential = nearest * weights
        if not potential.sum() > 0:  # fewer different rows than components: any row will do
            potential = weights
        candidates = draw(potential, n_trials, generator)
        distances = torch.minimum(nearest[:, None], _squared_distances(rows, rows[candidates]))  # (m, trials)
        best = int((weights @ distances).argmin())
        chosen.append(int(candidates[best]))
        nearest = distances[:, best]
    return rows[chosen]


def farthest_first(rows: Tensor, weights: Tensor, n_components: int, generator: torch.Generator) -> Tensor:
    """Return a random row and then, each time, the row farthest from those chosen, (K, d).

    Source: Gonzalez 1985, Theoretical Computer Science 38.
    """
    chosen = [int(draw(weights, 1, generator))]
    nearest = _squared_distances(rows, rows[chosen])[:, 0]  # (m,)
    while len(chosen) < n_components:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, _squared_distances(rows, rows[chosen[-1:]])[:, 0])
    return rows[chosen]


def draw(weights: Tensor, count: int, generator: torch.Generator, *, replacement: bool = True) -> Tensor:
    """Return count indices drawn in proportion to weights (m,), from the CPU's generator on any device.

    Without replacement by exponential keys (Efraimidis & Spirakis 2006, Information Processing Letters 97).
    """
    if not replacement:
        return _keys(weights, generator).topk(count, largest=False).indices
    cumulative = weights.double().cumsum(0)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64).to(weights.device)
    return torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp_(max=weights.shape[0] - 1)


def subset(weights: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the indices of at most so many rows, in their order, drawn by weight, and the weights that they stand for.

    A row stands for its weight over the probability that it is drawn, given the largest key that is not (Cohen & Kaplan
    2007, PODC: bottom-k sketches with exponential ranks): equal weights stay equal, and no total is biased.
    """
    if weights.shape[0] <= size:
        return torch.arange(weights.shape[0], device=weights.device), weights
    keys = _keys(weights, generator)
    least, drawn = keys.topk(size + 1, largest=False)
    drawn = drawn[:size].sort().values
    stands_for = weights[drawn] / -torch.expm1(-weights[drawn] * least[size])
    return drawn, stands_for * (weights.sum() / stands_for.sum())


def _keys(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Return exponential keys, (m,): the rows with the smallest are a draw without replacement by weight."""
    uniform = torch.rand(weights.shape[0], generator=generator, dtype=torch.float64).to(weights.device)
    return -uniform.log() / weights


def _squared_distances(rows: Tensor, centres: Tensor) -> Tensor:
    """Return (m, c) squared Euclidean distances, by differences: exactly 0 for equal rows."""
    return torch.stack([(rows - centre).square().sum(1) for centre in centres], 1)
