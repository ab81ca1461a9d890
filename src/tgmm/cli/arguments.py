"""The commands, and what each of them accepts; nothing here takes long to import."""

from __future__ import annotations

import argparse

from tgmm import __version__
from tgmm.cli import options

EPILOGUE = (
    "Data: .csv, .tsv, .txt (also compressed, as .csv.gz), .npy, .parquet, .arrow, .feather, .zarr, a folder of "
    "Parquet files, or - for the standard input."
)
COMMANDS = {
    "fit": "fit a mixture, or choose one, and report it",
    "predict": "label rows: component, probabilities, log-density",
    "classify": "fit a mixture to each class of rows, and classify others",
    "impute": "fill in the values that rows lack",
    "sample": "draw rows from a model",
    "info": "describe a model",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; which it is, is called ``command``."""
    top = argparse.ArgumentParser(prog="tgmm", description="Gaussian mixture models.", epilog=EPILOGUE)
    top.add_argument("--version", action="version", version=f"tgmm {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, summary in COMMANDS.items():
        command = subparsers.add_parser(name, help=summary, description=summary.capitalize() + ".", epilog=EPILOGUE)
        options.add(command, name)
    return top
