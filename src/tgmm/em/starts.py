"""Where the runs of a fit start: each from its own draw, or from the best solutions of trials on a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch

from tgmm.covariance import CovarianceCollapse, Structure
from tgmm.covariance.moments import Moment
from tgmm.em.abreast import Search, alone
from tgmm.em.labels import in_order
from tgmm.em.problem import Problem
from tgmm.em.refinement import near, refined, rivals, tells
from tgmm.em.start import Origin, Started, Trial, beside_noise, started, started_from
from tgmm.em.state import FollowedRun
from tgmm.em.trials import DOUBTFUL, FOLLOWED, MOST, NEAREST, Trials
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Assignment
from tgmm.kernels.batched import Batched
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.update import Maximiser, Update
from tgmm.runtime.devices import widen
from tgmm.runtime.frozen import replace
from tgmm.start.sample import drawn_in, projection, sample_size
from tgmm.start.views import Views

ROWS, ROWS_PER_COMPONENT = 2048, 64  # of a trial, at most
ROWS_PER_FEATURE = 8  # of each component: from fewer, solutions with many features are degenerate
MOST_COMPONENTS = 100  # for which there are trials
STEPS, UNMOVED = 300, 100  # EM steps that trials are worth, about, with moves and without
WORTH, AFFORDABLE = 10, 5e10  # iterations over all rows that trials may cost, or how many operations
MORE_HEATS = 4  # of trials on rows that were filled in, where all solutions are degenerate
FOLLOWED_FILLED = 12  # solutions on rows that were filled in that are worth a look


class Shape(NamedTuple):
    """How large a problem is."""

    n_rows: int
    n_features: int
    n_components: int


class Starts(NamedTuple):
    """Where the runs of a fit start."""

    begin: list[Callable[[], Started]]
    ended: tuple[FollowedRun, ...] = ()  # runs that have seen all rows already, and did not end highest


def starts(problem: Problem, origin: Origin, n_init: int, seed: int, assignment: Assignment = soft) -> Starts:
    """Return what begins each run of a fit; all processes are to have the same seed."""
    if origin.has_trials and _are_worthwhile(problem):
        begin, ended = _followed(problem, origin, n_init, seed, assignment)
        if begin:
            if problem.special.labels is not None:  # of which trials know nothing
                begin.append(partial(started, problem, replace(origin, name="labels"), seed))
            return Starts(begin, ended)
    n_runs = n_init if origin.is_random and problem.n_components > 1 else 1
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (n_runs,), generator=generator).tolist()
    return Starts([partial(started, problem, origin, each, seen) for each in seeds for seen in problem.without_noise])


def search(
    problem: Problem, origin: Origin, n_init: int, seed: int, assignment: Assignment = soft
) -> Search[list[Trial]] | None:
    """Return the search of the trials on an origin's views, None where there are to be none.

    What it finds can be handed to `starts` with the origin, so that those of several fits are made side by side. Doubt
    is not followed as far as for a fit alone: most of the fits are not going to be chosen.
    """
    if origin.views is None or not (origin.has_trials and problem.noise is None and _are_worthwhile(problem)):
        return None
    generator = torch.Generator().manual_seed(seed)
    return _tried(problem, origin.views, n_init, DOUBTFUL, generator, assignment)


def _followed(
    problem: Problem, origin: Origin, n_init: int, seed: int, assignment: Assignment
) -> tuple[list[Callable[[], Started]], tuple[FollowedRun, ...]]:
    """Return what begins runs from the solutions of trials, and those that are no more to be followed."""
    begin: list[Callable[[], Started]] = []
    for seen in problem.without_noise:
        found = problem.data.processes.agreed(partial(_trials, seen, origin, n_init, seed, assignment))
        if not found:
            continue
        # A higher one is degenerate to the trials: the runs tell by what regularises them, which is far less.
        n_followed = 1 if is_highest(found) and _is_all(problem) else len(found)
        share = seen.special.noise_share
        begin += [
            partial(_after_trial, problem, origin, trial, seed, assignment, share) for trial in found[:n_followed]
        ]
        if n_followed < len(found):
            return begin, tuple(FollowedRun(trial.objective, trial.name, seed) for trial in found[n_followed:])
    return begin, ()


def trial_rows(n_features: int, most: int) -> int:
    """Return how many rows of so many features trials see, at most, with up to so many components."""
    return max(ROWS, max(ROWS_PER_COMPONENT, ROWS_PER_FEATURE * (n_features + 1)) * most)


def views_of(problem: Problem, most: int, seed: int) -> Views:
    """Return views of rows for trials with up to so many components."""
    generator = torch.Generator().manual_seed(seed)
    return Views.of(problem.whole_sample, problem.frame, trial_rows(problem.data.n_features, most), most, generator)


def _is_all(problem: Problem) -> bool:
    """Whether the rows that starts look at are all the rows, as they are, with all that is known of them."""
    is_plain = not (problem.summary.n_gaps or problem.has_far_rows)
    is_plain = is_plain and problem.special.labels is None and problem.noise is None
    return is_plain and problem.sample.rows.shape[0] == problem.data.n_rows


def _are_worthwhile(problem: Problem) -> bool:
    """Whether there is something to find, in rows enough, at a cost in proportion to that of an iteration over all."""
    if not (1 < problem.n_components <= MOST_COMPONENTS and isinstance(problem.structure.sums, Moment)):
        return False
    n_seen, wanted = problem.sample.rows.shape[0], trial_rows(problem.data.n_features, problem.n_components)
    if wanted > n_seen >= sample_size(problem.n_components, problem.data.n_features):
        return False
    n_rows = min(wanted, n_seen)
    return _worth(problem, n_rows) >= (STEPS if n_seen <= wanted or tells(problem, n_rows) else UNMOVED)


def worth(structure: Structure, shape: Shape, n_rows: int) -> float:
    """Return how many passes over so many rows trials may cost, by one mixture."""
    operations = 4 * shape.n_components * (1 + shape.n_features + structure.moment.size(shape.n_features))  # of a row
    return max(AFFORDABLE / operations, WORTH * shape.n_rows) / n_rows


def _worth(problem: Problem, n_rows: int) -> float:
    return worth(problem.structure, _shape(problem), n_rows)


def _shape(problem: Problem) -> Shape:
    return Shape(problem.data.n_rows, problem.data.n_features, problem.n_components)


def _after_trial(
    problem: Problem, origin: Origin, trial: Trial, seed: int, assignment: Assignment, noise_share: float
) -> Started:
    """Return what a run begins with that goes on from the solution of a trial."""
    parameters = trial.parameters.to(problem.frame.shift.device)
    if problem.special.labels is not None:
        parameters = in_order(problem, parameters)
    if problem.noise is not None:
        parameters = beside_noise(problem, parameters, noise_share)
    found = started_from(problem, origin, parameters, assignment)._replace(name=trial.name, seed=seed)
    if problem.noise is not None and origin.weights is not None and not origin.leaves_noise:
        found = found._replace(parameters=beside_noise(problem, found.parameters, noise_share))
    return found


def _trials(problem: Problem, origin: Origin, n_heats: int, seed: int, assignment: Assignment) -> list[Trial]:
    """Return the solutions of trials that are worth following on all rows, best first; none where rows are too few."""
    generator = torch.Generator().manual_seed(seed)
    views = views_of(problem, problem.n_components, seed) if origin.views is None else origin.views
    most, n_rows = MOST if origin.views is None else DOUBTFUL, views.rows.shape[0]
    tried = partial(_tried, problem, views, most=most, generator=generator, assignment=assignment)
    found = alone(tried(n_heats)) if origin.tried is None else origin.tried
    found = [trial.in_form_of(problem.structure) for trial in found]
    if problem.summary.n_gaps or problem.has_far_rows:  # likelihoods of rows that are not as they are tell little
        reached = refined(problem, found, assignment)
        if not reached and problem.summary.n_gaps:  # all degenerate
            found = [trial.in_form_of(problem.structure) for trial in alone(tried(max(n_heats, most) + MORE_HEATS))]
            reached = refined(problem, found, assignment)
        return reached
    if views.is_all:
        return found
    if tells(problem, n_rows):
        return refined(problem, rivals(found, n_rows), assignment)
    return refined(problem, found, assignment, partial(started, origin=origin, seed=seed))


def _tried(
    problem: Problem, views: Views, n_heats: int, most: int, generator: torch.Generator, assignment: Assignment
) -> Search[list[Trial]]:
    """Search for the solutions of trials on views, best first; none where all collapse, or where rows are too few.

    There are more heats where there is doubt, at most so many.
    """
    if views.rows.shape[0] <= problem.n_components:
        return []
    n_rows = views.rows.shape[0]
    nearest = NEAREST if views.is_all and _is_all(problem) else near(problem, n_rows)
    trials = Trials(
        views,
        float(problem.summary.weight),
        tried_update(problem.update, problem.data.n_features),
        problem.n_components,
        assignment,
        nearest,
        n_followed=FOLLOWED_FILLED if problem.summary.n_gaps else FOLLOWED,
        worth=_worth(problem, n_rows),
        tells=views.is_all or tells(problem, n_rows),
        most=most,
    )
    found = yield from searched(trials, n_heats, generator)
    if problem.has_far_rows:
        found = [trial._replace(parameters=_of_rows_as_they_are(problem, trial.parameters)) for trial in found]
    return found


def searched(trials: Trials, n_heats: int, generator: torch.Generator) -> Search[list[Trial]]:
    """Search for the solutions of trials, best first; none where all collapse."""
    try:
        runs = yield from trials.solutions(n_heats, generator)
    except CovarianceCollapse:
        return []
    names = [trials.names[number] for number in runs.start.tolist()]
    parameters = [_ordered(runs.parameters.of_some(place), trials.batch.update) for place in range(len(runs))]
    return [Trial(*each) for each in zip(parameters, runs.objective.tolist(), names, strict=True)]


def is_highest(found: Sequence[Trial]) -> bool:
    """Whether the best of solutions is the highest: others that are higher are degenerate to the trials."""
    return found[0].objective == max(trial.objective for trial in found)


def tried_update(update: Maximiser, n_features: int) -> Maximiser:
    """Return the update of trials: of one feature, the first of the structures that are the same mixture."""
    if n_features > 1 or not isinstance(update, Update) or update.priors != Priors() or update.held is not None:
        return update
    return replace(update, structure=update.structure.of_one_feature())


def _of_rows_as_they_are(problem: Problem, parameters: Parameters) -> Parameters:
    """Return a solution on rows of which some were drawn in as one on the sample, by the same responsibilities."""
    sample = problem.whole_sample
    rows = drawn_in(problem.frame.rows_in(widen(sample.rows))).cpu()
    kernel = Batched(rows, sample.own_weights().cpu(), problem.structure.moment)
    joint = kernel.joint(parameters.of_some(None))[0]  # (K, m)
    soft(joint)
    there = problem.on_sample(sample)
    return started(there, Origin(responsibilities=joint.T), 0).parameters.to(torch.device("cpu"))


def _ordered(parameters: Parameters, update: Maximiser) -> Parameters:
    """Return parameters with components in an order that rounding does not change, where they can be exchanged."""
    if update.held is not None:
        return parameters
    order = projection(parameters.means).argsort()
    covariances = parameters.covariances.take(order)
    return Parameters(parameters.weights[order], parameters.means[order], covariances)
