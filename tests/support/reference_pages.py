"""What the pages of the reference document."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
DIRECTIVE = re.compile(r"^ *\.\. auto(?:class|exception|function|method|property):: (\S+)(?:\n +:members: (.+))?", re.M)


@cache
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


def resolved(name):
    """The object of a qualified name."""
    import_module("tgmm.plotting")
    return resolve_name(name)
