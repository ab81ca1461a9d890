"""From checked data and settings to the best of several runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, CovarianceStructure, structure_named
from tgmm.data.batches import Batches, chunks
from tgmm.data.frame import Frame, Summary
from tgmm.em.assignment import Given, hard, soft
from tgmm.em.expectation import Expectation
from tgmm.em.loop import Progress, Run, run_em
from tgmm.em.regularisation import Regularisation
from tgmm.em.step import Maximisation
from tgmm.em.stopping import Stopping
from tgmm.kernels.base import Assignment, Kernel
from tgmm.kernels.choose import kernels_for
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.priors import Priors
from tgmm.start import Start
from tgmm.start.sample import start_sample
from tgmm.statistics import Statistics


@dataclass(frozen=True)
class Problem:
    """What is fitted to what: the data in its frame and everything that stays the same over runs.

    ``priors`` are in the frame. ``reduce`` sums the statistics of all processes.
    """

    batches: Batches
    structure: CovarianceStructure
    n_components: int
    frame: Frame
    priors: Priors
    regularisation: Regularisation
    dtype: torch.dtype
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
        frame = Frame.of(summary.mean, summary.variance, dtype, isotropic=structure.isotropic)
        return cls(
            batches=batches,
            structure=structure,
            n_components=n_components,
            frame=frame,
            priors=priors.in_frame(frame, structure),
            regularisation=Regularisation(reg_covar, structure, summary.constant),
            dtype=dtype,
            kernels=kernels_for(structure, frame, n_components, dtype, device),
            reduce=lambda statistics: statistics,
        )

    def expectation(self, assignment: Assignment) -> Expectation:
        """Return an E-step that begins with the fastest kernel."""
        return Expectation(self.batches, self.kernels, assignment, self.reduce)


@dataclass(frozen=True)
class Origin:
    """Where runs start: parameters, responsibilities or centres, and what overrides them. All in the frame.

    Given are ``responsibilities``, or ``means`` or else a ``start`` that finds centres; given ``weights`` and
    ``covariances`` take the place of those that come from the start's assignment.
    """

    start: Start | None = None
    means: Tensor | None = None  # (K, d)
    weights: Tensor | None = None  # (K,)
    covariances: Tensor | None = None  # (B, ...)
    responsibilities: Tensor | None = None  # (n,) or (n, K)

    @property
    def is_random(self) -> bool:
        """Whether two runs can differ."""
        return self.start is not None

    def complete(self, mode: Parameters) -> Parameters:
        """Return the mode of the start's assignment with the given parameters in place."""
        given = {
            name: value
            for name, value in (("weights", self.weights), ("means", self.means), ("covariances", self.covariances))
            if value is not None
        }
        return replace(mode, **given)


@dataclass
class Starter:
    """The starting mixture of one run, by the same M-step as any other."""

    problem: Problem
    origin: Origin
    maximisation: Maximisation
    regularisation: Tensor = field(default_factory=lambda: torch.zeros(()))

    def __call__(self, generator: torch.Generator) -> Mixture:
        """Return the mixture a run starts from, and resolve the run's regularisation."""
        problem, origin = self.problem, self.origin
        if origin.means is not None and origin.weights is not None and origin.covariances is not None:
            parameters = Parameters(origin.weights, origin.means, origin.covariances)
            self.regularisation = problem.regularisation.resolve(parameters)
            return Mixture.of(parameters, problem.structure)
        if origin.responsibilities is not None:
            centres = torch.zeros(problem.n_components, problem.batches.n_features, dtype=torch.float64)
            assignment: Assignment = Given(origin.responsibilities)
        else:
            centres, assignment = self._centres(generator), hard
        nearest = _nearest(centres.to(problem.frame.shift.device))
        expectation = problem.expectation(assignment)
        mixture, _ = self.maximisation(expectation(nearest), nearest, expectation, self._finish)
        return mixture

    def _centres(self, generator: torch.Generator) -> Tensor:
        """Return the centres whose nearest rows make the components, (K, d)."""
        problem = self.problem
        if self.origin.means is not None:
            return self.origin.means
        assert self.origin.start is not None
        rows, weights = start_sample(problem.batches, problem.frame, problem.n_components, problem.dtype, generator)
        return self.origin.start(rows, weights, problem.n_components, generator).double()

    def _finish(self, mode: Parameters, centre: Tensor, resolution: float) -> tuple[Parameters, bool]:
        """Put given parameters in, then resolve the regularisation and add it to covariances not given."""
        parameters = self.origin.complete(mode)
        self.regularisation = self.problem.regularisation.resolve(parameters)
        if self.origin.covariances is None:
            covariances = self.problem.structure.add_to_variances(parameters.covariances, self.regularisation)
            parameters = replace(parameters, covariances=covariances)
        return parameters, self.problem.regularisation.is_resolved(mode, centre, resolution)


def _nearest(centres: Tensor) -> Mixture:
    """Return a mixture whose most probable component is the nearest of the centres (K, d)."""
    n_components = centres.shape[0]
    weights = torch.full_like(centres[:, 0], 1 / n_components)
    parameters = Parameters(weights, centres, torch.ones_like(weights[:1]))
    return Mixture.of(parameters, structure_named("tied_spherical"))


def best_run(
    problem: Problem,
    origin: Origin,
    *,
    classification: bool,
    n_init: int,
    stopping: Stopping,
    generator: torch.Generator,
    progress: Progress,
) -> Run:
    """Return the run with the highest objective of n_init; a run whose covariance collapses is lost.

    Raises
    ------
    ValueError
        If every run is lost.
    """
    best: Run | None = None
    collapse: CovarianceCollapse | None = None
    for _ in range(n_init if origin.is_random else 1):
        maximisation = Maximisation(problem.structure, problem.priors)
        starter = Starter(problem, origin, maximisation)
        expectation = problem.expectation(hard if classification else soft)
        try:
            mixture = starter(generator)
            run = run_em(mixture, expectation, maximisation, starter.regularisation, stopping, progress)
        except CovarianceCollapse as lost:
            collapse = lost
            continue
        if best is None or run.history[-1] > best.history[-1]:
            best = run
    if best is None:
        assert collapse is not None
        raise ValueError(_explain(collapse, problem)) from collapse
    return best


def _explain(collapse: CovarianceCollapse, problem: Problem) -> str:
    """Return what happened to which component, and the remedy."""
    which = "The shared covariance" if problem.structure.pooled else f"The covariance of component {collapse.component}"
    return (
        f"{which} collapsed: it is singular to working precision (too few different rows, or linearly dependent "
        f"features). Raise reg_covar (it is {problem.regularisation.reg_covar:g}), give a covariance_prior, or fit "
        "fewer components."
    )


def has_fewer_distinct_rows(batches: Batches, count: int) -> bool:
    """Whether the data has fewer than count different rows; reads no further than it must."""
    distinct = None
    for rows, _, _ in chunks(batches, 4 * count + 64):
        distinct = (rows if distinct is None else torch.cat([distinct, rows])).unique(dim=0)
        if distinct.shape[0] >= count:
            return False
    return True
