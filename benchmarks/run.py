"""Benchmarks: `python benchmarks/run.py SUITE [options]`, or `make bench`.

A suite is a module in the folder `suites`; nothing else has to know of it.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

SUITES = Path(__file__).parent / "suites"
DEFAULT = "all"


def docstrings() -> dict[str, str]:
    """Return what each suite says of itself, without importing it: some need what is not everywhere."""
    paths = sorted(path for path in SUITES.glob("*.py") if path.stem != "__init__")
    return {path.stem: ast.get_docstring(ast.parse(path.read_text())) or "" for path in paths}


def overview(suites: dict[str, str]) -> str:
    """Return how to use this script, and a line for every suite."""
    width = max(map(len, suites))
    lines = [f"  {name.ljust(width)}  {docstring.partition(chr(10))[0]}" for name, docstring in suites.items()]
    usage = f"usage: python benchmarks/run.py [SUITE] [options]\n\nSuites ({DEFAULT!r} where none is named):\n"
    return "\n".join([usage, *lines, "\n`python benchmarks/run.py SUITE --help` lists the options of one."])


def main(arguments: Sequence[str]) -> None:
    """Run the suite that is named first, or the one that has no need to be named."""
    suites = docstrings()
    if arguments and arguments[0] in ("-h", "--help"):
        print(overview(suites))
        return
    is_named = bool(arguments) and not arguments[0].startswith("-")
    name, rest = (arguments[0], arguments[1:]) if is_named else (DEFAULT, arguments)
    if name not in suites:
        raise SystemExit(f"There is no suite {name!r}; choose one of {', '.join(suites)}.")
    options = argparse.ArgumentParser(
        prog=f"run.py {name}", description=suites[name], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    suite = importlib.import_module(f"suites.{name}")
    suite.add_options(options)
    suite.main(options.parse_args(rest))


if __name__ == "__main__":
    main(sys.argv[1:])
