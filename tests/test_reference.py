"""Every public name has its place in the reference."""

import inspect
import re
from pathlib import Path

import pytest

import tgmm
import tgmm.data
import tgmm.plotting

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
DIRECTIVE = re.compile(r"^ *\.\. auto(?:class|exception|function|method|property):: (\S+)(?:\n +:members: (.+))?", re.M)
# Of scikit-learn's routing of keywords; named in the reference, documented there.
ROUTING = {name for name in dir(tgmm.GaussianMixture) if re.fullmatch(r"get_metadata_routing|set_\w+_request", name)}


def documented_names():
    """The qualified names that the pages of the reference document."""
    names = set()
    for page in REFERENCE.glob("*.rst"):
        text = page.read_text("utf-8")
        module = re.search(r"currentmodule:: (\S+)", text)
        for name, members in DIRECTIVE.findall(text):
            qualified = name if name.startswith("tgmm.") or module is None else f"{module[1]}.{name}"
            names.add(qualified)
            names |= {f"{qualified}.{member.strip()}" for member in members.split(",") if member}
    return names


def public_names(module):
    names = getattr(module, "__all__", [])
    return [f"{module.__name__}.{name}" for name in names if not name.startswith("__")]


def public_members(cls):
    return [name for name, _ in inspect.getmembers(cls) if not name.startswith("_")]


@pytest.mark.parametrize("module", [tgmm, tgmm.plotting, tgmm.data], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module):
    assert set(public_names(module)) <= documented_names()


# What a mixture consists of, for those who build on the library.
PARTS = {"changed", "columns", "derived", "device", "dtype", "noise", "of", "parameters", "structure"}


@pytest.mark.parametrize("cls", [tgmm.GaussianMixture, tgmm.Mixture], ids=lambda cls: cls.__name__)
def test_every_public_method_is_in_the_reference(cls):
    expected = {f"tgmm.{cls.__name__}.{name}" for name in public_members(cls) if name not in ROUTING | PARTS}
    assert expected <= documented_names()


@pytest.mark.parametrize("name", sorted(ROUTING))
def test_the_routing_of_keywords_is_mentioned(name):
    assert f"`{name}`" in (REFERENCE / "gaussian_mixture.rst").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(documented_names()))
def test_the_reference_has_no_name_that_is_gone(name):
    module, *attributes = name.removeprefix("tgmm.").split(".")
    found = tgmm
    for part in [module, *attributes]:
        found = getattr(found, part)
    assert inspect.getdoc(found)
