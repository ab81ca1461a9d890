"""Rows that lack values: those without gaps go to another kernel, of the others what is observed counts.

The expectation of a row's moments given what is observed of it takes the place of the moments (Ghahramani & Jordan
1994, NIPS 6), in the same statistics. What is summed over rows is what is observed, by products as in
`tgmm.kernels.products`, or where these are not precise about the means as in `tgmm.kernels.centred`; the expectation of
the rest follows from the sums. All of it is in float64.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.data.chunk import Accumulator, Chunk, joined
from tgmm.kernels.arrangement import Arrangement
from tgmm.kernels.assignment import Noisy
from tgmm.kernels.base import BITS, TOLERANCE, Assignment, Buffer, Kernel
from tgmm.kernels.centred import Centred
from tgmm.kernels.incomplete import Dependent, Incomplete, Independent
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import float32_products, float64_device, transferred, widen

# Amplification of rounding above which sums about the origin are not precise in float64.
AMPLIFIED = TOLERANCE[torch.float64] / torch.finfo(torch.float64).eps
WAITING = 1 << 19  # entries of rows with gaps that are added together, where rows do not stay


class Gaps(Kernel):
    """A kernel for rows that may lack values.

    Parameters
    ----------
    complete : Kernel
        That of the rows that lack none.
    """

    moment: Moment

    def __init__(self, complete: Kernel) -> None:
        super().__init__(complete.moment, complete.frame, complete.n_components, complete.dtype, complete.device)
        self.complete, self.n_rows = complete, complete.n_rows
        self._kept: tuple[Tensor, tuple, Arrangement] | None = None  # rows that stay, and the form they are met in

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics of rows as the other kernel does."""
        return GapSums(self, parameters, assignment, self.complete.gather(parameters, assignment, centre))

    def operands(self, parameters: Parameters) -> tuple:
        """Return what the other kernel needs, and what the rows with gaps do."""
        return self.complete.operands(parameters), self.incomplete(parameters)

    def log_joint(self, rows: Tensor, operands: tuple, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return the joint log-densities of what is observed."""
        whole, incomplete = operands
        lacks = torch.isnan(rows).any(1)
        if not lacks.any():
            return self.complete.log_joint(rows, whole, buffer)
        joint = torch.empty(self.n_components, rows.shape[0], dtype=self.dtype, device=self.device)
        common = joint.new_zeros(rows.shape[0])
        is_whole, lacks = ~lacks, lacks.to(self.device)
        if is_whole.any():
            bits, shared = self.complete.log_joint(rows[is_whole], whole, buffer)
            joint[:, ~lacks] = bits.to(joint)
            if shared is not None:
                common[~lacks] = shared.to(joint)
        joint[:, lacks] = incomplete.log_joint(self.framed(rows[~is_whole])).to(joint) * BITS
        return joint, common

    def incomplete(self, parameters: Parameters) -> Incomplete:
        """Return the components as rows with gaps meet them."""
        parameters = parameters.to(float64_device(self.device))
        mixes = self.moment.mixes or parameters.covariances.own_moment.mixes
        log_scale = self.frame.scale.log().to(parameters.means.device)
        centred = isinstance(self.complete, Centred)  # which is chosen for its speed, too
        centred = centred and parameters.amplification_about_origin > AMPLIFIED
        return (Dependent if mixes else Independent)(parameters, log_scale, centred)

    def arrangement_of(self, rows: Tensor, incomplete: Incomplete) -> Arrangement:
        """Return the arrangement of rows that stay, which is found once."""
        form = (type(incomplete), incomplete.centred)
        if self._kept is None or self._kept[0] is not rows or self._kept[1] != form:
            self._kept = rows, form, Arrangement.of(rows, incomplete, self.n_rows)
        return self._kept[2]

    def framed(self, rows: Tensor) -> Tensor:
        """Return rows in the frame, (c, d), in float64."""
        return self.frame.rows_in(widen(rows.to(self.device)))


class GapSums(Accumulator[Statistics]):
    """Gathers the statistics of rows that lack values, and hands the others on."""

    def __init__(
        self, kernel: Gaps, parameters: Parameters, assignment: Assignment, complete: Accumulator[Statistics]
    ) -> None:
        self.kernel, self.complete, self.assignment, self.n_rows = kernel, complete, assignment, complete.n_rows
        self.incomplete = kernel.incomplete(parameters)
        means = self.incomplete.parameters.means
        self.mass, self.first = torch.zeros_like(means[:, 0]), torch.zeros_like(means)
        self.second = means.new_zeros(len(means), kernel.n_moments)
        self.totals = means.new_zeros(3)  # log-likelihood, objective, weight
        self.waiting: list[Chunk] = []
        self.n_waiting = 0

    @float32_products()
    def add_all(self, chunks: Iterable[Chunk]) -> None:
        """Take in chunk after chunk; of rows that stay, all at once."""
        for chunk in chunks:
            if chunk.stays:
                self._add_arranged(chunk, self.kernel.arrangement_of(chunk.rows, self.incomplete))
            else:
                super().add_all([chunk])

    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk, or let its rows with gaps wait for more: then more have a pattern in common."""
        lacks = torch.isnan(chunk.rows).any(1)
        if not lacks.any():
            self.complete.add(chunk)
            return
        if not lacks.all():
            self.complete.add(chunk.part(~lacks))
        self.waiting.append(chunk.part(lacks))
        self.n_waiting += int(lacks.sum())
        if self.n_waiting * self.kernel.n_features >= WAITING:
            self._add_waiting()

    def _add_waiting(self) -> None:
        """Add the rows with gaps that have come together."""
        some = joined(self.waiting)
        self.waiting, self.n_waiting = [], 0
        self._add_arranged(some, Arrangement.of(some.rows, self.incomplete, self.n_rows))

    def _add_arranged(self, chunk: Chunk, arrangement: Arrangement) -> None:
        """Add the sums of rows that are arranged like this."""
        self.complete.add_all(arrangement.complete(chunk))
        if not arrangement.groups:
            return
        weights = chunk.own_weights()
        totals = [weights[arrangement.lacking].sum()]
        # A row without any value tells nothing, not even of the weights; of noise, its own weight would tell.
        if chunk.known is None and not isinstance(self.assignment, Noisy):
            totals.append(weights[arrangement.empty].sum() * self.kernel.frame.log_volume)
            weights = weights.index_fill(0, arrangement.empty, 0.0)
        weight, *likelihood = transferred(self.totals.device, *totals)
        self.totals[2] += weight
        if likelihood:
            self.totals[:2] += likelihood[0]
        chunk = chunk._replace(weights=weights)
        for group in arrangement.groups:
            part = chunk.part(group.index.flatten())
            rows = self.kernel.framed(part.rows)
            known = None if part.known is None else part.known.to(rows.device)
            own = part.own_weights().to(rows.device)
            self._add(*self.incomplete.sums(group, rows, own, known, self.assignment))

    def _add(self, likelihood: Tensor, objective: Tensor, sums: tuple[Tensor, Tensor, Tensor]) -> None:
        """Add the weighted likelihood and objective of rows, and the sums of their expected moments."""
        self.totals[0] += likelihood
        self.totals[1] += objective
        mass, first, second = sums
        self.mass += mass
        self.first += first
        moment = self.kernel.moment
        self.second += moment.of_products(second) if second.ndim == 3 else moment.of_squares(second)

    def result(self) -> Statistics:
        """Return the statistics of all rows about the centre that those of rows without gaps have."""
        if self.waiting:
            self._add_waiting()
        complete, moment = self.complete.result(), self.kernel.moment
        centre = self.incomplete.parameters.means
        sums = (self.mass, self.first, moment.pooled(self.second), self.totals, centre)
        mass, first, second, totals, centre = transferred(complete.mass.device, *sums)
        own = Statistics(mass, first, second, totals[0], totals[1], totals[2], centre)
        return complete + own.about(complete.centre, moment)
