"""Frozen values: with other fields, and with what follows from their fields, at little cost.

A step of EM on few rows makes some thirty of them, which takes as long as its arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache, cached_property
from typing import Any, TypeVar, overload

Record = TypeVar("Record")
T = TypeVar("T", covariant=True)


class kept(cached_property[T]):  # it stands where the standard library's does
    """A `functools.cached_property` without a lock, which costs more than what is kept; that of Python 3.12 has none.

    Two threads may both compute a value, which is the same.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        super().__init__(function)

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> kept[T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Return the value, computed now: once it is kept, this is not called."""
        if instance is None:
            return self
        value = instance.__dict__[self.attrname] = self.func(instance)
        return value


def replace(record: Record, **changes: Any) -> Record:
    """Return a dataclass with other values of some fields, as `dataclasses.replace` does, in a third of the time.

    For classes that check nothing when they are made. What was kept of the fields is left behind.

    Raises
    ------
    TypeError
        If there is no such field.
    """
    kind = type(record)
    changed = object.__new__(kind)
    values = vars(changed)
    values.update(vars(record))
    values.update(changes)
    names = field_names(kind)
    if len(values) > len(names):
        for name in values.keys() - set(names):
            if name in changes:
                raise TypeError(f"{kind.__name__} has no field {name!r}.")
            del values[name]
    return changed


@cache
def field_names(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass, in their order."""
    return tuple(field.name for field in fields(kind))
