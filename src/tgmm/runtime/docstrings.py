"""Docstrings of functions that differ from others in their first sentence alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def described_as(source: Callable[..., Any]) -> Callable[[F], F]:
    """Return a decorator that adds the sections of another function's docstring to a docstring, but for its examples.

    What two methods have in common, such as their parameters, is then written once.
    """
    _, title, rest = (inspect.getdoc(source) or "").partition("\n\nParameters\n")
    sections = title + rest.partition("\n\nExamples\n")[0]

    def describe(function: F) -> F:
        function.__doc__ = f"{inspect.getdoc(function)}{sections}\n" if function.__doc__ else None
        return function

    return describe
