"""A fit explained: the summary of its mixture, with what the fit tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tgmm.em.solution import Solution
from tgmm.mixture.evaluation import Criteria
from tgmm.mixture.mixture import Mixture
from tgmm.mixture.profiles import Profiles, counted
from tgmm.mixture.summary import Summary, summarised, worth
from tgmm.mixture.tables import shown

LISTED = 10  # weights of a line


def explained(
    solution: Solution, mixture: Mixture, fixed: Any, X: Any, sample_weight: Any, max_features: int | None
) -> Summary:
    """Return the summary of a solution on rows, or where None on those of the fit as far as they are known.

    Parameters
    ----------
    solution : Solution
    mixture : Mixture
        Its mixture, with the settings of today.
    fixed : str, collection of str, mapping or None
        What was not estimated.
    X, sample_weight, max_features
        As for `Mixture.summary`.
    """
    found, profiles = (
        (criteria_of(solution, mixture), Profiles.of(mixture)) if X is None else counted(mixture, X, sample_weight)
    )
    facts = {} if found is None else worth(found)
    if solution.history:
        facts["Converged"] = ending(solution)
    if fixed is not None:
        facts["Fixed"] = fixed if isinstance(fixed, str) else ", ".join(sorted(fixed))
    return summarised(mixture, facts, profiles, max_features)


def criteria_of(solution: Solution, mixture: Mixture) -> Criteria | None:
    """Return what a mixture is worth on the rows of its fit, or None where their number or likelihood is not known.

    The likelihood is known of a fit to all rows, and of the mixture that it found: not of one that was learnt from
    batches, nor of one that is made of what was found.
    """
    if solution.weight is None or not solution.runs or mixture.parameters is not solution.mixture.parameters:
        return None
    return Criteria(solution.log_likelihood * solution.weight, solution.weight, mixture.n_parameters)


def ending(solution: Solution) -> str:
    """Return how a fit ended."""
    return f"{'yes' if solution.converged else 'no'}, {solution.n_iter} iteration{'s' * (solution.n_iter != 1)}"


def essentials(solution: Solution, mixture: Mixture) -> str:
    """Return in two lines what a fit came to, and the mixture that it found."""
    found = criteria_of(solution, mixture)
    size = f"{mixture.n_components} component{'s' * (mixture.n_components > 1)}"
    facts: Mapping[str, Any] = {} if found is None else worth(found)
    values = ", ".join(f"{name} {shown(value)}" for name, value in facts.items())
    weights = ", ".join(f"{weight:.3f}" for weight in mixture.parameters.weights.tolist()[:LISTED])
    more = ", ..." * (mixture.n_components > LISTED)
    state = f"Converged: {ending(solution)}. " * bool(solution.history)
    return f"Fitted: {size}, weights {weights}{more}.\n{state}{values}".rstrip()
