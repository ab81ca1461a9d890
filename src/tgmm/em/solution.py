"""The outcome of a fit, in the user's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tgmm.covariance import Structure
from tgmm.data.columns import Columns
from tgmm.em.problem import Units
from tgmm.em.state import FollowedRun, RunState
from tgmm.em.stepwise import Continuation, Memory
from tgmm.mixture.mixture import Mixture
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.update import Maximiser
from tgmm.runtime.devices import float64_device
from tgmm.runtime.frozen import replace


@dataclass(frozen=True)
class Solution:
    """A fitted mixture, and what the fit says about itself."""

    mixture: Mixture
    converged: bool = True
    n_iter: int = 0
    log_likelihood: float = float("nan")  # average, of exactly these parameters
    history: tuple[float, ...] = ()
    regularisation: Tensor = field(
        default_factory=lambda: torch.zeros((), dtype=torch.float64, device="cpu")
    )  # (d,) or ()
    notes: tuple[str, ...] = ()
    continuation: Continuation | None = None  # what online learning goes on from
    runs: tuple[FollowedRun, ...] = ()  # best first
    update: Maximiser | None = None  # whose steps led there, in the user's units
    component_names: tuple[str, ...] = ()  # what the user calls the components, where that is known

    @classmethod
    def of_run(
        cls,
        run: RunState,
        units: Units,
        structure: Structure,
        columns: Columns,
        notes: Sequence[str],
        runs: Sequence[FollowedRun],
    ) -> Solution:
        """Map a run out of the frame; all that were followed are the runs."""
        frame, place = units.frame, float64_device(units.device)
        memory = Memory.of(run.point.statistics.scale(units.unit))
        parameters, held = out_of_frame(run.parameters, frame, units.dtype).to(place), units.special.held
        parameters = parameters if held is None else held.put_in(parameters)
        noise = None if units.special.noise is None else units.special.noise.to(place)
        return cls(
            mixture=Mixture.of(parameters, structure, units.dtype, columns, noise=noise),
            converged=run.converged or run.is_at_rest,
            n_iter=run.n_iter,
            log_likelihood=frame.log_density_out(run.log_likelihood),
            history=tuple(units.objective_out(objective) for objective in run.history),
            regularisation=frame.variances_out(run.regularisation).to(place),
            notes=tuple(dict.fromkeys([*notes, *run.notes])),  # a component can be lost at the start and in the run
            continuation=Continuation(memory, frame, run.regularisation.clone()),
            runs=tuple(each._replace(objective=units.objective_out(each.objective)) for each in runs),
        )

    @property
    def weight(self) -> float | None:
        """The sum of the weights of all rows that were seen, None where it is not known."""
        return None if self.continuation is None else self.continuation.memory.seen

    def reordered(self, order: Tensor) -> Solution:
        """Return the same solution with the components in another order, (K,) of their present numbers."""
        mixture, continuation, names = self.mixture, self.continuation, self.component_names
        parameters = mixture.parameters.reordered(order.to(mixture.parameters.means.device))
        return replace(
            self,
            mixture=mixture.changed(parameters=parameters),
            continuation=None if continuation is None else continuation.reordered(order),
            component_names=tuple(names[k] for k in order.tolist()) if names else (),
        )

    def in_form_of(self, structure: Structure) -> Solution:
        """Return the same solution as one of a structure that is the same mixture, of one feature."""
        parameters, continuation = self.mixture.parameters.in_form_of(structure), self.continuation
        shape = () if structure.one_scale else (1,)  # of what regularises
        if continuation is not None:
            continuation = replace(continuation, regularisation=continuation.regularisation.reshape(shape))
        return replace(
            self,
            mixture=self.mixture.changed(parameters=parameters, structure=structure),
            regularisation=self.regularisation.reshape(shape),
            continuation=continuation,
        )

    def in_units(self, shift: Tensor, scale: Tensor, structure: Structure) -> Solution:
        """Return the solution for rows x, of one for (x - shift) / scale.

        Parameters
        ----------
        shift, scale : Tensor of shape (d,)
        structure : Structure
            Which the covariances then have: of their own form, or of the diagonal one that they are a case of.
        """
        mixture, frame = self.mixture, Frame(shift, scale)
        covariances = mixture.parameters.covariances
        if structure.form is not type(covariances):
            sums = structure.moment.of_products(covariances.dense)
            covariances = structure.scatter(sums, scale.shape[0])
        parameters = frame.parameters_out(replace(mixture.parameters, covariances=covariances))
        noise = None if mixture.noise is None else mixture.noise.out_of(frame)
        return Solution(
            mixture=mixture.changed(parameters=parameters, structure=structure, noise=noise),
            converged=self.converged,
            n_iter=self.n_iter,
            log_likelihood=frame.log_density_out(self.log_likelihood),
            history=tuple(frame.log_density_out(objective) for objective in self.history),
            regularisation=self.regularisation * scale.square(),
        )


def out_of_frame(parameters: Parameters, frame: Frame, dtype: torch.dtype) -> Parameters:
    """Map parameters out of the frame, and check that the float type can hold them."""
    parameters = frame.parameters_out(parameters)
    variances = parameters.covariances.variances.to(dtype)
    if not (torch.isfinite(variances).all() and (variances > 0).all()):
        raise ValueError(f"The fitted variances leave the range of {dtype}: rescale the features or pass float64.")
    return parameters
