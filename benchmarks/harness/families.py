"""Kinds of data whose best mixture is worth finding: made from a seed, with the truth that a good fit comes near.

In the spirit of the simulations of Maitra & Melnykov 2010 (J. Computational and Graphical Statistics 19) and of the
cases in which users of mixtures report wrong clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets

DATA = Path(__file__).parents[2] / "examples" / "data"
Rows = tuple[np.ndarray, np.ndarray]  # rows (n, d) and the clusters that they come from (n,)
Make = Callable[[np.random.Generator], Rows]


@dataclass(frozen=True)
class Family:
    """A kind of data, and the mixture that is fitted to it."""

    n_components: int
    covariance_type: str
    make: Make
    is_real: bool = False  # one data set, not one for each seed


def rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    """A random rotation."""
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def covariance(rng: np.random.Generator, d: int, elongation: float) -> np.ndarray:
    """A random covariance matrix, its largest standard deviation so many times the smallest."""
    axes = rotation(rng, d)
    deviations = np.exp(rng.uniform(-0.5, 0.5, d) * np.log(elongation))
    return axes * deviations**2 @ axes.T


def drawn(rng: np.random.Generator, sizes: list[int], means: np.ndarray, covariances: list[np.ndarray]) -> Rows:
    """Rows of Gaussian clusters, the same on every processor but for rounding: a Cholesky factor is unique."""
    clusters = [
        rng.multivariate_normal(m, S, n, method="cholesky") for n, m, S in zip(sizes, means, covariances, strict=True)
    ]
    return np.concatenate(clusters), np.repeat(np.arange(len(sizes)), sizes)


def overlap(means: np.ndarray, covariances: list[np.ndarray], rng: np.random.Generator, draws: int = 2000) -> float:
    """The mean over pairs of both chances to take a row of one cluster for the other's."""
    count, d = means.shape
    white = rng.normal(size=(draws, d))
    roots = [np.linalg.cholesky(S) for S in covariances]
    precisions = [np.linalg.inv(S) for S in covariances]
    log_dets = [np.linalg.slogdet(S)[1] for S in covariances]

    def score(rows: np.ndarray, k: int) -> np.ndarray:
        gap = rows - means[k]
        return -0.5 * (np.einsum("ni,ij,nj->n", gap, precisions[k], gap) + log_dets[k])

    chances = []
    for i in range(count):
        rows = means[i] + white @ roots[i].T
        chances += [(score(rows, j) > score(rows, i)).mean() for j in range(count) if j != i]
    return 2 * float(np.mean(chances))


def overlapping(n: int, d: int, count: int, target: float, elongation: float = 4.0) -> Make:
    """Clusters anywhere, as far apart as gives the average overlap."""

    def make(rng: np.random.Generator) -> Rows:
        places = rng.uniform(size=(count, d))
        covariances = [covariance(rng, d, elongation) for _ in range(count)]
        low, high = 0.01, 1000.0
        for _ in range(40):  # overlap falls with distance
            middle = np.sqrt(low * high)
            found = overlap(middle * places, covariances, np.random.default_rng(0))
            low, high = (middle, high) if found > target else (low, middle)
        sizes = rng.multinomial(n, rng.dirichlet(np.full(count, 10.0))).tolist()
        return drawn(rng, sizes, high * places, covariances)

    return make


def cigars(n: int, d: int, count: int, ratio: float, gap: float = 4.0) -> Make:
    """Long clusters side by side, rotated: apart along a direction in which each is thin."""

    def make(rng: np.random.Generator) -> Rows:
        axes = rotation(rng, d)
        deviations = np.full(d, ratio)
        deviations[0] = 1.0
        means = np.arange(count)[:, None] * gap * axes[:, 0]
        return drawn(rng, [n // count] * count, means, [axes * deviations**2 @ axes.T] * count)

    return make


def elongated(n: int, d: int, count: int, ratio: float) -> Make:
    """Long clusters, each in a direction of its own."""

    def make(rng: np.random.Generator) -> Rows:
        means = rng.uniform(-1, 1, (count, d)) * ratio * 1.5
        covariances = []
        for _ in range(count):
            axes, deviations = rotation(rng, d), np.ones(d)
            deviations[0] = ratio
            covariances.append(axes * deviations**2 @ axes.T)
        return drawn(rng, [n // count] * count, means, covariances)

    return make


def unequal(n: int, d: int, shares: list[float], gap: float) -> Make:
    """Clusters of which some are small."""

    def make(rng: np.random.Generator) -> Rows:
        count = len(shares)
        means = gap * rng.normal(size=(count, d))
        sizes = [max(round(n * share), 1) for share in shares]
        return drawn(rng, sizes, means, [covariance(rng, d, 3.0) for _ in range(count)])

    return make


def volumes(n: int, d: int, deviations: list[float], gap: float) -> Make:
    """Balls of unequal size."""

    def make(rng: np.random.Generator) -> Rows:
        count = len(deviations)
        directions = rotation(rng, max(d, count))[:count, :d]
        means = gap * directions * np.asarray(deviations)[:, None]
        return drawn(rng, [n // count] * count, means, [s * s * np.eye(d) for s in deviations])

    return make


def concentric(n: int, d: int, deviations: list[float]) -> Make:
    """Clusters around one point."""

    def make(rng: np.random.Generator) -> Rows:
        count = len(deviations)
        shape = covariance(rng, d, 2.0)
        return drawn(rng, [n // count] * count, np.zeros((count, d)), [s * s * shape for s in deviations])

    return make


def nested(n: int, d: int) -> Make:
    """A small cluster within a wide one, off its centre."""

    def make(rng: np.random.Generator) -> Rows:
        means = np.stack([np.zeros(d), 3.0 * rotation(rng, d)[0]])
        return drawn(rng, [2 * n // 3, n - 2 * n // 3], means, [9 * np.eye(d), 0.15 * covariance(rng, d, 2.0)])

    return make


def crossing(n: int, d: int, count: int, ratio: float = 8.0) -> Make:
    """Long clusters through one point."""

    def make(rng: np.random.Generator) -> Rows:
        axes, covariances = rotation(rng, d), []
        for k in range(count):
            angle = np.pi * k / count
            long = np.cos(angle) * axes[:, 0] + np.sin(angle) * axes[:, 1]
            covariances.append(np.eye(d) + (ratio**2 - 1) * np.outer(long, long))
        return drawn(rng, [n // count] * count, np.zeros((count, d)), covariances)

    return make


def with_outliers(make: Make, share: float, width: float = 3.0) -> Make:
    """Other clusters, and rows anywhere around them."""

    def made(rng: np.random.Generator) -> Rows:
        rows, clusters = make(rng)
        count = round(share * len(rows))
        middle, reach = rows.mean(0), width * rows.std(0)
        far = rng.uniform(middle - reach, middle + reach, (count, rows.shape[1]))
        return np.concatenate([rows, far]), np.concatenate([clusters, rng.integers(clusters.max() + 1, size=count)])

    return made


def in_units(make: Make, decades: float) -> Make:
    """Other clusters, each feature in units and with an origin of its own."""

    def made(rng: np.random.Generator) -> Rows:
        rows, clusters = make(rng)
        units = 10 ** rng.uniform(-decades, decades, rows.shape[1])
        return rows * units + units * rng.uniform(-100, 100, rows.shape[1]), clusters

    return made


def with_noise_features(make: Make, count: int) -> Make:
    """Other clusters, and features that tell nothing."""

    def made(rng: np.random.Generator) -> Rows:
        rows, clusters = make(rng)
        return np.concatenate([rows, rng.normal(size=(len(rows), count)) * rows.std()], 1), clusters

    return made


def lattice(n: int, shape: tuple[int, int], gap: float) -> Make:
    """Clusters at the points of a grid, in random directions."""

    def make(rng: np.random.Generator) -> Rows:
        points = np.stack(np.meshgrid(*(np.arange(side) for side in shape)), -1).reshape(-1, 2)
        count = len(points)
        return drawn(rng, [n // count] * count, gap * points, [covariance(rng, 2, 2.0) for _ in range(count)])

    return make


def sparse_means(n: int, d: int, count: int, gap: float) -> Make:
    """Clusters of one covariance in many dimensions."""

    def make(rng: np.random.Generator) -> Rows:
        shape = covariance(rng, d, 3.0)
        root = np.linalg.cholesky(shape)
        means = gap * rotation(rng, d)[:count] @ root.T / np.sqrt(2)
        return drawn(rng, [n // count] * count, means, [shape] * count)

    return make


def skewed(n: int, d: int, count: int) -> Make:
    """Clusters with a tail to one side."""

    def make(rng: np.random.Generator) -> Rows:
        rows = []
        for _ in range(count):
            axes = rotation(rng, d)
            rows.append(rng.gamma(2.0, 1.0, (n // count, d)) @ axes.T + rng.uniform(-8, 8, d))
        return np.concatenate(rows), np.repeat(np.arange(count), n // count)

    return make


def on_a_line(n: int, means: list[float], deviations: list[float], shares: list[float]) -> Make:
    """Clusters of one feature."""

    def make(rng: np.random.Generator) -> Rows:
        sizes = [round(n * share) for share in shares]
        squares = [np.array([[s * s]]) for s in deviations]
        return drawn(rng, sizes, np.asarray(means)[:, None], squares)

    return make


def scikit_learn(name: str, n_directions: int | None = None) -> Make:
    """Real data that ships with scikit-learn, or its first principal components."""

    def make(_: np.random.Generator) -> Rows:
        rows, clusters = getattr(datasets, f"load_{name}")(return_X_y=True)
        if n_directions is not None:
            rows = rows - rows.mean(0)
            rows = rows @ np.linalg.svd(rows, full_matrices=False)[2][:n_directions].T
        return rows, clusters

    return make


def example(name: str) -> Make:
    """Real data among the examples."""

    def make(_: np.random.Generator) -> Rows:
        rows = np.loadtxt(DATA / f"{name}.csv", delimiter=",", skiprows=1, ndmin=2)
        return rows, np.zeros(len(rows), int)

    return make


FAMILIES = {
    "overlap .005, 2 x 8": Family(8, "full", overlapping(1000, 2, 8, 0.005)),
    "overlap .02, 2 x 5": Family(5, "full", overlapping(900, 2, 5, 0.02)),
    "overlap .05, 2 x 3": Family(3, "full", overlapping(800, 2, 3, 0.05, 8.0)),
    "overlap .001, 3 x 5, few rows": Family(5, "full", overlapping(250, 3, 5, 0.001)),
    "overlap .02, 5 x 6": Family(6, "full", overlapping(1000, 5, 6, 0.02)),
    "overlap .1, 5 x 3": Family(3, "full", overlapping(1000, 5, 3, 0.1)),
    "overlap .02, 10 x 5": Family(5, "full", overlapping(1000, 10, 5, 0.02)),
    "overlap .02, 3 x 8, diag": Family(8, "diag", overlapping(1000, 3, 8, 0.02, 1.0)),
    "overlap .02, 4 x 6, tied": Family(6, "tied_full", overlapping(1000, 4, 6, 0.02, 1.0)),
    "overlap .01, 2 x 6, spherical": Family(6, "spherical", overlapping(600, 2, 6, 0.01, 1.0)),
    "cigars, 2": Family(2, "full", cigars(600, 2, 2, 30.0)),
    "cigars, 2 x 3, tied": Family(3, "tied_full", cigars(600, 2, 3, 20.0)),
    "cigars, 5": Family(2, "full", cigars(800, 5, 2, 10.0)),
    "cigars, 10, tied": Family(2, "tied_full", cigars(1000, 10, 2, 10.0)),
    "elongated, 2 x 5": Family(5, "full", elongated(700, 2, 5, 15.0)),
    "elongated, 5 x 4": Family(4, "full", elongated(800, 5, 4, 20.0)),
    "elongated, 10 x 3": Family(3, "full", elongated(900, 10, 3, 20.0)),
    "a cluster of 1 %, 2": Family(3, "full", unequal(1000, 2, [0.6, 0.39, 0.01], 6.0)),
    "a cluster of 2 %, 5": Family(4, "full", unequal(1000, 5, [0.5, 0.3, 0.18, 0.02], 3.0)),
    "volumes 1 to 10, 2": Family(3, "spherical", volumes(600, 2, [1.0, 3.0, 10.0], 3.0)),
    "volumes 1 to 10, 5": Family(3, "full", volumes(600, 5, [1.0, 3.0, 10.0], 2.0)),
    "concentric, 2 x 3": Family(3, "full", concentric(900, 2, [1.0, 4.0, 16.0])),
    "concentric, 5": Family(2, "full", concentric(600, 5, [1.0, 2.0])),
    "nested, 3": Family(2, "full", nested(600, 3)),
    "crossing, 2": Family(2, "full", crossing(500, 2, 2)),
    "crossing, 3 x 3": Family(3, "full", crossing(900, 3, 3)),
    "outliers 3 %, 2 x 3": Family(3, "full", with_outliers(overlapping(600, 2, 3, 0.001), 0.03)),
    "outliers 5 %, 5 x 4": Family(4, "full", with_outliers(overlapping(800, 5, 4, 0.001), 0.05, 2.0)),
    "units, 4 x 4": Family(4, "full", in_units(overlapping(700, 4, 4, 0.02), 4.0)),
    "units, 4 x 3, diag": Family(3, "diag", in_units(overlapping(600, 4, 3, 0.02, 1.0), 4.0)),
    "12 noise features": Family(3, "full", with_noise_features(overlapping(1000, 2, 3, 0.005), 12)),
    "12 noise features, diag": Family(4, "diag", with_noise_features(overlapping(600, 2, 4, 0.01, 1.0), 12)),
    "lattice of 20": Family(20, "full", lattice(2000, (5, 4), 6.0)),
    "lattice of 20, spherical": Family(20, "spherical", lattice(1000, (4, 5), 5.0)),
    "high d, tied": Family(4, "tied_full", sparse_means(900, 30, 4, 4.5)),
    "high d, diag": Family(5, "diag", overlapping(800, 30, 5, 0.02, 1.0)),
    "skewed, 2 x 4": Family(4, "full", skewed(800, 2, 4)),
    "one feature, 3": Family(3, "full", on_a_line(600, [0.0, 3.0, 7.0], [1.0, 0.5, 2.0], [0.4, 0.3, 0.3])),
    "one feature, 4": Family(4, "full", on_a_line(1000, [0.0, 4.0, 8.0, 9.0], [1, 1, 0.3, 3], [0.3, 0.3, 0.2, 0.2])),
    "iris": Family(3, "full", scikit_learn("iris"), is_real=True),
    "iris, tied": Family(3, "tied_full", scikit_learn("iris"), is_real=True),
    "wine, tied": Family(3, "tied_full", scikit_learn("wine"), is_real=True),
    "wine, diag": Family(3, "diag", scikit_learn("wine"), is_real=True),
    "breast cancer, 8 directions": Family(2, "full", scikit_learn("breast_cancer", 8), is_real=True),
    "digits, 12 directions": Family(10, "full", scikit_learn("digits", 12), is_real=True),
    "digits, 12 directions, spherical": Family(10, "spherical", scikit_learn("digits", 12), is_real=True),
    "diabetes, 6 directions, diag": Family(4, "diag", scikit_learn("diabetes", 6), is_real=True),
    "Old Faithful": Family(2, "full", example("faithful"), is_real=True),
    "Old Faithful, 3": Family(3, "full", example("faithful"), is_real=True),
    "Old Faithful, 3, tied": Family(3, "tied_full", example("faithful"), is_real=True),
}


def rows_of(name: str, seed: int) -> Rows:
    """The rows of a family for a seed, and their clusters."""
    family = FAMILIES[name]
    return family.make(np.random.default_rng([seed, *name.encode()]))
