"""What the components of a mixture look like, feature by feature, and what sets each apart from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.mixture.base import BaseMixture
from tgmm.mixture.densities import Predictor, predictor_of
from tgmm.mixture.evaluation import Criteria, Evaluation, WeightedSums
from tgmm.runtime.devices import standalone

NUMBERS = 1 << 22  # of all rows that are counted at a time
NOISE = "noise"


@dataclass(frozen=True)
class Profiles:
    """The components of a mixture in the user's units.

    Attributes
    ----------
    names : list of str
        Of the features.
    weights : ndarray of shape (K,)
    means, deviations : ndarray of shape (K, d)
        Means and standard deviations.
    differences : ndarray of shape (K, d)
        By how much the mean differs from that of all other components together, in standard deviations.
    noise_weight : float or None
    sizes, certainty : ndarray of shape (K,) or (K + 1,), or None
        Of the rows that are assigned to each component, and to noise where there is some, the weight and the mean
        probability of that component.
    kind : str
        What one of them is called, where it is not a component but a class, a mixture of its own.
    groups : sequence of str, optional
        What each of them is called; their numbers where None.
    """

    names: list[str]
    weights: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    differences: np.ndarray
    noise_weight: float | None = None
    sizes: np.ndarray | None = None
    certainty: np.ndarray | None = None
    kind: str = "component"
    groups: Sequence[str] | None = None

    @property
    def labels(self) -> list[str]:
        """What the components are called."""
        return [str(k) for k in range(len(self.weights))] if self.groups is None else list(self.groups)

    @classmethod
    def of(cls, mixture: BaseMixture) -> Profiles:
        """Return the profiles of a mixture; nothing is known of any rows."""
        parameters, known = mixture.parameters, mixture.feature_names
        variances = parameters.covariances.variances.expand(mixture.n_components, -1)
        weights, means, variances = (t.cpu().numpy() for t in (parameters.weights, parameters.means, variances))
        names = [f"feature {j}" for j in range(mixture.n_features)] if known is None else [str(name) for name in known]
        rest = None if mixture.noise is None else float(parameters.rest)
        return cls(names, weights, means, np.sqrt(variances), differences(weights, means, variances), rest)

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the means and the standard deviations of all components together, each (d,)."""
        weights = self.weights / self.weights.sum()
        mean = weights @ self.means
        return mean, np.sqrt(weights @ (np.square(self.means - mean) + np.square(self.deviations)))

    def distinct(self, n_features: int) -> np.ndarray:
        """Return the features in which the components differ most, so many or all if there are less, in their order.

        They are those of whose variance the largest share lies between the components.
        """
        within = (self.weights / self.weights.sum()) @ np.square(self.deviations)
        order = (within / np.square(self.total()[1])).argsort(kind="stable")
        return np.sort(order[:n_features])

    def to_frame(self) -> Any:
        """Return one row for each component as a pandas data frame."""
        import pandas as pd

        blocks = {"mean": self.means, "sd": self.deviations, "difference": self.differences}
        columns: dict[tuple[str, str], np.ndarray] = {("weight", ""): self.weights}
        if self.sizes is not None and self.certainty is not None:
            n_components = len(self.weights)
            columns |= {("size", ""): self.sizes[:n_components], ("certainty", ""): self.certainty[:n_components]}
        for block, values in blocks.items():
            columns |= {(block, name): values[:, j] for j, name in enumerate(self.names)}
        index = pd.RangeIndex(len(self.weights)) if self.groups is None else pd.Index(self.groups)
        return pd.DataFrame(columns, index=index.rename(self.kind))


def differences(weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return the difference of each component's means from those of the rest, in standard deviations, (K, d).

    The standard deviation is the root of the mean of both variances (Cohen 1988, Statistical Power Analysis, 2.3.2);
    the rest is the mixture of all other components. NaN where a component is alone.
    """
    centred = means - (weights / weights.sum()) @ means
    shares = np.where(np.eye(len(weights), dtype=bool), 0.0, weights)  # (K, K), of the others beside each
    with np.errstate(invalid="ignore"):
        shares = shares / shares.sum(1, keepdims=True)
        rest = shares @ centred
        spread = shares @ (variances + np.square(centred)) - np.square(rest)
        return (centred - rest) / np.sqrt((variances + np.maximum(spread, 0.0)) / 2)


@standalone()
def counted(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> tuple[Criteria, Profiles]:
    """Return what a mixture is worth on rows, and its profiles with the sizes of its clusters, in one pass."""
    evaluation = Evaluation.of(mixture, X, sample_weight)
    predictor, n_groups = predictor_of(mixture, evaluation.device), mixture.n_components + (mixture.noise is not None)
    sums = WeightedSums(lambda rows: _worth_and_group(predictor, rows, n_groups))
    sums.n_rows = max(1, NUMBERS // n_groups)
    sums.add_all(evaluation.chunks)
    totals = sums.result()
    (log_likelihood, certainty), (sizes, certainties) = (
        totals.values[:2].tolist(),
        totals.values[2:].reshape(2, -1).numpy(),
    )
    found = Criteria(log_likelihood, totals.checked_weight, mixture.n_parameters, certainty)
    with np.errstate(invalid="ignore"):
        return found, replace(Profiles.of(mixture), sizes=sizes, certainty=certainties / sizes)


def _worth_and_group(predictor: Predictor, rows: Tensor, n_groups: int) -> Tensor:
    """Return (n, 2 + 2G): log-density and certainty, the group of each row as 0 and 1, and there its probability."""
    worth = predictor.log_density_and_certainty(rows)
    groups = torch.nn.functional.one_hot(predictor.labels(rows) % n_groups, n_groups).to(worth)
    return torch.cat([worth, groups, groups * worth[:, 1:].exp()], 1)
