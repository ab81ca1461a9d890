"""Estimators that are composed of mixtures, explained: linear functions of a regressor, classes of a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tgmm.em.solution import Solution
from tgmm.estimators.explaining import criteria_of
from tgmm.mixture.mixture import Mixture
from tgmm.mixture.profiles import Profiles, differences
from tgmm.mixture.summary import Summary, profile_tables, terms
from tgmm.mixture.tables import Table, in_pairs, shown

LINEAR = (
    "A prediction is the mean of the components' linear functions, weighted by how probable each component is at the "
    "features."
)


def linear_functions(mixture: Mixture, names: Sequence[str], n_targets: int, max_features: int | None) -> list[Table]:
    """Return a table for each target: its intercept, slopes and standard deviation in each component.

    Parameters
    ----------
    mixture : Mixture
        Of features and targets, in this order.
    names : sequence of str
        Of features and targets.
    n_targets : int
    max_features : int or None
        How many features to show; they are the first.
    """
    parameters, n_features = mixture.parameters, mixture.n_features - n_targets
    places = torch.arange(mixture.n_features, device=parameters.means.device)
    slopes, left = parameters.covariances.regression(places[:n_features], places[n_features:])
    means, n_components = parameters.means, mixture.n_components
    intercepts = means[:, n_features:] - (slopes @ means[:, :n_features, None])[..., 0]  # (K, t)
    values = torch.cat([intercepts[..., None], slopes.expand(n_components, -1, -1)], -1).cpu().numpy()  # (K, t, 1 + d)
    deviations = left.variances.expand(n_components, -1).sqrt().cpu().numpy()  # (K, t)
    header = ("component", "intercept", *names[:n_features][:max_features], "standard deviation")
    n_shown, tables = len(header) - 3, []
    which = f", in the first {n_shown} of {n_features} features" * (n_shown < n_features)
    for j, target in enumerate(names[n_features:]):
        numbers = np.column_stack([values[:, j, : 1 + n_shown], deviations[:, j]])
        rows = [(str(k), *(f"{value:.4g}" for value in row)) for k, row in enumerate(numbers)]
        tables.append(Table(f"{target}: the linear function of each component{which}", header, rows))
    return tables


def explained_classes(
    classes: Sequence[Any],
    priors: np.ndarray,
    mixtures: Sequence[tuple[Mixture, Solution]],
    facts: Mapping[str, Any],
    max_features: int | None,
) -> Summary:
    """Return the summary of a classifier.

    Parameters
    ----------
    classes : sequence
    priors : ndarray of shape (C,)
    mixtures : sequence of pairs
        The mixture of each class, and the solution that it is of.
    facts : mapping
        What is said of the whole.
    max_features : int or None
    """
    labels = [str(name) for name in classes]
    profiles = _profiles(labels, priors, [mixture for mixture, _ in mixtures])
    tables, notes = profile_tables(profiles, max_features)
    each = [_line(label, *pair) for label, pair in zip(labels, mixtures, strict=True)]
    header = ("class", "components", "covariance", "rows", "log-likelihood", "BIC")
    notes += [*terms({}, profiles), "For BIC, lower is better.", "The weights are the classes' prior probabilities."]
    first = (in_pairs(dict(facts)), Table("The mixture of each class", header, each))
    return Summary("Classification by Gaussian mixtures", dict(facts), (*first, *tables), tuple(notes), profiles)


def _profiles(labels: list[str], priors: np.ndarray, mixtures: Sequence[Mixture]) -> Profiles:
    """Return the profiles of the classes, each as a whole."""
    each = [Profiles.of(mixture) for mixture in mixtures]
    means, deviations = (np.stack(part) for part in zip(*(one.total() for one in each), strict=True))
    apart = differences(priors, means, np.square(deviations))
    return Profiles(each[0].names, priors, means, deviations, apart, kind="class", groups=labels)


def _line(label: str, mixture: Mixture, solution: Solution) -> tuple[str, ...]:
    """Return a line for a class: its mixture, and what this is worth on the rows of the fit, where that is known."""
    found = criteria_of(solution, mixture)
    worth = ("-",) * 3 if found is None else (found.weight, found.log_likelihood, found.bic)
    return label, str(mixture.n_components), mixture.covariance_type, *(shown(value) for value in worth)
