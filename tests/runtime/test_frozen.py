"""Frozen values with other fields, and what is kept of them."""

from dataclasses import dataclass
from dataclasses import replace as standard

import pytest

from tgmm.runtime.frozen import field_names, kept, replace


@dataclass(frozen=True)
class Square:
    side: float
    name: str = ""

    @kept
    def area(self) -> float:
        """The area, and how often it was computed."""
        vars(self)["counted"] = vars(self).get("counted", 0) + 1
        return self.side**2


def test_what_follows_from_the_fields_is_computed_once_and_not_carried_over():
    square = Square(2.0, "two")
    assert square.area == square.area == 4.0
    assert vars(square)["counted"] == 1
    larger = replace(square, side=3.0)
    assert larger == standard(square, side=3.0)
    assert vars(larger) == {"side": 3.0, "name": "two"}
    assert larger.area == 9.0
    assert isinstance(Square.area, kept)


def test_a_field_that_there_is_not_is_an_error():
    with pytest.raises(TypeError, match="Square has no field 'sides'"):
        replace(Square(2.0), sides=3.0)
    assert field_names(Square) == ("side", "name")
