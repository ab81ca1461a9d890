"""The libraries, each behind the same three functions. Imported in the environment of one library at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.problems import STRUCTURES, Parameters

# Rows, structure, K, iterations, start, seed and tolerance to the library's own model.
Fit = Callable[[Any, str, int, int, Parameters | None, int, float], Any]


@dataclass(frozen=True)
class Library:
    """How a library is used.

    ``fit(rows, structure, K, iterations, start, seed, tol)`` runs at most so many EM iterations from a start, or from
    the library's own where it is None, without regularisation where that can be chosen.
    """

    convert: Callable[[np.ndarray], Any]  # rows as the library's own kind of array
    fit: Fit
    parameters: Callable[[Any, str], Parameters]
    version: str
    structures: tuple[str, ...] = STRUCTURES
    dtypes: tuple[str, ...] = ("float32", "float64")


def tgmm() -> Library:
    """Return this library."""
    import torch

    import tgmm
    from tgmm import GaussianMixture

    def fit(rows, structure, n_components, iterations, start, seed, tol):
        given = {} if start is None else start.as_init() | {"accelerate": None}  # step by step what others do
        return GaussianMixture(
            n_components,
            covariance_type=structure,
            max_iter=iterations,
            tol=tol,
            reg_covar=0.0,
            random_state=seed,
            device="cpu",
            **given,
        ).fit(rows)

    return Library(torch.from_numpy, fit, _of_tensors, tgmm.__version__)


def tgmm_published() -> Library:
    """Return the published release 0.4.3, which has the same import name."""
    import torch

    from tgmm import GaussianMixture

    def fit(rows, structure, n_components, iterations, start, seed, tol):
        arrays = {} if start is None else start.as_init()
        given: dict[str, Any] = {name: torch.from_numpy(values) for name, values in arrays.items()}
        return GaussianMixture(
            n_components,
            n_features=rows.shape[1],
            covariance_type=structure,
            max_iter=iterations,
            tol=max(tol, 1e-300),  # has to be positive
            reg_covar=0.0,
            random_state=seed,
            device="cpu",
            **given,
        ).fit(rows)

    return Library(torch.from_numpy, fit, _of_tensors, _installed("tgmm"))


def scikit_learn() -> Library:
    """Return scikit-learn: four structures, of which its "tied" is tied_full."""
    from sklearn.mixture import GaussianMixture

    def fit(rows, structure, n_components, iterations, start, seed, tol):
        given = {}
        if start is not None:
            form = structure.removeprefix("tied_")
            invert = np.linalg.inv if form == "full" else np.reciprocal
            given = {
                "means_init": start.means,
                "weights_init": start.weights,
                "precisions_init": invert(start.covariances),
            }
        name = "tied" if structure == "tied_full" else structure
        return GaussianMixture(
            n_components, covariance_type=name, max_iter=iterations, tol=tol, reg_covar=0.0, random_state=seed, **given
        ).fit(rows)

    def parameters(model, structure):
        return Parameters(model.weights_, model.means_, model.covariances_)

    return Library(np.asarray, fit, parameters, _installed("scikit-learn"), STRUCTURES[:4])


def pomegranate() -> Library:
    """Return pomegranate: three structures; in float64 its own sums stay float32."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    def fit(rows, structure, n_components, iterations, start, seed, tol):
        kind = "sphere" if structure == "spherical" else structure
        if start is None:
            normals, weights = [Normal(covariance_type=kind) for _ in range(n_components)], None
        else:
            weights, means, covariances = (torch.tensor(part) for part in start)  # copies: it changes them
            covariances = covariances[:, None].expand_as(means).clone() if structure == "spherical" else covariances
            normals = [Normal(m, c, covariance_type=kind) for m, c in zip(means, covariances, strict=True)]
        # It stops on the sum over rows, even at no improvement.
        limit = tol * rows.shape[0] if tol > 0 else -np.inf
        model = GeneralMixtureModel(normals, weights, max_iter=iterations, tol=limit, random_state=seed)
        return model.fit(rows)

    def parameters(model, structure):
        means = np.stack([normal.means.numpy() for normal in model.distributions])
        covariances = np.stack([normal.covs.numpy() for normal in model.distributions])
        covariances = covariances.reshape(len(means), -1)[:, 0] if structure == "spherical" else covariances
        return Parameters(model.priors.numpy(), means, covariances)

    return Library(torch.from_numpy, fit, parameters, _installed("pomegranate"), STRUCTURES[:3], ("float32",))


def gmmx() -> Library:
    """Return gmmx: two structures, float32; compiled anew for every number of iterations."""
    # Its pool has a thread for every core it may run on.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[: int(os.environ["OMP_NUM_THREADS"])])
    import jax
    from gmmx import EMFitter, GaussianMixtureModelJax

    def fit(rows, structure, n_components, iterations, start, seed, tol):
        if start is None:
            model = GaussianMixtureModelJax.from_k_means(
                rows, n_components, reg_covar=0.0, covariance_type=structure, n_init=1, random_state=seed
            )
        else:
            weights, means, covariances = (jax.numpy.asarray(part) for part in start)
            model = GaussianMixtureModelJax.from_squeezed(means, covariances, weights, covariance_type=structure)
        result = EMFitter(max_iter=iterations, tol=tol, reg_covar=0.0).fit(rows, model)
        jax.block_until_ready(result.gmm.means)
        return result.gmm

    def parameters(model, structure):
        return Parameters(model.weights_numpy, model.means_numpy, model.covariances.values_numpy)

    return Library(jax.numpy.asarray, fit, parameters, _installed("gmmx"), STRUCTURES[:2], ("float32",))


LIBRARIES: dict[str, Callable[[], Library]] = {
    "tgmm": tgmm,
    "scikit-learn": scikit_learn,
    "tgmm-0.4.3": tgmm_published,
    "pomegranate": pomegranate,
    "gmmx": gmmx,
}


def _of_tensors(model: Any, structure: str) -> Parameters:
    return Parameters(*(part.numpy() for part in (model.weights_, model.means_, model.covariances_)))


def _installed(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)
