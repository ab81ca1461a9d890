"""The covariance structures as the contract has them, with nothing of the library: what each is, and all its members.

A structure's entry says how its public array makes matrices, and how one moves from a member to any other near it by
coordinates that nothing restricts. From that follow random members, the number of free parameters, and the oracle of
every estimate: at the right one the derivative in every coordinate is zero.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch


@dataclass(frozen=True)
class Spec:
    """One structure.

    Parameters
    ----------
    name : str
    shape : callable
        (K, d) to the shape of `covariances_`.
    dense : callable
        From `covariances_` (array), K and d to matrices (K, d, d).
    public : callable
        From matrices (K, d, d) of a member to `covariances_`.
    n_free : callable
        (K, d) to the number of free parameters of the covariances.
    moved : callable
        From matrices (K, d, d) of a member and coordinates (n_free,) to those of another member; tensors.
    has_prior : bool
        Whether an inverse-Wishart prior is defined.
    knows_units : bool
        Whether features must keep one unit: rescaling one of them leads out of the structure.
    marginal : str
        The structure of some of the features.
    bounded : callable
        From matrices (K, d, d) of a member to which coordinates are at a bound from which they can only rise.
    drawn : callable
        From coordinates (n_free,), K and d to matrices of a member, where the identity is none that is identified.
    """

    name: str
    shape: Callable
    dense: Callable
    public: Callable
    n_free: Callable
    moved: Callable
    has_prior: bool = True
    knows_units: bool = False
    marginal: str | None = None
    bounded: Callable | None = None
    drawn: Callable | None = None

    @property
    def tied(self):
        """Whether all components have the same."""
        return 7 not in self.shape(7, 3)

    @property
    def n_axes(self):
        """Of one covariance: 2 for a matrix, 1 for variances, 0 for one variance."""
        return len(self.shape(7, 3)) - (not self.tied)

    @property
    def free(self):
        """The structure of the same form without any restriction."""
        return ("spherical", "diag", "full")[self.n_axes]

    @property
    def restricted(self):
        """Whether covariances of its form, one a component or one for all, need not be of the structure."""
        n_covariances = 1 if self.tied else 7
        return self.n_free(7, 4) < n_covariances * (1, 4, 10)[self.n_axes]

    def member(self, seed, n_components, n_features, spread=0.4):
        """Matrices (K, d, d) of a member drawn at random."""
        theta = spread * np.random.default_rng(seed).standard_normal(self.n_free(n_components, n_features))
        if self.drawn is not None:
            return self.drawn(theta, n_components, n_features)
        eye = torch.eye(n_features, dtype=torch.float64).expand(n_components, -1, -1)
        return self.moved(eye, torch.as_tensor(theta)).numpy()

    def moments(self, matrices):
        """What is summed of matrices (K, d, d): traces, diagonals or upper triangles, (K, q), or (1, q) where tied."""
        i, j = np.triu_indices(matrices.shape[-1])
        squares = np.diagonal(matrices, axis1=1, axis2=2)
        moments = (squares.sum(1, keepdims=True), squares, matrices[:, i, j])[self.n_axes]
        return moments.sum(0, keepdims=True) if self.tied else moments.copy()


def shared(one, n_components):
    return np.stack([one] * n_components)


def full_moved(matrices, theta):
    """C exp(H) C' with C C' the matrix and H symmetric, from its upper triangle."""
    n, d = matrices.shape[:2]
    i, j = torch.triu_indices(d, d)
    half = torch.zeros(n, d, d, dtype=torch.float64)
    half = half.index_put((torch.arange(n)[:, None], i, j), theta.reshape(n, -1))
    roots = torch.linalg.cholesky(matrices)
    return roots @ torch.linalg.matrix_exp(half + half.mT) @ roots.mT


def diag_moved(matrices, theta):
    variances = matrices.diagonal(dim1=1, dim2=2)
    return torch.diag_embed(variances * theta.reshape(variances.shape).exp())


def spherical_moved(matrices, theta):
    return matrices * theta.exp()[:, None, None]


def tied_moved(moved):
    return lambda matrices, theta: moved(matrices[:1], theta).expand(len(matrices), -1, -1)


def vei_moved(matrices, theta):
    """Every volume by itself, and one shape for all: K + d - 1 coordinates."""
    n = len(matrices)
    shape = torch.cat([theta[n:], -theta[n:].sum()[None]])
    return torch.diag_embed(matrices.diagonal(dim1=1, dim2=2) * (theta[:n, None] + shape).exp())


def vev_moved(matrices, theta):
    """Every volume and orientation by itself, and one shape for all."""
    n, d = matrices.shape[:2]
    values, axes = torch.linalg.eigh(matrices)
    shape = torch.cat([theta[n : n + d - 1], -theta[n : n + d - 1].sum()[None]])
    i, j = torch.triu_indices(d, d, 1)
    turn = torch.zeros(n, d, d, dtype=torch.float64)
    turn = turn.index_put((torch.arange(n)[:, None], i, j), theta[n + d - 1 :].reshape(n, -1))
    axes = axes @ torch.linalg.matrix_exp(turn - turn.mT)
    return axes @ torch.diag_embed(values * (theta[:n, None] + shape).exp()) @ axes.mT


def n_factors(name, d):
    """The default number of factors: the root of d, or as many as leave no more parameters than a matrix has."""
    n_noise = {"low_rank": 1, "factor": d}[name]
    fits = [q for q in range(d) if d * q - q * (q - 1) // 2 + n_noise <= d * (d + 1) // 2]
    return min(math.isqrt(d), fits[-1])


def n_free_of_factors(name, k, d):
    q = n_factors(name, d)
    return k * (d * q - q * (q - 1) // 2 + {"low_rank": 1, "factor": d}[name])


LEAST_NOISE = 1e-6  # of a feature's variance


@functools.cache
def loadings_and_noise(entries, q, one_noise):
    """W (d, q), 0 above the diagonal, and psi of W W' + diag(psi), by least squares on the matrix's entries."""
    matrix = np.array(np.frombuffer(entries)).reshape(math.isqrt(len(entries) // 8), -1)
    d = len(matrix)
    values, axes = np.linalg.eigh(matrix)
    noise = np.full(d, values[: d - q].mean())
    W = axes[:, d - q :] * np.sqrt(np.maximum(values[d - q :] - noise[0], 0))
    if not one_noise and q:
        upper = np.triu_indices(d)

        def gap(x):
            return (x[: d * q].reshape(d, q) @ x[: d * q].reshape(d, q).T + np.diag(x[d * q :]) - matrix)[upper]

        start = np.concatenate([W.ravel(), np.maximum(noise, 1e-3 * matrix.diagonal())])
        low = np.repeat([-np.inf, 0.0], [d * q, d])
        x = scipy.optimize.least_squares(gap, start, bounds=(low, np.inf), xtol=1e-15, ftol=1e-15, gtol=1e-15).x
        W, noise = x[: d * q].reshape(d, q), x[d * q :]
    elif not one_noise:
        noise = matrix.diagonal().copy()
    return np.linalg.qr(W.T)[1].T, noise


def at_least_noise(matrices):
    """Which coordinates are noise variances at their bound, a share of the feature's variance: it may only go up."""
    d, found = matrices.shape[1], []
    for matrix in np.array(matrices):
        q = n_factors("factor", d)
        _, noise = loadings_and_noise(matrix.tobytes(), q, False)
        n_loadings = d * q - q * (q - 1) // 2
        found += [False] * n_loadings + list(noise < 2 * LEAST_NOISE * matrix.diagonal())
    return np.array(found)


def factors_drawn(name):
    """Loadings near those of waves, so that each factor shows in several features."""

    def drawn(theta, n, d):
        q, found = n_factors(name, d), []
        i, j = np.tril_indices(d, m=q)
        for own in np.split(theta, n):
            W = np.cos(np.outer(np.arange(d), np.arange(1, q + 1)) * 0.7) * 1.5
            W[i, j] += own[: len(i)]
            found.append(W @ W.T + np.diag(np.exp(own[len(i) :]) * np.ones(d)))
        return np.stack(found)

    return drawn


def factors_moved(name):
    """Loadings plus a lower triangle, and noise by its logarithm."""

    def moved(matrices, theta):
        n, d = matrices.shape[:2]
        q, found = n_factors(name, d), []
        i, j = torch.tril_indices(d, q)
        for matrix, own in zip(matrices.detach().numpy(), theta.chunk(n), strict=True):
            W, noise = map(torch.as_tensor, loadings_and_noise(matrix.tobytes(), q, name == "low_rank"))
            W = W.index_put((i, j), own[: len(i)], accumulate=True)
            least = (1 - 1e-3) * LEAST_NOISE * torch.as_tensor(np.array(matrix.diagonal()))
            found.append(W @ W.T + torch.diag(torch.maximum(noise * own[len(i) :].exp(), least)))
        return torch.stack(found)

    return moved


def squares(k, d):
    return (k, d, d)


SPECS = {
    spec.name: spec
    for spec in (
        Spec(
            "full",
            squares,
            lambda c, k, d: c,
            lambda m: m,
            lambda k, d: k * d * (d + 1) // 2,
            full_moved,
        ),
        Spec(
            "diag",
            lambda k, d: (k, d),
            lambda c, k, d: np.stack([np.diag(row) for row in c]),
            lambda m: np.diagonal(m, axis1=1, axis2=2),
            lambda k, d: k * d,
            diag_moved,
        ),
        Spec(
            "spherical",
            lambda k, d: (k,),
            lambda c, k, d: np.stack([variance * np.eye(d) for variance in c]),
            lambda m: m[:, 0, 0],
            lambda k, d: k,
            spherical_moved,
            knows_units=True,
        ),
        Spec(
            "tied_full",
            lambda k, d: (d, d),
            lambda c, k, d: shared(c, k),
            lambda m: m[0],
            lambda k, d: d * (d + 1) // 2,
            tied_moved(full_moved),
        ),
        Spec(
            "tied_diag",
            lambda k, d: (d,),
            lambda c, k, d: shared(np.diag(c), k),
            lambda m: np.diag(m[0]),
            lambda k, d: d,
            tied_moved(diag_moved),
        ),
        Spec(
            "tied_spherical",
            lambda k, d: (),
            lambda c, k, d: shared(c * np.eye(d), k),
            lambda m: m[0, 0, 0],
            lambda k, d: 1,
            tied_moved(spherical_moved),
            knows_units=True,
        ),
        Spec(
            "VEI",
            lambda k, d: (k, d),
            lambda c, k, d: np.stack([np.diag(row) for row in c]),
            lambda m: np.diagonal(m, axis1=1, axis2=2),
            lambda k, d: k + d - 1,
            vei_moved,
            has_prior=False,
        ),
        Spec(
            "VEV",
            squares,
            lambda c, k, d: c,
            lambda m: m,
            lambda k, d: k + d - 1 + k * d * (d - 1) // 2,
            vev_moved,
            has_prior=False,
            knows_units=True,
            marginal="full",
        ),
        *(
            Spec(
                name,
                squares,
                lambda c, k, d: c,
                lambda m: m,
                functools.partial(n_free_of_factors, name),
                factors_moved(name),
                has_prior=False,
                knows_units=name == "low_rank",
                marginal="full",
                drawn=factors_drawn(name),
                bounded=at_least_noise if name == "factor" else None,
            )
            for name in ("low_rank", "factor")
        ),
    )
}


def spec_of(name):
    """The entry of a `covariance_type`."""
    return SPECS[{"tied": "tied_full"}.get(name, name)]


def slope(function, name, matrices):
    """The derivative of a function of matrices (K, d, d) in the coordinates around a member, (n_free,), 0 at bounds."""
    matrices = torch.as_tensor(np.array(matrices), dtype=torch.float64)
    theta = torch.zeros(SPECS[name].n_free(*matrices.shape[:2]), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(SPECS[name].moved(matrices, theta)), theta)
    bounded = False if SPECS[name].bounded is None else SPECS[name].bounded(matrices)
    return np.where(bounded, 0.0, gradient.numpy())
