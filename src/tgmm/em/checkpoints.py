"""Checkpoints: a fit under way in a file, from which a later fit goes on to the same bits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from tgmm.covariance import CovarianceCollapse, Structure
from tgmm.data.summary import Summary
from tgmm.em.fit import Journal, Snapshot
from tgmm.em.restarts import Entrant, Race
from tgmm.em.state import FollowedRun, Point, RunState
from tgmm.em.state import Path as Gathered
from tgmm.files.formats import Format, format_of
from tgmm.files.plain import State, differences, stored
from tgmm.files.store import check_checksum, model_file_errors, read_file, signed, write_state
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.paths import expanded

INTERVAL = 10  # iterations from one record to the next; the end is always recorded
CHECKPOINT_VERSION = 3
FIGURES = ("history", "n_em", "rates", "rung", "converged", "reseeded", "notes", "start", "seed")  # of a run, as JSON


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
    """

    def __init__(self, path: Any, settings: State, structure: Structure, *, resume: bool) -> None:
        self.path, self.structure, self.resume = path, structure, resume
        self.settings = {f"setting.{name}": value for name, value in settings.items()}
        self._n_iterations = 0

    def is_due(self, *, at_end: bool) -> bool:
        """Whether it is time to write; asked once an iteration, and at the end."""
        self._n_iterations += 1
        return at_end or self._n_iterations % INTERVAL == 0

    def write(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place of the last one."""
        path, _ = self._file()
        write_state(path, signed({"checkpoint_version": CHECKPOINT_VERSION, **self.settings, **dict(_flat(snapshot))}))

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
            return self._snapshot(state)

    def _file(self) -> tuple[Path, Format]:
        if not isinstance(self.path, str | os.PathLike):
            raise ValueError(f"checkpoint must be a path or None; got {self.path!r}.")
        return expanded(self.path), format_of(self.path)

    def _check(self, state: State) -> None:
        """Raise where this is not the checkpoint of such a fit."""
        version = state.get("checkpoint_version")
        if type(version) is not int:
            raise ValueError("it is not a checkpoint.")
        if version > CHECKPOINT_VERSION:
            raise ValueError(f"its version is {version}, but this tgmm reads up to {CHECKPOINT_VERSION}: upgrade tgmm.")
        check_checksum(state)
        if version < CHECKPOINT_VERSION:
            raise ValueError(
                f"its version is {version}, of an earlier tgmm, whose fits this one cannot go on with: fit without "
                "resume."
            )
        own = self.settings
        if names := differences({name: state.get(name) for name in own}, own):
            name = names[0]
            raise ValueError(
                f"{name.removeprefix('setting.')} was {state.get(name)!r} in the fit that wrote it, and is now "
                f"{own[name]!r}: restore it, or fit without resume."
            )

    def _snapshot(self, state: State) -> Snapshot:
        """Return the snapshot of a state."""
        entrants = tuple(self._entrant(state, f"runs.{index}") for index in range(state["n_runs"]))
        return Snapshot(
            summary=Summary(**_fields_of(Summary, state, "summary")),
            seed=state["seed"],
            race=Race(entrants, state["n_steps"], tuple(FollowedRun(*run) for run in json.loads(state["ended"]))),
        )

    def _entrant(self, state: State, name: str) -> Entrant:
        """Return one of the runs of a state, or what became of it."""
        if f"{name}.collapsed" in state:
            return Entrant(lost=CovarianceCollapse(json.loads(state[f"{name}.collapsed"])))
        if f"{name}.figures" not in state:
            return Entrant()
        figures = json.loads(state[f"{name}.figures"])
        objectives = json.loads(state[f"{name}.objectives"])
        points = [self._point(state, f"{name}.moments.{index}", value) for index, value in enumerate(objectives)]
        gathered = points[len(points) - figures["n_path"] :]
        run = RunState(
            point=points[-1],
            regularisation=state[f"{name}.regularisation"],
            history=tuple(figures["history"]),
            n_em=figures["n_em"],
            rates=tuple(figures["rates"]),
            rung=figures["rung"],
            converged=figures["converged"],
            path=Gathered(tuple(gathered), figures["longest"]),
            reseeded=tuple(figures["reseeded"]),
            notes=tuple(figures["notes"]),
            start=figures["start"],
            seed=figures["seed"],
        )
        return Entrant(run)

    def _point(self, state: State, name: str, objective: float) -> Point:
        """Return one of the points of a run."""
        weights, means, values = (state[f"{name}.parameters.{part}"] for part in ("weights", "means", "covariances"))
        covariances = self.structure.form(values, means.shape[1], self.structure.shared)
        statistics = Statistics(**_fields_of(Statistics, state, f"{name}.statistics"))
        return Point(Parameters(weights, means, covariances), statistics, objective)


def _flat(snapshot: Snapshot) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a snapshot as plain values and float64 tensors."""
    yield "seed", snapshot.seed
    yield "n_steps", snapshot.race.n_steps
    yield "ended", json.dumps(snapshot.race.ended)
    yield "n_runs", len(snapshot.race.entrants)
    yield from _flat_fields("summary", snapshot.summary)
    for index, entrant in enumerate(snapshot.race.entrants):
        if entrant.run is not None:
            yield from _flat_run(f"runs.{index}", entrant.run)
        elif entrant.lost is not None:
            yield f"runs.{index}.collapsed", json.dumps(entrant.lost.component)


def _flat_run(name: str, run: RunState) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a run."""
    gathered = run.path.points if run.path.points and run.path.points[-1] is run.point else ()
    points = gathered or (run.point,)
    figures = {figure: getattr(run, figure) for figure in FIGURES}
    yield f"{name}.figures", json.dumps({**figures, "n_path": len(gathered), "longest": run.path.longest})
    yield f"{name}.regularisation", stored(run.regularisation)
    yield f"{name}.objectives", json.dumps([point.objective for point in points])
    for index, point in enumerate(points):
        parameters, at = point.parameters, f"{name}.moments.{index}"
        yield f"{at}.parameters.weights", stored(parameters.weights)
        yield f"{at}.parameters.means", stored(parameters.means)
        yield f"{at}.parameters.covariances", stored(parameters.covariances.values)
        yield from _flat_fields(f"{at}.statistics", point.statistics)


def _flat_fields(name: str, record: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dataclass of tensors and plain values."""
    for field in fields(record):
        value = getattr(record, field.name)
        yield f"{name}.{field.name}", stored(value) if isinstance(value, torch.Tensor) else value


def _fields_of(kind: Any, state: State, name: str) -> dict[str, Any]:
    """Return the fields of a dataclass from a state."""
    return {field.name: state[f"{name}.{field.name}"] for field in fields(kind)}
