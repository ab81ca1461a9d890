"""Paths that users hand in: where they lead, and whether a file can be written there without harm."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path in which a leading ``~`` is the home folder, as in a shell."""
    return Path(os.path.expanduser(path))


def is_special(path: Path) -> bool:
    """Whether a path leads to a device, a pipe or a socket, which are written through and never replaced."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_place(path: Path) -> None:
    """Raise an OSError that names the folder or the path where no file can have that name."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder; give the path of a file", str(path))
    folder = path.parent
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to write to; make it first", str(folder))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder, so no file can be written there", str(folder))


def check_apart(out: Path, *read: Path) -> None:
    """Raise a ValueError where a file to write is one of those that are read, or lies in a folder that is read."""
    for path in read:
        same = out.is_file() and path.exists() and os.path.samefile(out, path)
        if same or (path.is_dir() and path.resolve() in out.resolve().parents):
            where = "that is" if same else "in the folder that is"
            raise ValueError(f"{str(out)!r} would be written over data {where} read, {str(path)!r}: name another file.")
