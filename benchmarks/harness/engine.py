"""The library's engine, where suites measure what no estimator offers: the only file that knows its modules.

An estimator with its start says what is fitted to what; the problem, its frame and the run are what `fit` makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harness import problems
from harness.meters import Seconds
from tgmm import GaussianMixture
from tgmm.covariance import structure_named
from tgmm.covariance.moments import Moment
from tgmm.data.columns import Columns
from tgmm.data.data import TensorData
from tgmm.data.validation import check_rows
from tgmm.em.abreast import alone
from tgmm.em.batch import Runs, joined
from tgmm.em.expectation import Expectation
from tgmm.em.fit import Journal, Snapshot
from tgmm.em.moves import distinct
from tgmm.em.precision import Ladder
from tgmm.em.problem import Problem
from tgmm.em.start import started
from tgmm.em.trials import Trials
from tgmm.estimators.fitting import opened, solved
from tgmm.estimators.settings import Settings
from tgmm.kernels.assignment import most_probable, soft
from tgmm.kernels.base import Kernel
from tgmm.kernels.choose import kernels_for
from tgmm.kernels.multiplication import multiply
from tgmm.kernels.products import Products
from tgmm.mixture.densities import predictor_of
from tgmm.mixture.evaluation import Evaluation
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update
from tgmm.runtime.devices import standalone
from tgmm.start.views import Views

OWNER = "GaussianMixture"  # in messages
TOL, MOST_STEPS = 1e-9, 3000  # what runs of EM may still gain in the end, and how many E-steps they get for it
SHARE = 1e-3  # of all rows, that the clusters of a partition have besides their own


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
        training = opened(settings, rows, None, Columns(None, None, OWNER), seed=0)
        update = settings.update(training)
        problem = Problem.of(training, update, settings.n_components, settings.reg_covar)
        origin = settings.origin(problem, None, None)
        return cls(problem, started(problem, origin, 0).parameters)

    def products(self, dtype: torch.dtype) -> Products:
        """Return the kernel of plain products for the problem."""
        return Products(*self._of_a_kernel, dtype, self.problem.device)

    def split(self) -> Kernel:
        """Return the kernel of products of bfloat16 parts for the problem; it needs Triton."""
        from tgmm.kernels.split import Split

        return Split(*self._of_a_kernel, torch.float32, self.problem.device)

    def chosen(self) -> Kernel:
        """Return the kernel that a fit of float32 rows begins with."""
        return kernels_for(*self._of_a_kernel, torch.float32, self.problem.device)[0]

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


def parts_of_a_prediction(model: GaussianMixture, rows: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return a prediction for rows (n, d), and what it consists of, by part; later parts are within earlier ones."""
    mixture = model.mixture_
    device = torch.device("cpu")
    predictor = predictor_of(mixture, device)
    kernel, operands, buffer = predictor.kernel, predictor.operands, predictor.kernel.buffer()
    checked, _ = check_rows(rows, mixture.columns)
    joint, _ = kernel.log_joint(checked.tensor, operands, buffer)

    def context() -> None:
        with standalone():
            pass

    return {
        "predict": lambda: model.predict(rows),
        "of that: contexts without autograd": context,
        "of that: rows checked, device chosen": lambda: Evaluation.of(mixture, rows),
        "of that: what the mixture keeps, looked up": lambda: predictor_of(mixture, device),
        "of that: labels": lambda: predictor.labels(checked.tensor),
        "of labels: joint log-densities": lambda: kernel.log_joint(checked.tensor, operands, buffer),
        "of labels: the most probable": lambda: most_probable(joint),
        "of predict_proba: probabilities": lambda: soft(joint),
        "handed back": lambda: checked.give_back(checked.tensor),
    }


def seconds_of_iterations(model: GaussianMixture, rows: object) -> list[Seconds]:
    """Return what each iteration of a fit but the first took this process."""
    journal = Laps()
    settings = Settings.of(model.get_params(deep=False))
    solved(settings, rows, None, None, owner=OWNER, before=None, journal=journal)
    return journal.laps


@dataclass
class Laps(Journal):
    """Reads the clocks where a fit asks between two iterations whether to record it; records nothing."""

    laps: list[Seconds] = field(default_factory=list)
    last: Seconds | None = None

    def read(self) -> None:
        """Return None: the fit begins."""

    def write(self, snapshot: Snapshot) -> None:
        """Record nothing: this is never due."""

    def is_due(self, *, at_end: bool) -> bool:
        """Note what has passed since the last time."""
        if self.last is not None and not at_end:
            self.laps.append(self.last.passed())
        self.last = Seconds.now()
        return False


class Climbs:
    """Runs of EM to the very end, on rows that are kept in memory, and what the engine has to find better ones.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    structure : str
    n_components : int
    """

    def __init__(self, rows: np.ndarray, structure: str, n_components: int) -> None:
        self.structure, self.n_components = structure_named(structure), n_components
        given = torch.from_numpy(rows)
        origin, variance = given.mean(0), given.var(0, correction=0)
        self.frame = Frame.of(origin, variance, given.dtype, one_scale=self.structure.one_scale)
        self.rows = self.frame.rows_in(given)
        self.plain = self._trials(torch.Generator().manual_seed(0))

    @standalone()
    def of_partitions(self, labels: np.ndarray) -> Runs:
        """Return where EM leads from partitions of the rows, (R, n)."""
        clusters = torch.nn.functional.one_hot(torch.from_numpy(labels).long(), self.n_components)
        shares = clusters.mT.double() + SHARE / self.n_components  # (R, K, n)
        batch = self.plain.batch
        return self._to_the_end(batch.begun(batch.kernel.of_shares(shares), torch.arange(len(labels))))

    @standalone()
    def moved(self, runs: Runs, count: int) -> Runs:
        """Return where splits and merges lead from the best of the runs."""
        best = distinct(runs, self.plain.guard).of_some(slice(count))
        return self._to_the_end(joined([alone(self.plain.moves.improved(best.of_some([i]))) for i in range(len(best))]))

    @standalone()
    def tried(self, heats: int, seed: int) -> Runs:
        """Return the best solutions of the starts that a fit tries, with so many heats of random ones."""
        generator = torch.Generator().manual_seed(seed)
        found = alone(self._trials(generator).solutions(heats, generator))
        return self._to_the_end(found)

    @standalone()
    def parameters(self, runs: Runs) -> list[problems.Parameters]:
        """Return the parameters of each run in the user's units."""
        each = (self.frame.parameters_out(runs.parameters.of_some(index)) for index in range(len(runs)))
        return [problems.Parameters(p.weights.numpy(), p.means.numpy(), p.covariances.public.numpy()) for p in each]

    def _trials(self, generator: torch.Generator) -> Trials:
        weights = torch.ones(len(self.rows), dtype=torch.float64)
        views = Views(self.rows, weights, self.n_components, generator)
        return Trials(views, float(len(self.rows)), Update(self.structure, Priors()), self.n_components, soft)

    def _to_the_end(self, runs: Runs) -> Runs:
        return self.plain.batch.climbed(runs, TOL, MOST_STEPS)
