"""Files that are either old or new, never in between."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tgmm.runtime.paths import check_place, expanded, is_special

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LONGEST_NAME = 50  # characters of a file's name in that of its temporary, which the system may not find too long
PRIVATE = stat.S_IRUSR | stat.S_IWUSR


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, so that a crash at any moment leaves the old content of path or the new, on disk.

    The new content is complete on disk before its name is; the folder holds the name. A link is followed, and the
    owner and the permissions of an old file are the new one's from the start. What writers that were killed have left
    behind is cleared away. A device or a pipe is written through.
    """
    path = expanded(path)
    if is_special(path):
        with open(path, "wb") as file:
            yield file
        return
    path = path.resolve()
    check_place(path)
    _clear_leftovers(path)
    old = path.stat() if path.exists() else None
    temporary, file = _temporary(path, 0o666 if old is None else PRIVATE)
    try:
        with file:
            if old is not None and fcntl is not None:
                _make_alike(file.fileno(), old)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                os.replace(temporary, path)  # before the lock ends
        if fcntl is None:
            os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in NO_ROOM and error.filename is None:
            reason = f"{error.strerror}: the file could not be written, and its previous content is unchanged"
            raise OSError(error.errno, reason, str(path)) from error
        raise
    _sync_folder(path.parent)


def _temporary(path: Path, mode: int) -> tuple[Path, BinaryIO]:
    """Return a new file beside path and its name; it has this mode, less the umask, and is locked while it is open."""
    while True:
        temporary = path.with_name(f".{path.name[:LONGEST_NAME]}.{secrets.token_hex(8)}.tmp")
        try:
            file = open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115
        except OSError as error:
            error.filename = str(path.parent)
            raise
        _lock(file.fileno(), wait=True)
        if temporary.exists():  # else another writer took it for a leftover before it was locked
            return temporary, file
        file.close()


def _make_alike(descriptor: int, old: os.stat_result) -> None:
    """Give a file the owner and the permissions of an old one, as far as this process may.

    What the old group was allowed, another group is not.
    """
    with suppress(OSError):
        os.fchown(descriptor, -1, old.st_gid)
        os.fchown(descriptor, old.st_uid, -1)
    same_group = os.fstat(descriptor).st_gid == old.st_gid
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & (0o7777 if same_group else ~stat.S_IRWXG))


def _clear_leftovers(path: Path) -> None:
    """Remove the temporary files of writers to path that no longer live: those that nobody has locked."""
    pattern = re.compile(rf"\.{re.escape(path.name[:LONGEST_NAME])}\.[0-9a-f]{{16}}\.tmp")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "r+b") as file:
                    if _lock(file.fileno(), wait=False):
                        os.unlink(entry.path)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file until it is closed, if only by the death of its process; return whether that is done."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another has it, or the file system has no locks
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Put a folder's names on disk; Windows does so by itself, and opens no folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
