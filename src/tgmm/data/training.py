"""Conversion of the arguments of `fit` to data, in memory or in a source, on one process or many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tgmm.data.columns import Columns, arrays_of
from tgmm.data.covariance import covariance_of
from tgmm.data.data import Data, Survey, TensorData
from tgmm.data.extent import log_hypervolume
from tgmm.data.loaders import LoaderSource
from tgmm.data.opening import as_source
from tgmm.data.reservoir import Sampling
from tgmm.data.shards import Shard, ShardedData
from tgmm.data.source import Source, require_order
from tgmm.data.stream import Scan, Stream, StreamData
from tgmm.data.validation import check_responsibilities, check_rows, check_weights, working_rows
from tgmm.runtime.checks import as_float64
from tgmm.runtime.devices import check_device
from tgmm.runtime.processes import ALONE, Group


@dataclass(frozen=True)
class Training:
    """The rows to learn from, which are those of positive weight, and the result of a first pass over them."""

    data: Data
    columns: Columns
    device: torch.device
    survey: Survey
    source: Source | None  # where the rows come from, if not from memory

    @classmethod
    def of(
        cls,
        X: Any,
        sample_weight: Any,
        columns: Columns,
        sampling: Sampling,
        *,
        device: Any = None,
        distributed: bool = False,
        verbose: bool = False,
    ) -> Training:
        """Check rows and weights in a first pass over all of them.

        Parameters
        ----------
        X, sample_weight
            What `fit` is given.
        columns : Columns
            The columns that a continued fit expects. A new fit has no number of features yet.
        sampling : Sampling
        device : str or torch.device, optional
            The user's choice.
        distributed : bool
            Whether these are the rows of one of many ranks, which may have none.
        verbose : bool
            Whether passes over a source show a progress bar.
        """
        processes = Group() if distributed else ALONE
        source = processes.guard(lambda: as_source(X, may_lack=columns.may_lack))

        def own() -> tuple[Data, Columns]:
            if source is None:
                return _in_memory(X, sample_weight, columns, device, is_shard=distributed)
            if isinstance(source, LoaderSource):
                source.require_same_rows()
            stream = open_stream(source, sample_weight, columns, check_device(device), may_be_empty=distributed)
            return _scanned(stream, sampling, verbose=verbose and processes.rank == 0)

        data, found = processes.guard(own)
        computing = data.device
        if distributed:
            data = ShardedData(data, processes.exchange(Shard.of(data, found.names)), processes)
            found = columns.found(data.n_features, data.feature_names, found.arrays)
        return cls(data, found, computing, data.survey(sampling.size(data.n_features), sampling.seed), source)

    @cached_property
    def log_hypervolume(self) -> float:
        """The log-volume of the smaller box around the rows, computed once for all fits to them."""
        return log_hypervolume(self.data, self.survey.summary)

    @cached_property
    def covariance(self) -> Tensor:
        """The covariance matrix of the rows, (d, d), computed once for all fits to them."""
        return covariance_of(self.data, self.survey.summary)

    def responsibilities(self, given: Any, n_components: int) -> Tensor | None:
        """Return checked responsibilities, (n,) or (n, K), of the rows that were given to this process."""
        if given is None:
            return None
        if self.source is not None:
            require_order(self.source, "init_responsibilities")
        return check_responsibilities(given, self.data.n_given, n_components)


def open_stream(
    source: Source, sample_weight: Any, columns: Columns, device: torch.device, *, may_be_empty: bool = False
) -> Stream:
    """Return the checked batches of a source, with their weights where these are given row by row."""
    columns.require_names(source.feature_names)
    weights = None
    if sample_weight is not None:
        require_order(source, "sample_weight")
        weights = as_float64(sample_weight, "sample_weight")
        n_rows = weights.numel() if source.n_rows is None else source.n_rows
        weights = check_weights(weights, n_rows, may_vanish=may_be_empty)
    return Stream(source, columns, device, weights, may_be_empty=may_be_empty)


def _scanned(stream: Stream, sampling: Sampling, *, verbose: bool) -> tuple[StreamData, Columns]:
    """Return the rows of a stream as data, after one pass, and their columns."""
    data = StreamData(stream, Scan(stream, sampling, verbose=verbose), verbose=verbose)
    columns = stream.columns
    if columns.n_features is None:
        columns = columns.found(data.n_features, stream.source.feature_names, stream.arrays)
    return data, columns


def _in_memory(
    X: Any, sample_weight: Any, columns: Columns, device: Any, *, is_shard: bool
) -> tuple[TensorData, Columns]:
    """Return rows in memory as data, and their columns. A shard may have no rows, or none of positive weight."""
    if is_shard and len(shape := getattr(X, "shape", ())) == 2 and shape[0] == 0 < shape[1]:
        rows = torch.empty(0, shape[1], device=check_device(device, X if isinstance(X, Tensor) else None))
        return TensorData(rows), columns.found(shape[1], getattr(X, "columns", None), arrays_of(X))
    given, found = check_rows(X, columns, may_lack=columns.may_lack)
    rows = working_rows(given, check_device(device, given.tensor if given.from_tensor else None))
    return TensorData.of(rows, check_weights(sample_weight, rows.shape[0], may_vanish=is_shard)), found
