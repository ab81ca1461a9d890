"""What is fitted to what, and where runs start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, CovarianceStructure, structure_named
from tgmm.data.batches import Batches, chunks
from tgmm.data.frame import Frame, Summary
from tgmm.em.expectation import Expectation
from tgmm.em.regularisation import Regularisation
from tgmm.em.step import Maximisation
from tgmm.kernels.assignment import Given, hard
from tgmm.kernels.base import Assignment, Kernel
from tgmm.kernels.choose import kernels_for
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.placement import home, moved
from tgmm.precision import widen
from tgmm.priors import Priors
from tgmm.start import Start
from tgmm.start.sample import repeated, start_sample
from tgmm.statistics import Statistics


@dataclass(frozen=True)
class Problem:
    """What is fitted to what: the data in its frame and everything that stays the same over runs.

    ``priors`` are in the frame. ``reduce`` is what becomes of the statistics of all processes.
    """

    batches: Batches
    summary: Summary
    structure: CovarianceStructure
    n_components: int
    frame: Frame
    priors: Priors
    regularisation: Regularisation
    dtype: torch.dtype
    device: torch.device
    kernels: list[Kernel]
    reduce: Callable[[Statistics], Statistics]

    @classmethod
    def of(
        cls,
        batches: Batches,
        summary: Summary,
        structure: CovarianceStructure,
        n_components: int,
        priors: Priors,
        reg_covar: float,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Problem:
        """Set up the frame of the data's summary, and the kernels."""
        place = home(n_components * structure.moment.size(summary.origin.shape[0]), device)
        summary, priors = moved(summary, place), moved(priors, place)
        frame = Frame.of(summary.origin, summary.variance, dtype, isotropic=structure.isotropic)
        return cls(
            batches=batches,
            summary=summary,
            structure=structure,
            n_components=n_components,
            frame=frame,
            priors=priors.in_frame(frame, structure),
            regularisation=Regularisation(reg_covar, structure, summary.constant),
            dtype=dtype,
            device=device,
            kernels=kernels_for(structure, frame, n_components, dtype, device),
            reduce=lambda statistics: statistics,
        )

    def expectation(self, assignment: Assignment, n_kernels: int = 0) -> Expectation:
        """Return an E-step that begins with the fastest kernel, or with the last n_kernels."""
        return Expectation(self.batches, self.kernels[-n_kernels:], assignment, self.reduce)


@dataclass(frozen=True)
class Origin:
    """Where runs start: responsibilities, or means, or a start that finds centres. All in the frame.

    Given ``means``, ``weights`` and ``covariances`` take the place of those that come from the assignment of the
    rows to the nearest centres. Means can be a function of the generator, called for each run.
    """

    start: Start | None = None
    responsibilities: Tensor | None = None  # (n,) or (n, K)
    means: Tensor | Callable[[torch.Generator], Tensor] | None = None  # (K, d)
    weights: Tensor | None = None  # (K,)
    covariances: Tensor | None = None  # (B, ...)
    is_solution: bool = False  # the parameters are those of an earlier fit

    @property
    def is_regularised(self) -> bool:
        """Whether `reg_covar` is part of the covariances that runs start from."""
        return self.covariances is None or self.is_solution

    @property
    def is_random(self) -> bool:
        """Whether two runs can differ."""
        return self.start is not None or callable(self.means)


@dataclass
class Starter:
    """The starting mixture of one run, by the same M-step as any other."""

    problem: Problem
    origin: Origin
    regularisation: Tensor = field(default_factory=lambda: torch.zeros(()))
    notes: list[str] = field(default_factory=list)

    def __call__(self, generator: torch.Generator) -> Mixture:
        """Return the mixture a run starts from, and resolve the run's regularisation.

        All processes draw what rank 0 draws.
        """
        problem, origin = self.problem, self.origin
        generator.set_state(problem.batches.processes.first(generator.get_state()))
        given = {"weights": origin.weights, "means": origin.means, "covariances": origin.covariances}
        if callable(origin.means):
            given["means"] = origin.means(generator)
        given = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        if len(given) == 3:
            parameters = Parameters(**given)
            self.regularisation = problem.regularisation.resolve(parameters)
            return Mixture.of(parameters, problem.structure)
        assignment: Assignment = hard
        if origin.responsibilities is not None:
            centres = problem.frame.shift.new_zeros(problem.n_components, problem.batches.n_features)
            assignment = Given(origin.responsibilities)
        else:
            centres = given["means"] if "means" in given else self._centres(generator)

        def finish(mode: Parameters, centre: Tensor, resolution: float) -> tuple[Parameters, bool]:
            """Put given parameters in, then resolve the regularisation and add it to covariances not given."""
            parameters = replace(mode, **given)
            self.regularisation = problem.regularisation.resolve(parameters)
            if "covariances" not in given:
                covariances = problem.structure.add_to_variances(parameters.covariances, self.regularisation)
                parameters = replace(parameters, covariances=covariances)
            return parameters, problem.regularisation.is_resolved(mode, centre, resolution)

        nearest = _nearest(centres)
        expectation = problem.expectation(assignment)
        maximisation = Maximisation(problem.structure, problem.priors)
        mixture, _ = maximisation(expectation(nearest), nearest, expectation, finish)
        if "means" not in given:  # a given mean stays where it is; the run will see whether it gets rows
            self.notes = maximisation.notes
        return mixture

    def _centres(self, generator: torch.Generator) -> Tensor:
        """Return the centres that the start finds, (K, d); with fewer different rows than K they repeat."""
        problem, n_components = self.problem, self.problem.n_components
        assert self.origin.start is not None
        rows, weights = start_sample(problem.batches, problem.frame, n_components, problem.dtype, generator)
        if rows.shape[0] <= n_components:
            centres = repeated(rows, n_components)
        else:
            start, processes = self.origin.start, problem.batches.processes
            own = processes.guard(lambda: widen(start(rows, weights, n_components, generator)).cpu())
            centres = processes.first(own)
        return widen(centres).to(problem.frame.shift.device)


def _nearest(centres: Tensor) -> Mixture:
    """Return a mixture whose most probable component is the nearest of the centres (K, d)."""
    n_components = centres.shape[0]
    weights = torch.full_like(centres[:, 0], 1 / n_components)
    parameters = Parameters(weights, centres, torch.ones_like(weights[:1]))
    return Mixture.of(parameters, structure_named("tied_spherical"))


def explain(collapse: CovarianceCollapse, structure: CovarianceStructure, reg_covar: float) -> str:
    """Return what happened to which component, and the remedy."""
    which = "The shared covariance" if structure.pooled else f"The covariance of component {collapse.component}"
    return (
        f"{which} collapsed: it is singular to working precision (too few different rows, or linearly dependent "
        f"features). Raise reg_covar (it is {reg_covar:g}), give a covariance_prior, or fit "
        "fewer components."
    )


def has_fewer_distinct_rows(batches: Batches, count: int) -> bool:
    """Whether the data has fewer than count different rows; reads no further than it must."""
    processes = batches.processes
    distinct = processes.guard(lambda: _distinct_rows(batches, count))
    if any(processes.exchange(distinct.shape[0] >= count)):
        return False
    return torch.cat(processes.exchange(distinct)).unique(dim=0).shape[0] < count


def _distinct_rows(batches: Batches, enough: int) -> Tensor:
    """Return different rows of this process, (m, d) on the CPU: all of them, or enough."""
    distinct = torch.empty(0, batches.n_features, dtype=batches.dtype)
    for rows, _, _ in chunks(batches, 4 * enough + 64):
        distinct = torch.cat([distinct, rows.cpu()]).unique(dim=0)
        if distinct.shape[0] >= enough:
            break
    return distinct
