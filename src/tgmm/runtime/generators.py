"""Where random numbers come from: never torch's or numpy's global generators."""

from __future__ import annotations

import numbers

import numpy as np
import torch

RandomState = int | np.random.Generator | np.random.RandomState | torch.Generator | None


def as_generator(random_state: RandomState) -> torch.Generator:
    """Return a CPU generator for what a user calls a random state.

    A CPU `torch.Generator` is used, and advanced, itself; one on another device and NumPy's generators give a seed, one
    number drawn; None takes one from the operating system.
    """
    if isinstance(random_state, torch.Generator):
        return on_device(random_state, torch.device("cpu"))
    if random_state is None:
        generator = torch.Generator()
        generator.seed()
        return generator
    if isinstance(random_state, np.random.Generator):
        return torch.Generator().manual_seed(int(random_state.integers(2**31 - 1)))
    if isinstance(random_state, np.random.RandomState):
        return torch.Generator().manual_seed(int(random_state.randint(2**31 - 1)))
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        return torch.Generator().manual_seed(int(random_state) % 2**63)
    raise ValueError(
        "random_state must be None, an integer, a numpy.random.Generator or RandomState, or a torch.Generator; got "
        f"{random_state!r}."
    )


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a generator for draws on the device: this one, or one that it seeds."""
    if device == generator.device:
        return generator
    seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
    return torch.Generator(device).manual_seed(int(seed))


def drawn_seed(random_state: RandomState) -> int:
    """Return a seed from what a user calls a random state; a generator is advanced by one number."""
    return int(torch.randint(2**62, (1,), generator=as_generator(random_state)))
