"""Labels of rows, from a column of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tgmm.data.fields import MISSING
from tgmm.estimators.base import MixtureEstimator, solution_of

UNKNOWN = NOISE = -1


@dataclass(frozen=True)
class Labels:
    """What is known of the components of rows.

    Parameters
    ----------
    components : ndarray of shape (n,)
        From 0; -1 where the column says nothing.
    names : tuple of str
        What the column calls the components from 0 on; empty where it has their numbers.
    """

    components: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, int]:
        """The components by their names."""
        return {name: number for number, name in enumerate(self.names)}

    def component_names(self, n_components: int) -> tuple[str, ...]:
        """Return the names of all components, of which those without labels are called by number; () without names."""
        return self.names and (*self.names, *map(str, range(len(self.names), n_components)))


def called(model: MixtureEstimator, components: np.ndarray) -> np.ndarray:
    """Return what the user calls components: by their names, where the model has some, else by number."""
    names = solution_of(model).component_names
    return np.array([*names, str(NOISE)])[components] if names else components


def labels_of(values: np.ndarray, column: str, n_components: int) -> Labels:
    """Return what a column says: numbers of components, or texts, which are numbered in sorted order.

    Parameters
    ----------
    values : ndarray of shape (n,)
        What the column holds, of any kind; what marks a missing value, or -1, is a row of which nothing is known.
    column : str
        Its name.
    n_components : int

    Raises
    ------
    ValueError
        Where nothing is known of any row, and for more labels than components.
    """
    texts = [str(value).strip() for value in values.tolist()]
    known = [text for text in texts if not _is_unknown(text)]
    if not known:
        raise ValueError(f"--labels {column}: the column contains no labels, so leave the option out.")
    numbers = _numbers(known)
    if numbers is None:
        names = sorted(set(known))
        found = dict(zip(names, range(len(names)), strict=True))
    else:
        names, found = [], dict(zip(known, numbers, strict=True))
    low, high = min(found.values()), max(found.values())
    if low < 0 or high >= n_components:
        what = f"{len(names)} different labels" if names else f"the label {low if low < 0 else high}"
        raise ValueError(
            f"--labels {column}: the column has {what}, but with -k {n_components} components are 0 to "
            f"{n_components - 1}. Raise -k, or correct the column."
        )
    return Labels(np.array([UNKNOWN if _is_unknown(text) else found[text] for text in texts]), tuple(names))


def is_missing(text: str) -> bool:
    """Whether a text marks a missing value."""
    return text.strip().lower() in MISSING | {"nan"}


def _is_unknown(text: str) -> bool:
    return is_missing(text) or _numbers([text]) == [UNKNOWN]


def _numbers(texts: Sequence[str]) -> list[int] | None:
    """Return whole numbers, or None where some text is none."""
    try:
        numbers = [float(text) for text in texts]
        return [int(number) for number in numbers] if all(number == int(number) for number in numbers) else None
    except (ValueError, OverflowError):
        return None
