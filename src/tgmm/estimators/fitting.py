"""From settings and rows to a solution: a fit from beginning to end."""

from __future__ import annotations

from typing import Any

from tgmm.covariance import CovarianceCollapse
from tgmm.data.columns import Columns, listed
from tgmm.data.fingerprint import Fingerprint, fingerprint_of
from tgmm.data.training import Training
from tgmm.em.checkpoints import Checkpoint
from tgmm.em.fit import Fit, Journal
from tgmm.em.online import Learner, learnt
from tgmm.em.problem import Problem, explain
from tgmm.em.solution import Solution
from tgmm.estimators.settings import Settings
from tgmm.estimators.special import require_plain, special_of
from tgmm.files.plain import plain_values
from tgmm.runtime.checks import check_flag, check_number
from tgmm.runtime.devices import standalone
from tgmm.runtime.frozen import replace
from tgmm.runtime.generators import drawn_seed
from tgmm.runtime.processes import ALONE, Group, Processes
from tgmm.runtime.progress import Reporter

# Settings that a fit that goes on may have otherwise: where and how long it runs, and what its file holds itself.
FREE = {"checkpoint", "device", "distributed", "max_iter", "random_state", "tol", "verbose", "verbose_interval"}


@standalone()
def solved(
    settings: Settings,
    X: Any,
    sample_weight: Any,
    init_responsibilities: Any,
    labels: Any = None,
    *,
    owner: str,
    before: Solution | None,
    journal: Journal | None,
) -> Solution:
    """Return the solution of a fit to rows.

    Parameters
    ----------
    settings : Settings
    X, sample_weight, init_responsibilities, labels
        What `GaussianMixture.fit` is given.
    owner : str
        The name of the estimator's class, for messages.
    before : Solution, optional
        Of the last fit.
    journal : Journal, optional
        Where the fit is recorded.
    """
    processes = processes_of(settings)
    reader = journal if processes.rank == 0 else None
    earlier = processes.first(processes.guard(lambda: None if reader is None else reader.read()))
    seed = processes.agreed(lambda: drawn_seed(settings.given["random_state"]))
    seed = seed if earlier is None else earlier.seed
    training = opened(settings, X, sample_weight, Columns(None, None, owner, may_lack=settings.may_lack), seed)
    if settings.warm_start and before is not None:
        processes.guard(lambda: _check_same_columns(before.mixture.columns, training.columns))
    responsibilities = processes.guard(lambda: training.responsibilities(init_responsibilities, settings.n_components))
    special = special_of(settings, training, labels, before)
    fingerprint = Fingerprint()
    if journal is not None:
        fingerprint = fingerprint_of(training.data, responsibilities, special.labels)
    if earlier is not None:
        earlier.check_data(training.data, fingerprint)
    update = settings.update(training, special)
    known = None if earlier is None else earlier.summary
    problem = Problem.of(training, update, settings.n_components, settings.reg_covar, known, special)
    fit = Fit(problem, settings.origin(problem, responsibilities, before), settings.policy, seed, fingerprint)
    with Reporter(settings.verbose and processes.rank == 0, settings.verbose_interval) as progress:
        solution, _ = fit.solved(progress, journal, earlier)
    return replace(solution, update=update)


def _check_same_columns(before: Columns, now: Columns) -> None:
    """Raise a ValueError where the solution to go on from is of columns with other names, or in another order."""
    if before.names is not None and now.names is not None and list(before.names) != list(now.names):
        raise ValueError(
            f"warm_start=True continues the fit to the columns {listed(before.names)}, but X has {listed(now.names)}: "
            "give the same columns in the same order, or start a new fit with warm_start=False."
        )


@standalone()
def learnt_from(
    settings: Settings, X: Any, sample_weight: Any, step: float | None, *, owner: str, before: Solution | None
) -> Solution:
    """Return the solution after one more batch of rows; see `GaussianMixture.partial_fit`."""
    if step is not None and not 0 < check_number(step, "step") <= 1:
        raise ValueError(f"step must be None or a number > 0 and <= 1; got {step!r}.")
    require_plain(settings)
    seed = processes_of(settings).agreed(lambda: drawn_seed(settings.given["random_state"]))
    columns = Columns(None, None, owner) if before is None else before.mixture.columns
    columns = replace(columns, may_lack=settings.may_lack)
    training = opened(settings, X, sample_weight, columns, seed)
    if before is not None:
        settings.check_unchanged(before, training.data.n_features, "partial_fit")
    assignment = settings.policy.assignment
    update = settings.update(training)
    try:
        if before is None:
            problem = Problem.of(training, update, settings.n_components, settings.reg_covar)
            origin = settings.origin(problem, None, None)
            learner = Learner.of_first_batch(problem, origin, seed, assignment)
        else:
            learner = Learner.going_on(before, update, settings.reg_covar, training)
        return replace(learnt(learner, training, before, step, assignment), update=update)
    except CovarianceCollapse as collapse:
        raise ValueError(explain(collapse, settings.reg_covar)) from collapse


def journal_of(settings: Settings, *, resume: Any, has_posterior: bool = False) -> Journal | None:
    """Return where a fit, of parameters or of their posterior, is recorded, or None."""
    path = settings.given["checkpoint"]
    if check_flag(resume, "resume") and path is None:
        raise ValueError("resume=True continues from a checkpoint: give its file as checkpoint=path.")
    if path is None:
        return None
    plain, _ = plain_values({name: value for name, value in settings.given.items() if name not in FREE})
    return Checkpoint(path, plain, settings.structure, resume=resume, has_posterior=has_posterior)


def processes_of(settings: Settings) -> Processes:
    """Return the processes that share a fit."""
    return Group() if settings.distributed else ALONE


def opened(settings: Settings, X: Any, sample_weight: Any, columns: Columns, seed: int) -> Training:
    """Return rows to learn from; the seed is that of the sample that starts look at."""
    training = Training.of(
        X,
        sample_weight,
        columns,
        settings.sampling(seed),
        device=settings.given["device"],
        distributed=settings.distributed,
        verbose=settings.verbose,
    )
    settings.check_features(training.columns)
    return training
