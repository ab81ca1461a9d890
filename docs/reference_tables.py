"""The table at the top of a page of the reference: each name that the page documents, with the first line about it."""

import re

MARK = ".. table of this page"
DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|method|property):: (\S+)(?:\n +:members: (.+))?$", re.MULTILINE)


def documented(page: str) -> list[str]:
    """Return the names that the directives of a page document, in its order; members without their class."""
    names = []
    for name, members in DIRECTIVE.findall(page):
        names += [name, *(f"{name}.{member.strip()}" for member in members.split(",") if members)]
    return ["~" * ("." in name) + name for name in names]


def insert(_, docname: str, source: list[str]) -> None:
    """Put the table where a page of the reference has its mark."""
    if docname.startswith("reference/") and MARK in source[0]:
        before, _, after = source[0].partition(MARK)
        rows = "".join(f"   {name}\n" for name in documented(after))
        source[0] = f"{before}.. autosummary::\n   :nosignatures:\n\n{rows}{after}"
