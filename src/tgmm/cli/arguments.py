"""The commands, and what each of them accepts; nothing here takes long to import."""

from __future__ import annotations

import argparse
import re
from difflib import get_close_matches
from textwrap import fill
from typing import NoReturn

from tgmm import __version__
from tgmm.cli import options

DATA = (
    "Data files end in .csv, .tsv or .txt (also compressed, as .csv.gz), .npy, .parquet, .arrow, .feather or .zarr. A "
    "folder of Parquet files and - for the standard input are data, too."
)
COMMANDS = {
    "fit": "Fit a mixture, or choose among several, and report it.",
    "predict": "Write the component of each row, its probabilities and its log-density.",
    "classify": "Fit a mixture to each class of known rows, and classify other rows.",
    "impute": "Fill in missing values.",
    "sample": "Draw rows from a model.",
    "info": "Describe a model.",
}
EXAMPLES = {
    "fit": ("tgmm fit data.csv -k 3 --out model.pth", "tgmm fit data.csv -k 1:9 --plot fit.png"),
    "predict": ("tgmm predict model.pth data.csv --out labels.csv", "tgmm predict model.pth data.csv --id name"),
    "classify": (
        "tgmm classify known.csv new.csv --class species --save classifier.pth",
        "tgmm classify classifier.pth new.csv --out classes.csv",
    ),
    "impute": ("tgmm impute model.pth data.csv --out complete.csv",),
    "sample": ("tgmm sample model.pth -n 1000 --seed 0 --out rows.csv",),
    "info": ("tgmm info model.pth",),
}


def _epilogue(command: str) -> str:
    """Return what the help of a command ends with: the files that it reads, and examples."""
    data = [fill(DATA), ""] * (command not in ("sample", "info"))
    return "\n".join([*data, "Examples:", *(f"  {example}" for example in EXAMPLES[command])])


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; which it is, is called ``command``."""
    top = argparse.ArgumentParser(
        prog="tgmm",
        description="Fit Gaussian mixture models to data files, and use them.",
        epilog="tgmm COMMAND --help describes a command.",
    )
    top.add_argument("--version", action="version", version=f"tgmm {__version__}")
    top.set_defaults(parser=top)
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, summary in COMMANDS.items():
        command = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=_epilogue(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        options.add(command, name)
        command.set_defaults(parser=command)
    return top


def refuse(given: argparse.Namespace, unknown: list[str]) -> NoReturn:
    """Exit with the usage of the command, the arguments that it does not know, and what may have been meant."""
    command: argparse.ArgumentParser = given.parser
    known = re.findall(r"--[a-z-]+", command.format_help())
    close = {name: get_close_matches(name.partition("=")[0], known, 1, 0.7) for name in unknown if name[:2] == "--"}
    hints = [f"; did you mean {meant[0]} instead of {name}?" for name, meant in close.items() if meant]
    command.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(hints[:1])}")
