"""One run of EM: from starting parameters to the last expectation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor

from tgmm.em.expectation import Expectation
from tgmm.em.step import Maximisation
from tgmm.em.stopping import Stopping
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.priors import Priors
from tgmm.statistics import Statistics

Progress = Callable[[int, float, float], None]  # iteration, objective, change


@dataclass(frozen=True)
class Run:
    """What one run of EM came to, in the frame."""

    parameters: Parameters
    converged: bool
    history: list[float]  # average objective, from the start to these parameters
    log_likelihood: float  # average log-likelihood of exactly these parameters
    regularisation: Tensor  # (d,) or ()
    notes: list[str] = field(default_factory=list)

    @property
    def n_iter(self) -> int:
        """The number of M-steps."""
        return len(self.history) - 1


def average_objective(statistics: Statistics, mixture: Mixture, priors: Priors, log_volume: Tensor) -> float:
    """Return the log-posterior (or classification log-posterior) per unit of sample weight."""
    return float((statistics.objective + priors.log_density(mixture, log_volume)) / statistics.weight)


def run_em(
    mixture: Mixture,
    expectation: Expectation,
    maximisation: Maximisation,
    regularisation: Tensor,
    stopping: Stopping,
    progress: Progress,
) -> Run:
    """Alternate expectation and maximisation; the last step is an expectation.

    `reg_covar` makes the M-step slightly more than the mode, so that a step can lower the objective where
    variances are no larger than the regularisation. Such a step is taken again with the covariances held, which
    climbs (Meng & Rubin 1993, Biometrika 80: a conditional M-step).
    """
    log_volume = expectation.kernel.frame.log_volume
    priors = maximisation.priors

    def regularise(mode: Parameters, *_: object) -> tuple[Parameters, bool]:
        covariances = maximisation.structure.add_to_variances(mode.covariances, regularisation)
        return replace(mode, covariances=covariances), True

    def evaluate(candidate: Mixture) -> tuple[Statistics, float]:
        statistics = expectation(candidate)
        return statistics, average_objective(statistics, candidate, priors, log_volume)

    statistics, objective = evaluate(mixture)
    history, converged = [objective], False
    while not converged and len(history) <= stopping.max_iter:
        candidate, reseeded = maximisation(statistics, mixture, expectation, regularise)
        changed = reseeded or bool((candidate.parameters.weights > 0).ne(mixture.parameters.weights > 0).any())
        following, objective = evaluate(candidate)
        fell = objective < history[-1] - expectation.rounding and len(history) > 1 and not changed
        if fell and bool((regularisation > 0).any()):
            held = replace(candidate.parameters, covariances=mixture.parameters.covariances)
            candidate = Mixture.of(held, maximisation.structure)
            following, objective = evaluate(candidate)
        mixture, statistics = candidate, following
        change = objective - history[-1]
        history.append(objective)
        converged = not changed and stopping.converged(change)
        progress(len(history) - 1, objective, change)
    return Run(
        mixture.parameters,
        converged,
        history,
        float(statistics.log_likelihood / statistics.weight),
        regularisation,
        maximisation.notes,
    )
