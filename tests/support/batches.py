"""Batches of mixtures over the same rows, and each of their mixtures alone."""

from dataclasses import replace

import numpy as np
import torch
from cases import PRIORS, prior_keywords
from structures import SPECS

from tgmm.covariance import STRUCTURES, separate
from tgmm.em.batch import Batch
from tgmm.em.degeneracy import Guard
from tgmm.em.moves import Moves
from tgmm.kernels.assignment import soft
from tgmm.kernels.batched import Batched
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.update import Update

OF_PRIOR = {
    "weight_concentration_prior": "concentration",
    "mean_prior": "mean",
    "mean_precision_prior": "mean_precision",
}
RIDGE = 1e-9  # on every variance, so that moves can look at few rows


def tensor(values):
    return torch.tensor(np.asarray(values, dtype=np.float64))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def kinds_of_priors(name):
    """The combinations of priors that a structure has."""
    return [kind for kind in PRIORS if SPECS[name].has_prior or kind in ("none", "weights", "means")]


def prior_given(name, kind, n_components, n_features):
    """A prior as users give it; none of the covariances where the structure has none."""
    keywords = prior_keywords(kind, name if SPECS[name].has_prior else SPECS[name].free, n_components, n_features)
    return keywords if SPECS[name].has_prior else {key: keywords[key] for key in keywords if key in OF_PRIOR}


def priors_of(name, kind, n_components, n_features):
    """The same as the library holds it."""
    keywords = prior_given(name, kind, n_components, n_features)
    fields = {field: tensor(keywords[key]) for key, field in OF_PRIOR.items() if key in keywords}
    priors = replace(Priors(), **fields)
    if "covariance_prior" not in keywords:
        return priors
    psi = STRUCTURES[name].from_public(tensor(keywords["covariance_prior"]), n_components, n_features)
    nu = tensor(keywords["degrees_of_freedom_prior"]).reshape(-1)
    nu = STRUCTURES[name].degrees_of_each(nu, n_features, beside_means=priors.mean is not None)
    return replace(priors, covariance=psi, degrees_of_freedom=nu)


def covariances_of(name, matrices):
    """Covariances of a batch (R, ...) from the matrices of each mixture, (K, d, d)."""
    each = [STRUCTURES[name].from_public(tensor(SPECS[name].public(m)), *m.shape[:2]) for m in matrices]
    return replace(each[0], values=torch.stack([one.values for one in each]))


def members(name, n_mixtures, n_components, n_features, seed=0):
    """A batch of mixtures drawn at random: as arrays (weights, means, matrices) of each, and as the library has it."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_components, 4.0), n_mixtures)
    means = rng.standard_normal((n_mixtures, n_components, n_features))
    matrices = [SPECS[name].member([seed, r], n_components, n_features) for r in range(n_mixtures)]
    parameters = Parameters(tensor(weights), tensor(means), covariances_of(name, matrices))
    return list(zip(weights, means, matrices, strict=True)), parameters


def standardised(X, *, one_scale=False):
    """Rows in a frame, as a tensor."""
    scale = X.std() if one_scale else X.std(axis=0)
    return tensor((X - X.mean(axis=0)) / scale)


def shares_of(labels, n_components, share=1e-3):
    """Responsibilities (R, K, m) of partitions (R, m), each cluster with a small share of all rows besides."""
    labels = np.atleast_2d(labels)
    return tensor(np.eye(n_components)[labels].transpose(0, 2, 1) + share / n_components)


def batch_of(name, rows, weights=None, *, priors=None, assignment=soft):
    """EM on many mixtures of some rows, with next to nothing on the variances."""
    weights = torch.ones_like(rows[:, 0]) if weights is None else weights
    update = Update(STRUCTURES[name], Priors() if priors is None else priors, tensor(RIDGE))
    return Batch(Batched(rows, weights, STRUCTURES[name].moment), update, assignment)


def guard_of(batch):
    """What tells the accidents of a batch, each of whose rows stands for as much as any."""
    rows, weights = batch.kernel.rows, batch.kernel.weights
    return Guard(lambda: (rows, weights), batch.update.structure, batch.update.priors, float(1 / weights.sum()))


def moves_of(batch):
    """Splits and merges of a batch's components."""
    own = separate(batch.update.structure)
    local = Batched(batch.kernel.rows, batch.kernel.weights, own.moment)
    return Moves(batch, local, Update(own, Priors(), tensor(RIDGE)), guard_of(batch))


def begun_at(batch, labels, n_components, share=1e-3):
    """The runs that begin with the clusters of partitions (R, m)."""
    shares = shares_of(labels, n_components, share)
    return batch.begun(batch.kernel.of_shares(shares), torch.arange(len(shares)))
