"""The docstrings of the public interface have the sections that a reader looks for."""

import inspect
import re

import pytest
from reference_pages import documented_names, resolved

SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
ENTRY = re.compile(r"^\*{0,2}\w+(?:, \*{0,2}\w+)*(?= :|$)", re.MULTILINE)
RAISE = re.compile(r"^ +raise \w+", re.MULTILINE)

# Results of other functions, whose constructors are private.
RESULTS = {"tgmm.ConditionalMixture", "tgmm.Mixtures", "tgmm.Summary"}
# The example of `GaussianMixture.load` shows where it is caught.
WITHOUT_EXAMPLE = {"tgmm.ModelFileError"}
# What a class hands on as it is, and describes by reference.
HANDED_ON = {"tgmm.MixtureOutlierDetector": "tgmm.GaussianMixture"}


def is_ours(value):
    return (inspect.isroutine(value) or inspect.isclass(value)) and value.__module__.startswith("tgmm")


NAMES = sorted(name for name in documented_names() if is_ours(resolved(name)))
CLASSES = [name for name in NAMES if inspect.isclass(resolved(name))]
FUNCTIONS = [name for name in NAMES if name not in CLASSES]
ON_THEIR_OWN = [name for name in FUNCTIONS if not inspect.isclass(resolved(name.rpartition(".")[0]))]


def sections(value):
    """The sections of a docstring by their titles."""
    _, *rest = SECTION.split(inspect.getdoc(value))
    return dict(zip(rest[::2], rest[1::2], strict=True))


def described(value):
    """The parameters, and of a class the attributes, that a docstring describes."""
    found = sections(value)
    texts = [found.get("Parameters", ""), found.get("Attributes", "") * inspect.isclass(value)]
    return {name.lstrip("*") for entry in ENTRY.findall("\n".join(texts)) for name in entry.split(", ")}


def parameters(name):
    """The parameters that a caller of a function or class gives."""
    value = resolved(name)
    if inspect.isclass(value) and issubclass(value, Exception):
        return set()
    names = list(inspect.signature(value).parameters)
    return set(names[1:] if inspect.isfunction(value) and name not in ON_THEIR_OWN else names)


def test_methods_and_functions_are_found():
    assert {"tgmm.fit_many", "tgmm.Mixture.bic", "tgmm.GaussianMixture.load", "tgmm.plotting.plot"} <= set(FUNCTIONS)
    assert len(CLASSES) > 15


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RESULTS])
def test_every_parameter_is_described(name):
    handed_on = parameters(HANDED_ON[name]) if name in HANDED_ON else set()
    assert parameters(name) - handed_on <= described(resolved(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in HANDED_ON])
def test_no_parameter_is_described_that_is_gone(name):
    value = resolved(name)
    entries = ENTRY.findall(sections(value).get("Parameters", ""))
    assert {each.lstrip("*") for entry in entries for each in entry.split(", ")} <= parameters(name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_returned_is_described(name):
    function = resolved(name)
    if inspect.signature(function).return_annotation != "None":
        assert sections(function).keys() & {"Returns", "Yields"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_described(name):
    function = resolved(name)
    if RAISE.search(inspect.getsource(inspect.unwrap(function))):
        assert "Raises" in sections(function)


@pytest.mark.parametrize("name", [name for name in CLASSES + ON_THEIR_OWN if name not in WITHOUT_EXAMPLE])
def test_there_is_an_example(name):
    assert ">>> " in sections(resolved(name))["Examples"]
