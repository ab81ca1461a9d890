"""A pass of EM over rows on a GPU, ours and others', and whole fits, of the same problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

import numpy as np
import torch
from sklearn import config_context
from sklearn import mixture as scikit_learn
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from harness.card import LONG, Card, Ceilings
from harness.engine import Beginning, e_step
from harness.problems import Parameters as Start
from harness.problems import Shape, make_rows, make_start, operations
from tgmm import GaussianMixture
from tgmm.kernels.base import Kernel

SEPARATION = 3.0
REFERENCE_ROWS = 20_000
PRODUCTS = 6  # of bfloat16 parts, for one of float32 accuracy
FEW, MORE, MANY = 2, 2, 40  # iterations of the shorter fit; what the longer one has more, and where it takes no second
NUMBERS = 1 << 28  # of the rows by components by features that torch's mixture makes at a time

Pass = Callable[[], Tensor]


@dataclass(frozen=True)
class Problem:
    """Rows on a device, a start, and the fit that begins with it."""

    shape: Shape
    structure: str
    rows: Tensor  # (n, d) float32
    start: Start
    beginning: Beginning

    @classmethod
    def of(cls, shape: Shape, structure: str, device: torch.device) -> Problem:
        """Return random rows with a start far from any solution."""
        array, means = rows_of(shape)
        rows, start = torch.from_numpy(array).to(device), make_start(array, means, structure)
        return cls(shape, structure, rows, start, Beginning.of(our_model(structure, start), rows))

    def floors(self, ceilings: Ceilings) -> dict[str, float]:
        """Return the seconds below which no pass can be."""
        return {
            "bytes": self.rows.nbytes / ceilings.bandwidth,
            "operations": operations(self.structure, self.shape) * PRODUCTS / ceilings.bfloat16,
        }

    def error(self, make: Callable[[Tensor], Pass]) -> float:
        """Return the largest error of the sums over the first rows, relative to the largest sum."""
        rows = self.rows[:REFERENCE_ROWS]
        expected = our_pass(self, self.beginning.products(torch.float64), rows)()
        return float((make(rows)().to(expected) - expected).abs().max() / expected.abs().max())


@cache
def rows_of(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, d) of overlapping clusters, and their means (K, d)."""
    return make_rows(shape, SEPARATION, "float32")


def our_model(structure: str, start: Start, max_iter: int = 1) -> GaussianMixture:
    """Return an estimator that fits from a start, by plain EM."""
    return GaussianMixture(
        len(start.weights), covariance_type=structure, max_iter=max_iter, tol=0, accelerate=None, **start.as_init()
    )


def our_pass(problem: Problem, kernel: Kernel, rows: Tensor) -> Pass:
    """Return a pass by one of our kernels over rows; it gives the sums (K, 1 + d)."""

    def run() -> Tensor:
        sums = e_step(problem.beginning, kernel, rows)
        return torch.cat([sums.mass[:, None], sums.first], 1)

    run()  # the first pass of tied structures sums more
    return run


def flash_pass(problem: Problem, rows: Tensor, name: str) -> Pass:
    """Return a pass by one of Flash-GMM's modules over the rows in the frame."""
    function = {"full": "flash_gmm_estep_full", "diag": "flash_gmm_estep_diag"}.get(
        problem.structure, "flash_gmm_estep"
    )
    estep = getattr(import_module(name), function)
    z, weights, means, covariances = problem.beginning.in_the_frame(rows)
    is_full = problem.structure == "full"
    spread = torch.linalg.cholesky(torch.linalg.inv(covariances)) if is_full else covariances.log()
    operands = [part.float().contiguous() for part in (z, means, spread, weights.log())]

    def run() -> Tensor:
        _, mass, first, _ = estep(*operands)
        return torch.cat([mass[:, None], first], 1).double()

    return run


def torch_pass(problem: Problem, rows: Tensor) -> Pass:
    """Return log-densities by torch's own mixture: what a pass begins with; diagonal covariances."""
    weights, means, variances = (torch.from_numpy(part).to(rows.device) for part in problem.start)
    components = Independent(Normal(means, variances.sqrt()), 1)
    mixture = MixtureSameFamily(Categorical(weights), components)
    chunk = max(1, NUMBERS // means.numel())
    return lambda: torch.cat([mixture.log_prob(part) for part in rows.split(chunk)])


def our_fit(problem: Problem, max_iter: int) -> object:
    """Return our fit of tensors."""
    return our_model(problem.structure, problem.start, max_iter).fit(problem.rows)


def their_fit(problem: Problem, max_iter: int) -> object:
    """Return scikit-learn's fit of tensors, from the same start."""
    weights, means, covariances = (torch.from_numpy(part).to(problem.rows.device) for part in problem.start)
    precisions = torch.linalg.inv(covariances) if covariances.ndim == 3 else 1 / covariances
    model = scikit_learn.GaussianMixture(
        problem.shape.n_components, covariance_type=problem.structure, max_iter=max_iter, tol=0,
        init_params="random_from_data", weights_init=weights, means_init=means, precisions_init=precisions,
    )  # fmt: skip
    with config_context(array_api_dispatch=True):
        return model.fit(problem.rows)


def iteration_seconds(card: Card, fit: Callable[[Problem, int], object], problem: Problem) -> float:
    """Return the time of one iteration: the difference of two fits."""
    short = card.seconds(lambda: fit(problem, FEW))
    more = MORE if short > LONG else MANY
    return (card.seconds(lambda: fit(problem, FEW + more)) - short) / more
