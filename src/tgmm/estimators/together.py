"""Which of many problems are fitted together, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.data.columns import Columns
from tgmm.data.opening import as_source
from tgmm.data.validation import as_tensor, check_responsibilities, check_rows, check_weights
from tgmm.em.many import Origins
from tgmm.em.problem import FEW_NUMBERS, numbers_of_row
from tgmm.em.problems import Problems, Table
from tgmm.em.solution import Solution
from tgmm.em.solutions import Solutions, solutions
from tgmm.em.tried import can_be_tried, tried
from tgmm.estimators.settings import Settings, check_init_means
from tgmm.kernels.choose import moments_outweigh
from tgmm.mixture.base import check_covariances, check_mixing_weights
from tgmm.model.parameters import Parameters
from tgmm.runtime.devices import check_device, float64_device, standalone
from tgmm.runtime.generators import drawn_seed
from tgmm.start import AUTO, UNTRIED
from tgmm.start.sample import sample_size
from tgmm.start.together import TOGETHER

NUMBERS = 1 << 23  # that problems fitted together have at most in all, with their responsibilities
PLAIN = (np.float64, np.float32)  # types of arrays that need no check but for what is not finite
PLAIN_TENSORS = (torch.float64, torch.float32)
LARGE = 64  # features, from which on problems whose moments outweigh take less time alone
UNEVEN = 1.25  # times as many rows as the smallest of them the largest has, at most


class Given(NamedTuple):
    """What one problem is given, as it was handed in."""

    rows: Any
    weights: Any
    responsibilities: Any
    labels: Any
    start: Mapping[str, Any]  # the settings of its start that are its own
    numbers: np.ndarray | None = None  # of its rows in X, (n_b,), where they are a group of the rows of X


class Start(NamedTuple):
    """What was given of a start, in the user's units."""

    means: Tensor | None  # (K, d)
    weights: Tensor | None  # (K,)
    covariances: Covariances | None


class Entry(NamedTuple):
    """One problem that can be fitted with others."""

    place: int
    table: Table
    columns: Columns
    start: Start
    device: torch.device  # of the fit


@dataclass(frozen=True)
class Part:
    """Solutions of some of the problems.

    Parameters
    ----------
    places : list of int
        Which problems they are of.
    columns : list of Columns
    notes : list of str
        What there is to say of each.
    parameters : Parameters
        (P, ...), in the user's units.
    dtype : torch.dtype
        Of the fits.
    log_likelihood, converged, n_iter : Tensor of shape (P,)
    solution : callable
        From a number in this part to the solution.
    """

    places: list[int]
    columns: list[Columns]
    notes: list[str]
    parameters: Parameters
    dtype: torch.dtype
    log_likelihood: Tensor
    converged: Tensor
    n_iter: Tensor
    solution: Callable[[int], Solution]

    @classmethod
    def alone(cls, place: int, solution: Solution) -> Part:
        """Return the part that is the solution of one problem."""
        mixture = solution.mixture
        return cls(
            places=[place],
            columns=[mixture.columns],
            notes=["; ".join(solution.notes)],
            parameters=mixture.parameters.of_some(None),
            dtype=mixture.dtype,
            log_likelihood=torch.tensor([solution.log_likelihood], dtype=torch.float64),
            converged=torch.tensor([solution.converged]),
            n_iter=torch.tensor([solution.n_iter]),
            solution=[solution].__getitem__,
        )

    @classmethod
    def together(cls, entries: Sequence[Entry], found: Solutions) -> Part:
        """Return the part of problems that were fitted together."""
        columns = [entry.columns for entry in entries]
        return cls(
            places=[entry.place for entry in entries],
            columns=columns,
            notes=["; ".join(notes) for notes in found.notes],
            parameters=found.parameters,
            dtype=found.dtype,
            log_likelihood=found.log_likelihood,
            converged=found.ends.converged,
            n_iter=found.ends.n_iter,
            solution=partial(found.solution, columns),
        )


def solved_together(settings: Settings, problems: Mapping[int, Given], owner: str) -> Iterator[Part]:
    """Yield the solutions of all problems that can be fitted together; others are to be fitted alone.

    Alone are fitted: all of them, where starts are made one by one, where each has several runs that all see all rows,
    or where rows are special; those with rows that are not in memory, that are many, or that are not in float64 and
    would not be computed in it alone; and those that anything befalls, since the fit alone knows what to do then, or
    what is wrong.
    """
    for batch in _batches(settings, _entries(settings, problems, owner)):
        part = _solved(settings, batch)
        if part is not None:
            yield part


@standalone()
def _entries(settings: Settings, problems: Mapping[int, Given], owner: str) -> list[Entry]:
    """Return the problems that can be fitted together."""
    if settings.is_special:
        return []
    common = lru_cache(partial(_start, settings, settings.given))  # by the number of features
    most = lru_cache(partial(_most_rows, settings))  # by the number of features, the type and the device
    entries = []
    for place, given in problems.items():
        if given.labels is not None or not _starts_together(settings, given):
            continue
        try:
            entry = _entry(settings, place, given, owner, common)
        except (OSError, TypeError, ValueError):
            continue
        n_rows, n_features = entry.table.rows.shape
        if max(settings.n_components, n_features) < n_rows <= most(n_features, entry.table.rows.dtype, entry.device):
            entries.append(entry)
    return entries


def _starts_together(settings: Settings, given: Given) -> bool:
    """Whether a start can be made with those of other problems."""
    start = given.start.get("init_means", settings.given["init_means"])
    if given.responsibilities is not None or not isinstance(start, str):
        return not callable(start)
    return settings.n_components == 1 or start == AUTO or (start in TOGETHER and settings.policy.n_init == 1)


def _most_rows(settings: Settings, n_features: int, dtype: torch.dtype, device: torch.device) -> int:
    """Return how many rows a problem has, at most, that is worth fitting with others, as it is alone in float64."""
    n_components, moment = settings.n_components, settings.structure.moment
    is_narrow = dtype != torch.float64 or float64_device(device) != device
    if is_narrow and device.type != "cpu":
        return 0
    if n_features >= LARGE and moments_outweigh(moment, n_features, n_components, torch.float64):
        return 0
    numbers = NUMBERS if dtype == torch.float64 else FEW_NUMBERS
    return min(sample_size(n_components, n_features), numbers // numbers_of_row(n_features, n_components, moment))


def _entry(settings: Settings, place: int, given: Given, owner: str, common: Callable[[int], Start]) -> Entry:
    """Return a problem, checked, or raise what the fit alone will raise; the start of many is common to them."""
    rows, columns, device = _rows(given.rows, owner, settings.given["device"])
    n_features = rows.shape[1]
    settings.check_features(columns)
    start = _start(settings, {**settings.given, **given.start}, n_features) if given.start else common(n_features)
    weights = check_weights(given.weights, rows.shape[0])
    known = given.responsibilities
    if known is not None:
        known = check_responsibilities(known, rows.shape[0], settings.n_components)
    if weights is not None and not (weights > 0).all():
        kept = weights > 0
        if not torch.isfinite(rows[~kept]).all():
            raise ValueError("Rows of weight 0 are not finite.")
        rows, weights, known = rows[kept], weights[kept], None if known is None else known[kept]
    return Entry(place, Table(rows, weights, known), columns, start, device)


def _rows(X: Any, owner: str, device: Any) -> tuple[Tensor, Columns, torch.device]:
    """Return rows in memory as a tensor, their columns, and the device of the fit; if all are finite is seen later."""
    if type(X) is np.ndarray and X.dtype in PLAIN and X.ndim == 2 and X.flags.c_contiguous and X.size:
        return as_tensor(X), _columns(X.shape[1], owner, "numpy"), check_device(device)
    if type(X) is Tensor and X.dtype in PLAIN_TENSORS and X.ndim == 2 and X.layout == torch.strided and X.numel():
        return X.detach(), _columns(X.shape[1], owner, "torch"), check_device(device, X)
    if as_source(X) is not None:
        raise ValueError("The rows are not in memory.")
    rows, columns = check_rows(X, Columns(None, None, owner))
    return rows.tensor, columns, check_device(device, rows.tensor if rows.from_tensor else None)


@lru_cache(maxsize=16)
def _columns(n_features: int, owner: str, arrays: str) -> Columns:
    """Return the columns of an array or a tensor."""
    return Columns.of(n_features, None, owner, arrays)


def _start(settings: Settings, given: Mapping[str, Any], n_features: int) -> Start:
    """Return what is given of a start, checked, in the user's units."""
    n_components, structure = settings.n_components, settings.structure
    means = given["init_means"]
    if not _is_plain(means, (n_components, n_features)):
        means = check_init_means(means, n_components, n_features)
    elif not isinstance(means, Tensor):
        means = as_tensor(means)
    weights, covariances = given["init_weights"], given["init_covariances"]
    if weights is not None:
        weights = check_mixing_weights(weights, n_components, "init_weights")
    if covariances is not None:
        covariances = check_covariances(covariances, structure, n_components, n_features, "init_covariances")
    return Start(means if isinstance(means, Tensor) else None, weights, covariances)


def _is_plain(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether values are an array or a tensor that needs no check but for what is not finite."""
    if type(values) is np.ndarray:
        return values.dtype == np.float64 and values.shape == shape and values.flags.c_contiguous
    return type(values) is Tensor and values.dtype == torch.float64 and values.shape == shape and values.is_cpu


def _batches(settings: Settings, entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield problems that are fitted together: of about as many rows, so that few of these only fill up."""
    kinds: dict[Any, list[Entry]] = {}
    for entry in entries:
        (rows, sample_weight, known), (means, weights, covariances) = entry.table, entry.start
        given = (sample_weight is None, known is None, means is None, weights is None, covariances is None)
        kinds.setdefault((rows.shape[1], rows.dtype, rows.device, entry.device, given), []).append(entry)
    for (n_features, *_), alike in kinds.items():
        # Rows of all, with those that only fill up.
        most = NUMBERS // numbers_of_row(n_features, settings.n_components, settings.structure.moment)
        batch: list[Entry] = []
        least = 0
        for n_rows, entry in sorted(((entry.table.rows.shape[0], entry) for entry in alike), key=itemgetter(0)):
            if batch and ((len(batch) + 1) * n_rows > most or n_rows > UNEVEN * least):
                yield batch
                batch = []
            least = least if batch else n_rows
            batch.append(entry)
        yield batch


@standalone()
def _solved(settings: Settings, batch: list[Entry]) -> Part | None:
    """Return the solutions of a batch of problems, or None where all are to be fitted alone."""
    tables = [entry.table for entry in batch]
    structure, n_components = settings.structure, settings.n_components
    try:
        priors = settings.priors(tables[0].rows.shape[1])
        how = (structure, n_components, priors, settings.reg_covar, batch[0].device)
        problems, places = Problems.of(tables, *how)
    except ValueError:
        return None
    if not len(problems):
        return None
    columns = [batch[place].columns for place in places.tolist()]
    seed = drawn_seed(settings.given["random_state"])
    origins = _origins(settings, batch, seed).of_some(places.cpu()).to(batch[0].device)
    if origins.name == AUTO:
        if not can_be_tried(problems):
            return None
        some = [tables[place] for place in places.tolist()]
        policy = settings.policy
        found = tried(problems, some, policy.n_init, seed, policy.assignment)
        kept = torch.tensor([place for place, each in enumerate(found) if each], dtype=torch.int64)
        if not kept.numel():
            return None
        origins = replace(origins.of_some(kept), tried=[found[place] for place in kept.tolist()])
        problems, places, columns = problems.of_some(kept), places[kept], [columns[place] for place in kept.tolist()]
    solved = solutions(problems, origins, settings.policy, columns)
    if solved is None:
        return None
    found, among = solved
    return Part.together([batch[place] for place in places[among].tolist()], found)


def _origins(settings: Settings, batch: list[Entry], seed: int) -> Origins:
    """Return where the runs of a batch start."""
    means, weights, covariances = zip(*(entry.start for entry in batch), strict=True)
    origins = Origins(
        name="init_means",
        seed=seed,
        means=None if means[0] is None else torch.stack(means),
        weights=None if weights[0] is None else torch.stack(weights),
        covariances=None
        if covariances[0] is None
        else replace(covariances[0], values=torch.stack([each.values for each in covariances])),
    )
    if batch[0].table.known is not None:  # which take the place of means
        return replace(origins, name="init_responsibilities", means=None)
    if origins.means is None:
        name = settings.given["init_means"]
        if name == AUTO and settings.n_components > 1:
            return replace(origins, name=name)
        name = UNTRIED if name == AUTO else name
        drawn = torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed))  # as for the run of a fit
        return replace(origins, name=name, start=TOGETHER[name], seed=int(drawn))
    return origins
