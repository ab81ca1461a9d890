"""Checkpoints: a fit under way in a file, from which a later fit goes on to the same bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tgmm.covariance import Structure
from tgmm.em.fit import Journal, Snapshot
from tgmm.em.records import Record, flat
from tgmm.files.formats import Format, format_of
from tgmm.files.plain import State, differences
from tgmm.files.store import check_checksum, check_kinds, model_file_errors, read_file, signed, write_state
from tgmm.runtime.paths import expanded

INTERVAL = 10  # iterations from one record to the next; the end is always recorded
CHECKPOINT_VERSION = 5
PREFIX = "setting."


class Checkpoint(Journal):
    """The file in which a fit is recorded.

    Parameters
    ----------
    path : path
        Of a ``.pth`` or ``.safetensors`` file.
    settings : dict
        What makes the fit what it is, as plain data.
    structure : Structure
    resume : bool
        Whether a file that is there is where the fit goes on.
    has_posterior : bool
        Whether the fit is one of posteriors.
    """

    def __init__(
        self, path: Any, settings: State, structure: Structure, *, resume: bool, has_posterior: bool = False
    ) -> None:
        self.path, self.structure, self.resume, self.has_posterior = path, structure, resume, has_posterior
        self.settings = {f"{PREFIX}{name}": value for name, value in settings.items()}
        self._n_iterations = 0

    def is_due(self, *, at_end: bool) -> bool:
        """Whether it is time to write; asked once an iteration, and at the end."""
        self._n_iterations += 1
        return at_end or self._n_iterations % INTERVAL == 0

    def write(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place of the last one."""
        path, _ = self._file()
        write_state(path, signed({"checkpoint_version": CHECKPOINT_VERSION, **self.settings, **dict(flat(snapshot))}))

    def read(self) -> Snapshot | None:
        """Return the last snapshot, or None where the fit begins.

        Raises
        ------
        ModelFileError
            Where the file is damaged, or belongs to another fit.
        """
        path, encoding = self._file()
        if not path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint={str(path)!r} cannot be written: there is no folder {path.parent}.")
        if not (self.resume and path.exists()):
            return None
        data = read_file(path)
        with model_file_errors(f"The checkpoint {str(path)!r}"):
            state = encoding.decode(data)
            self._check(state)
            entries = {name: value for name, value in state.items() if not name.startswith(PREFIX)}
            entries = {name: entries[name] for name in entries.keys() - {"checkpoint_version", "checksum"}}
            n_components, has_noise = (self.settings[f"{PREFIX}{name}"] for name in ("n_components", "noise"))
            of_fit = {"has_noise": has_noise, "has_posterior": self.has_posterior}
            return Record(entries, self.structure, n_components, **of_fit).snapshot()

    def _file(self) -> tuple[Path, Format]:
        if not isinstance(self.path, str | os.PathLike):
            raise ValueError(f"checkpoint must be a path or None; got {self.path!r}.")
        return expanded(self.path), format_of(self.path)

    def _check(self, state: State) -> None:
        """Raise where this is not the checkpoint of such a fit."""
        version = state.get("checkpoint_version") if isinstance(state, dict) else None
        if type(version) is not int:
            raise ValueError("it is not a checkpoint.")
        if version > CHECKPOINT_VERSION:
            raise ValueError(f"its version is {version}, but this tgmm reads up to {CHECKPOINT_VERSION}: upgrade tgmm.")
        check_kinds(state, {})
        check_checksum(state)
        if version < CHECKPOINT_VERSION:
            raise ValueError(
                f"it was written by an earlier version of tgmm (checkpoint version {version}) and cannot be continued: "
                "fit without resume."
            )
        own, others = self.settings, {name: state[name] for name in state if name.startswith(PREFIX)}
        if names := differences(others, own):
            name = names[0]
            was, now = (
                repr(settings[name]) if name in settings else "something that cannot be stored"
                for settings in (others, own)
            )
            raise ValueError(
                f"{name.removeprefix(PREFIX)} was {was} in the fit that wrote it, and is now {now}: restore it, or fit "
                "without resume."
            )
