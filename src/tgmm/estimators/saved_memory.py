"""What online learning goes on from, as entries of a flat dict and back."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.em.stepwise import Continuation, Memory
from tgmm.files.plain import State, stored
from tgmm.files.store import own, require_entries
from tgmm.mixture.mixture import Mixture
from tgmm.model.frame import Frame
from tgmm.model.statistics import Statistics
from tgmm.runtime.checks import as_float64

COUNTS = "memory_"  # the weight of the statistics, that of all rows so far, and the number of batches
SUMS = ("mass", "first", "second", "centre")
FRAME = "memory_frame_"
KINDS: dict[str, type] = {COUNTS: Tensor, FRAME: Tensor, **{f"memory_{name}_": Tensor for name in SUMS}}


def memory_state(continuation: Continuation, mixture: Mixture) -> State:
    """Return the entries; sums over factors, which depend on the parameters, are left out."""
    memory, frame = continuation.memory, continuation.frame
    state: State = {COUNTS: as_float64(memory.counts, COUNTS)}
    if isinstance(mixture.structure.sums, Moment):
        state[FRAME] = stored(torch.stack([frame.shift, frame.scale]))
        state |= {f"memory_{name}_": stored(getattr(memory.statistics, name)) for name in SUMS}
    return state


def continuation_of(
    state: State, mixture: Mixture, regularisation: Tensor, log_likelihood: float
) -> Continuation | None:
    """Return what online learning goes on from, None where it would begin; all but the state in the user's units.

    Without sums it is the parameters, as if they were the estimate of the rows so far.
    """
    if COUNTS not in state:
        return None
    counts = own(state[COUNTS])
    if counts.shape != (3,) or not (torch.isfinite(counts).all() and (counts > 0).all()):
        raise ValueError(f"{COUNTS} must be three positive numbers; it is {counts.tolist()}.")
    weight, seen, n_batches = counts.tolist()
    if FRAME not in state:
        return Continuation.of_parameters(mixture, log_likelihood, regularisation, weight, seen, n_batches)
    frame = _frame(own(state[FRAME]), mixture.n_features)
    total = counts.new_tensor(frame.log_density_in(log_likelihood) * weight)
    statistics = Statistics(
        **_sums(state, mixture, weight), log_likelihood=total, objective=total, weight=counts.new_tensor(weight)
    )
    return Continuation(Memory(statistics, seen, int(n_batches)), frame, frame.variances_in(regularisation))


def _frame(values: Tensor, n_features: int) -> Frame:
    """Return the frame that the sums are in, or raise a ValueError."""
    right = values.shape == (2, n_features) and bool(torch.isfinite(values).all())
    if not (right and bool((values[1] > 0).all())):
        raise ValueError(f"{FRAME} must be an origin and positive units, (2, {n_features}).")
    return Frame(values[0], values[1])


def _sums(state: State, mixture: Mixture, weight: float) -> dict[str, Tensor]:
    """Return the sums by name, or raise a ValueError."""
    require_entries(state, [f"memory_{name}_" for name in SUMS])
    sums = {name: own(state[f"memory_{name}_"]) for name in SUMS}
    n_components, n_features = mixture.n_components, mixture.n_features
    shapes: dict[str, list[tuple[int, ...]]] = {
        "mass": [(n_components,)],
        "first": [(n_components, n_features)],
        "second": [(rows, mixture.structure.sums.size(n_features)) for rows in (1, n_components)],
        "centre": [(1, n_features), (n_components, n_features)],
    }
    for name, values in sums.items():
        if values.shape not in shapes[name] or not bool(torch.isfinite(values).all()):
            wanted = " or ".join(map(str, dict.fromkeys(shapes[name])))
            raise ValueError(f"memory_{name}_ must be finite numbers of shape {wanted}.")
    if bool((sums["mass"] < 0).any()) or float(sums["mass"].sum()) > weight * (1 + 1e-6):
        raise ValueError("memory_mass_ must not be negative, nor have a greater sum than the weight of the rows.")
    return sums
