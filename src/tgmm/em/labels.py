"""Starts from rows whose component is known."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tgmm.em.problem import Problem
from tgmm.kernels.assignment import labelled
from tgmm.model.parameters import Parameters, nearest


class LabelledMeans(NamedTuple):
    """The means of the rows that are known to be of a component, for those components that have such rows."""

    components: Tensor  # (L,)
    means: Tensor  # (L, d)

    @classmethod
    def of(cls, problem: Problem) -> LabelledMeans:
        """Return those of a problem, in the frame."""
        anywhere = nearest(problem.frame.shift.new_zeros(problem.n_components, problem.data.n_features))
        statistics, _ = problem.expectation(labelled)(anywhere, 0)
        components = (statistics.mass > 0).nonzero().flatten()
        means = statistics.centre + statistics.first / statistics.mass[:, None]
        return cls(components, means[components])


def centres_with(centres: Tensor, known: LabelledMeans) -> Tensor:
    """Return centres (K, d) for the components: the known means, and for the others the centres far from these."""
    left = _matched(-torch.cdist(known.means, centres), len(centres))
    found = torch.empty_like(centres)
    found[known.components] = known.means
    found[_others(known, len(centres))] = centres[left[1]]
    return found


def components_with(parameters: Parameters, known: LabelledMeans) -> Parameters:
    """Return the mixture with its components in the order in which known means are most probable under their own."""
    n_components = parameters.n_components
    joint = parameters.log_joint(known.means - parameters.means[:, None])  # (K, L)
    own, left = _matched(joint.T, n_components)
    order = torch.empty(n_components, dtype=torch.int64, device=own.device)
    order[known.components] = own
    order[_others(known, n_components)] = left
    return Parameters(parameters.weights[order], parameters.means[order], parameters.covariances.take(order))


def _matched(worth: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """Return for each row of worth (L, K) a column of its own, so that the sum is greatest, and the columns left."""
    _, columns = linear_sum_assignment(worth.cpu().numpy(), maximize=True)
    own = torch.from_numpy(columns).to(worth.device)
    left = torch.ones(n_components, dtype=torch.bool, device=worth.device)
    left[own] = False
    return own, left.nonzero().flatten()


def _others(known: LabelledMeans, n_components: int) -> Tensor:
    """Return the components without known rows."""
    others = torch.ones(n_components, dtype=torch.bool, device=known.components.device)
    others[known.components] = False
    return others.nonzero().flatten()
