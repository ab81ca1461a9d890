"""The library's engine, where suites measure what no estimator offers: the only file that knows its modules.

An estimator with its start says what is fitted to what; the problem, its frame and the run are what `fit` makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.meters import Seconds
from tgmm import GaussianMixture
from tgmm.covariance.moments import Moment
from tgmm.data.columns import Columns
from tgmm.data.data import TensorData
from tgmm.em.expectation import Expectation
from tgmm.em.fit import NoJournal
from tgmm.em.precision import Ladder
from tgmm.em.problem import Problem
from tgmm.em.start import started
from tgmm.estimators.fitting import opened, posed, solved
from tgmm.estimators.settings import Settings
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Kernel
from tgmm.kernels.multiplication import multiply
from tgmm.kernels.products import Products
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import standalone

OWNER = "GaussianMixture"  # in messages


@dataclass(frozen=True)
class Beginning:
    """A fit before its first E-step."""

    problem: Problem
    parameters: Parameters  # in the frame

    @classmethod
    @standalone()
    def of(cls, model: GaussianMixture, rows: Tensor) -> Beginning:
        """Return the beginning of the fit of an estimator to rows (n, d)."""
        settings = Settings.of(model.get_params(deep=False))
        problem = posed(settings, opened(settings, rows, None, Columns(None, None, OWNER), seed=0))
        origin = settings.origin(problem, None, None)
        return cls(problem, started(problem, origin, torch.Generator().manual_seed(0)).parameters)

    def products(self, dtype: torch.dtype) -> Products:
        """Return the kernel of plain products for the problem."""
        return Products(*self._of_a_kernel, dtype, self.problem.device)

    def fused(self, dtype: torch.dtype) -> Kernel:
        """Return the kernel of fused products for the problem; it needs Triton."""
        from tgmm.kernels.fused import Fused

        return Fused(*self._of_a_kernel, dtype, self.problem.device)

    def in_the_frame(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rows (n, d), the weights, the means and the covariances of the start, float64 on the rows' device."""
        start = self.parameters.to(rows.device)
        return self.problem.frame.rows_in(rows.double()), start.weights, start.means, start.covariances.values

    @property
    def _of_a_kernel(self) -> tuple[Moment, Frame, int]:
        return self.problem.structure.moment, self.problem.frame, self.problem.n_components


@standalone()
def e_step(beginning: Beginning, kernel: Kernel, rows: Tensor) -> Statistics:
    """Return the statistics of rows (n, d) under the first parameters, by this kernel and no other."""
    expectation = Expectation(TensorData(rows), Ladder((kernel,)), soft)
    statistics, _ = expectation(beginning.parameters, 0)
    return statistics


@standalone()
def parts_of_an_e_step(beginning: Beginning, kernel: Products, rows: Tensor) -> dict[str, Callable[[], object]]:
    """Return what an E-step does with one chunk of rows, by part; "copy" only serves to repeat the softmax."""
    n_features, moment = rows.shape[1], kernel.moment
    phi, eta = kernel.features(rows, kernel.buffer()), kernel.bits(beginning.parameters.natural)
    z, moments = phi[1 : 1 + n_features], phi[1 + n_features :]
    joint = multiply(eta, phi)
    responsibilities, buffer = joint.clone(), joint.clone()
    soft(responsibilities)
    parts: dict[str, Callable[[], object]] = {
        "standardise": lambda: kernel.standardise(rows, z),
        "E product": lambda: multiply(eta, phi),
        "copy": lambda: buffer.copy_(joint),
        "softmax": lambda: soft(buffer.copy_(joint)),
        "M product": lambda: multiply(responsibilities, phi.T),
    }
    return parts if moment.shared else parts | {"moments": lambda: moment.fill(z, moments)}


def seconds_of_iterations(model: GaussianMixture, rows: object) -> list[Seconds]:
    """Return what each iteration of a fit but the first took this process."""
    journal = Laps()
    settings = Settings.of(model.get_params(deep=False))
    solved(settings, rows, None, None, owner=OWNER, before=None, journal=journal)
    return journal.laps


@dataclass
class Laps(NoJournal):
    """Reads the clocks where a fit asks between two iterations whether to record it; records nothing."""

    laps: list[Seconds] = field(default_factory=list)
    last: Seconds | None = None

    def is_due(self, *, at_end: bool) -> bool:
        """Note what has passed since the last time."""
        if self.last is not None and not at_end:
            self.laps.append(self.last.passed())
        self.last = Seconds.now()
        return False
