"""Which of several mixtures a row comes from: the posterior probabilities of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import Covariances, structure_named
from tgmm.mixture.base import BaseMixture
from tgmm.mixture.densities import FAR, Predictor, exact_predictor_of, predictor_of
from tgmm.mixture.evaluation import evaluated
from tgmm.model.parameters import Parameters
from tgmm.runtime.devices import widen


@dataclass(frozen=True)
class Discriminant:
    """Classes, each a mixture of the same features, with their prior probabilities.

    Parameters
    ----------
    mixtures : tuple of BaseMixture
        C of them.
    priors : Tensor of shape (C,)
        float64, on the CPU.
    """

    mixtures: tuple[BaseMixture, ...]
    priors: Tensor

    def probabilities(self, X: Any) -> Any:
        """Return the posterior probabilities of the classes, (n, C), as the kind of X."""
        return self._at(X, lambda log_posterior: log_posterior.exp())

    def log_probabilities(self, X: Any) -> Any:
        """Return the logarithms of the posterior probabilities, (n, C), as the kind of X."""
        return self._at(X, lambda log_posterior: log_posterior)

    def labels(self, X: Any, values: Tensor) -> Any:
        """Return the value (C,) of the most probable class of each row, (n,), as the kind of X."""
        return self._at(X, lambda log_posterior: values.to(log_posterior.device)[log_posterior.argmax(1)])

    def _at(self, X: Any, convert: Any) -> Any:
        """Return what a function makes of the logarithms of posterior probabilities (n, C) at rows."""
        dtype = self.mixtures[0].dtype

        def quantity(predictor: Predictor, rows: Tensor) -> Tensor:
            found = convert(self.log_posterior(rows, predictor.device))
            return found.to(dtype) if found.ndim == 2 else found

        return evaluated(self.mixtures[0], X, quantity)

    def log_posterior(self, rows: Tensor, device: torch.device) -> Tensor:
        """Return the logarithms of the posterior probabilities of rows, (n, C) in float64, by Bayes' theorem.

        Where rounding in the float type hides the differences between densities, those in float64 tell; and where it
        hides these too, or densities are 0, the one mixture of all components knows what to do with far rows.
        """
        found, far = self._by_densities(rows, [predictor_of(mixture, device) for mixture in self.mixtures])
        if far.numel():
            found[far] = self._exact(rows[far.to(rows.device)]).to(found.device)
        return found

    def _by_densities(self, rows: Tensor, predictors: Sequence[Predictor]) -> tuple[Tensor, Tensor]:
        """Return the same (n, C), and for which rows it is not to be relied on, (m,) indices."""
        densities = torch.stack([predictor.log_density(rows) for predictor in predictors], 1)
        joint = widen(densities)
        joint = joint + self.priors.log().to(joint.device)  # (n, C)
        near = joint.amax(1).abs() < FAR / torch.finfo(densities.dtype).eps * (1 + rows.shape[1] / 1000)
        return joint.log_softmax(1), torch.nonzero(~near).flatten()

    def _exact(self, rows: Tensor) -> Tensor:
        """Return the same of far rows, (m, C), from densities in float64, and of farther ones from the union."""
        found, far = self._by_densities(rows, [exact_predictor_of(mixture) for mixture in self.mixtures])
        if far.numel():
            farther = rows[far.to(rows.device)]
            posterior = exact_predictor_of(self.union).far_log_responsibilities(farther)  # (m, K), K of all classes
            counts = [mixture.n_components for mixture in self.mixtures]
            found[far] = torch.stack([part.logsumexp(1) for part in posterior.split(counts, 1)], 1)
        return found

    @cached_property
    def union(self) -> BaseMixture:
        """The components of all classes as one mixture: that of the rows whatever their class."""
        first, place = self.mixtures[0], self.mixtures[0].parameters.means.device
        parts = [mixture.parameters.to(place) for mixture in self.mixtures]
        weights = [prior * part.weights for prior, part in zip(self.priors.tolist(), parts, strict=True)]
        covariances = _joined([part.covariances for part in parts], [part.n_components for part in parts])
        parameters = Parameters(torch.cat(weights), torch.cat([part.means for part in parts]), covariances)
        structure = structure_named(covariances.form)
        return first.changed(parameters=parameters, structure=structure, dtype=torch.float64, noise=None)


def _joined(parts: list[Covariances], counts: list[int]) -> Covariances:
    """Return covariances of so many components each as those of one mixture, in the form of all or else as matrices."""
    kinds = {(type(part), part.values.shape[1:]) for part in parts}
    kind = kinds.pop()[0] if len(kinds) == 1 else structure_named("full").form
    values = [part.values if type(part) is kind else part.dense for part in parts]
    wide = [value.expand(count, *value.shape[1:]) for value, count in zip(values, counts, strict=True)]
    return kind(torch.cat(wide), parts[0].n_features)
