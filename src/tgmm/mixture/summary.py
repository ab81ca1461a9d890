"""A fitted mixture, explained: what it is, what it is worth, and what its components look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import fill
from typing import Any

import numpy as np

from tgmm.mixture.base import BaseMixture
from tgmm.mixture.evaluation import Criteria
from tgmm.mixture.profiles import NOISE, Profiles, counted
from tgmm.mixture.tables import LINE, Table, decimals, in_pairs, rounded, shown
from tgmm.runtime.checks import check_integer
from tgmm.runtime.words import plural

FEATURES = 6  # that are shown where nothing else is asked for
APART, NOTABLE = 3, 0.2  # features that are named as what sets a component apart, and how far at least they do


@dataclass(frozen=True, repr=False)
class Summary:
    """The summary of a mixture, an estimator or a selection; ``print`` it, or show it in a notebook.

    Attributes
    ----------
    title : str
        The heading.
    facts : dict
        Figures about the whole mixture, such as its number of components, log-likelihood and BIC, by the names under
        which they are printed.
    tables : tuple of Table
        The tables, in the order in which they are printed.
    notes : tuple of str
        Remarks below the tables: warnings of the fit, and how to read the figures.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.25, 0.75], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> summary = mixture.summary([[0.0], [3.0], [5.0]])
    >>> summary.title, summary.facts["Rows"], sorted(summary.facts)[:3]
    ('Gaussian mixture', 3.0, ['AIC', 'BIC', 'Components'])
    """

    title: str
    facts: dict[str, Any]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    profiles: Profiles

    def __repr__(self) -> str:
        """Return the summary as text."""
        parts = [f"{self.title}\n{'=' * len(self.title)}", *(table.text() for table in self.tables)]
        return "\n\n".join([*parts, noted(self.notes)])

    def _repr_html_(self) -> str:
        """Return the summary as HTML, for notebooks."""
        notes = "".join(f"<p><small>{note}</small></p>" for note in self.notes)
        return f"<div><p><b>{self.title}</b></p>{''.join(table.html() for table in self.tables)}{notes}</div>"

    def to_frame(self) -> Any:
        """Return a data frame with one row per component and all features.

        Returns
        -------
        pandas.DataFrame
            Indexed by component. ``frame["weight"]`` is a column; ``frame["mean"]``, ``frame["sd"]`` and
            ``frame["difference"]`` have a column for each feature, where the difference is that between the
            component's mean and the mean of all other components together, in standard deviations. With data there
            are also ``frame["size"]``, the rows (or their weight) assigned to each component, and
            ``frame["certainty"]``, their mean probability of belonging to it.

        Examples
        --------
        >>> from tgmm import Mixture
        >>> mixture = Mixture([0.25, 0.75], [[0.0, 0.0], [4.0, 0.0]], [[1.0, 1.0], [1.0, 4.0]], "diag")
        >>> mixture.summary().to_frame()["mean"]
                   feature 0  feature 1
        component
        0                0.0        0.0
        1                4.0        0.0
        """
        return self.profiles.to_frame()


def summary(
    mixture: BaseMixture, X: Any = None, *, sample_weight: Any = None, max_features: int | None = FEATURES
) -> Summary:
    """Explain the mixture: its size, how well it fits data, and what its components look like.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d), optional
        Data to describe the mixture on. With it, the summary has the log-likelihood, BIC, AIC and ICL, and the number
        of rows that are assigned to each component.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows of X.
    max_features : int, default=6
        How many features to show at most. Where there are more, those in which the components differ most are shown.
        None shows all of them.

    Returns
    -------
    Summary
        ``print`` it to read it as text; a notebook shows it as tables. ``to_frame()`` gives all numbers to pandas.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.25, 0.75], [[0.0, 0.0], [4.0, 0.0]], [[1.0, 1.0], [1.0, 4.0]], "diag")
    >>> print(mixture.summary())
    Gaussian mixture
    ================
    <BLANKLINE>
    Components     2    Covariance type  diag
    Features       2    Free parameters     9
    <BLANKLINE>
    Means, with standard deviations in brackets
    component  weight    feature 0    feature 1
    0          0.2500  0.00 (1.00)  0.00 (1.00)
    1          0.7500  4.00 (1.00)  0.00 (2.00)
    <BLANKLINE>
    What sets components apart from the rest, in standard deviations
    0  feature 0 -4.0
    1  feature 0 +4.0
    <BLANKLINE>
    What sets a component apart is its mean minus the mean of all other components together, divided by
    the pooled standard deviation of both.
    For the log-likelihood, BIC, AIC, ICL and the sizes of the clusters, pass the data to summary.
    """
    if X is None:
        return summarised(mixture, {}, Profiles.of(mixture), max_features)
    found, profiles = counted(mixture, X, sample_weight)
    return summarised(mixture, worth(found), profiles, max_features)


def worth(found: Criteria) -> dict[str, Any]:
    """Return what criteria say, under the names that are shown."""
    n_rows = round(found.weight, 6)  # it is a sum, which rounding may have moved off a whole number
    facts = {"Rows": n_rows, "Log-likelihood": found.log_likelihood, "BIC": found.bic, "AIC": found.aic}
    return facts | ({"ICL": found.icl} if found.icl == found.icl else {})


def summarised(
    mixture: BaseMixture,
    facts: Mapping[str, Any],
    profiles: Profiles,
    max_features: int | None = FEATURES,
    notes: Sequence[str] = (),
) -> Summary:
    """Return the summary of a mixture with what else is known, with the profiles of its components, and more notes."""
    known = {
        "Components": mixture.n_components,
        "Features": mixture.n_features,
        "Covariance type": mixture.covariance_type,
        "Free parameters": mixture.n_parameters,
        **facts,
    }
    tables, hidden = profile_tables(profiles, max_features)
    notes = (*hidden, *terms(known, profiles), *_lacking(profiles, known), *notes)
    return Summary("Gaussian mixture", known, (in_pairs(known), *tables), notes, profiles)


def noted(notes: Sequence[str]) -> str:
    """Return notes as text, each from a line of its own on."""
    return "\n".join(fill(note, LINE) for note in notes)


def retitled(
    found: Summary, title: str, facts: Mapping[str, Any], notes: Sequence[str] = (), tables: Sequence[Table] = ()
) -> Summary:
    """Return the summary of what a mixture is a part of: another title, more facts first, and notes last.

    Tables come below the facts.
    """
    known = {**facts, **found.facts, **facts}
    tables, notes = (in_pairs(known), *tables, *found.tables[1:]), (*found.notes, *notes)
    return replace(found, title=title, facts=known, tables=tables, notes=notes)


def profile_tables(profiles: Profiles, max_features: int | None) -> tuple[list[Table], list[str]]:
    """Return what the components look like in some features, and a note where there are more."""
    n_features = len(profiles.names)
    chosen = profiles.distinct(n_features if max_features is None else check_integer(max_features, "max_features", 1))
    notes = [
        f"{len(chosen)} of {n_features} features are shown, those in which the {plural(profiles.kind)} differ most; "
        "summary(max_features=None) and to_frame() have all of them."
    ]
    return [_means(profiles, chosen), *_apart(profiles)], notes * (len(chosen) < n_features)


def _means(profiles: Profiles, chosen: np.ndarray) -> Table:
    """Return the table of weights, sizes, means and standard deviations."""
    numbers = [f"{weight:.4f}" for weight in profiles.weights]
    columns = [[profiles.kind, *profiles.labels], ["weight", *numbers]]
    if profiles.noise_weight is not None:
        columns[0].append(NOISE)
        columns[1].append(f"{profiles.noise_weight:.4f}")
    if profiles.sizes is not None and profiles.certainty is not None:
        columns.append(["rows", *(shown(float(size)) for size in profiles.sizes)])
        columns.append(["certainty", *(f"{value:.4f}" if value == value else "-" for value in profiles.certainty)])
    for j in chosen:
        places = decimals(float(profiles.deviations[:, j].min()))
        pairs = zip(profiles.means[:, j], profiles.deviations[:, j], strict=True)
        cells = [f"{rounded(mean, places)} ({rounded(deviation, places)})" for mean, deviation in pairs]
        columns.append([profiles.names[j], *cells, *["-"] * (profiles.noise_weight is not None)])
    header, *rows = zip(*columns, strict=True)
    return Table("Means, with standard deviations in brackets", header, rows)


def _apart(profiles: Profiles) -> list[Table]:
    """Return the table of what sets components apart; none where there is one component."""
    rows = []
    for label, found in zip(profiles.labels, profiles.differences, strict=True):
        order = [j for j in np.argsort(-np.abs(found), kind="stable")[:APART] if abs(found[j]) >= NOTABLE]
        said = ", ".join(f"{profiles.names[j]} {found[j]:+.1f}" for j in order)
        rows.append((label, said or f"no mean differs by {NOTABLE} or more"))
    title = f"What sets {plural(profiles.kind)} apart from the rest, in standard deviations"
    return [Table(title, (), rows, align="l")] if len(rows) > 1 else []


def terms(facts: Mapping[str, Any], profiles: Profiles) -> list[str]:
    """Return what the words of a summary mean, a sentence each."""
    notes, kind = [], profiles.kind
    if len(profiles.weights) > 1:
        notes.append(
            f"What sets a {kind} apart is its mean minus the mean of all other {plural(kind)} together, divided by the "
            "pooled standard deviation of both."
        )
    if "BIC" in facts:
        notes.append(f"For {'BIC, AIC and ICL' if 'ICL' in facts else 'BIC and AIC'}, lower is better.")
    if profiles.sizes is not None:
        notes.append(
            f"The certainty of a {kind} is how probable it is, on average, for the rows that are assigned to it."
        )
    return notes


def _lacking(profiles: Profiles, facts: Mapping[str, Any]) -> list[str]:
    """Return how to have what is not known without the data."""
    if profiles.sizes is not None:
        return []
    missing = "ICL and the" if "BIC" in facts else "the log-likelihood, BIC, AIC, ICL and the"
    return [f"For {missing} sizes of the clusters, pass the data to summary."]
