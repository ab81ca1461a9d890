"""Fits as users make them, each library from a start of its own, in this process or in R's."""

from __future__ import annotations

import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import sklearn
from sklearn import mixture

import tgmm
from harness.meters import Seconds
from harness.problems import STRUCTURES, Parameters
from harness.processes import thread_pools

SCRIPT = Path(__file__).with_name("mclust.R")
MODELS = {"full": "VVV", "diag": "VVI", "spherical": "VII", "tied_full": "EEE"}  # mclust's names


@dataclass(frozen=True)
class Fit:
    """What came of a fit."""

    seconds: float  # of the processor
    parameters: Parameters | None  # None where the library gave up
    n_iter: int | None = None  # M-steps of the best run, where the library says so


@dataclass(frozen=True)
class Contender:
    """A library with its settings, and how it fits: ``fit(rows, structure, K, seed)``."""

    fit: Callable[[np.ndarray, str, int, int], Fit]
    version: str
    structures: tuple[str, ...]
    close: Callable[[], None] = lambda: None


def ours(**settings: Any) -> Contender:
    """Return this library with its defaults but for these settings."""

    def fit(rows: np.ndarray, structure: str, n_components: int, seed: int) -> Fit:
        model = tgmm.GaussianMixture(
            n_components, covariance_type=structure, random_state=seed, device="cpu", **settings
        )
        return _timed(model, rows)

    return Contender(fit, tgmm.__version__, STRUCTURES)


def scikit_learn(**settings: Any) -> Contender:
    """Return scikit-learn with its defaults but for these settings; its "tied" is tied_full."""

    def fit(rows: np.ndarray, structure: str, n_components: int, seed: int) -> Fit:
        name = structure.removesuffix("_full")
        model = mixture.GaussianMixture(n_components, covariance_type=name, random_state=seed, **settings)
        return _timed(model, rows)

    return Contender(fit, sklearn.__version__, STRUCTURES[:4])


def mclust() -> Contender:
    """Return mclust with its defaults, in a process of R; it uses no random numbers."""
    process = Mclust()
    return Contender(process.fit, process.version, tuple(MODELS), process.close)


def is_there(name: str) -> bool:
    """Whether a contender can take part."""
    if name != "mclust":
        return True
    ask = ["Rscript", "-e", "library(mclust)"]
    return which(ask[0]) is not None and subprocess.run(ask, capture_output=True).returncode == 0


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "tgmm": ours,
    "tgmm-10": partial(ours, n_init=10),
    "scikit-learn": scikit_learn,
    "scikit-learn-10": partial(scikit_learn, n_init=10, tol=1e-4),
    "mclust": mclust,
}


class Mclust:
    """The process of R that has mclust, which is handed rows and hands back parameters in files."""

    def __init__(self) -> None:
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.process = subprocess.Popen(
            ["Rscript", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **thread_pools(1)},
        )
        self.version = self._answer()

    def fit(self, rows: np.ndarray, structure: str, n_components: int, seed: int) -> Fit:
        """Fit to rows (n, d)."""
        n_rows, d = rows.shape
        model = MODELS[structure] if d > 1 else MODELS[structure][0]
        (self.folder / "rows").write_bytes(rows.astype(np.float64).tobytes("F"))
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.folder}\t{n_rows}\t{d}\t{n_components}\t{model}\n")
        self.process.stdin.flush()
        seconds, outcome = self._answer().split()
        if outcome == "failed":
            return Fit(float(seconds), None)
        parts = np.split(np.fromfile(self.folder / "fitted"), np.array([1, 1 + d]) * n_components)
        weights, means, covariances = parts[0], parts[1].reshape(-1, d), parts[2].reshape(-1, d, d)
        return Fit(float(seconds), Parameters(weights, means, _narrowed(covariances, structure)))

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        self.temporary.cleanup()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"R ended with status {self.process.wait()}.")
        return line.strip()


def _timed(model: Any, rows: np.ndarray) -> Fit:
    """Return what came of a model's fit in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        start = Seconds.now()
        try:
            model.fit(rows)
        except ValueError:  # covariances collapsed
            return Fit(start.passed().processor, None)
        seconds = start.passed().processor
        return Fit(seconds, Parameters(model.weights_, model.means_, model.covariances_), model.n_iter_)


def _narrowed(covariances: np.ndarray, structure: str) -> np.ndarray:
    """Return covariances (K, d, d) in the structure's shape."""
    if structure == "tied_full":
        return covariances[0]
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    return {"full": covariances, "diag": variances, "spherical": variances[:, 0]}[structure]
