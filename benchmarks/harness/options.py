"""The options that several suites have."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from harness.environments import PEERS
from harness.measuring import CLOCKS, DTYPES, IN_PROJECT
from harness.problems import STRUCTURES, Shape


def add_shapes(options: ArgumentParser, shapes: Sequence[str]) -> None:
    """Add the sizes of the problems."""
    options.add_argument(
        "--shapes",
        nargs="+",
        type=Shape.parse,
        default=[Shape.parse(shape) for shape in shapes],
        metavar="ROWSxFEATURESxCOMPONENTS",
        help=f"such as {' '.join(shapes)}, which is the default",
    )


def add_grid(options: ArgumentParser) -> None:
    """Add what problems of each size there are, and the threads that they are solved with."""
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    options.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    options.add_argument("--threads", type=int, default=1, help="threads each library may use")


def add_libraries(options: ArgumentParser) -> None:
    """Add which libraries are measured."""
    options.add_argument("--libraries", nargs="+", choices=(*IN_PROJECT, *PEERS), default=IN_PROJECT)


def add_clock(options: ArgumentParser) -> None:
    """Add which of the clocks a table shows."""
    options.add_argument(
        "--clock",
        choices=CLOCKS,
        default=CLOCKS[0],
        help="what the table shows; the processors' own seconds say more on a machine that does other work too",
    )
