"""Searches side by side: what all of them ask for next is done as one batch.

A search is a generator that yields a request, is sent what comes of it, and returns what it found. Runs of few
rows take longer to ask for than to advance, so that many searches together take a fraction of the time that they take
one after another.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from tgmm.covariance import Free
from tgmm.em.batch import Batch, Runs, joined
from tgmm.kernels.base import Assignment
from tgmm.kernels.batched import Batched
from tgmm.kernels.own_rows import OwnRows
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update
from tgmm.runtime.frozen import replace


@dataclass(frozen=True, eq=False)
class Request(ABC):
    """What a search asks for."""

    batch: Batch[Batched]
    runs: Runs

    @property
    @abstractmethod
    def kind(self) -> Hashable:
        """What requests that are done together have in common."""

    @abstractmethod
    def answers(self, requests: Sequence[Any]) -> list[Any]:
        """Return what comes of each of several requests that are alike, of which this is one."""


@dataclass(frozen=True, eq=False)
class Advance(Request):
    """Runs that are to be advanced."""

    @abstractmethod
    def done(self, batch: Batch[Any], runs: Runs, requests: Sequence[Any]) -> Runs:
        """Return what comes of the runs of several requests of this kind."""

    def answers(self, requests: Sequence[Advance]) -> list[Runs]:
        """Return the runs of each, which are advanced as one batch."""
        if len(requests) == 1:
            return [self.done(self.batch, self.runs, requests)]
        kernels = [each.batch.kernel for each in requests]
        counts = [len(each.runs) for each in requests]
        owner = torch.arange(len(requests)).repeat_interleave(torch.tensor(counts))
        rows = kernels[0] if kernels[1].rows is kernels[0].rows else side_by_side(kernels).of_some(owner)
        n_components = [each.runs.parameters.n_components for each in requests]
        most = max(n_components)
        runs = joined([_filled_up(each.runs, most) for each in requests])
        if isinstance(rows, OwnRows):
            runs = replace(runs, statistics=replace(runs.statistics, weight=rows.weight))
        found = self.done(replace(self.batch, kernel=Together(rows, owner, kernels)), runs, requests)
        ends = torch.tensor(counts).cumsum(0).tolist()
        places = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        parts = zip(places, n_components, kernels, strict=True)
        return [_cut(found.of_some(place), count, kernel) for place, count, kernel in parts]


@dataclass(frozen=True, eq=False)
class Steps(Advance):
    """So many EM steps of each run."""

    n_steps: int

    @property
    def kind(self) -> Hashable:
        """Their number."""
        return self.n_steps

    def done(self, batch: Batch[Any], runs: Runs, requests: Sequence[Steps]) -> Runs:
        """Return the runs after these steps."""
        return batch.advanced(runs, self.n_steps)


@dataclass(frozen=True, eq=False)
class Climb(Advance):
    """Steps and jumps of each run to its limits, see `tgmm.em.batch.Batch.climbed`; each may have its own floor."""

    tol: float
    max_iter: int
    floor: float | Tensor = -math.inf

    @property
    def kind(self) -> Hashable:
        """None: each run has limits of its own."""
        return None

    def done(self, batch: Batch[Any], runs: Runs, requests: Sequence[Climb]) -> Runs:
        """Return the runs where they come to."""
        counts = torch.tensor([len(each.runs) for each in requests])
        limits = torch.tensor([(each.tol, each.max_iter) for each in requests], dtype=torch.float64)
        tol, max_iter = limits.repeat_interleave(counts, 0).T
        floor = torch.cat([torch.as_tensor(each.floor).double().expand(len(each.runs)) for each in requests])
        return batch.climbed(runs, tol, max_iter, floor)


T = TypeVar("T")
Search = Generator[Request, Any, T]


@torch.inference_mode()
def alone(search: Search[T]) -> T:
    """Return what a search comes to."""
    answer: Any = None
    while True:
        try:
            request = search.send(answer)
        except StopIteration as end:
            return end.value
        (answer,) = request.answers([request])


@torch.inference_mode()
def abreast(searches: Sequence[Search[T]]) -> list[T | None]:
    """Return what each of the searches comes to, up to rounding whatever the others are; None where one fails.

    Such a search fails alone too, and then says why.
    """
    found: dict[int, T] = {}
    asked: dict[int, Request] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(searches)))
    while answers:
        for number, answer in answers.items():
            try:
                asked[number] = searches[number].send(answer)
            except StopIteration as end:
                found[number] = end.value
            except Exception:
                continue
        answers = {}
        for numbers in _alike(_next(asked)):
            alike = [asked.pop(number) for number in numbers]
            answers |= zip(numbers, alike[0].answers(alike), strict=True)
    return [found.get(number) for number in range(len(searches))]


def _next(asked: dict[int, Request]) -> dict[int, Request]:
    """Return the requests that are next: climbs, which take longest, wait until there are as many as can be."""
    return {number: request for number, request in asked.items() if not isinstance(request, Climb)} or asked


def _alike(asked: dict[int, Request]) -> list[list[int]]:
    """Return the numbers of requests, those together that are done together.

    They are about the same rows; or about as many components, each about rows of its own.
    """
    by_rows: dict[tuple[Hashable, int], list[int]] = {}
    for number, request in asked.items():
        by_rows.setdefault((_common(request), id(request.batch.kernel.rows)), []).append(number)
    groups: dict[Hashable, list[int]] = {}
    for (common, rows), numbers in by_rows.items():
        request = asked[numbers[0]]
        of_own_rows = (common, request.runs.parameters.n_components, request.batch.kernel.n_features)
        groups.setdefault((common, rows) if len(numbers) > 1 else of_own_rows, []).extend(numbers)
    return list(groups.values())


def _common(request: Request) -> Hashable:
    """Return what requests have in common that can be done together: the request itself where there are no others."""
    kernel, update = request.batch.kernel, request.batch.update
    if not (isinstance(update, Update) and isinstance(update.structure, Free)) or kernel.features is None:
        return request
    if update.priors != Priors() or update.held is not None or update.has_noise or update.regularisation is None:
        return request
    amount = tuple(update.regularisation.reshape(-1).tolist())
    return (type(request), request.kind, update.structure.name, amount, request.batch.assignment)


@dataclass(frozen=True)
class Together:
    """The rows of several searches, each of which has some of a batch of mixtures.

    Parameters
    ----------
    rows : Batched or OwnRows
        Those that all have, or those of each mixture.
    owner : Tensor of shape (R,)
        Which search each mixture is of.
    kernels : sequence of Batched
        Of the searches.
    """

    rows: Batched | OwnRows
    owner: Tensor
    kernels: Sequence[Batched]

    def statistics(self, parameters: Parameters, assignment: Assignment) -> Statistics:
        """Return the statistics, each under its mixture."""
        return self.rows.statistics(parameters, assignment)

    def of_some(self, index: Any) -> Together:
        """Return the rows of some of the mixtures."""
        return Together(self.rows.of_some(index), self.owner[index], self.kernels)

    def count(self, n_passes: int, n_mixtures: int) -> None:
        """Count so many passes by each of the mixtures, for the search that it is of."""
        for kernel, own in zip(self.kernels, self.owner.bincount(minlength=len(self.kernels)).tolist(), strict=True):
            kernel.count(n_passes, own)


def side_by_side(kernels: Sequence[Batched]) -> OwnRows:
    """Return the rows of each of several kernels, filled up with rows of weight 0."""
    first, n_rows = kernels[0], max(each.rows.shape[0] for each in kernels)
    known = [each.features for each in kernels if each.features is not None]
    features = torch.stack([pad(each, (0, n_rows - each.shape[1])) for each in known])
    weights = torch.stack([pad(each.weights, (0, n_rows - each.rows.shape[0])) for each in kernels])
    weigh_the_same = bool((weights == 1).all())
    second = torch.stack([each.total_second for each in kernels]) if first.moment.shared else None
    return OwnRows(
        features, weights, torch.stack([k.weight for k in kernels]), weigh_the_same, second, first.n_features
    )


def _filled_up(runs: Runs, n_components: int) -> Runs:
    """Return runs with so many components, of which some have no weight."""
    more = n_components - runs.parameters.n_components
    if not more:
        return runs
    weights, means, covariances = runs.parameters.weights, runs.parameters.means, runs.parameters.covariances
    mass, first, second = runs.statistics.mass, runs.statistics.first, runs.statistics.second
    if not covariances.shared:
        values = torch.cat([covariances.values, covariances.values[:, -1:].repeat_interleave(more, 1)], 1)
        covariances, second = replace(covariances, values=values), pad(second, (0, 0, 0, more))
    parameters = Parameters(pad(weights, (0, more)), pad(means, (0, 0, 0, more)), covariances)
    statistics = replace(runs.statistics, mass=pad(mass, (0, more)), first=pad(first, (0, 0, 0, more)), second=second)
    return replace(runs, parameters=parameters, statistics=statistics)


def _cut(runs: Runs, n_components: int, kernel: Batched) -> Runs:
    """Return runs over the rows of a kernel without the components that only fill up."""
    parameters, statistics = runs.parameters, runs.statistics
    covariances = parameters.covariances
    if not covariances.shared:
        covariances = covariances.of_some((slice(None), slice(n_components)))
        statistics = replace(statistics, second=statistics.second[:, :n_components])
    weights, means = parameters.weights[:, :n_components], parameters.means[:, :n_components]
    mass, first = statistics.mass[:, :n_components], statistics.first[:, :n_components]
    statistics = replace(statistics, mass=mass, first=first, weight=kernel.weight)
    return replace(runs, parameters=Parameters(weights, means, covariances), statistics=statistics)
