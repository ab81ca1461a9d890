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
from tgmm.validation import Rows, as_float64, check_responsibilities, check_rows, check_weights, working_rows

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


@dataclass(frozen=True)
class Training:
    """Rows to learn from: those of positive weight, as the others are no data."""

    batches: Batches
    device: torch.device  # where to compute
    n_given: int  # rows, those of weight 0 included

    @classmethod
    def of(cls, model: GaussianMixture, X: Any, sample_weight: Any, *, reset: bool) -> Training:
        """Check rows and weights; ``reset`` records the number and names of the features."""
        source = as_source(X)
        if source is not None:
            device = settings.check_device(model.device, torch.empty(0), from_tensor=False)
            stream = _stream(model, source, sample_weight, device, reset=reset)
            batches = StreamBatches.scan(stream, verbose=settings.check_verbose(model.verbose))
            _check_features(model, source, batches.n_features, reset=reset)
            return cls(batches, device, batches.n_given)
        given = check_rows(model, X, reset=reset)
        device = settings.check_device(model.device, given.tensor, from_tensor=given.from_tensor)
        rows = working_rows(given, device)
        weights = check_weights(sample_weight, rows.shape[0])
        return cls(TensorBatches.of(rows, weights), device, rows.shape[0])

    def responsibilities(self, given: Any, n_components: int) -> Tensor | None:
        """Return checked responsibilities, (n,) or (n, K), of the rows of positive weight."""
        if given is None:
            return None
        responsibilities = check_responsibilities(given, self.n_given, n_components)
        kept = self.batches.kept()
        return responsibilities if kept is None else responsibilities[kept.to(responsibilities.device)]


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


def _stream(model: GaussianMixture, source: Source, sample_weight: Any, device: torch.device, *, reset: bool) -> Stream:
    """Return the checked batches of a source."""
    weights = None
    if sample_weight is not None:
        weights = as_float64(sample_weight, "sample_weight")
        weights = check_weights(weights, weights.numel() if source.n_rows is None else source.n_rows)
    return Stream(source, None if reset else model.n_features_in_, device, weights)


def _check_features(model: GaussianMixture, source: Source, n_features: int | None, *, reset: bool) -> None:
    """Record the number and the names of a source's features, or compare the names with those of the fit."""
    names = source.feature_names
    if reset:
        model.n_features_in_ = n_features
        if names is not None:
            model.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(model, "feature_names_in_"):
            del model.feature_names_in_
        return
    expected = getattr(model, "feature_names_in_", None)
    if names is not None and expected is not None and list(names) != list(expected):
        raise ValueError(
            f"The columns of X are {list(names)}, but the fit had {list(expected)}: name the same columns in the "
            "same order."
        )
