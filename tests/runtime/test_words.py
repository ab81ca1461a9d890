"""Words that agree with a number, and docstrings that share their sections."""

import pytest

from tgmm.runtime.docstrings import described_as
from tgmm.runtime.words import agreeing, named, number_of, plural


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2, "row", "2 rows"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
    ],
)
def test_nouns_agree_with_their_number(number, noun, said):
    assert number_of(number, noun) == said == f"{number} {plural(noun, number)}"


def test_things_are_called_by_number_or_name():
    assert named("feature", [3]) == "feature 3"
    assert named("feature", ["x"]) == "feature 'x'"
    assert named("component", (0, 2)) == "components [0, 2]"
    assert [agreeing(count, "is", "are") for count in (1, 2)] == ["is", "are"]


def test_a_docstring_takes_all_sections_but_the_examples():
    def source():
        """Do something.

        Parameters
        ----------
        x : int

        Returns
        -------
        int

        Examples
        --------
        >>> 1
        1
        """

    @described_as(source)
    def function():
        """Do something else."""

    sections = "Parameters\n----------\nx : int\n\nReturns\n-------\nint"
    assert function.__doc__ == f"Do something else.\n\n{sections}\n"
    source.__doc__ = function.__doc__ = None  # as python -OO leaves them
    assert described_as(source)(function).__doc__ is None
