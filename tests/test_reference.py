"""Every public name has its place in the reference."""

import inspect
import re

import pytest
from reference_pages import REFERENCE, documented_names, resolved

import tgmm
import tgmm.data
import tgmm.plotting

# Of scikit-learn's routing of keywords; named in the reference, documented there.
ROUTING = {name for name in dir(tgmm.GaussianMixture) if re.fullmatch(r"get_metadata_routing|set_\w+_request", name)}


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
    assert inspect.getdoc(resolved(name))
