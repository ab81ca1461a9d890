"""Starts from rows of whose component something is known."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk, Total
from tgmm.em.problem import Problem
from tgmm.kernels.assignment import labelled, soft
from tgmm.kernels.base import Kernel
from tgmm.kernels.choose import first_precise, kernels_for
from tgmm.model.parameters import Parameters, nearest
from tgmm.runtime.devices import widen

OUT_OF_THE_QUESTION = -50.0  # nats, in place of the logarithm of a multiple of 0


class LabelledMeans(NamedTuple):
    """The means of the rows that are known to be of a component, for those components that have such rows."""

    components: Tensor  # (L,)
    means: Tensor  # (L, d)

    @classmethod
    def of(cls, problem: Problem) -> LabelledMeans:
        """Return those of a problem, in the frame."""
        anywhere = nearest(problem.frame.shift.new_zeros(problem.n_components, problem.data.n_features))
        statistics, _ = problem.expectation(labelled)(anywhere, 0)
        components = (statistics.mass > 0).nonzero().flatten()
        means = statistics.centre + statistics.first / statistics.mass[:, None]
        return cls(components, means[components])


def labelled_centres(problem: Problem, centres: Tensor) -> Tensor:
    """Return centres (K, d) for the components: means of labelled rows, and for the others centres far from these."""
    known, n_components = LabelledMeans.of(problem), len(centres)
    if not known.components.numel():
        return centres[_order(problem, nearest(centres))]
    own = _matched(-torch.cdist(known.means, centres))
    left = torch.ones(n_components, dtype=torch.bool, device=centres.device)
    left[own] = False
    others = torch.ones_like(left)
    others[known.components] = False
    found = torch.empty_like(centres)
    found[known.components], found[others] = known.means, centres[left]
    return found


def in_order(problem: Problem, parameters: Parameters) -> Parameters:
    """Return a mixture with its components in the order that fits best with what is known of rows."""
    return parameters.reordered(_order(problem, parameters))


def _order(problem: Problem, parameters: Parameters) -> Tensor:
    """Return which component is to be the first, the second and so on, (K,)."""
    moment, gaps = parameters.covariances.own_moment, problem.summary.n_gaps > 0
    kernels = kernels_for(moment, problem.frame, parameters.n_components, problem.dtype, problem.device, gaps=gaps)
    kernel = kernels[first_precise(kernels, parameters)]
    evidence = problem.data.fold(lambda: EvidenceOf(kernel, parameters))
    return _matched(evidence.total.to(parameters.means.device))


def _matched(worth: Tensor) -> Tensor:
    """Return for each row of worth (L, K) a column of its own, so that the sum is greatest, (L,)."""
    return torch.from_numpy(linear_sum_assignment(worth.cpu().numpy(), maximize=True)[1]).to(worth.device)


class EvidenceOf(Accumulator[Total]):
    """Gathers by how much more probable rows are, where component l is the k-th of a mixture.

    That is the sum over rows of their probabilities in the k-th times the logarithm of what multiplies the weight of l.
    """

    def __init__(self, kernel: Kernel, parameters: Parameters) -> None:
        self.kernel, self.operands, self.buffer = kernel, kernel.operands(parameters), kernel.buffer()
        self.n_rows = kernel.n_rows
        n_components = parameters.n_components
        self.total = torch.zeros(n_components, n_components, dtype=torch.float64)

    def add(self, chunk: Chunk) -> None:
        """Add what a chunk says."""
        assert chunk.known is not None, "labels travel with the rows"
        shares = self.kernel.log_joint(chunk.rows, self.operands, self.buffer)[0]  # (K, c)
        soft(shares)
        shares = widen(shares)
        multiples = self._multiples(chunk.known).to(shares)  # (c, K)
        logs = multiples.log().clamp(min=OUT_OF_THE_QUESTION)
        weights = chunk.own_weights().to(shares.device)
        self.total += ((logs * weights[:, None]).T @ shares.T).cpu()

    def _multiples(self, known: Tensor) -> Tensor:
        """Return what multiplies the weights in each row, (c, K)."""
        if known.ndim == 2:
            return known
        components = torch.arange(self.kernel.n_components, device=known.device)
        return (known[:, None] < 0) | (known[:, None] == components)

    def result(self) -> Total:
        """Return what all rows say."""
        return Total(self.total)
