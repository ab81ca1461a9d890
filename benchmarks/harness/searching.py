"""The search for the best optimum of a problem: far longer than any fit would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from harness.engine import Climbs, Runs
from harness.families import FAMILIES, rows_of
from harness.optima import SAME, TRUTH, Optimum, of_one, spiky
from harness.problems import Parameters, average_log_likelihood

EACH = 20  # starts of each kind
FEWEST = 4  # searches
DIGITS = 6  # after the point, to which runs of EM agree that end at one optimum
MOVES, TRIALS = "splits and merges", "trials of many starts"


@dataclass(frozen=True)
class Effort:
    """How long the best optimum is searched for."""

    searches: int = 16  # at most
    agreeing: int = 3  # of them, that are enough
    moved: int = 8  # optima from which splits and merges are tried in each
    heats: int = 10  # of random starts that the library's own trials have in each


@dataclass(frozen=True)
class Solution:
    """Where a run of EM has come to."""

    found_by: str
    parameters: Parameters  # in the user's units
    log_likelihood: float  # nats a row


def highest(solutions: Iterable[Solution]) -> Solution:
    """Return the first of the highest, up to rounding."""
    return max(solutions, key=lambda solution: round(solution.log_likelihood, DIGITS))


def agreeing(solutions: Sequence[Solution]) -> list[Solution]:
    """Return those that are as high as the highest."""
    best = highest(solutions)
    return [solution for solution in solutions if solution.log_likelihood >= best.log_likelihood - SAME]


class Searches:
    """Independent searches for the best optimum of one problem, solutions that rest on a few rows excluded.

    Parameters
    ----------
    family : str
    seed : int
        By which the rows are made.
    effort : Effort
    """

    def __init__(self, family: str, seed: int, effort: Effort) -> None:
        self.family, self.seed, self.effort = family, seed, effort
        self.rows, self.clusters = rows_of(family, seed)
        self.structure, self.n_components = FAMILIES[family].covariance_type, FAMILIES[family].n_components
        self.climbs = Climbs(self.rows, self.structure, self.n_components)
        self.n_starts = 0

    def best(self) -> Optimum:
        """Search until enough searches agree, and return the best."""
        found = [highest(self._searched(0))]
        while len(found) < FEWEST or len(agreeing(found)) < self.effort.agreeing:
            if len(found) >= self.effort.searches:
                break
            found.append(highest(self._searched(len(found))))
        best = highest(found)
        return Optimum(
            family=self.family,
            seed=self.seed,
            best=best.log_likelihood,
            one=of_one(self.rows, self.structure),
            found_by=best.found_by,
            searches=len(found),
            agreeing=len(agreeing(found)),
            starts=self.n_starts,
            moved=self.effort.moved,
            heats=self.effort.heats,
            least_rows=float(len(self.rows) * best.parameters.weights.min()),
        )

    def _searched(self, number: int) -> Iterator[Solution]:
        """Yield what one search comes to: EM from every start, moves from the best, the library's own trials."""
        starts = list(partitions(self.rows, self.clusters, self.n_components, number))
        self.n_starts += len(starts)
        runs = self.climbs.of_partitions(np.stack([labels for _, labels in starts]))
        yield from self._sound(runs, [starts[index][0] for index in runs.start.tolist()])
        moved = self.climbs.moved(runs, self.effort.moved)
        yield from self._sound(moved, [MOVES] * len(moved))
        tried = self.climbs.tried(self.effort.heats, number)
        yield from self._sound(tried, [TRIALS] * len(tried))

    def _sound(self, runs: Runs, names: Sequence[str]) -> Iterator[Solution]:
        """Yield the solutions that runs have come to, but for those that rest on a few rows."""
        for name, parameters in zip(names, self.climbs.parameters(runs), strict=True):
            if not spiky(self.rows, parameters, self.structure):
                height = average_log_likelihood(self.rows, parameters, self.structure)
                yield Solution(name, parameters, height)


def partitions(
    rows: np.ndarray, clusters: np.ndarray, n_components: int, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and labels (n,): the true clusters, k-means and the rows next to random ones."""
    if seed == 0 and len(np.unique(clusters)) == n_components:
        yield TRUTH, clusters
    rng = np.random.default_rng(seed)
    for coordinates, points in {"standardised": rows / rows.std(0), "whitened": whitened(rows)}.items():
        for number in range(EACH):
            means = KMeans(n_components, n_init=1, random_state=EACH * seed + number)
            yield f"k-means, {coordinates}", means.fit_predict(points)
            chosen = points[rng.choice(len(points), n_components, replace=False)]
            yield f"random rows, {coordinates}", cdist(points, chosen).argmin(1)


def whitened(rows: np.ndarray) -> np.ndarray:
    """Return rows in coordinates in which their covariance is the identity."""
    standardised = (rows - rows.mean(0)) / rows.std(0)
    left, _, _ = np.linalg.svd(standardised, full_matrices=False)
    return left * np.sqrt(len(rows))
