"""What is fitted: data, a start that every library can be given, and the likelihood that they are compared by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

STRUCTURES = ("full", "diag", "spherical", "tied_full", "tied_diag", "tied_spherical")
ROWS_COMPARED = 100_000  # of the rows, how many the likelihoods are compared on


@dataclass(frozen=True)
class Shape:
    """Rows, features and components of a problem; written 100kx16x16."""

    n_rows: int
    n_features: int
    n_components: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        found = re.fullmatch(r"(\d+)([kM]?)x(\d+)x(\d+)", text)
        if found is None:
            raise ValueError(f"A shape is written ROWSxFEATURESxCOMPONENTS, as in 100kx16x16; got {text!r}.")
        rows, unit, features, components = found.groups()
        return cls(int(rows) * {"": 1, "k": 1000, "M": 1_000_000}[unit], int(features), int(components))

    def __str__(self) -> str:
        rows = self.n_rows
        short = f"{rows // 1_000_000}M" if rows % 1_000_000 == 0 else f"{rows // 1000}k" if rows % 1000 == 0 else rows
        return f"{short}x{self.n_features}x{self.n_components}"


class Parameters(NamedTuple):
    """Weights (K,), means (K, d) and covariances in the structure's shape."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def as_init(self) -> dict[str, Any]:
        """Return them as the settings by which a fit of this library starts from them."""
        return {f"init_{name}": values for name, values in self._asdict().items()}


def make_rows(shape: Shape, separation: float, dtype: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, d) from K Gaussians, means (K, d) typically ``separation`` standard deviations apart, and these.

    No two are closer than half of that. Every component has its own weight and its own full covariance with
    eigenvalues from 0.5 to 2.
    """
    rng = np.random.default_rng(seed)
    d, n_components = shape.n_features, shape.n_components
    weights = rng.dirichlet(np.full(n_components, 10.0))
    means = np.empty((0, d))
    while means.shape[0] < n_components:
        mean = rng.normal(0, separation / np.sqrt(2 * d), d)
        if all(np.linalg.norm(means - mean, axis=1) > separation / 2):
            means = np.vstack([means, mean])
    counts = rng.multinomial(shape.n_rows, weights)
    rows = np.empty((shape.n_rows, d), dtype)
    first = 0
    for mean, count in zip(means, counts, strict=True):
        rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
        root = rotation * np.sqrt(rng.uniform(0.5, 2.0, d))
        rows[first : first + count] = mean + rng.normal(size=(count, d)) @ root.T
        first += count
    rng.shuffle(rows)
    return rows, means


def make_start(rows: np.ndarray, means: np.ndarray, structure: str, seed: int = 1) -> Parameters:
    """Return a start with many iterations to go: displaced means, the variances of the data, equal weights."""
    rng = np.random.default_rng(seed)
    n_components, d = means.shape
    means = (means + rng.normal(0, 0.5 / np.sqrt(d), means.shape)).astype(rows.dtype)
    variances = rows.var(0, dtype=np.float64)
    pooled, form = structure.startswith("tied_"), structure.removeprefix("tied_")
    one = {"full": np.diag(variances), "diag": variances, "spherical": np.asarray(variances.mean())}[form]
    covariances = one if pooled else np.broadcast_to(one, (n_components, *one.shape)).copy()
    weights = np.full(n_components, 1 / n_components)
    return Parameters(weights.astype(rows.dtype), means, np.asarray(covariances, rows.dtype).reshape(covariances.shape))


def average_log_likelihood(rows: np.ndarray, parameters: Parameters, structure: str) -> float:
    """Return the average log-likelihood of the first rows, in float64 by the textbook formula, whoever fitted."""
    rows = rows[:ROWS_COMPARED].astype(np.float64)
    weights, means, covariances = (np.asarray(part, np.float64) for part in parameters)
    n_components, d = means.shape
    joint = np.empty((n_components, rows.shape[0]))
    for k in range(n_components):
        covariance = covariances if structure.startswith("tied_") else covariances[k]
        deviations = rows - means[k]
        if covariance.ndim == 2:
            root = np.linalg.cholesky(covariance)
            white = solve_triangular(root, deviations.T, lower=True, check_finite=False)
            log_det, distances = 2 * np.log(np.diag(root)).sum(), np.square(white).sum(0)
        else:
            variances = np.broadcast_to(covariance, d)
            log_det, distances = np.log(variances).sum(), np.square(deviations) @ (1 / variances)
        joint[k] = np.log(weights[k]) - 0.5 * (d * np.log(2 * np.pi) + log_det + distances)
    return float(logsumexp(joint, axis=0).mean())


def features(structure: str, d: int) -> int:
    """Return F, the features of a row that an iteration multiplies by K components.

    They are the moments, and the row itself where the moments are not many more; where all components share a
    covariance the moments cancel, and the row is left.
    """
    return {"full": d * (d + 1) // 2, "diag": 2 * d, "spherical": d + 1}.get(structure, d)


def packed_size(structure: str, shape: Shape) -> int:
    """Return how many numbers a process sends in an iteration of a fit by many, as in docs/scaling.md."""
    d, n_components = shape.n_features, shape.n_components
    moment = {"full": d * (d + 1) // 2, "diag": d, "spherical": 1}[structure.removeprefix("tied_")]
    return n_components * (1 + d) + (1 if structure.startswith("tied_") else n_components) * moment + 6


def operations(structure: str, shape: Shape) -> float:
    """Return the operations of one EM iteration: two matrix products of 2 n K F each."""
    return 4.0 * shape.n_rows * shape.n_components * features(structure, shape.n_features)
