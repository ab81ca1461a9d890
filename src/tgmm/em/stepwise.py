"""Stepwise EM: statistics that forget, for rows that come in batches and are seen once.

Source: Cappé & Moulines 2009 (J. Royal Statistical Society B 71), with the schedule of Liang & Klein 2009 (NAACL).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.moments import Sums
from tgmm.em.expectation import Expectation
from tgmm.mixture.mixture import Mixture
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import replace

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
    def of(cls, statistics: Statistics) -> Memory:
        """Return the memory of one batch."""
        statistics = replace(statistics, centre=statistics.centre.clone())  # outside of any inference mode
        return cls(statistics, float(statistics.weight), 1)

    @classmethod
    def of_parameters(cls, parameters: Parameters, log_likelihood: float) -> Memory:
        """Return the memory of one batch of weight 1 and such a likelihood, whose estimate the parameters are."""
        weights, means, covariances = parameters.weights, parameters.means, parameters.covariances
        second = covariances.exponent(covariances.n_features) * covariances.packed
        if not covariances.shared:
            second = weights[:, None] * second
        whole = weights.sum()
        total = log_likelihood * whole
        return cls(Statistics(weights, torch.zeros_like(means), second, total, total, whole, means), 1.0, 1)

    @property
    def counts(self) -> tuple[float, float, int]:
        """The weight that is remembered, the sum of all sample weights, and the number of batches."""
        return float(self.statistics.weight), self.seen, self.n_batches

    def weighing(self, weight: float, seen: float, n_batches: int) -> Memory:
        """Return the same memory of other batches: their weight that is remembered, all their weight, their number."""
        own = float(self.statistics.weight)  # 0 where all rows are noise
        return Memory(self.statistics.scale(weight / own if own > 0 else 0.0), seen, n_batches)

    def and_batch(self, batch: Memory, sums: Sums, step: float | None) -> Memory:
        """Return the memory after one more batch, about the centre of its statistics."""
        seen, n_batches = self.seen + batch.seen, self.n_batches + 1
        share = step_size(self.n_batches, batch.seen * n_batches / seen, step)
        before = float(self.statistics.weight)
        weight = batch.seen + before * (1 if step is None else 1 - share)
        past = self.statistics.about(batch.statistics.centre, sums).scale((1 - share) * weight / before)
        return Memory(past + batch.statistics.scale(share * weight / batch.seen), seen, n_batches)


def step_size(n_batches: int, relative_weight: float, step: float | None) -> float:
    """Return the share of a new batch in the statistics, after n_batches others.

    A batch of average weight has the share ``step``, or (n_batches + 2)^-0.6 where that is None. The odds of the share
    are in proportion to the batch's weight, so that rows count by their weight however they are put into batches.
    """
    size = (n_batches + 2) ** -DECAY if step is None else step
    return size * relative_weight / (size * relative_weight + 1 - size)


@dataclass(frozen=True)
class Blended(Expectation):
    """An E-step on a batch whose statistics are blended with those of all rows before.

    Parameters
    ----------
    memory : Memory or None
        None before the first batch.
    sums : Sums
    step_size : float or None
        The share of a batch of average weight, see `step_size`.
    """

    memory: Memory | None
    sums: Sums
    step_size: float | None

    def __call__(self, parameters: Parameters, rung: int, centre: Tensor | None = None) -> tuple[Statistics, int]:
        """Return the blended statistics; those of one batch can come several times, ever more precise."""
        statistics, rung = super().__call__(parameters, rung, centre)
        return self.after(Memory.of(statistics)).statistics, rung

    def after(self, batch: Memory) -> Memory:
        """Return what is remembered after a batch."""
        return batch if self.memory is None else self.memory.and_batch(batch, self.sums, self.step_size)

    def remembered(self, statistics: Statistics, weight: float) -> Memory:
        """Return the memory that blended statistics are of, after a batch of this weight."""
        if self.memory is None:
            return Memory(statistics, weight, 1)
        return Memory(statistics, self.memory.seen + weight, self.memory.n_batches + 1)


@dataclass(frozen=True)
class Continuation:
    """What the next batch needs to know: the memory, the frame it is in, and the regularisation."""

    memory: Memory
    frame: Frame
    regularisation: Tensor  # (d,) or (), in the frame

    @classmethod
    def of_parameters(
        cls,
        mixture: Mixture,
        log_likelihood: float,
        regularisation: Tensor,
        weight: float,
        seen: float,
        n_batches: float,
    ) -> Continuation:
        """Return what goes on from a mixture, an average log-likelihood and a regularisation in the user's units.

        The rest are `Memory.counts`.
        """
        frame = Frame.around(mixture.parameters, mixture.dtype, one_scale=mixture.structure.one_scale)
        memory = Memory.of_parameters(frame.parameters_in(mixture.parameters), frame.log_density_in(log_likelihood))
        return cls(memory.weighing(weight, seen, int(n_batches)), frame, frame.variances_in(regularisation))

    def reordered(self, order: Tensor) -> Continuation:
        """Return the same with the components in another order, (K,) of their present numbers."""
        statistics = self.memory.statistics.reordered(order.to(self.memory.statistics.mass.device))
        return replace(self, memory=replace(self.memory, statistics=statistics))

    def to(self, device: torch.device) -> Continuation:
        """Return the same on a device."""
        memory = replace(self.memory, statistics=moved(self.memory.statistics, device))
        return Continuation(memory, moved(self.frame, device), self.regularisation.to(device))
