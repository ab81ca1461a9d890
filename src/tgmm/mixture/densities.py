"""Densities, posterior probabilities and distances of rows, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from tgmm.data.kinds import Arrays
from tgmm.data.validation import check_rows
from tgmm.kernels.assignment import Noisy, most_probable, soft
from tgmm.kernels.base import BITS
from tgmm.kernels.choose import first_precise, kernels_for
from tgmm.kernels.chunking import rows_per_chunk
from tgmm.mixture.base import BaseMixture
from tgmm.mixture.marginal import marginal
from tgmm.model.frame import Frame
from tgmm.runtime.devices import float64_device, standalone, widen

# Quadratic parts of the exponent this close are equal: what separates them is rounding.
TIE = 1e-12
# Rows are far where the rounding of their joint log-densities exceeds this.
FAR = 1e-3
WHOLE = ", for example with impute(X), because a distance needs every value of a row"
FAR_NUMBERS = 1 << 22  # entries of the (K, m, d) deviations of far rows held at a time


class Joint(NamedTuple):
    """The joint log-densities of some rows."""

    part: slice  # which rows
    bits: Tensor  # (K, c), to be overwritten
    common: Tensor | None  # (c,) bits that all components have in common on top
    far: Tensor | None  # (m,) indices, among all, of the rows that are far, if any are
    background: Tensor | None = None  # (c,) bits, of being noise

    def assigned(self) -> Tensor:
        """Overwrite the bits by posterior probabilities; return the log-densities, in nats, (c,)."""
        log_density, _ = soft(self.bits, None, self.background)
        if self.common is not None:
            log_density += self.common / BITS
        return log_density

    def noise(self, log_density: Tensor) -> Tensor:
        """Return the probability of being noise, of rows with these log-densities, (c,)."""
        assert self.background is not None
        return (self.background.to(log_density) - log_density * BITS).exp2()


class Predictor:
    """Evaluates a mixture at rows, in a frame of the mixture's own; made once, it serves any rows and any thread.

    Parameters
    ----------
    mixture : BaseMixture
    dtype : torch.dtype
        The float type of the results.
    device : torch.device
        Where rows are moved to.
    """

    def __init__(self, mixture: BaseMixture, dtype: torch.dtype, device: torch.device) -> None:
        parameters, one_scale = mixture.parameters, mixture.structure.one_scale
        self.noise: Noisy | None = None
        if mixture.noise is None:
            self.frame = Frame.around(parameters, dtype, one_scale=one_scale)
        else:
            parameters = parameters.apart()  # beside noise, nothing of a density cancels
            components = replace(parameters, weights=parameters.weights / parameters.weights.sum())
            self.frame = Frame.around(components, dtype, one_scale=one_scale)
            place = float64_device(device)
            self.noise = Noisy.of(mixture.noise.to(place), self.frame, parameters.to(place), soft)
        self.parameters = self.frame.parameters_in(parameters)
        self.may_lack, self.mixture = mixture.columns.may_lack, mixture
        moment = parameters.covariances.own_moment if self.may_lack else parameters.covariances.evaluating_moment
        kernels = kernels_for(moment, self.frame, parameters.n_components, dtype, device, gaps=self.may_lack)
        self.kernel = kernels[first_precise(kernels, self.parameters)]
        self.operands = self.kernel.operands(self.parameters)
        self.dtype, self.device = dtype, device
        # A sum over d features is no farther for their number.
        self.limit = FAR / torch.finfo(self.kernel.dtype).eps * (1 + parameters.n_features / 1000)

    def log_density(self, rows: Tensor) -> Tensor:
        """Return the log-densities of rows, (n,)."""

        def near(joint: Joint) -> Tensor:
            return self.frame.log_density_out(joint.assigned())

        return self._of_parts(rows, near, lambda far: far[0])

    def responsibilities(self, rows: Tensor) -> Tensor:
        """Return the posterior probabilities of the components, and of noise where there is some, (n, K [+ 1])."""

        def near(joint: Joint) -> Tensor:
            log_density = joint.assigned()
            if joint.background is None:
                return joint.bits.T.contiguous()
            return torch.cat([joint.bits, joint.noise(log_density)[None]]).T.contiguous()

        return self._of_parts(rows, near, lambda far: far[1].T.exp())

    def far_log_responsibilities(self, rows: Tensor) -> Tensor:
        """Return the logarithms of what `responsibilities` gives, however far rows are and however small, (n, K [+ 1]).

        It takes longer.
        """
        return self._far(rows, torch.arange(rows.shape[0]))[1].T

    def labels(self, rows: Tensor) -> Tensor:
        """Return the most probable components, -1 where that is noise, (n,) int64."""

        def near(joint: Joint) -> Tensor:
            found = most_probable(joint.bits)
            if joint.background is None:
                return found
            return torch.where(joint.background > joint.bits.amax(0), -1, found)

        return self._of_parts(rows, near, lambda far: far[1].argmax(0))

    def log_density_and_certainty(self, rows: Tensor) -> Tensor:
        """Return the log-density and the log-probability of the most probable component of each row, (n, 2)."""

        def near(joint: Joint) -> Tensor:
            log_density = joint.assigned()
            certain = joint.bits.amax(0)
            if joint.background is not None:
                certain = torch.maximum(certain, joint.noise(log_density))
            return torch.stack([self.frame.log_density_out(log_density), certain.log_()], 1)

        return self._of_parts(rows, near, lambda far: torch.stack([far[0], far[1].amax(0)], 1))

    def _of_parts(
        self, rows: Tensor, near: Callable[[Joint], Tensor], far: Callable[[tuple[Tensor, Tensor]], Tensor]
    ) -> Tensor:
        """Return a quantity of each row, (n, ...), from joint log-densities, or for far rows from what `_far` gives."""
        out: Tensor | None = None
        for joint in self._joint(rows):
            found = near(joint).to(self.device)
            if joint.far is None and found.shape[0] == rows.shape[0]:
                return found if found.dtype == torch.int64 else found.to(self.dtype)
            if out is None:
                dtype = found.dtype if found.dtype == torch.int64 else self.dtype
                out = torch.empty(rows.shape[0], *found.shape[1:], dtype=dtype, device=self.device)
            out[joint.part] = found.to(out.dtype)
            if joint.far is not None:
                out[joint.far] = far(self._far(rows, joint.far)).to(out.dtype)
        assert out is not None, "there are rows"
        return out

    def _joint(self, rows: Tensor) -> Iterator[Joint]:
        """Yield the joint log-densities of rows.

        Far are rows for which the joint log-densities' rounding is no longer small, or that overflowed.
        """
        buffer = self.kernel.buffer()
        for first, some in enumerate(rows.split(self.kernel.n_rows)):
            part = slice(first * self.kernel.n_rows, (first + 1) * self.kernel.n_rows)
            bits, common = self.kernel.log_joint(some, self.operands, buffer)
            size = bits.amax(0).abs_()
            if common is not None:
                size += common.abs()
            far = None
            background = None if self.noise is None else self._background(rows[part]).to(bits)
            if not float(size.max()) < self.limit:
                is_far = ~(size < self.limit)
                if background is None or not self.parameters.rest > 0:
                    far = part.start + torch.nonzero(is_far).flatten()
                else:  # what is far from all components is noise
                    bits.masked_fill_(is_far, -torch.inf)
            yield Joint(part, bits, common, far, background)

    def _background(self, rows: Tensor) -> Tensor:
        """Return the joint log-density of rows (c, d) and of their being noise, in bits, (c,)."""
        assert self.noise is not None
        base = self.noise.background.expand(rows.shape[0])
        if not self.may_lack:
            return base
        return base + BITS * (torch.isnan(rows).to(self.noise.log_sides) @ self.noise.log_sides)

    def _far(self, rows: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-densities (m,) and log-responsibilities (K [+ 1], m) of the rows with indices far (m,)."""
        if self.may_lack:
            density, posterior = self._far_with_gaps(rows[far.to(rows.device)])
        else:
            count = max(1, FAR_NUMBERS // self.parameters.means.numel())
            parts = [self._far_part(rows[part.to(rows.device)]) for part in far.split(count)]
            densities, posteriors = zip(*parts, strict=True)
            density, posterior = torch.cat(densities), torch.cat(posteriors, 1)
        if self.noise is not None:  # of which there is none: otherwise far rows are noise
            posterior = torch.cat([posterior, torch.full_like(posterior[:1], -torch.inf)])
        return density, posterior

    def _far_with_gaps(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same of far rows that may lack values, by the mixtures of what they have."""
        density = torch.empty(rows.shape[0], dtype=self.dtype, device=self.device)
        posterior = density.new_empty(self.parameters.n_components, rows.shape[0])
        patterns, which = torch.isnan(rows).unique(dim=0, return_inverse=True)
        for number, gaps in enumerate(patterns):
            dims, some = (~gaps).nonzero().flatten(), (which == number).nonzero().flatten()
            whole = self.mixture.changed(columns=replace(self.mixture.columns, may_lack=False), noise=None)
            alone = Predictor(marginal(whole, dims.tolist()), self.dtype, self.device)
            own = rows[some][:, dims]
            density[some], posterior[:, some] = alone._far(own, torch.arange(len(own)))
        return density, posterior

    def _far_part(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-densities (m,) and log-responsibilities (K, m) of far rows.

        Distances are computed for rows divided by their size. Where the log-density's own rounding hides the
        differences between components, or it leaves the float type and is -inf, what grows fastest with the row
        decides: the quadratic part of the exponent, and among components for which that is the same the linear part.
        """
        parameters, factor = self.parameters, self.parameters.covariances.factor
        weights, means = parameters.weights, parameters.means
        rows = widen(rows)
        size = rows.abs().amax(1).clamp(min=1.0)  # (m,)
        scaled = (rows / size[:, None] - self.frame.shift / size[:, None]) / self.frame.scale  # (m, d)
        deviations = scaled - means[:, None] / size[:, None]  # (K, m, d)
        distances = factor.distances(deviations) * size * size  # (K, m)
        joint = parameters.log_constants[:, None] - 0.5 * distances
        log_density = self.frame.log_density_out(joint.logsumexp(0))
        quadratic = factor.distances(scaled.expand_as(deviations))  # (K, m)
        quadratic = torch.where(weights[:, None] > 0, quadratic, torch.inf)
        linear = factor.times(means)  # (K, d)
        rest = parameters.log_constants - 0.5 * (means * linear).sum(-1)  # (K,)
        rest = rest[:, None] / size + linear @ scaled.T  # (K, m)
        least = quadratic.amin(0)
        is_tied = quadratic <= least * (1 + TIE)
        rest = torch.where(is_tied, rest, -torch.inf)
        limit = torch.where(is_tied, (rest - rest.amax(0)) * size, -0.5 * (quadratic - least) * size * size)
        hidden = ~(log_density.abs() < FAR / torch.finfo(torch.float64).eps)
        posterior = torch.where(hidden, limit, joint).log_softmax(0)
        return log_density.to(self.device, self.dtype), posterior.to(self.device, self.dtype)


def predictor_of(mixture: BaseMixture, device: torch.device) -> Predictor:
    """Return what evaluates a mixture on a device in its own float type; made once."""
    return mixture.derived(Predictor, mixture.dtype, device)


def exact_predictor_of(mixture: BaseMixture) -> Predictor:
    """Return what evaluates a mixture in float64 where its parameters are; made once."""
    return mixture.derived(Predictor, torch.float64, mixture.parameters.means.device)


@overload
def mahalanobis(mixture: BaseMixture, X: Tensor) -> Tensor: ...
@overload
def mahalanobis(mixture: BaseMixture, X: Arrays) -> np.ndarray: ...
@overload
def mahalanobis(mixture: BaseMixture, X: Any) -> Any: ...
@standalone()
def mahalanobis(mixture: BaseMixture, X: Any) -> Any:
    """Return the Mahalanobis distance of each row from each component, (n, K), in standard deviations.

    Parameters
    ----------
    X : array-like or Tensor of shape (n, d)
        The rows.

    Returns
    -------
    array or Tensor of shape (n, K)
        The distances sqrt((x - mu_k)' Sigma_k^-1 (x - mu_k)), in the type of X.

    Notes
    -----
    Mahalanobis 1936 (Proceedings of the National Institute of Sciences of India 2). For rows of component k, the square
    of the distance from it has a chi-square distribution with d degrees of freedom.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [9.0]], [1.0, 4.0], "spherical")
    >>> mixture.mahalanobis([[3.0]])
    array([[3., 3.]])
    """
    rows, _ = check_rows(X, mixture.columns, hint=WHOLE)
    means, factor = mixture.parameters.means, mixture.parameters.covariances.factor
    parts = []
    for part in rows.tensor.split(rows_per_chunk(3 * means.numel(), 8, means.device)):
        deviations = widen(part).to(means.device) - means[:, None]  # (K, c, d)
        # Rows as far away as the float type reaches have squares that it does not: take their size out.
        size = deviations.abs().amax(-1)  # (K, c)
        unit = deviations / torch.where(size > 0, size, 1.0)[..., None]
        parts.append((factor.distances(unit).sqrt() * size).T.to(mixture.dtype))
    return rows.give_back(torch.cat(parts))
