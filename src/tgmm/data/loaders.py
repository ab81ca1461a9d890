"""Loaders: any object that yields batches again each time it is iterated over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from tgmm.data.source import Source


class LoaderSource(Source):
    """Batches of a `torch.utils.data.DataLoader`, a list of arrays, or any other re-iterable.

    Parameters
    ----------
    loader : iterable
        Of arrays, tensors or data frames (c, d), or of pairs (rows, weights): weights are floats, and whole numbers in
        their place, such as labels, are refused.
        It must yield the same rows each time; their order may change. What is given row by row, `sample_weight` for
        example, goes with lists, tuples and other sequences, and with data loaders that do not shuffle.

    Raises
    ------
    ValueError
        For a generator or another iterator, which could be read only once.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture
    >>> batches = [np.array([[0.0], [1.0]]), np.array([[5.0]])]
    >>> GaussianMixture().fit(batches).means_
    array([[2.]])
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        if isinstance(loader, Iterator):
            raise ValueError(
                f"X is a {type(loader).__name__}, which can be read only once, but every iteration of EM reads all "
                "rows: pass a list of batches, a DataLoader, or an object whose __iter__ starts over."
            )
        self.loader = loader
        self.in_order = _keeps_order(loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the loader's batches from the first one on."""
        return iter(self.loader)


def _keeps_order(loader: Iterable[Any]) -> bool:
    """Whether batches are sure to come in the order of the data each time."""
    if not isinstance(loader, DataLoader):
        return isinstance(loader, Sequence)
    sampler = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    while type(sampler) is BatchSampler:
        sampler = sampler.sampler
    return type(sampler) is SequentialSampler
