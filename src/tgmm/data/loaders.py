"""Loaders: any object that yields batches again each time it is iterated over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from tgmm.data.source import Source


class LoaderSource(Source):
    """Batches of a `torch.utils.data.DataLoader`, a list of arrays, or any other re-iterable.

    Parameters
    ----------
    loader : iterable
        Yields arrays, tensors or data frames (c, d), or pairs (rows, weights). Weights must be floats; integers in
        their place are refused, because they are probably labels. The loader must yield the same rows each time, in any
        order. A fit refuses a data loader whose sampler draws other rows each time. Arguments with one value for each
        row, such as `sample_weight`, need a list, a tuple or another sequence, or a data loader that does not shuffle.

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
        self.keeps_batches = isinstance(loader, list | tuple)

    def __iter__(self) -> Iterator[Any]:
        """Yield the loader's batches from the first one on."""
        return iter(self.loader)

    def require_same_rows(self) -> None:
        """Check that every pass yields the same rows, as far as the loader shows it.

        Raises
        ------
        ValueError
            If a sampler of PyTorch draws other rows in each pass.
        """
        if reason := _why_rows_change(self.loader):
            raise ValueError(
                f"X is a {type(self.loader).__name__} that yields different rows each time, because {reason}. Every "
                "iteration of EM needs the same rows, in any order."
            )


def _why_rows_change(loader: Iterable[Any]) -> str:
    """Return why the rows of a loader are others each time, where PyTorch's own samplers tell."""
    if not isinstance(loader, DataLoader):
        return ""
    sampler, batches = _samplers_of(loader)
    is_random = isinstance(sampler, RandomSampler | SubsetRandomSampler)
    if is_random and any(each.drop_last and len(sampler) % each.batch_size for each in batches):
        return "it shuffles and leaves out the last batch if that is not full: set drop_last=False"
    if not isinstance(sampler, RandomSampler | WeightedRandomSampler):
        return ""
    n_rows = len(sampler.data_source if isinstance(sampler, RandomSampler) else sampler.weights)
    if sampler.replacement or sampler.num_samples != n_rows:
        return f"its {type(sampler).__name__} does not draw each row exactly once: let it do so, in a random order"
    return ""


def _keeps_order(loader: Iterable[Any]) -> bool:
    """Whether batches certainly come in the order of the data each time."""
    if not isinstance(loader, DataLoader):
        return isinstance(loader, Sequence)
    return type(_samplers_of(loader)[0]) is SequentialSampler


def _samplers_of(loader: DataLoader[Any]) -> tuple[Any, list[BatchSampler]]:
    """Return what chooses the rows of a loader, and what makes batches of them."""
    sampler: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    batches: list[BatchSampler] = []
    while type(sampler) is BatchSampler:
        batches.append(sampler)
        sampler = sampler.sampler
    return sampler, batches
