"""What the table of docs/coming_from/mclust.rst puts beside mclust's calls runs, and has the names that it says."""

import functools
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from support import ORACLES

import tgmm
import tgmm.plotting

PAGE = Path(__file__).resolve().parent.parent / "docs" / "coming_from" / "mclust.rst"
TABLE = PAGE.read_text("utf-8").partition("Call by call\n")[2].partition("\nWhat differs\n")[0]
SPANS = sorted(
    {
        span
        for _, ours in re.findall(r"^   \* - (.*)\n     - (.*)$", TABLE, flags=re.MULTILINE)
        for span in re.findall(r"(?<!:)`+([^`]+)`+", ours)
    }
)
KEYWORD = re.compile(r"(?:\w+\(.*?)?(\w+)=(?:\)|$)")  # one of a call that is not written out
SETTING = re.compile(r"\w+=\S+")


def few(found):
    """`select` of at most two numbers of components: what is looked at is whether it takes what it is given."""

    @functools.wraps(found)
    def narrowed(X, n_components=(1, 2), *args, **settings):
        return found(X, list(n_components)[:2], *args, **settings)

    return narrowed


@pytest.fixture(scope="module")
def names():
    """What the table's expressions may name."""
    X = np.loadtxt(ORACLES / "faithful.csv", delimiter=",", skiprows=1)[:90]
    labels = (X[:, 0] > 3).astype(int)
    gmm = tgmm.GaussianMixture(2, noise=True, random_state=0).fit(X)
    selection = tgmm.select(X, [1, 2], "tied_full", random_state=0)
    places = ((place, name) for place in (selection, gmm) for name in dir(place) if name[0] != "_")
    known = {name: getattr(place, name) for place, name in places if hasattr(place, name)}
    known |= {name: getattr(place, name) for place in (tgmm, tgmm.plotting) for name in place.__all__}
    known |= {"X": X, "y": labels, "labels": labels, "z": np.eye(2)[labels], "weights": np.ones(len(X))}
    return known | {"K": 2, "modelName": "EEE", "Vinv": 0.1, "partial": functools.partial, "select": few(tgmm.select)}


@pytest.mark.parametrize("span", SPANS)
def test_what_stands_beside_mclusts_calls_is_there(names, span):
    if (keyword := KEYWORD.fullmatch(span)) or SETTING.fullmatch(span):
        called = names[span.partition("(")[0]] if "(" in span else tgmm.GaussianMixture
        taken = inspect.signature(called).parameters.keys() | inspect.signature(tgmm.GaussianMixture.fit).parameters
        assert (keyword[1] if keyword else span.partition("=")[0]) in taken
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eval(span.replace("Mixture([1], ...)", "Mixture([1], X[:1], [[[1, 0], [0, 1]]])"), names)
