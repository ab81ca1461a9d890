"""What users hand in, in memory or in a source, as the batches that the engine works on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tgmm import settings
from tgmm.data.batches import Batches, Chunk, TensorBatches
from tgmm.data.opening import as_source
from tgmm.data.source import Source
from tgmm.data.stream import Stream, StreamBatches
from tgmm.distributed import Group, Shard, ShardedBatches
from tgmm.plain import differences, plain_settings
from tgmm.processes import ALONE, Processes
from tgmm.validation import Rows, as_float64, check_responsibilities, check_rows, check_weights, working_rows

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture

OF_THE_RANK = {"checkpoint", "device", "random_state", "verbose", "verbose_interval"}  # settings that may differ


@dataclass(frozen=True)
class Training:
    """Rows to learn from: those of positive weight, as the others are no data."""

    batches: Batches
    device: torch.device  # where to compute
    n_given: int  # this process's rows, those of weight 0 included
    n_given_to_all: int

    @classmethod
    def of(cls, model: GaussianMixture, X: Any, sample_weight: Any, *, reset: bool) -> Training:
        """Check rows and weights; ``reset`` records the number and names of the features."""
        if not settings.check_flag(model.distributed, "distributed"):
            return cls._of_own(model, X, sample_weight, ALONE, reset=reset)
        group = Group()
        own = group.guard(lambda: cls._of_own(model, X, sample_weight, group, reset=reset))
        shards = group.exchange(Shard.of(own.batches, own.n_given, getattr(model, "feature_names_in_", None)))
        batches = ShardedBatches(own.batches, group, shards)
        _record_features(model, batches.n_features, batches.feature_names)
        return cls(batches, own.device, own.n_given, sum(shard.n_given for shard in shards))

    @classmethod
    def _of_own(
        cls, model: GaussianMixture, X: Any, sample_weight: Any, processes: Processes, *, reset: bool
    ) -> Training:
        """Check this process's rows and weights; one of several may have no rows of positive weight."""
        is_shard = processes is not ALONE
        source = as_source(X)
        if source is not None:
            device = settings.check_device(model.device, torch.empty(0), from_tensor=False)
            stream = _stream(model, source, sample_weight, device, reset=reset, is_shard=is_shard)
            verbose = settings.check_verbose(model.verbose) and processes.rank == 0
            batches = StreamBatches.scan(stream, verbose=verbose)
            _check_features(model, source, batches.n_features, reset=reset)
            return cls(batches, device, batches.n_given, batches.n_given)
        if is_shard and len(shape := getattr(X, "shape", ())) == 2 and shape[0] == 0 < shape[1]:
            _record_features(model, shape[1], getattr(X, "columns", None))
            rows = torch.empty(0, shape[1])
            device = settings.check_device(model.device, rows, from_tensor=isinstance(X, Tensor))
            return cls(TensorBatches(rows.to(device)), device, 0, 0)
        given = check_rows(model, X, reset=reset)
        device = settings.check_device(model.device, given.tensor, from_tensor=given.from_tensor)
        rows = working_rows(given, device)
        weights = check_weights(sample_weight, rows.shape[0], may_vanish=is_shard)
        return cls(TensorBatches.of(rows, weights), device, rows.shape[0], rows.shape[0])

    def responsibilities(self, given: Any, n_components: int) -> Tensor | None:
        """Return checked responsibilities, (n,) or (n, K), of this process's rows of positive weight."""
        if given is None:
            return None
        responsibilities = check_responsibilities(given, self.n_given, n_components)
        kept = self.batches.kept()
        return responsibilities if kept is None else responsibilities[kept.to(responsibilities.device)]


def check_alike(model: GaussianMixture, data: Training, *, resume: bool, has_responsibilities: bool) -> None:
    """Raise a ValueError on every rank where ranks would fit different models, or in different ways."""
    processes = data.batches.processes
    said, _ = plain_settings(model, set(model.get_params(deep=False)) - OF_THE_RANK)
    said |= {"resume": resume, "init_responsibilities": "given" if has_responsibilities else None}
    said |= {"checkpoint": None if model.checkpoint is None else "given", "device": data.device.type}
    if model.warm_start and model.__sklearn_is_fitted__():
        said["the solution for warm_start"] = model._parameters.means.cpu()
    first, *others = processes.exchange(said)
    for rank, other in enumerate(others, 1):
        different = differences(first, other)
        if different:
            name = different[0]
            raise ValueError(
                f"{name} must be the same on every rank; it is {first.get(name)!r} on rank 0 and {other.get(name)!r} "
                f"on rank {rank}."
            )


@dataclass(frozen=True)
class Evaluation:
    """Rows to evaluate a mixture at."""

    chunks: Iterable[Chunk]
    device: torch.device  # where to compute
    rows: Rows | None  # None for a source
    n_rows: int | None  # None where it is not known beforehand

    @classmethod
    def of(cls, model: GaussianMixture, X: Any, sample_weight: Any = None) -> Evaluation:
        """Check rows against a fitted model, and their weights where there are some."""
        source = as_source(X)
        if source is not None:
            device = settings.check_device(model.device, torch.empty(0), from_tensor=False)
            _check_features(model, source, None, reset=False)
            stream = _stream(model, source, sample_weight, device, reset=False)
            return cls(stream, device, None, source.n_rows)
        rows = check_rows(model, X, reset=False)
        device = settings.check_device(model.device, rows.tensor, from_tensor=rows.from_tensor)
        n_rows = rows.tensor.shape[0]
        return cls([Chunk(rows.tensor, check_weights(sample_weight, n_rows), 0)], device, rows, n_rows)


def _record_features(model: GaussianMixture, n_features: int | None, names: Iterable[str] | None) -> None:
    """Record the number and the names of the features."""
    model.n_features_in_ = n_features
    if names is not None:
        model.feature_names_in_ = np.array(list(names), dtype=object)
    elif hasattr(model, "feature_names_in_"):
        del model.feature_names_in_


def _stream(
    model: GaussianMixture,
    source: Source,
    sample_weight: Any,
    device: torch.device,
    *,
    reset: bool,
    is_shard: bool = False,
) -> Stream:
    """Return the checked batches of a source."""
    weights = None
    if sample_weight is not None:
        weights = as_float64(sample_weight, "sample_weight")
        n_rows = weights.numel() if source.n_rows is None else source.n_rows
        weights = check_weights(weights, n_rows, may_vanish=is_shard)
    return Stream(source, None if reset else model.n_features_in_, device, weights, may_be_empty=is_shard)


def _check_features(model: GaussianMixture, source: Source, n_features: int | None, *, reset: bool) -> None:
    """Record the number and the names of a source's features, or compare the names with those of the fit."""
    names = source.feature_names
    if reset:
        _record_features(model, n_features, names)
        return
    expected = getattr(model, "feature_names_in_", None)
    if names is not None and expected is not None and list(names) != list(expected):
        raise ValueError(
            f"The columns of X are {list(names)}, but the fit had {list(expected)}: name the same columns in the "
            "same order."
        )
