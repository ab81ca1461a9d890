"""The evidence lower bound of a variational mixture, as textbooks write it: every term by itself, by torch's laws.

Bishop 2006 (Pattern Recognition and Machine Learning, 10.70 to 10.77 and B.78 to B.82). One variance has the law of
the inverse of a gamma variable.
"""

import math

import torch
from torch.distributions import Beta, Dirichlet, Gamma, kl_divergence


def expected_log_weights(concentration):
    """E[log pi] of a Dirichlet law (K,), or of sticks (2, K) that are broken on and on."""
    if concentration.ndim == 1:
        return torch.digamma(concentration) - torch.digamma(concentration.sum())
    a, b = concentration
    whole = torch.digamma(a + b)
    terms = [torch.digamma(a[k]) - whole[k] + (torch.digamma(b) - whole)[:k].sum() for k in range(len(a))]
    return torch.stack(terms)


def divergence_of_weights(q, p):
    if q.ndim == 1:
        return kl_divergence(Dirichlet(q), Dirichlet(p))
    return kl_divergence(Beta(*q), Beta(*p)).sum()


def log_wishart_constant(psi, nu):
    """log B(W, nu) of a Wishart law with W = psi^-1 (B.79)."""
    d = psi.shape[-1]
    return 0.5 * nu * torch.logdet(psi) - 0.5 * nu * d * math.log(2) - torch.mvlgamma(0.5 * nu, d)


def expected_log_precision(psi, nu, n_axes, d):
    """E[log |Lambda|] (B.81)."""
    if n_axes == 2:
        terms = torch.digamma(0.5 * (nu - torch.arange(d)))
        return terms.sum() + d * math.log(2) - torch.logdet(psi)
    per_feature = torch.digamma(0.5 * nu) - (0.5 * psi).log()
    return per_feature.sum() if n_axes == 1 else d * per_feature


def expected_precision(psi, nu, n_axes, d):
    if n_axes == 2:
        return nu * torch.linalg.inv(psi)
    return torch.diag((nu / psi).expand(d))


def divergence_of_precision(psi, nu, psi_prior, nu_prior, n_axes, d):
    if n_axes < 2:
        return kl_divergence(Gamma(0.5 * nu, 0.5 * psi), Gamma(0.5 * nu_prior, 0.5 * psi_prior)).sum()
    expected = expected_log_precision(psi, nu, n_axes, d)
    trace = nu * torch.linalg.solve(psi, psi_prior).trace()
    own, prior = log_wishart_constant(psi, nu), log_wishart_constant(psi_prior, nu_prior)
    return own - prior + 0.5 * (nu - nu_prior) * expected - 0.5 * nu * d + 0.5 * trace


def bound(X, weights, spec, q, p):
    """The bound at the best responsibilities, of a posterior q and a prior p: dicts of tensors.

    `concentration`, `kappa` (K,), `mean` (K, d), `nu` (B,), `psi` (B, ...), B = 1 where covariances are tied.
    """
    n_components, d = q["mean"].shape
    which = [0 if spec.tied else k for k in range(n_components)]
    of = [(q["psi"][b], q["nu"][b], spec.n_axes, d) for b in range(len(q["nu"]))]
    columns, divergence = [], divergence_of_weights(q["concentration"], p["concentration"])
    log_weights = expected_log_weights(q["concentration"])
    for k in range(n_components):
        precision = expected_precision(*of[which[k]])
        gaps, kappa, kappa_prior = X - q["mean"][k], q["kappa"][k], p["kappa"][k]
        squares = torch.einsum("ni,ij,nj->n", gaps, precision, gaps) + d / kappa
        own = expected_log_precision(*of[which[k]]) - d * math.log(2 * math.pi) - squares
        columns.append(log_weights[k] + 0.5 * own)
        gap = q["mean"][k] - p["mean"][k]
        spread = d * (kappa_prior / kappa - 1 - (kappa_prior / kappa).log())
        divergence = divergence + 0.5 * (spread + kappa_prior * gap @ precision @ gap)
    for b, (psi, nu, *rest) in enumerate(of):
        divergence = divergence + divergence_of_precision(psi, nu, p["psi"][b], p["nu"][b], *rest)
    return weights @ torch.stack(columns, 1).logsumexp(1) - divergence
