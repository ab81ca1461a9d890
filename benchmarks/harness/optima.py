"""The best optima that are known of the families, and which fits count as having found them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh

from harness.families import FAMILIES
from harness.problems import Parameters, average_log_likelihood

REFERENCES = Path(__file__).parents[1] / "references" / "optimum.json"
NEAR, NEAR_SHARE = 1e-3, 1e-3  # nats a row, and share of what K components gain over one, that a fit may lack
SAME = 1e-4  # nats a row by which the log-likelihoods of one optimum differ at most
ROUNDING = 1e-3  # rows, that components may lack of the least
TRUTH = "the truth"  # how optima are found from the clusters that the rows come from
SMALL, FEW = 2, 2  # times the least rows, and searches that find it, below which an optimum is doubtful
THIN = 1e-5  # of the data's variance in the same direction, that the variances of a component have at least
ALIKE = 1e-8  # by which the likelihood of one Gaussian differs at most where the rows are the same, relative


@dataclass(frozen=True)
class Optimum:
    """The best optimum that is known of one problem, and how it was searched for."""

    family: str
    seed: int
    best: float  # log-likelihood, nats a row, in the user's units
    one: float  # that of one Gaussian
    found_by: str
    searches: int  # independent ones
    agreeing: int  # of them, that came to this optimum
    starts: int  # partitions from which EM was run to its end, in all
    moved: int  # of the optima that they led to, the best from which splits and merges were tried, in each search
    heats: int  # of random starts in the trials of the library itself, in each search
    least_rows: float  # the weight of the smallest component

    @property
    def tolerance(self) -> float:
        """How far below it a fit may end, in nats a row."""
        return max(NEAR, NEAR_SHARE * (self.best - self.one))

    def doubts(self, n_features: int) -> str:
        """Return why another optimum may be better, or this one not worth finding; nothing where nothing says so."""
        found = f"{self.agreeing} of {self.searches} searches found it"
        few = SMALL * least_rows(FAMILIES[self.family].covariance_type, n_features)
        if self.least_rows < few and self.found_by != TRUTH and self.agreeing < self.searches:
            return f"a component on {self.least_rows:.1f} rows; {found}"
        return found if self.agreeing < FEW else ""

    def or_better(self, before: Optimum) -> Optimum:
        """Return the better of this and what was known; where they are the same, that of more searches."""
        if not np.isclose(self.one, before.one, rtol=ALIKE, atol=ALIKE):  # of other rows
            return self
        if abs(self.best - before.best) <= SAME:
            return self if self.searches > before.searches else before
        return max(self, before, key=lambda optimum: optimum.best)

    def is_of(self, rows: np.ndarray) -> bool:
        """Whether it is of these rows: those that are made from a seed can be others with other libraries."""
        structure = FAMILIES[self.family].covariance_type
        return bool(np.isclose(of_one(rows, structure), self.one, rtol=ALIKE, atol=ALIKE))


def seed_of_rows(family: str, seed: int) -> int:
    """Return by which seed the rows are made: all of a real data set are one problem."""
    return 0 if FAMILIES[family].is_real else seed


def read() -> dict[tuple[str, int], Optimum]:
    """Return the known optima by family and seed."""
    if not REFERENCES.exists():
        return {}
    return {(record["family"], record["seed"]): Optimum(**record) for record in json.loads(REFERENCES.read_text())}


def write(optima: Iterable[Optimum]) -> None:
    """Store the known optima in the families' order; those of families that are no more are left out."""
    order = list(FAMILIES)
    known = sorted((o for o in optima if o.family in FAMILIES), key=lambda o: (order.index(o.family), o.seed))
    REFERENCES.parent.mkdir(exist_ok=True)
    REFERENCES.write_text(json.dumps([asdict(optimum) for optimum in known], indent=1) + "\n")


def spiky(rows: np.ndarray, parameters: Parameters, structure: str) -> bool:
    """Whether a solution is an accident of a few rows: a component on next to none, or next to flat.

    The likelihood of such solutions has no bound, or is reached by fitting the noise.
    """
    n_rows, d = rows.shape
    is_small = n_rows * parameters.weights.min() < least_rows(structure, d) - ROUNDING
    return bool(is_small or thinness(rows, parameters, structure) < THIN)


def least_rows(structure: str, d: int) -> int:
    """Return on how many rows a component of a solution must rest."""
    return {"full": 2 * (d + 1), "diag": 5, "spherical": 4}.get(structure, 2)


def thinness(rows: np.ndarray, parameters: Parameters, structure: str) -> float:
    """Return the smallest variance of a component in any direction, relative to that of all rows in it."""
    scale, covariances = rows.std(0), parameters.covariances
    if structure.endswith("full"):
        whole = np.atleast_2d(np.cov((rows / scale).T, bias=True))
        covariances = covariances.reshape(-1, *whole.shape) / np.outer(scale, scale)
        return min(float(eigh(covariance, whole, eigvals_only=True)[0]) for covariance in covariances)
    if structure.endswith("diag"):
        return float((covariances / scale**2).min())
    return float(np.min(covariances) / (scale**2).mean())


def of_one(rows: np.ndarray, structure: str) -> float:
    """Return the log-likelihood of one Gaussian, nats a row."""
    variances = rows.var(0)
    if structure.endswith("full"):
        covariance = np.atleast_2d(np.cov(rows.T, bias=True))
    else:
        covariance = np.diag(variances if structure.endswith("diag") else np.full_like(variances, variances.mean()))
    return average_log_likelihood(rows, Parameters(np.ones(1), rows.mean(0)[None], covariance[None]), "full")
