"""What trials find in many small problems, whose searches are made side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from tgmm.covariance import Free
from tgmm.data.chunk import Chunk
from tgmm.em.abreast import Search, abreast
from tgmm.em.problems import Problems, Table
from tgmm.em.start import Trial
from tgmm.em.starts import (
    MOST_COMPONENTS,
    STEPS,
    Shape,
    is_highest,
    of_structure,
    searched,
    trial_rows,
    tried_update,
    worth,
)
from tgmm.em.trials import Trials
from tgmm.kernels.base import Assignment
from tgmm.model.frame import Frame
from tgmm.model.priors import Priors
from tgmm.model.update import Update
from tgmm.start.sample import are_far
from tgmm.start.views import Views

ABREAST = 256  # problems whose searches are made side by side, at most: what each sees is kept meanwhile


def tried(
    problems: Problems, tables: Sequence[Table], n_heats: int, seed: int, assignment: Assignment
) -> list[list[Trial]]:
    """Return the solutions that trials find in each of problems, best first, as `tgmm.em.starts` does for one alone.

    There are none where more is to be done than to follow the best of them: such problems are to be fitted alone.
    """
    searches = (_search(problems, place, table, n_heats, seed, assignment) for place, table in enumerate(tables))
    found: list[list[Trial]] = []
    for some in _in_parts(searches):
        found += abreast(some)
    return [each if each and is_highest(each) else [] for each in found]


def _in_parts(searches: Iterator[Search[list[Trial]]]) -> Iterator[list[Search[list[Trial]]]]:
    """Yield searches, not too many at a time."""
    some: list[Search[list[Trial]]] = []
    for search in searches:
        some.append(search)
        if len(some) == ABREAST:
            yield some
            some = []
    yield some


def _search(
    problems: Problems, place: int, table: Table, n_heats: int, seed: int, assignment: Assignment
) -> Search[list[Trial]]:
    """Search for the solutions of one of the problems."""
    n_rows, n_features = table.rows.shape
    shape, structure = Shape(n_rows, n_features, problems.n_components), problems.structure
    most = trial_rows(n_features, shape.n_components)
    is_worthwhile = shape.n_components <= MOST_COMPONENTS and worth(structure, shape, n_rows) >= STEPS
    if not is_worthwhile or n_rows > most or bool(are_far(problems.start_rows[0][place]).any()):
        return []
    frame = Frame(problems.frame.shift[place, 0].cpu(), problems.frame.scale[place, 0].cpu())
    generator = torch.Generator().manual_seed(seed)
    views = Views.of(Chunk(table.rows, table.weights, 0), frame, most, shape.n_components, generator)
    update = tried_update(Update(structure, Priors()), n_features)
    weight = float(problems.kernel.weight[place])
    budget = worth(structure, shape, views.rows.shape[0])
    trials = Trials(views, weight, update, shape.n_components, assignment, worth=budget)
    # What is drawn at random is drawn anew, as in a fit.
    found = yield from searched(trials, n_heats, torch.Generator().manual_seed(seed))
    return [of_structure(structure, trial) for trial in found]


def can_be_tried(problems: Problems) -> bool:
    """Whether trials of problems can be made side by side."""
    return isinstance(problems.structure, Free) and problems.update.priors == Priors() and problems.rows.is_cpu
