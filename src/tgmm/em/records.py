"""A fit under way as a flat dict of plain values and tensors, and back: each part is checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, Structure
from tgmm.data.fingerprint import Fingerprint
from tgmm.data.summary import Summary
from tgmm.em.fit import Snapshot
from tgmm.em.problem import ROUNDING
from tgmm.em.restarts import Entrant, Race
from tgmm.em.state import FollowedRun, Path, Point, RunState
from tgmm.files.plain import State, differences, stored
from tgmm.model.parameters import Parameters
from tgmm.model.posterior import Posterior
from tgmm.model.statistics import Statistics

FIGURES = ("history", "n_em", "rates", "rung", "converged", "reseeded", "notes", "start", "seed")  # of a run, as JSON
LARGEST = 2**63  # a seed is smaller


def flat(snapshot: Snapshot) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a snapshot as plain values and float64 tensors."""
    yield "seed", snapshot.seed
    yield "n_steps", snapshot.race.n_steps
    yield "ended", json.dumps(snapshot.race.ended)
    yield "n_runs", len(snapshot.race.entrants)
    yield from _flat_fields("fingerprint", snapshot.fingerprint)
    yield from _flat_fields("summary", snapshot.summary)
    for index, entrant in enumerate(snapshot.race.entrants):
        if entrant.run is not None:
            yield from _flat_run(f"runs.{index}", entrant.run)
        elif entrant.lost is not None:
            yield f"runs.{index}.collapsed", json.dumps(entrant.lost.component)
        else:
            yield f"runs.{index}.given_up", True


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
        if parameters.posterior is not None:
            yield from _flat_fields(f"{at}.posterior", parameters.posterior)
        yield from _flat_fields(f"{at}.statistics", point.statistics)


def _flat_fields(name: str, record: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dataclass of tensors and plain values."""
    for field in fields(record):
        value = getattr(record, field.name)
        yield f"{name}.{field.name}", stored(value) if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class Record:
    """What `flat` yields, read from a file that anyone may have written.

    Parameters
    ----------
    state : dict
    structure : Structure
    n_components : int
        Of the fit that is to go on.
    has_noise : bool
        Whether rows may be of no component.
    has_posterior : bool
        Whether parameters have a posterior.
    """

    state: State
    structure: Structure
    n_components: int
    has_noise: bool = False
    has_posterior: bool = False

    def snapshot(self) -> Snapshot:
        """Return the snapshot, or raise an error where there is none that is written like this."""
        n_runs = _whole(self.state["n_runs"], "n_runs", 1, len(self.state))  # each has an entry at least
        summary = self._summary()
        found = Snapshot(
            summary=summary,
            seed=_whole(self.state["seed"], "seed", 0, LARGEST),
            fingerprint=Fingerprint(**_fields_of(Fingerprint, self.state, "fingerprint")),
            race=Race(
                tuple(self._entrant(f"runs.{index}", summary) for index in range(n_runs)),
                _whole(self.state["n_steps"], "n_steps", 1, LARGEST),
                tuple(self._followed(*run) for run in self._json("ended")),
            ),
        )
        _require(bool(found.race.running()), "no run is under way")
        if names := differences(dict(flat(found)), self.state):
            raise ValueError(f"its entry {names[0]} is malformed.")
        return found

    def _is_whole(self, total: float, whole: float) -> bool:
        """Whether the sum of what components have is the whole, or less beside noise."""
        return math.isclose(total, whole, rel_tol=ROUNDING) or (self.has_noise and total < whole)

    def _json(self, name: str) -> Any:
        return json.loads(self.state[name])

    def _followed(self, objective: Any, start: Any, seed: Any) -> FollowedRun:
        _require(type(start) is str, "the start of a run must be a name")
        (objective,) = _numbers([objective], "the objective of a run")
        return FollowedRun(objective, start, _whole(seed, "the seed of a run", 0, LARGEST))

    def _summary(self) -> Summary:
        """Return the summary of the data."""
        found = Summary(**_fields_of(Summary, self.state, "summary"))
        _whole(found.n_rows, "summary.n_rows", self.n_components, LARGEST)
        _whole(found.n_gaps, "summary.n_gaps", 0, LARGEST)
        shape = found.origin.shape
        _require(len(shape) == 1 and shape[0] > 0, "summary.origin must have shape (d,)")
        _check_tensor(found.weight, "summary.weight", ())
        for name in ("origin", "present", "mean", "scatter", "minimum", "maximum"):
            _check_tensor(getattr(found, name), f"summary.{name}", shape)
        ordered = bool((found.minimum <= found.maximum).all() & (found.scatter >= 0).all() & (found.weight > 0))
        _require(ordered, "its data summary is invalid")
        return found

    def _entrant(self, name: str, summary: Summary) -> Entrant:
        """Return one of the runs, or what became of it."""
        if f"{name}.collapsed" in self.state:
            component = self._json(f"{name}.collapsed")
            return Entrant(lost=CovarianceCollapse(None if component is None else self._component(component)))
        if f"{name}.figures" not in self.state:
            return Entrant()
        objectives = _numbers(self._json(f"{name}.objectives"), f"{name}.objectives")
        _require(bool(objectives), f"{name}.objectives is empty")
        points = [self._point(f"{name}.moments.{i}", value, summary) for i, value in enumerate(objectives)]
        return Entrant(self._run(name, self._json(f"{name}.figures"), points))

    def _run(self, name: str, figures: dict[str, Any], points: list[Point]) -> RunState:
        """Return a run at the last of its points."""
        history = tuple(_numbers(figures["history"], "history"))
        _require(history[-1:] == (points[-1].objective,), f"{name}: its history does not end at its objective")
        rates = _numbers(figures["rates"], "rates", finite=False)
        _require(type(figures["converged"]) is bool, "converged must be true or false")
        _require(len(history) > 1 or not figures["converged"], f"{name} has converged before its first step")
        _require(all(type(text) is str for text in (figures["start"], *figures["notes"])), "notes must be texts")
        (longest,) = _numbers([figures["longest"]], "longest")
        _require(longest >= 1, "longest must be at least 1")
        regularisation = self.state[f"{name}.regularisation"]
        shape = () if self.structure.one_scale else points[-1].parameters.means.shape[1:]
        _check_tensor(regularisation, f"{name}.regularisation", shape)
        _require(bool((regularisation >= 0).all()), f"{name}.regularisation must not be negative")
        return RunState(
            point=points[-1],
            regularisation=regularisation,
            history=history,
            n_em=_whole(figures["n_em"], "n_em", 0, len(history)),
            rates=tuple(rates),
            rung=_whole(figures["rung"], "rung", 0, LARGEST),
            converged=figures["converged"],
            path=Path(tuple(points) if figures["n_path"] else (), longest),
            reseeded=tuple(self._component(index) for index in figures["reseeded"]),
            notes=tuple(figures["notes"]),
            start=figures["start"],
            seed=_whole(figures["seed"], "the seed of a run", 0, LARGEST),
        )

    def _component(self, index: Any) -> int:
        return _whole(index, "a component", 0, self.n_components)

    def _point(self, name: str, objective: float, summary: Summary) -> Point:
        """Return one of the points of a run."""
        n_components, n_features = self.n_components, summary.origin.shape[0]
        shapes = {
            "weights": (n_components,),
            "means": (n_components, n_features),
            "covariances": self.structure.values_shape(n_components, n_features),
        }
        weights, means, values = (self.state[f"{name}.parameters.{part}"] for part in shapes)
        for part, tensor in zip(shapes, (weights, means, values), strict=True):
            _check_tensor(tensor, f"{name}.parameters.{part}", shapes[part])
        shared_out = bool((weights >= 0).all()) and self._is_whole(float(weights.sum()), 1.0)
        _require(shared_out, f"{name}: its weights must be >= 0 and sum to 1")
        covariances = self.structure.form(values, n_features, self.structure.shared)
        _ = covariances.factor  # which says where they are not positive definite
        posterior = self._posterior(f"{name}.posterior") if self.has_posterior else None
        parameters = Parameters(weights, means, covariances, posterior)
        return Point(parameters, self._statistics(name, summary), objective)

    def _posterior(self, name: str) -> Posterior:
        """Return a posterior of the parameters of one of the points."""
        found = Posterior(**_fields_of(Posterior, self.state, name))
        n_components = self.n_components
        _check_tensor(found.sticks, f"{name}.sticks", (2, n_components))
        _check_tensor(found.mean_precision, f"{name}.mean_precision", (n_components,))
        n_covariances = self.structure.n_covariances(n_components)
        _check_tensor(found.degrees_of_freedom, f"{name}.degrees_of_freedom", (n_covariances,))
        positive = bool((found.sticks >= 0).all() & (found.sticks[0] > 0).all() & (found.mean_precision > 0).all())
        _require(
            positive and bool((found.degrees_of_freedom > 0).all()),
            f"{name} is not a valid posterior: its values are too small",
        )
        return found

    def _statistics(self, name: str, summary: Summary) -> Statistics:
        """Return the sums at a point."""
        n_components, n_features = self.n_components, summary.origin.shape[0]
        found = Statistics(**_fields_of(Statistics, self.state, f"{name}.statistics"))
        n_second, n_centre = (min(tensor.shape[:1] or (0,)) for tensor in (found.second, found.centre))
        _require({n_second, n_centre} <= {1, n_components}, f"{name}: its statistics are invalid")
        kinds = (self.structure, self.structure.streamed(n_features))
        n_moments = [kind.sums.size(n_features) for kind in kinds]
        is_streamed = found.second.shape[-1:] == (n_moments[1],)
        shapes = {
            "mass": (n_components,),
            "first": (n_components, n_features),
            "second": (n_second, n_moments[is_streamed]),
            "centre": (n_centre, n_features),
        }
        for field in fields(Statistics):
            _check_tensor(getattr(found, field.name), f"{name}.statistics.{field.name}", shapes.get(field.name, ()))
        weight = float(summary.weight)
        whole = math.isclose(float(found.weight), weight, rel_tol=ROUNDING)
        # Rows without any value are in no component.
        mass, may_lack = float(found.mass.sum()), summary.n_gaps > 0
        given = bool((found.mass >= 0).all()) and (self._is_whole(mass, weight) or (may_lack and mass < weight))
        _require(whole and given, f"{name}: its statistics do not belong to the rows that it was fitted to")
        return found


def _fields_of(kind: Any, state: State, name: str) -> dict[str, Any]:
    """Return the fields of a dataclass from a state."""
    return {field.name: state[f"{name}.{field.name}"] for field in fields(kind)}


def _require(condition: bool, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{wanted}.")


def _whole(value: Any, name: str, least: int, below: int) -> int:
    """Return a number that counts, least <= value < below."""
    _require(type(value) is int and least <= value < below, f"{name} must be an integer from {least}; it is {value!r}")
    return value


def _numbers(values: Any, name: str, *, finite: bool = True) -> Sequence[float]:
    """Return numbers that are finite, or at least none of which is NaN."""
    right = type(values) is list and all(type(value) is float and value == value for value in values)
    right = right and not (finite and any(math.isinf(value) for value in values))
    _require(right, f"{name} must be numbers; they are {str(values)[:80]}")
    return values


def _check_tensor(value: Any, name: str, shape: Sequence[int]) -> None:
    """Raise where a value is no tensor of finite numbers of this shape."""
    right = isinstance(value, Tensor) and tuple(value.shape) == tuple(shape)
    _require(right and bool(torch.isfinite(value).all()), f"{name} must be finite numbers of shape {tuple(shape)}")
