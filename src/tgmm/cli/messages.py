"""What the command line says beside its results: a line each, on the standard error."""

from __future__ import annotations

import sys
from pathlib import Path

STANDARD = Path("-")  # the standard input, or output


def say(kind: str, message: str) -> None:
    """Write one line: an error, a warning or a note."""
    print(f"tgmm: {kind}: {' '.join(message.split())}", file=sys.stderr)


def say_written(what: str, path: Path) -> None:
    """Write where a result is that was not printed."""
    say("note", f"wrote {what} to {path}")


def called(path: Path) -> str:
    """Return what a message calls the file that the user has named."""
    return "the standard input" if path == STANDARD else str(path)
