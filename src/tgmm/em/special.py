"""What a fit knows beforehand: components of rows, rows that are noise, parameters that are fixed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tgmm.model.held import Held
from tgmm.model.noise import Noise


@dataclass(frozen=True)
class Special:
    """What is known beforehand, each None where nothing is; in the user's units.

    Parameters
    ----------
    labels : Tensor, optional
        Components (n_given,), -1 where they are not known, or multiples of the weights (n_given, K) of this process's
        rows.
    noise : Noise, optional
    noise_share : float
        Of the rows that begin as noise.
    is_noise : Tensor of bool, (n_given,), optional
        Which do, where that is known.
    held : Held, optional
    """

    labels: Tensor | None = None
    noise: Noise | None = None
    noise_share: float = 0.0
    is_noise: Tensor | None = None
    held: Held | None = None


NOTHING = Special()
