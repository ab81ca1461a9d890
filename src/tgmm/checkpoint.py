"""Checkpoints: a fit under way in a file, from which a later fit goes on to the same bits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from tgmm import settings
from tgmm.atomic import replacing
from tgmm.covariance import CovarianceCollapse
from tgmm.data.frame import Summary
from tgmm.em.record import Moment, RunRecord
from tgmm.parameters import Parameters
from tgmm.persistence import model_file_errors, read_file
from tgmm.persistence.formats import Format, format_of
from tgmm.persistence.state import checksum
from tgmm.plain import State, differences, plain_settings, stored
from tgmm.restarting import Snapshot
from tgmm.statistics import Statistics

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture

T = TypeVar("T")

INTERVAL = 10  # iterations from one record to the next; the end is always recorded
CHECKPOINT_VERSION = 1
FIGURES = ("n_path", "longest", "history", "converged", "notes", "reseeded", "n_kernels")
# Settings that a fit that goes on may have otherwise: where and how long it runs, and what the file holds itself.
FREE = {"checkpoint", "device", "distributed", "max_iter", "random_state", "tol", "verbose", "verbose_interval"}


class Checkpoint:
    """The file of a model's `checkpoint` setting, or nothing where there is none.

    Parameters
    ----------
    model : GaussianMixture
    resume : bool
        Whether a file that is there is where the fit goes on.
    """

    def __init__(self, model: GaussianMixture, *, resume: bool) -> None:
        self.model, self.path, self.resume = model, model.checkpoint, resume
        self._n_iterations = 0

    def is_due(self, *, at_end: bool) -> bool:
        """Whether it is time to write; asked once an iteration, and at the end."""
        self._n_iterations += 1
        return self.path is not None and (at_end or self._n_iterations % INTERVAL == 0)

    def write(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place of the last one."""
        path, encoding = self._file()
        state: State = {"checkpoint_version": CHECKPOINT_VERSION, **self._settings()}
        state |= dict(_flat(snapshot))
        state["checksum"] = checksum(state)
        with replacing(path) as file:
            file.write(encoding.encode(state))

    def read(self) -> Snapshot | None:
        """Return the last snapshot, or None where the fit begins.

        Raises
        ------
        ModelFileError
            Where the file is damaged, or belongs to another fit.
        """
        if settings.check_flag(self.resume, "resume") and self.path is None:
            raise ValueError("resume=True goes on from a checkpoint: name its file, checkpoint=path.")
        if self.path is None:
            return None
        path, encoding = self._file()
        if not path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint={str(path)!r} cannot be written: there is no folder {path.parent}.")
        if not (self.resume and path.exists()):
            return None
        data = read_file(path)
        with model_file_errors(f"The checkpoint {str(path)!r}"):
            state = encoding.decode(data)
            self._check(state)
            return _snapshot(state)

    def _file(self) -> tuple[Path, Format]:
        if not isinstance(self.path, str | os.PathLike):
            raise ValueError(f"checkpoint must be a path or None; got {self.path!r}.")
        return Path(self.path), format_of(self.path)

    def _settings(self) -> State:
        """Return the settings that make the fit what it is."""
        plain, _ = plain_settings(self.model, set(self.model.get_params(deep=False)) - FREE)
        return {f"setting.{name}": value for name, value in plain.items()}

    def _check(self, state: State) -> None:
        """Raise where this is not the checkpoint of such a fit."""
        version = state.get("checkpoint_version")
        if type(version) is not int:
            raise ValueError("it is not a checkpoint.")
        if version > CHECKPOINT_VERSION:
            raise ValueError(f"its version is {version}, but this tgmm reads up to {CHECKPOINT_VERSION}: upgrade tgmm.")
        if checksum(state) != state.get("checksum"):
            raise ValueError("its checksum does not match: it was damaged or changed.")
        own = self._settings()
        if names := differences({name: state.get(name) for name in own}, own):
            name = names[0]
            raise ValueError(
                f"{name.removeprefix('setting.')} was {state.get(name)!r} in the fit that wrote it, and is now "
                f"{own[name]!r}: restore it, or fit without resume."
            )


def _flat(snapshot: Snapshot) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a snapshot as plain values and float64 tensors."""
    yield "generator", stored(snapshot.generator)
    yield "n_steps", snapshot.n_steps
    yield "n_runs", len(snapshot.runs)
    yield from _fields("summary", snapshot.summary)
    for index, run in enumerate(snapshot.runs):
        if isinstance(run, RunRecord):
            yield from _flat_run(f"runs.{index}", run)
        elif run is not None:
            yield f"runs.{index}.collapsed", json.dumps(run.component)


def _flat_run(name: str, run: RunRecord) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a run."""
    yield f"{name}.figures", json.dumps({figure: getattr(run, figure) for figure in FIGURES})
    yield f"{name}.regularisation", stored(run.regularisation)
    yield f"{name}.objectives", json.dumps([moment.objective for moment in run.moments])
    for index, moment in enumerate(run.moments):
        yield from _fields(f"{name}.moments.{index}.parameters", moment.parameters)
        yield from _fields(f"{name}.moments.{index}.statistics", moment.statistics)


def _fields(name: str, record: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dataclass of tensors and plain values."""
    for field in fields(record):
        value = getattr(record, field.name)
        yield f"{name}.{field.name}", stored(value) if isinstance(value, Tensor) else value


def _snapshot(state: State) -> Snapshot:
    """Return the snapshot of a state."""
    return Snapshot(
        summary=_of_fields(Summary, state, "summary"),
        generator=state["generator"].to(torch.uint8),
        runs=[_run(state, f"runs.{index}") for index in range(state["n_runs"])],
        n_steps=state["n_steps"],
    )


def _run(state: State, name: str) -> RunRecord | CovarianceCollapse | None:
    """Return one of the runs of a state, or what it was lost to, or None where it was given up."""
    if f"{name}.figures" not in state and f"{name}.collapsed" not in state:
        return None
    if f"{name}.collapsed" in state:
        return CovarianceCollapse(json.loads(state[f"{name}.collapsed"]))
    moments = [
        Moment(
            _of_fields(Parameters, state, f"{name}.moments.{index}.parameters"),
            _of_fields(Statistics, state, f"{name}.moments.{index}.statistics"),
            objective,
        )
        for index, objective in enumerate(json.loads(state[f"{name}.objectives"]))
    ]
    figures = json.loads(state[f"{name}.figures"])
    return RunRecord(moments=moments, regularisation=state[f"{name}.regularisation"], **figures)


def _of_fields(kind: type[T], state: State, name: str) -> T:
    """Return a dataclass from its fields."""
    return kind(**{field.name: state[f"{name}.{field.name}"] for field in fields(cast(Any, kind))})
