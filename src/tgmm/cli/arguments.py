"""The commands. What each of them accepts is found out when it is used: it names what takes long to import."""

from __future__ import annotations

import argparse
from typing import Any

from tgmm import __version__

EPILOGUE = (
    "Data: .csv, .tsv, .txt (also compressed, as .csv.gz), .npy, .parquet, .arrow, .feather, .zarr, a folder of "
    "Parquet files, or - for the standard input."
)
COMMANDS = {
    "fit": "fit a mixture, or choose one, and report it",
    "predict": "label rows: component, probabilities, log-density",
    "impute": "fill in the values that rows lack",
    "sample": "draw rows from a model",
    "info": "describe a model",
}


class Command(argparse.ArgumentParser):
    """The parser of one command."""

    is_complete = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore
        """Parse the arguments of the command."""
        self._complete()
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        """Return the help of the command."""
        self._complete()
        return super().format_help()

    def _complete(self) -> None:
        """Add the arguments, once."""
        if not self.is_complete:
            from tgmm.cli import options

            self.is_complete = True
            options.add(self, self.prog.split()[-1])


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; what a command does is its ``run``."""
    top = argparse.ArgumentParser(prog="tgmm", description="Gaussian mixture models.", epilog=EPILOGUE)
    top.add_argument("--version", action="version", version=f"tgmm {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=Command)
    for name, summary in COMMANDS.items():
        subparsers.add_parser(name, help=summary, description=summary.capitalize() + ".", epilog=EPILOGUE)
    return top
