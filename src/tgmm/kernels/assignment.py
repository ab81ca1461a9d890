"""From joint log-densities to responsibilities: soft (EM), hard (Classification EM) or given; with labels and noise.

Joint log-densities come in bits, see `tgmm.kernels.base`. A background is the joint log-density, in bits, of a row and
of its being noise, () or (c,): what it takes of a row is missing from the responsibilities of the components.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tgmm.model.frame import Frame
from tgmm.model.noise import Noise
from tgmm.model.parameters import Parameters
from tgmm.runtime.largest import mark_largest

Background = Tensor | None
LOG_2 = math.log(2)


# Of joint (K, c), in bits, what is known of the rows, and a background: overwrites the first by responsibilities, and
# returns the rows' log-densities and what EM climbs, in nats.
Rule = Callable[..., tuple[Tensor, Tensor]]


def soft(joint: Tensor, known: Tensor | None = None, background: Background = None) -> tuple[Tensor, Tensor]:
    """Overwrite joint (..., K, c), in bits, by the posterior probabilities; EM climbs the log-likelihood.

    A row infinitely far from every component gets probabilities 0, not NaN. Probabilities below the smallest normal
    number become 0, and are never computed: denormal numbers cost many times as much.
    """
    lowest, tiny, log_tiny = _limits(joint.dtype)
    largest = joint.amax(-2, keepdim=True)  # (..., 1, c)
    if background is not None:
        largest = torch.maximum(largest, background.to(largest))
    largest = largest.clamp_min_(lowest)
    joint.sub_(largest).clamp_min_(log_tiny).exp2_().sub_(tiny)
    total = joint.sum(-2, keepdim=True)
    if background is not None:
        total += (background.to(largest) - largest).exp2()
    total = total.clamp_min_(tiny)  # (..., 1, c)
    joint.div_(total)
    log_likelihood = total.log2_().add_(largest).mul_(LOG_2).squeeze(-2)
    return log_likelihood, log_likelihood


@cache
def _limits(dtype: torch.dtype) -> tuple[float, float, float]:
    """Return the lowest number of a float type, its smallest normal number, and the logarithm of that in bits."""
    limits = torch.finfo(dtype)
    return limits.min, limits.tiny, math.log2(limits.tiny)


def hard(joint: Tensor, known: Tensor | None = None, background: Background = None) -> tuple[Tensor, Tensor]:
    """Overwrite joint (..., K, c), in bits, by 1 for the most probable component: CEM.

    It climbs the classification likelihood. Of components that are equally probable it is the first.

    Source: Celeux & Govaert 1992, Computational Statistics & Data Analysis 14.
    """
    largest = joint.amax(-2)  # (..., c)
    ranks = _ranks_of_largest(joint, largest)
    log_likelihood, _ = soft(joint, None, background)
    torch.eq(ranks, ranks.amax(-2, keepdim=True), out=joint)
    if background is not None:
        joint.mul_((largest >= background.to(largest)).unsqueeze(-2))
        largest = torch.maximum(largest, background.to(largest))
    return log_likelihood, largest * LOG_2


def winners(joint: Tensor, known: Tensor | None = None, background: Background = None) -> tuple[Tensor, Tensor]:
    """Overwrite joint (..., K, c) by 1 for the most probable component, as `hard` does: no likelihood."""
    mark_largest(joint)
    nothing = joint.new_zeros(()).expand_as(joint[..., 0, :])
    return nothing, nothing


def most_probable(joint: Tensor) -> Tensor:
    """Return the first of the most probable components of each column of joint (K, c), (c,) int64."""
    return joint.max(0).indices  # several times as fast as argmax, along the first dimension


def _ranks_of_largest(joint: Tensor, largest: Tensor) -> Tensor:
    """Return K for the first component, 1 for the last, where it is the largest of its column, else 0: (..., K, c).

    Comparing takes a tenth of the time in which torch finds the index of the largest.
    """
    ranks = torch.arange(joint.shape[-2], 0, -1, dtype=torch.float32, device=joint.device)  # (K,)
    return (joint == largest[..., None, :]) * ranks[:, None]


def given(joint: Tensor, known: Tensor | None, background: Background = None) -> tuple[Tensor, Tensor]:
    """Overwrite joint (K, c) by what is known of its rows, labels (c,) or responsibilities (c, K): no likelihood.

    A row of label -1 is in no component.
    """
    assert known is not None, "responsibilities travel with the rows"
    if known.ndim == 1:
        known = known.to(joint.device)
        joint.zero_().scatter_(0, known.clamp(min=0)[None], (known >= 0)[None].to(joint))
    else:
        joint.copy_(known.T)
    nothing = joint.new_zeros(joint.shape[1])
    return nothing, nothing


def labelled(joint: Tensor, known: Tensor | None, background: Background = None) -> tuple[Tensor, Tensor]:
    """Overwrite joint (K, c) by 1 for the component that a row is known to be in: no likelihood.

    Rows of label -1 are in none, nor are those of several possible components.
    """
    assert known is not None, "labels travel with the rows"
    if known.ndim == 2:
        known = torch.where((known > 0).sum(1) == 1, known.argmax(1), -1)
    return given(joint, known)


@dataclass(frozen=True)
class Labelled:
    """An assignment of rows whose component is known, or more or less probable than its weight says.

    Parameters
    ----------
    rule : Rule
        Soft or hard.
    """

    rule: Rule

    def __call__(
        self, joint: Tensor, known: Tensor | None = None, background: Background = None
    ) -> tuple[Tensor, Tensor]:
        """Overwrite joint (K, c) where labels (c,) are not -1, or each row has its multiples of the weights (c, K).

        A row of a label is no noise.
        """
        if known is None:
            return self.rule(joint, None, background)
        if known.ndim == 2:
            return self.rule(joint.add_(known.log2().T.to(joint)), None, background)
        known = known.to(joint.device)
        components = torch.arange(joint.shape[0], device=joint.device)
        joint.masked_fill_((known >= 0) & (known != components[:, None]), -torch.inf)
        if background is not None:
            background = torch.where(known >= 0, -torch.inf, background.to(joint.dtype))
        return self.rule(joint, None, background)


@dataclass(frozen=True)
class Noisy:
    """An assignment of rows that may be noise.

    Parameters
    ----------
    rule : Rule
    background : Tensor, ()
        In bits.
    log_sides : Tensor of shape (d,)
        By which the log-density of the noise, in nats, is greater for each value that a row lacks.
    """

    rule: Rule
    background: Tensor
    log_sides: Tensor

    @classmethod
    def of(cls, noise: Noise, frame: Frame, parameters: Parameters, rule: Rule) -> Noisy:
        """Return the assignment in a frame, to the components of parameters or noise."""
        background = (parameters.rest.log() + noise.log_density_in(frame)) / LOG_2
        return cls(rule, background, noise.log_sides)

    def __call__(self, joint: Tensor, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Overwrite joint (K, c) by responsibilities, which noise takes a part of."""
        return self.rule(joint, known, self.background)
