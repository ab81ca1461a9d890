"""Components that lost all their rows, and where they start again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.data.chunk import Accumulator, Chunk
from tgmm.em.expectation import Expectation
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Kernel
from tgmm.kernels.choose import centred_for
from tgmm.kernels.gaps import Gaps
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.runtime.frozen import replace

MOST_NOISE = 0.5  # that components are re-seeded beside
NEGLIGIBLE = 16 * torch.finfo(torch.float64).eps  # share of the rows from which nothing can be estimated


def lost_components(statistics: Statistics, priors: Priors) -> Tensor | None:
    """Return which components have no mass to estimate anything from, (..., K), or None where all have some.

    Not lost are components that the Dirichlet prior's mode sets to 0, and those whose priors alone have a mode.
    """
    if priors.proper:
        return None
    shares = statistics.mass / statistics.weight.unsqueeze(-1)
    if float(shares.min()) > NEGLIGIBLE:
        return None
    lost = shares <= NEGLIGIBLE
    if priors.concentration is not None:
        lost = lost & (priors.weight_mass(statistics.mass) > 0)
    return lost if lost.any() else None


def reseeded(parameters: Parameters, lost: Tensor, rows: Tensor, noise: float = 0.0) -> Parameters:
    """Return parameters with lost components on rows in the frame, one for each.

    Each gets a K-th of what noise leaves of the weight, which is half at least, and the weighted mean of the other
    components' covariances. Where noise has all rows, and there are no others, that is the unit of the frame.
    """
    n_components, left = lost.shape[0], 1 - min(noise, MOST_NOISE)
    means = parameters.means.clone()
    means[lost] = rows
    others = torch.where(lost, 0.0, parameters.weights)
    mean = _unit_like(parameters.covariances) if bool(lost.all()) else parameters.covariances.average(others)
    covariances = mean if parameters.covariances.shared else parameters.covariances.replaced(lost, mean)
    weights = others / others.sum() * (left - left * rows.shape[0] / n_components)
    return Parameters(torch.where(lost, left / n_components, weights), means, covariances)


def _unit_like(covariances: Covariances) -> Covariances:
    """Return the covariance of one component that is the unit matrix, kept in the same form."""
    n_features = covariances.n_features
    products = torch.eye(n_features, dtype=torch.float64, device=covariances.variances.device)
    packed = covariances.own_moment.of_products(products)[None]
    unit = covariances.from_packed(packed, n_features, shared=covariances.shared)
    return unit.over(products.new_full((1,), covariances.exponent(n_features)))


def worst_explained(parameters: Parameters, expectation: Expectation, rung: int, count: int) -> Tensor:
    """Return the count rows of lowest log-density, in the frame, (count, d); at its origin where they lack values."""
    fast = expectation.ladder.kernels[rung]
    moment, frame = parameters.covariances.own_moment, fast.frame
    kernel = centred_for(moment, frame, fast.n_components, fast.device)
    kernel = Gaps(kernel) if isinstance(fast, Gaps) else kernel
    lowest = expectation.data.fold(lambda: LowestDensities(kernel, parameters, count))
    return frame.rows_in(lowest.rows[:, :-1].to(frame.shift.device)).nan_to_num(nan=0.0)


@dataclass(frozen=True)
class Lowest:
    """At most so many rows of lowest log-density."""

    rows: Tensor  # (m, d + 1), the log-density last, in float64 on the CPU
    count: int

    def __add__(self, other: Lowest) -> Lowest:
        """Return the lowest of both."""
        rows = torch.cat([self.rows, other.rows])
        return Lowest(rows[rows[:, -1].topk(min(self.count, rows.shape[0]), largest=False).indices], self.count)


class LowestDensities(Accumulator[Lowest]):
    """Gathers the rows of lowest log-density."""

    def __init__(self, kernel: Kernel, parameters: Parameters, count: int) -> None:
        self.kernel, self.operands = kernel, kernel.operands(parameters)
        self.n_rows, self.buffer = kernel.n_rows, kernel.buffer()
        self.lowest = Lowest(torch.empty(0, kernel.n_features + 1, dtype=torch.float64), count)

    def add(self, chunk: Chunk) -> None:
        """Take in the lowest of a chunk."""
        density, _ = soft(self.kernel.log_joint(chunk.rows, self.operands, self.buffer)[0])  # (c,)
        found = density.topk(min(self.lowest.count, density.shape[0]), largest=False)
        rows = chunk.rows[found.indices.to(chunk.rows.device)]
        scored = torch.cat([rows.cpu().double(), found.values.cpu().double()[:, None]], 1)
        self.lowest = self.lowest + Lowest(scored, self.lowest.count)

    def result(self) -> Lowest:
        """Return the lowest of all."""
        return self.lowest


def keep_previous(parameters: Parameters, gone: Tensor, previous: Parameters) -> Parameters:
    """Return parameters with the means and covariances that components without weight had before.

    Where they had no covariance of this form before, they get the mean of the others'.
    """
    covariances = parameters.covariances
    known = type(previous.covariances) is type(covariances) and previous.covariances.shared == covariances.shared
    others = previous.covariances if known else covariances.average(parameters.weights)
    means = torch.where(gone[:, None], previous.means, parameters.means)
    return replace(parameters, means=means, covariances=covariances.replaced(gone, others))
