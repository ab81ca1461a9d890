"""Stepwise EM: statistics that forget, for rows that come in batches and are seen once.

Source: Cappé & Moulines 2009 (J. Royal Statistical Society B 71), with the schedule of Liang & Klein 2009 (NAACL).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure
from tgmm.data.frame import Frame
from tgmm.parameters import Parameters
from tgmm.placement import moved
from tgmm.statistics import Statistics

DECAY = 0.6  # of the step size; between 1/2 and 1, so that steps sum to infinity and their squares do not


@dataclass(frozen=True)
class Memory:
    """What is remembered of all batches so far.

    The weight of the statistics is what a prior is weighed against: that of all rows, or of those not forgotten
    where the step size is constant.
    """

    statistics: Statistics  # in a frame
    seen: float  # sum of all sample weights
    n_batches: int

    @classmethod
    def of(cls, statistics: Statistics, structure: CovarianceStructure) -> Memory:
        """Return the memory of one batch."""
        if structure.pooled:  # some kernels sum for each component
            statistics = replace(statistics, second=statistics.second.sum(0, keepdim=True))
        return cls(statistics, float(statistics.weight), 1)

    @classmethod
    def of_parameters(cls, parameters: Parameters, structure: CovarianceStructure) -> Memory:
        """Return the memory of one batch of weight 1 whose maximum likelihood estimate the parameters are."""
        weights, means = parameters.weights, parameters.means
        second = structure.exponent(means.shape[1]) * structure.pack(parameters.covariances)
        if not structure.pooled:
            second = weights[:, None] * second
        zero = torch.zeros_like(weights.sum())
        return cls(Statistics(weights, torch.zeros_like(means), second, zero, zero, weights.sum(), means), 1.0, 1)

    def weighing(self, weight: float, seen: float, n_batches: int) -> Memory:
        """Return the same memory of other batches: their weight that is remembered, all their weight, their number."""
        return Memory(self.statistics.scale(weight / float(self.statistics.weight)), seen, n_batches)

    def and_batch(self, batch: Memory, structure: CovarianceStructure, step: float | None) -> Memory:
        """Return the memory after one more batch, about the centre of its statistics."""
        seen, n_batches = self.seen + batch.seen, self.n_batches + 1
        share = step_size(self.n_batches, batch.seen * n_batches / seen, step)
        before = float(self.statistics.weight)
        weight = batch.seen + before * (1 if step is None else 1 - share)
        past = recentred(self.statistics, batch.statistics.centre, structure).scale((1 - share) * weight / before)
        return Memory(past + batch.statistics.scale(share * weight / batch.seen), seen, n_batches)


def step_size(n_batches: int, relative_weight: float, step: float | None) -> float:
    """Return the share of a new batch in the statistics, after n_batches others.

    A batch of average weight has the share ``step``, or (n_batches + 2)^-0.6 where that is None. The odds of the share
    are in proportion to the batch's weight, so that rows count by their weight however they are put into batches.
    """
    size = (n_batches + 2) ** -DECAY if step is None else step
    return size * relative_weight / (size * relative_weight + 1 - size)


def recentred(statistics: Statistics, centre: Tensor, structure: CovarianceStructure) -> Statistics:
    """Return the statistics about another centre, (1, d) or (K, d).

    A moment about another centre changes by what it changes for the mean (the parallel axis theorem).
    """
    mass, moment = statistics.mass, structure.moment
    mean = statistics.first / torch.where(mass > 0, mass, 1.0)[:, None]  # (K, d) about the old centre
    moved = mean + statistics.centre - centre
    gain = mass[:, None] * (moment.of(moved) - moment.of(mean))  # (K, q)
    if structure.pooled:
        gain = gain.sum(0, keepdim=True)
    return replace(statistics, first=mass[:, None] * moved, second=statistics.second + gain, centre=centre)


@dataclass
class Blend:
    """Turns the statistics of a batch into those of all rows so far, and remembers them."""

    memory: Memory | None  # None before the first batch
    structure: CovarianceStructure
    step: float | None

    def __post_init__(self) -> None:
        self.after = self.memory

    def __call__(self, statistics: Statistics) -> Statistics:
        """Return the blended statistics; those of one batch can come several times, ever more precise."""
        batch = Memory.of(statistics, self.structure)
        self.after = batch if self.memory is None else self.memory.and_batch(batch, self.structure, self.step)
        return self.after.statistics


@dataclass(frozen=True)
class Continuation:
    """What the next batch needs to know: the memory, the frame it is in, and the regularisation."""

    memory: Memory
    frame: Frame
    regularisation: Tensor  # (d,) or (), in the frame

    @classmethod
    def of_parameters(
        cls, parameters: Parameters, structure: CovarianceStructure, regularisation: Tensor, dtype: torch.dtype
    ) -> Continuation:
        """Return what goes on from parameters and a regularisation in the user's units."""
        frame = Frame.around(parameters, structure, dtype)
        memory = Memory.of_parameters(frame.parameters_in(parameters, structure), structure)
        return cls(memory, frame, frame.variances_in(regularisation))

    def to(self, device: torch.device) -> Continuation:
        """Return the same on a device."""
        memory = replace(self.memory, statistics=moved(self.memory.statistics, device))
        return Continuation(memory, moved(self.frame, device), self.regularisation.to(device))
