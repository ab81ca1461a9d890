"""The covariance structures as the contract has them, with nothing of the library: what each is, and all its members.

A structure's entry says how its public array makes matrices, and how one moves from a member to any other near it by
coordinates that nothing restricts. From that follow random members, the number of free parameters, and the oracle of
every estimate: at the right one the derivative in every coordinate is zero.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
import torch
from scipy.optimize import minimize


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
    prior_rows : callable, optional
        From nu, K, d and whether means have a prior, how many rows both priors are worth for each component, where
        that is not the number of an inverse-Wishart prior of each covariance.
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
    prior_rows: Callable | None = None
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


def coded_moved(code):
    """Volumes, shapes and orientations that vary (V) or are moved alike (E), or axes that stay (I): mclust's code."""

    def moved(matrices, theta):
        n, d = matrices.shape[:2]
        forms = list(zip(numbers(code, n), sizes(d), strict=True))
        parts = theta.split([count * size for count, size in forms])
        volumes, shapes, turns = (part.reshape(form) for part, form in zip(parts, forms, strict=True))
        values, axes = along_axes(matrices, code[2])
        values = values * (volumes + torch.cat([shapes, -shapes.sum(1, keepdim=True)], 1)).exp()
        i, j = torch.triu_indices(d, d, 1)
        if code[2] != "I":
            turn = torch.zeros(len(turns), d, d, dtype=torch.float64)
            turn = turn.index_put((torch.arange(len(turns))[:, None], i, j), turns)
            axes = axes @ torch.linalg.matrix_exp(turn - turn.mT)
        return axes @ torch.diag_embed(values) @ axes.mT

    return moved


def numbers(code, n_components):
    """How many volumes, shapes and orientations there are."""
    return [{"E": 1, "V": n_components, "I": 0}[letter] for letter in code]


def sizes(d):
    """The numbers of coordinates of a volume, a shape and an orientation."""
    return 1, d - 1, d * (d - 1) // 2


def along_axes(matrices, orientation):
    """Variances (K, d) along the axes of a member, and these, (K, d, d)."""
    if orientation == "V":
        return torch.linalg.eigh(matrices)
    axes = torch.eye(matrices.shape[-1], dtype=torch.float64).expand_as(matrices)
    if orientation == "E":  # of a sum in which no variance is likely to be twice
        factors = torch.arange(1.0, 1 + len(matrices), dtype=torch.float64).sqrt()
        axes = torch.linalg.eigh((factors[:, None, None] * matrices).sum(0)).eigenvectors.expand_as(matrices)
    return (axes.mT @ matrices @ axes).diagonal(dim1=1, dim2=2), axes


def coded(code, **properties):
    """The entry of a structure that is named by mclust's code."""

    def n_free(k, d):
        return int(np.dot(numbers(code, k), sizes(d)))

    form = SPECS["diag" if code[2] == "I" else "full"]
    return replace(form, name=code, n_free=n_free, moved=coded_moved(code), **properties)


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
    )
}
SPECS |= {
    spec.name: spec
    for spec in (
        coded("VEI", prior_rows=lambda nu, k, d, has_means: (nu + 2 + has_means) / d),
        coded("EVI", marginal="diag", prior_rows=lambda nu, k, d, has_means: (nu + 1 + has_means) / k),
        coded("VEE", has_prior=False),
        coded("EVE", has_prior=False, knows_units=True, marginal="full"),
        coded("VVE", has_prior=False, knows_units=True, marginal="full"),
        coded(
            "EEV",
            knows_units=True,
            marginal="full",
            prior_rows=lambda nu, k, d, has_means: (nu + d + 1 + has_means) / k,
        ),
        coded("VEV", knows_units=True, marginal="full", prior_rows=lambda nu, k, d, has_means: 0 * nu),
        coded("EVV", has_prior=False, marginal="full"),
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


def scatter_objective(S, counts):
    """sum_k counts_k log|Sigma_k| + tr(S_k Sigma_k^-1), which M-steps minimise, as a function of (K, d, d)."""
    S, counts = torch.as_tensor(S), torch.as_tensor(counts)

    def of(matrices):
        traces = torch.linalg.solve(matrices, S).diagonal(dim1=1, dim2=2).sum(-1)
        return (counts * torch.logdet(matrices) + traces).sum()

    return of


def log_likelihood(X, weights, means):
    """The log-likelihood of a mixture as a function of its covariances, matrices (K, d, d); means may be tensors."""
    rows, weights = torch.as_tensor(np.array(X)), torch.as_tensor(np.array(weights))
    means = means if isinstance(means, torch.Tensor) else torch.as_tensor(np.array(means))

    def of(matrices):
        normal = torch.distributions.MultivariateNormal(means, covariance_matrix=matrices, validate_args=False)
        return (weights.log() + normal.log_prob(rows[:, None])).logsumexp(1).sum()

    return of


def best(name, S, counts, start):
    """The member that minimises `scatter_objective`, by derivatives, from one near it."""
    counts, found = torch.as_tensor(counts), torch.as_tensor(np.array(start))
    objective = scatter_objective(S, counts)

    def cost(theta):
        return objective(SPECS[name].moved(found, theta)) / counts.sum()

    def value_and_gradient(theta):
        theta = torch.tensor(theta, requires_grad=True)
        value = cost(theta)
        return float(value.detach()), torch.autograd.grad(value, theta)[0].numpy()

    zero = torch.zeros(SPECS[name].n_free(*found.shape[:2]), dtype=torch.float64)
    found = SPECS[name].moved(found, torch.as_tensor(minimize(value_and_gradient, zero.numpy(), jac=True).x))
    for _ in range(2):  # Newton's steps
        gradient = torch.as_tensor(value_and_gradient(zero.numpy())[1])
        found = SPECS[name].moved(found, -torch.linalg.solve(torch.autograd.functional.hessian(cost, zero), gradient))
    return found.numpy()
