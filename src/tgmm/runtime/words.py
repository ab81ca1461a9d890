"""Words of messages that follow a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def plural(noun: str, number: float = 2) -> str:
    """Return a noun as it is written after a number: "component" after 1, otherwise "components"."""
    if number == 1:
        return noun
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def number_of(number: int, noun: str) -> str:
    """Return a number of things, such as "1 component" or "2 components"."""
    return f"{number} {plural(noun, number)}"


def agreeing(number: int, one: str, several: str) -> str:
    """Return the form of a verb that agrees with a number of things."""
    return one if number == 1 else several


def named(noun: str, which: Sequence[Any], listed: Callable[[list[Any]], str] = str) -> str:
    """Return what a message calls things by their names or numbers, such as "feature 0" or "features [0, 1]"."""
    known = list(which)
    return f"{plural(noun, len(known))} {repr(known[0]) if len(known) == 1 else listed(known)}"
