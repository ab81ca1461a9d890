"""The tables of structures in the README and in the guide say what the registry says."""

import re
from pathlib import Path

import pytest

from tgmm.covariance import STRUCTURES

ROOT = Path(__file__).resolve().parent.parent
CELL = r"([^|]*?) \|"


def readme_rows():
    """Name, shape and free parameters of each row of the README's table."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## Covariance structures")[2].partition("\n## ")[0]
    return re.findall(rf"^\| `(\w+)` \| (\(.*?\)) \| {CELL}", section, flags=re.MULTILINE)


def guide_rows():
    """The same of the guide's."""
    section = (ROOT / "docs" / "guide" / "covariances.rst").read_text("utf-8").partition("- M-step")[2]
    return re.findall(r"^   \* - `(\w+)`\n     - (.*)\n     - (.*)$", section, flags=re.MULTILINE)


TABLES = pytest.mark.parametrize("rows", [readme_rows(), guide_rows()], ids=["README", "guide"])


def evaluated(formula, K, d, q):
    """The number that a formula such as "K d(d+1)/2" comes to."""
    product = re.sub(r"(?<=[\w)]) ?(?=[Kdq(])", "*", formula.replace("+ ", "+").replace("- ", "-"))
    return eval(product, {"K": K, "d": d, "q": q})


@TABLES
def test_every_structure_is_in_the_table(rows):
    assert [name for name, *_ in rows] == list(STRUCTURES)


@TABLES
@pytest.mark.parametrize(("K", "d"), [(3, 4), (1, 1), (5, 2)])
def test_shapes_and_numbers_of_parameters_are_right(rows, K, d):
    for name, shape, formula in rows:
        assert eval(shape, {"K": K, "d": d}) == STRUCTURES[name].shape(K, d), name
        q = STRUCTURES[name].size(d) if "q" in formula else 0
        assert evaluated(formula, K, d, q) == STRUCTURES[name].n_parameters(K, d), name
