"""What trials find in many small problems, whose searches are made side by side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch

from tgmm.covariance import Free, Structure
from tgmm.data.chunk import Chunk
from tgmm.em.abreast import Search, abreast
from tgmm.em.problems import Problems, Table
from tgmm.em.start import Trial
from tgmm.em.starts import (
    MOST_COMPONENTS,
    STEPS,
    Shape,
    is_highest,
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
from tgmm.runtime.devices import moved
from tgmm.runtime.faults import FAULTS
from tgmm.start.cells import MergeTree, merge_side_by_side
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
    # What is asked of each on the host, by one transfer of all.
    frame, weights = moved(problems.frame, torch.device("cpu")), problems.kernel.weight.tolist()
    far = are_far(problems.start_rows[0]).flatten(1).any(1).tolist()
    found: list[list[Trial] | None] = []
    for first in range(0, len(problems), size):
        some = range(first, min(first + size, len(problems)))
        views = [None if far[place] else _views(problems, frame, place, tables[place], seed) for place in some]
        _merge([each for each in views if each is not None], problems.structure, problems.n_components)
        searches = [
            _search(problems, weights[place], tables[place], seen, n_heats, seed, assignment)
            for place, seen in zip(some, views, strict=True)
        ]
        found += abreast(searches)
    return [each if each and is_highest(each) else [] for each in found]


def _views(problems: Problems, frame: Frame, place: int, table: Table, seed: int) -> Views | None:
    """Return what starts see of the rows of one of the problems, None where there are to be no trials of it.

    Nor are there any where that fails, which the fit of the problem alone tells. The frames are those of all, on the
    host.
    """
    shape = _shape(problems, table)
    most = trial_rows(shape.n_features, shape.n_components)
    is_worthwhile = shape.n_components <= MOST_COMPONENTS and worth(problems.structure, shape, shape.n_rows) >= STEPS
    if not is_worthwhile or shape.n_rows > most:
        return None
    own = Frame(frame.shift[place, 0], frame.scale[place, 0])
    generator = torch.Generator().manual_seed(seed)
    with suppress(*FAULTS):
        return Views.of(Chunk(table.rows, table.weights, 0), own, most, shape.n_components, generator)
    return None


def _merge(several: Sequence[Views], structure: Structure, n_components: int) -> None:
    """Merge the cells of rows that first starts see, side by side; what goes wrong with one is seen in its search."""
    trees: list[MergeTree] = []
    for views in several:
        with suppress(*FAULTS):
            trees.append(views.merged_sphered(n_components) if structure.form.one_scale else views.merged)
    with suppress(*FAULTS):
        merge_side_by_side(trees, n_components)


def _search(
    problems: Problems,
    weight: float,
    table: Table,
    views: Views | None,
    n_heats: int,
    seed: int,
    assignment: Assignment,
) -> Search[list[Trial]]:
    """Search for the solutions of one of the problems, whose rows have such a weight."""
    if views is None:
        return []
    shape, structure = _shape(problems, table), problems.structure
    update = tried_update(Update(structure, Priors()), shape.n_features)
    budget = worth(structure, shape, views.rows.shape[0])
    trials = Trials(views, weight, update, shape.n_components, assignment, worth=budget)
    # What is drawn at random is drawn anew, as in a fit.
    found = yield from searched(trials, n_heats, torch.Generator().manual_seed(seed))
    return [trial.in_form_of(structure) for trial in found]


def _shape(problems: Problems, table: Table) -> Shape:
    return Shape(table.rows.shape[0], table.rows.shape[1], problems.n_components)


def can_be_tried(problems: Problems) -> bool:
    """Whether trials of problems can be made side by side."""
    return isinstance(problems.structure, Free) and problems.update.priors == Priors()
