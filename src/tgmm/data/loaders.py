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
        Yields arrays, tensors or data frames (c, d), or pairs (rows, weights). Weights must be floats; integers in
        their place are refused, because they are probably labels. The loader must yield the same rows each time, in any
        order. Arguments with one value a row, such as `sample_weight`, need a list, a tuple or another sequence, or a
        data loader that does not shuffle.

    Raises
    ------
    ValueError
        If the loader is a generator or another iterator, which can be read only once.

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
    """Whether batches certainly come in the order of the data each time."""
    if not isinstance(loader, DataLoader):
        return isinstance(loader, Sequence)
    sampler = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    while type(sampler) is BatchSampler:
        sampler = sampler.sampler
    return type(sampler) is SequentialSampler
