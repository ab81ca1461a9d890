"""A naive float64 EM and the documented log-posterior: the oracles that the tests hold the library against.

Both are written from section 3 of the contract, for reading and not for speed: components are looped over, every
scatter is centred on its own mean, every density goes through a Cholesky factor. Nothing here imports the library.

The hyperparameters are called what ``GaussianMixture`` calls them, so that one dictionary serves both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, xlogy
from structures import SPECS, best

STRUCTURES = [name for name, spec in SPECS.items() if not spec.restricted]


@dataclass(frozen=True)
class NaiveFit:
    """Parameters in the library's shapes, the average objective from the start on, and the resolved ``reg_covar``."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    history: np.ndarray
    reg_covar: np.ndarray


def naive_em(X, structure, start, iterations, *, sample_weight=None, reg_covar=0.0, cem=False, **prior):
    """Run ``iterations`` M-steps of EM (of Classification EM if ``cem``) in float64.

    ``start`` is either responsibilities (n, K), from which an M-step makes the first parameters, or the first
    parameters themselves: a tuple (weights, means, covariances).
    """
    X = np.asarray(X, dtype=np.float64)
    sample_weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)

    if isinstance(start, tuple):
        weights, means, covariances = (np.asarray(part, dtype=np.float64) for part in start)
        reg = resolve_reg_covar(reg_covar, X, sample_weight, weights, covariances, structure)
    else:
        responsibilities = np.asarray(start, dtype=np.float64)
        weights, means, covariances = maximise(X, responsibilities, sample_weight, structure, prior)
        reg = resolve_reg_covar(reg_covar, X, sample_weight, weights, covariances, structure)
        covariances = regularise(covariances, reg, structure)

    history = [objective(X, weights, means, covariances, structure, sample_weight, cem, prior)]
    for _ in range(iterations):
        responsibilities = assign(X, weights, means, covariances, structure, cem)
        weights, means, covariances = maximise(X, responsibilities, sample_weight, structure, prior)
        covariances = regularise(covariances, reg, structure)
        history.append(objective(X, weights, means, covariances, structure, sample_weight, cem, prior))
    return NaiveFit(weights, means, covariances, np.array(history), reg)


# Densities and the E-step


def as_matrices(covariances, structure, n_components, n_features):
    """Covariances of any structure as (K, d, d)."""
    return SPECS[structure].dense(np.asarray(covariances, dtype=np.float64), n_components, n_features)


def log_normal(X, mean, covariance):
    """Log-density of each row under one Gaussian."""
    factor = np.linalg.cholesky(covariance)
    standard = solve_triangular(factor, (X - mean).T, lower=True)
    log_determinant = 2 * np.log(np.diag(factor)).sum()
    return -0.5 * ((standard**2).sum(axis=0) + log_determinant + len(mean) * np.log(2 * np.pi))


def log_joint(X, weights, means, covariances, structure):
    """log(weight_k) + log N(x_i; mu_k, Sigma_k), as (n, K)."""
    X, means = np.asarray(X, dtype=np.float64), np.asarray(means, dtype=np.float64)
    matrices = as_matrices(covariances, structure, *means.shape)
    columns = np.full((len(X), len(means)), -np.inf)  # where the weight is 0 it stays so
    for k in np.flatnonzero(weights):
        columns[:, k] = np.log(weights[k]) + log_normal(X, means[k], matrices[k])
    return columns


def assign(X, weights, means, covariances, structure, cem=False):
    """Responsibilities (n, K): posterior probabilities, or the most probable component alone if ``cem``."""
    joint = log_joint(X, weights, means, covariances, structure)
    if cem:
        return np.eye(joint.shape[1])[joint.argmax(axis=1)]
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


# The M-step


def maximise(X, responsibilities, sample_weight, structure, prior):
    """The mode of (weights, means, covariances) given the responsibilities, by the table of section 3."""
    n_components, n_features = responsibilities.shape[1], X.shape[1]
    m, kappa = mean_prior_per_component(prior, n_components, n_features)

    N = np.zeros(n_components)
    means = np.zeros((n_components, n_features))
    scatters = np.zeros((n_components, n_features, n_features))
    for k in range(n_components):
        mass = sample_weight * responsibilities[:, k]
        N[k] = mass.sum()
        if N[k] == 0:  # a prior took the component's weight away: nothing is left to estimate
            means[k] = np.nan
            continue
        xbar = mass @ X / N[k]
        centred = X - xbar
        xbar = xbar + mass @ centred / N[k]  # once more about itself: exact to rounding at any offset
        centred = X - xbar
        D = xbar - m[k]
        means[k] = xbar - kappa[k] / (N[k] + kappa[k]) * D  # (N xbar + kappa m) / (N + kappa)
        scatters[k] = (mass * centred.T) @ centred + N[k] * kappa[k] / (N[k] + kappa[k]) * np.outer(D, D)

    weights = N.copy()
    if prior.get("weight_concentration_prior") is not None:
        weights = np.maximum(N + np.asarray(prior["weight_concentration_prior"]) - 1, 0)
    return weights / weights.sum(), means, mode_covariances(scatters, N, structure, prior)


def mode_covariances(scatters, N, structure, prior):
    """(Psi + scatter) / denominator, structure by structure."""
    K, d = scatters.shape[:2]
    N_tot = N.sum()
    diagonals = np.stack([np.diag(scatter) for scatter in scatters])
    traces = np.array([np.trace(scatter) for scatter in scatters])
    has_mean_prior = prior.get("mean_prior") is not None
    has_covariance_prior = prior.get("covariance_prior") is not None
    Psi, nu = covariance_prior_in_full_shape(prior, structure, K, d)

    spec = SPECS[structure]
    if spec.restricted:
        rows = N + (spec.prior_rows(nu, K, d, has_mean_prior) if has_covariance_prior else has_mean_prior)
        scatters = scatters + as_matrices(Psi, structure, K, d)
        start = scatters.sum(0) / rows.sum()
        start = np.diag(np.diag(start)) if spec.n_axes == 1 else start
        return spec.public(best(structure, scatters, rows, np.stack([start] * K)))

    # how often a row counts, and what the priors add to the number of squared deviations
    times = d if spec.n_axes == 0 else 1
    added = nu + (d + 1 if spec.n_axes == 2 else 2) if has_covariance_prior else np.zeros_like(nu)
    if has_mean_prior:
        added = added + (K if spec.tied else 1) * times
    N = np.where(N > 0, N, np.nan)
    squares = [traces, diagonals, scatters][spec.n_axes]
    if spec.tied:
        return (Psi + squares.sum(axis=0)) / (N_tot * times + added)
    return np.stack([(Psi[k] + squares[k]) / (N[k] * times + added[k]) for k in range(K)])


def mean_prior_per_component(prior, n_components, n_features):
    """m as (K, d) and kappa as (K,); kappa = 0 where there is no mean prior."""
    if prior.get("mean_prior") is None:
        return np.zeros((n_components, n_features)), np.zeros(n_components)
    m = np.broadcast_to(np.asarray(prior["mean_prior"], dtype=np.float64), (n_components, n_features))
    kappa = np.broadcast_to(np.asarray(prior["mean_precision_prior"], dtype=np.float64), (n_components,))
    return m, kappa


def covariance_prior_in_full_shape(prior, structure, n_components, n_features):
    """Psi in the shape of ``covariances_`` and nu as (K,), or () for the tied types; 0 where there is no prior."""
    shape = SPECS[structure].shape(n_components, n_features)
    nu_shape = () if SPECS[structure].tied else (n_components,)
    if prior.get("covariance_prior") is None:
        return np.zeros(shape), np.zeros(nu_shape)
    Psi = np.broadcast_to(np.asarray(prior["covariance_prior"], dtype=np.float64), shape)
    nu = np.broadcast_to(np.asarray(prior["degrees_of_freedom_prior"], dtype=np.float64), nu_shape)
    return Psi, nu


# reg_covar


def resolve_reg_covar(reg_covar, X, sample_weight, weights, covariances, structure):
    """``reg_covar`` in the units of the data: (d,), or () for the spherical types."""
    d = X.shape[1]
    matrices = as_matrices(covariances, structure, len(weights), d)
    variances = np.diagonal(matrices, axis1=1, axis2=2)  # (K, d)
    enough = SPECS[structure].tied | (np.asarray(weights) >= 0.1 / len(weights))
    centre = np.average(X, axis=0, weights=sample_weight)
    in_the_data = np.average((X - centre) ** 2, axis=0, weights=sample_weight)
    if SPECS[structure].n_axes == 0:
        variances, in_the_data = variances.mean(1, keepdims=True), in_the_data.mean(keepdims=True)
    within = smallest(variances[enough])
    within = np.where(within > 0, within, smallest(variances))
    unit = np.where(within > 0, within, np.where(in_the_data > 0, in_the_data, 1.0))
    return reg_covar * (unit[0] if SPECS[structure].n_axes == 0 else unit)


def smallest(variances):
    """The smallest of those variances (k, d) that are not the rounding of equal values, or 0 where none is."""
    found = np.where(variances > 1e-25 * variances.max(initial=0), variances, np.inf).min(0, initial=np.inf)
    return np.where(np.isfinite(found), found, 0.0)


def regularise(covariances, reg, structure):
    """Add the resolved ``reg_covar`` to every variance."""
    if SPECS[structure].n_axes == 2:
        return covariances + np.diag(reg)
    return covariances + reg


# The objective


def objective(X, weights, means, covariances, structure, sample_weight=None, cem=False, prior=None):
    """Average objective: (sum of w log p(x) + log prior) / W, with the classification likelihood if ``cem``."""
    joint = log_joint(X, weights, means, covariances, structure)
    per_row = joint.max(axis=1) if cem else logsumexp(joint, axis=1)
    sample_weight = np.ones(len(joint)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    total = sample_weight @ per_row + log_prior(weights, means, covariances, structure, prior or {})
    return total / sample_weight.sum()


def log_prior(weights, means, covariances, structure, prior):
    """Log of the unnormalised prior density: constants in the parameters are not all kept."""
    K, d = means.shape
    matrices = as_matrices(covariances, structure, K, d)
    total = 0.0
    if prior.get("weight_concentration_prior") is not None:
        alpha = np.broadcast_to(np.asarray(prior["weight_concentration_prior"]), (K,))
        total += xlogy(alpha - 1, weights).sum()
    if prior.get("mean_prior") is not None:
        m, kappa = mean_prior_per_component(prior, K, d)
        for k in range(K):
            total += log_normal(means[k][np.newaxis], m[k], matrices[k] / kappa[k])[0]
    if prior.get("covariance_prior") is not None:
        Psi, nu = covariance_prior_in_full_shape(prior, structure, K, d)
        if SPECS[structure].prior_rows is not None:
            has_means = prior.get("mean_prior") is not None
            rows = SPECS[structure].prior_rows(nu, K, d, has_means) - has_means
            traces = np.trace(np.linalg.solve(matrices, as_matrices(Psi, structure, K, d)), axis1=1, axis2=2)
            total -= (rows * np.linalg.slogdet(matrices)[1] + traces).sum() / 2
        elif SPECS[structure].tied:
            total += log_inverse_wishart(covariances, Psi, nu, structure, d)
        else:
            total += sum(log_inverse_wishart(covariances[k], Psi[k], nu[k], structure, d) for k in range(K))
    return total


def log_inverse_wishart(covariance, Psi, nu, structure, d):
    """The prior of one covariance: a matrix, a row of variances (one density each), or one variance (one density)."""
    if SPECS[structure].n_axes == 2:
        log_determinant = np.linalg.slogdet(covariance)[1]
        return -(nu + d + 1) / 2 * log_determinant - np.trace(np.linalg.solve(covariance, Psi)) / 2
    return np.sum(-(nu + 2) / 2 * np.log(covariance) - Psi / covariance / 2)


def log_posterior(X, weights, means, covariances, structure, sample_weight=None, prior=None):
    """The documented log-posterior (a total, up to constants) in torch: differentiable in the parameters.

    The log-likelihood, sum of w_i log sum_k weight_k N(x_i; mu_k, Sigma_k), plus, where given,

    - Dirichlet(alpha) of the weights: sum of (alpha_k - 1) log weight_k;
    - Normal(m_k, Sigma_k / kappa_k) of each mean: (log|kappa_k Sigma_k^-1| - kappa_k d_k' Sigma_k^-1 d_k) / 2;
    - inverse-Wishart(Psi, nu) of each covariance (of the one covariance, for the tied types):
      -(nu + d + 1) / 2 log|Sigma| - tr(Psi Sigma^-1) / 2, with d = 1 for each feature of the diagonal types and,
      once, for the spherical ones.
    """
    prior = prior or {}
    K, d = means.shape
    tied = SPECS[structure].tied
    stacked = covariances.unsqueeze(0) if tied else covariances  # the distinct covariances lead
    if SPECS[structure].n_axes == 2:
        matrices = stacked
    elif SPECS[structure].n_axes == 1:
        matrices = torch.diag_embed(stacked)
    else:
        matrices = stacked[:, None, None] * torch.eye(d, dtype=stacked.dtype)
    factors = torch.linalg.cholesky(matrices).expand(K, d, d)
    log_determinants = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)

    def mahalanobis(deviations):  # (K, n, d) -> (K, n)
        return torch.linalg.solve_triangular(factors, deviations.mT, upper=False).square().sum(dim=1)

    constant = d * torch.log(torch.tensor(2 * torch.pi, dtype=X.dtype))
    log_normals = -0.5 * (mahalanobis(X[None] - means[:, None]) + log_determinants[:, None] + constant)
    log_rows = torch.logsumexp(weights.log()[:, None] + log_normals, dim=0)
    total = log_rows.sum() if sample_weight is None else (sample_weight * log_rows).sum()

    def tensor(name):
        return torch.as_tensor(prior[name], dtype=X.dtype)

    if prior.get("weight_concentration_prior") is not None:
        total = total + ((tensor("weight_concentration_prior") - 1) * weights.log()).sum()
    if prior.get("mean_prior") is not None:
        kappa = tensor("mean_precision_prior").expand(K)
        distances = mahalanobis((means - tensor("mean_prior"))[:, None])[:, 0]
        total = total + 0.5 * (d * kappa.log() - log_determinants - kappa * distances).sum()
    if prior.get("covariance_prior") is not None:
        Psi = tensor("covariance_prior").expand(stacked.shape)
        nu = tensor("degrees_of_freedom_prior").expand(len(stacked))
        if SPECS[structure].n_axes == 2:
            traces = torch.linalg.solve(stacked, Psi).diagonal(dim1=1, dim2=2).sum(dim=1)
            total = total - (0.5 * (nu + d + 1) * torch.logdet(stacked) + 0.5 * traces).sum()
        else:
            nu = nu.reshape((-1,) + (1,) * (stacked.ndim - 1))
            total = total - (0.5 * (nu + 2) * stacked.log() + 0.5 * Psi / stacked).sum()
    return total


def unconstrained_gradient(X, weights, means, covariances, structure, sample_weight=None, prior=None):
    """Gradient of ``log_posterior`` in parameters without constraints, as a dictionary of tensors.

    Weights as softmax logits, full covariances as Cholesky factors with a log diagonal, variances as logarithms;
    means in units of their component's standard deviations. It is zero at a stationary point and nowhere else.
    """
    X, weights, means, covariances = (
        torch.as_tensor(np.asarray(part), dtype=torch.float64) for part in (X, weights, means, covariances)
    )
    if sample_weight is not None:
        sample_weight = torch.as_tensor(np.asarray(sample_weight), dtype=torch.float64)
    matrices = as_matrices(covariances.numpy(), structure, *means.shape)
    deviations = torch.as_tensor(np.sqrt(np.diagonal(matrices, axis1=1, axis2=2)))

    logits = weights.log().requires_grad_()
    standard_means = (means / deviations).requires_grad_()
    if SPECS[structure].n_axes == 2:
        factor = torch.linalg.cholesky(covariances)
        log_diagonal = factor.diagonal(dim1=-2, dim2=-1).log().requires_grad_()
        below = factor.tril(-1).requires_grad_()
        rebuilt = below.tril(-1) + torch.diag_embed(log_diagonal.exp())
        free = {"log_diagonal": log_diagonal, "below": below}
        rebuilt_covariances = rebuilt @ rebuilt.mT
    else:
        log_variances = covariances.log().requires_grad_()
        free = {"log_variances": log_variances}
        rebuilt_covariances = log_variances.exp()
    value = log_posterior(
        X, logits.softmax(0), standard_means * deviations, rebuilt_covariances, structure, sample_weight, prior
    )
    free = {"logits": logits, "means": standard_means} | free
    return dict(zip(free, torch.autograd.grad(value, list(free.values())), strict=True))
