"""What trials find in many small problems, whose searches are made side by side."""

from __future__ import annotations

from collections.abc import Sequence

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

# Problems whose searches are made side by side, at most, and features of their rows, of which each run has a copy.
ABREAST, NUMBERS = 256, 1 << 21


def tried(
    problems: Problems, tables: Sequence[Table], n_heats: int, seed: int, assignment: Assignment
) -> list[list[Trial]]:
    """Return the solutions that trials find in each of problems, best first, as `tgmm.em.starts` does for one alone.

    There are none where more is to be done than to follow the best of them: such problems are to be fitted alone.
    """
    n_features = problems.rows.shape[2]
    numbers = problems.rows.shape[1] * (1 + n_features + problems.structure.moment.size(n_features))
    size = max(1, min(ABREAST, NUMBERS // numbers))
    found: list[list[Trial] | None] = []
    for first in range(0, len(problems), size):
        some = range(first, min(first + size, len(problems)))
        found += abreast([_search(problems, place, tables[place], n_heats, seed, assignment) for place in some])
    return [each if each and is_highest(each) else [] for each in found]


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
