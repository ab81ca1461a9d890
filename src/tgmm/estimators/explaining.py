"""A fit explained: the summary of its mixture, with what the fit tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from tgmm.em.solution import Solution
from tgmm.mixture.evaluation import Criteria
from tgmm.mixture.mixture import Mixture
from tgmm.mixture.profiles import Profiles, counted
from tgmm.mixture.summary import FEATURES, Summary, summarised, worth
from tgmm.mixture.tables import shown
from tgmm.runtime.words import number_of
from tgmm.start import AUTO
from tgmm.start.portfolio import PARTITIONS, RANDOM_PARTITIONS

LISTED = 10  # weights of a line
TRIED = PARTITIONS.keys() | RANDOM_PARTITIONS.keys()  # starts of trials
AFTER_TRIALS = "The search for a start already ran EM; the iterations counted here are those that followed on all rows."


class Holder(Protocol):
    """An estimator that holds what a fit came to."""

    @property
    def mixture_(self) -> Mixture:
        """The fitted mixture."""
        ...

    def _fitted(self) -> Solution: ...


def summary(model: Holder, X: Any = None, *, sample_weight: Any = None, max_features: int | None = FEATURES) -> Summary:
    """Explain the fitted model: its size, how well it fits, and what its components look like.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d), optional
        Data to describe the model on, such as that of the fit. With it, the summary also has the ICL and the number
        of rows that are assigned to each component. Without it, the number of rows, log-likelihood, BIC and AIC are
        those of the fit.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows of X.
    max_features : int, default=6
        How many features to show at most. Where there are more, those in which the components differ most are
        shown. None shows all of them.

    Returns
    -------
    Summary
        ``print`` it to read it as text; a notebook shows it as tables. ``to_frame()`` gives all numbers to pandas.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture
    >>> X = np.concatenate([np.zeros((50, 1)), np.ones((50, 1))]) + np.linspace(-0.1, 0.1, 100)[:, None]
    >>> print(GaussianMixture(n_components=2, random_state=0).fit(X).reorder("mean").summary(X))
    Gaussian mixture
    ================
    <BLANKLINE>
    Components          2    Log-likelihood            142.31
    Features            1    BIC                      -261.59
    Covariance type  full    AIC                      -274.62
    Free parameters     5    ICL                      -261.59
    Rows              100    Converged       yes, 1 iteration
    <BLANKLINE>
    Means, with standard deviations in brackets
    component  weight  rows  certainty         feature 0
    0          0.5000    50     1.0000  -0.0505 (0.0292)
    1          0.5000    50     1.0000   1.0505 (0.0292)
    <BLANKLINE>
    What sets components apart from the rest, in standard deviations
    0  feature 0 -37.8
    1  feature 0 +37.8
    <BLANKLINE>
    What sets a component apart is its mean minus the mean of all other components together, divided by
    the pooled standard deviation of both.
    For BIC, AIC and ICL, lower is better.
    The certainty of a component is how probable it is, on average, for the rows that are assigned to it.
    The search for a start already ran EM; the iterations counted here are those that followed on all
    rows.
    """
    return explained(model, X, sample_weight, max_features)


def explained(
    model: Holder, X: Any, sample_weight: Any, max_features: int | None, names: list[str] | None = None
) -> Summary:
    """Return the summary of a model on rows, or where None on those of the fit as far as they are known.

    Parameters
    ----------
    model : Holder
    X, sample_weight, max_features
        As for `summary`.
    names : list of str, optional
        What to call the features, where the mixture does not know.
    """
    mixture, solution, fixed = model.mixture_, model._fitted(), getattr(model, "fixed", None)
    found, profiles = (
        (criteria_of(solution, mixture), Profiles.of(mixture)) if X is None else counted(mixture, X, sample_weight)
    )
    facts = {} if found is None else worth(found)
    if solution.history:
        facts["Converged"] = ending(solution)
    if fixed is not None:
        facts["Fixed"] = fixed if isinstance(fixed, str) else ", ".join(sorted(fixed))
    profiles = profiles if names is None else replace(profiles, names=names)
    return summarised(mixture, facts, profiles, max_features, notes_of(model))


def notes_of(model: Holder) -> list[str]:
    """Return what the reader should know of how a fit ended."""
    start = getattr(model, "init_means", None)
    runs = model._fitted().runs if isinstance(start, str) and start == AUTO else ()
    return [AFTER_TRIALS] if runs and runs[0].start in TRIED else []


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
    return f"{'yes' if solution.converged else 'no'}, {number_of(solution.n_iter, 'iteration')}"


def essentials(model: Holder) -> str:
    """Return in two lines what a fit came to, and the mixture that it found."""
    mixture, solution = model.mixture_, model._fitted()
    found = criteria_of(solution, mixture)
    size = number_of(mixture.n_components, "component")
    facts: Mapping[str, Any] = {} if found is None else worth(found)
    values = ", ".join(f"{name} {shown(value)}" for name, value in facts.items())
    weights = ", ".join(f"{weight:.3f}" for weight in mixture.parameters.weights.tolist()[:LISTED])
    more = ", ..." * (mixture.n_components > LISTED)
    state = f"Converged: {ending(solution)}. " * bool(solution.history)
    return f"Fitted: {size}, weights {weights}{more}.\n{state}{values}".rstrip()
