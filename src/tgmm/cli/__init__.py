"""The command line: ``tgmm``, or ``python -m tgmm``."""

from __future__ import annotations

import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

from tgmm.cli.arguments import parser, refuse
from tgmm.cli.messages import say

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 1 for bad data or files, 2 for bad arguments.

    Results go to the standard output; progress, warnings and errors, each in one line, to the standard error.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process where None.

    Examples
    --------
    >>> from tgmm.cli import main
    >>> main(["info", "no-such-model.pth"])
    1
    """
    top = parser()
    options, unknown = top.parse_known_args(arguments)
    if unknown:
        refuse(options, unknown)
    if options.command is None:
        top.print_help(sys.stderr)
        top.exit(MISUSED)
    with warnings.catch_warnings():
        warnings.showwarning = partial(_say_warning, options)
        try:
            import_module(f"tgmm.cli.commands.{options.command}").run(options)  # an import that takes long
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough; what is left in the buffer has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            return INTERRUPTED
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
            say("error", _explanation(error, options))
            return FAILED
    return 0


def _say_warning(options: Namespace, message: Warning | str, *_: Any, **__: Any) -> None:
    say("warning", _in_options(str(message), options))


def _explanation(error: BaseException, options: Namespace) -> str:
    """Return what went wrong, in words of the command line or of the operating system."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return _in_options(str(error), options) or type(error).__name__


def _in_options(message: str, options: Namespace) -> str:
    from tgmm.cli.wording import in_options  # which knows what the readers of data say, and takes as long to import

    return in_options(message, options)


__all__ = ["main"]
