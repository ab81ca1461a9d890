"""Every kernel against the dense formulas, for every structure: the statistics of a pass, and joint log-densities.

A new kernel's test is its line in `kernel_kinds.KERNELS`.
"""

import importlib
import inspect
import math
import pkgutil
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import pytest
import torch
from kernel_kinds import EVERY_WAY, FORMS, KERNELS, TOLD_APART
from naive_em import log_normal
from scipy.special import logsumexp
from structures import SPECS

import tgmm.kernels
from tgmm.covariance import STRUCTURES, Spherical
from tgmm.data.chunk import Chunk
from tgmm.kernels.assignment import given, hard, soft
from tgmm.kernels.base import BITS, Kernel
from tgmm.kernels.choose import first_precise, kernels_for
from tgmm.kernels.gaps import Gaps
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters

K, D, N = 3, 3, 61
SUMS = ("mass", "first", "second", "log_likelihood", "objective", "weight")
CUTS = [1, 8, 8, 39, 40]  # chunks of 1, 7, 0, 31, 1 and 21 rows
ROUNDING = 32  # units in the last place of a sum of its terms' sizes, in D dimensions or fewer
ASSIGNMENTS = {"soft": soft, "hard": hard, "labels": given, "responsibilities": given}

every_kernel = pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS)
every_structure = pytest.mark.parametrize("name", TOLD_APART)
every_way = pytest.mark.parametrize("name", EVERY_WAY)


def forms_of(kind):
    """What is derived from a class, and not abstract."""
    for derived in kind.__subclasses__():
        yield from forms_of(derived) if inspect.isabstract(derived) else (derived,)


def test_every_kernel_is_in_the_list():
    for module in pkgutil.iter_modules(tgmm.kernels.__path__, "tgmm.kernels."):
        try:
            importlib.import_module(module.name)
        except ImportError:  # what it needs is not installed
            continue
    found = {form for form in forms_of(Kernel) if form.__module__.startswith("tgmm.")}
    assert found == FORMS | {Gaps}  # which hands rows on to others


@dataclass(frozen=True)
class Problem:
    """Rows with what is known of each, a frame, and a mixture in it: arrays, and what the library makes of them."""

    name: str
    X: np.ndarray  # (n, d), exact in float32
    shift: np.ndarray
    scale: np.ndarray
    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, d)
    matrices: np.ndarray  # (K, d, d)
    sample_weight: np.ndarray | None = None  # (n,)
    known: np.ndarray | None = None  # (n,) or (n, K)

    @property
    def z(self):
        return (self.X - self.shift) / self.scale

    @property
    def frame(self):
        return Frame(torch.tensor(self.shift), torch.tensor(self.scale))

    @cached_property
    def parameters(self):
        public = torch.tensor(SPECS[self.name].public(self.matrices))
        covariances = STRUCTURES[self.name].from_public(public, *self.means.shape)
        return Parameters(torch.tensor(self.weights), torch.tensor(self.means), covariances)

    @property
    def chunk(self):
        weights = None if self.sample_weight is None else torch.tensor(self.sample_weight)
        return Chunk(torch.tensor(self.X), weights, 0, None if self.known is None else torch.tensor(self.known))

    def kernel(self, make):
        return make(STRUCTURES[self.name].moment, self.frame, len(self.weights))

    def joint(self):
        """log(weight_k p_k(z)) of every row, (n, K), from dense covariances."""
        with np.errstate(divide="ignore"):
            weights = np.log(self.weights)
        return weights + np.stack([log_normal(self.z, *of) for of in zip(self.means, self.matrices, strict=True)], 1)

    def expected(self, how, centre):
        """The statistics about centre (K, d), and the sums of the sizes of their terms, whose rounding is theirs."""
        joint = self.joint()
        density = objective = logsumexp(joint, axis=1)
        if how == "soft":
            R = np.exp(joint - density[:, None])
        elif how == "hard":
            R, objective = np.eye(len(self.weights))[joint.argmax(1)], joint.max(1)
        else:
            R = np.eye(len(self.weights))[self.known] if self.known.ndim == 1 else self.known
        w = np.ones(len(R)) if self.sample_weight is None else self.sample_weight
        deviations = self.z[:, None] - centre  # (n, K, d)
        sizes = np.abs(self.z)[:, None] + np.abs(centre)
        values = sums(self.name, w, R, deviations, density, objective)
        scales = sums(self.name, w, R, sizes, np.abs(density) + 1, np.abs(objective) + 1)
        return dict(zip(SUMS, zip(values, scales, strict=True), strict=True))


def sums(name, w, R, deviations, density, objective):
    """The six sums of the statistics, of weights (n,), responsibilities (n, K) and deviations (n, K, d)."""
    mass = w[:, None] * R
    products = np.einsum("nk,nki,nkj->kij", mass, deviations, deviations)
    first = np.einsum("nk,nki->ki", mass, deviations)
    return mass.sum(0), first, SPECS[name].moments(products), w @ density, w @ objective, w.sum()


def problem(name, seed=0, n_components=K, d=D, **changes):
    rng = np.random.default_rng(seed)
    shift, scale = np.resize(np.float32([40.0, -3.0, 0.5]), d).astype(float), np.resize([1.7, 0.6, 2.3], d)
    X = (shift + 1.5 * scale * rng.standard_normal((N, d))).astype(np.float32).astype(float)
    weights = np.array([2.0, 5.0, 3.0])[:n_components]
    means, matrices = rng.standard_normal((n_components, d)), SPECS[name].member(seed, n_components, d)
    return replace(Problem(name, X, shift, scale, weights / weights.sum(), means, matrices), **changes)


def gathered(kernel, case, how, chunks=None, **keywords):
    accumulator = kernel.gather(case.parameters, ASSIGNMENTS[how], **keywords)
    accumulator.add_all([case.chunk] if chunks is None else chunks)
    return accumulator.result()


def assert_statistics(kernel, statistics, case, how, centre=None):
    """They are those of the dense formulas about their own centre, or the one given."""
    own = statistics.centre.numpy() if centre is None else centre
    # A joint log-density, whose rounding responsibilities have, is a sum over features.
    tolerance = ROUNDING * torch.finfo(kernel.dtype).eps * max(1, case.means.shape[1] / D)
    for name, (expected, size) in case.expected(how, np.broadcast_to(own, case.means.shape)).items():
        if ASSIGNMENTS[how] is given and name in ("log_likelihood", "objective"):
            continue  # there is none
        actual = getattr(statistics, name)
        assert actual.dtype == torch.float64
        assert actual.shape == np.shape(expected), name
        error = np.abs(actual.numpy() - expected).max() / np.max(size)
        assert error <= tolerance, f"{how}: {name} is {error:.2g} off"


def cases(*, unweighted=True):
    """Sample weights, some of them 0, or none, and what is known of the rows, for every assignment."""
    rng = np.random.default_rng(3)
    sample_weight = 0.37 * rng.integers(0, 4, N)
    known = {"labels": rng.integers(0, K, N), "responsibilities": rng.dirichlet(np.ones(K), N)}
    for how in ASSIGNMENTS:
        for weights in (None, sample_weight) if unweighted else (sample_weight,):
            yield how, {"sample_weight": weights, "known": known.get(how)}


def cut(chunk):
    """The rows of a chunk in chunks of odd sizes."""
    ends = [*CUTS, len(chunk.rows)]
    return [chunk.part(slice(start, end))._replace(first=start) for start, end in zip([0, *CUTS], ends, strict=True)]


# --- statistics -------------------------------------------------------------------------------------------------


@every_structure
@every_kernel
def test_statistics_are_those_of_the_dense_formulas(make, name):
    """In the first pass of a kernel and in a later one, which knows what does not change any more."""
    for how, rows in cases():
        case = problem(name, **rows)
        kernel = case.kernel(make)
        for _ in range(2):
            assert_statistics(kernel, gathered(kernel, case, how), case, how)


@every_structure
@every_kernel
def test_statistics_of_one_component_and_of_one_feature(make, name):
    for n_components, d in ((1, 1), (1, 3), (3, 1)):
        case = problem(name, n_components=n_components, d=d)
        kernel = case.kernel(make)
        for how in ("soft", "hard"):
            assert_statistics(kernel, gathered(kernel, case, how), case, how)


@every_way
@pytest.mark.parametrize("kind", [kind for kind in KERNELS if "parts" not in kind])  # parts are slow to interpret
def test_statistics_and_densities_of_many_features(kind, name):
    """Where features are laid out by rows, and symmetric matrices multiplied in blocks."""
    case = problem(name, d=131, matrices=np.stack([1.5 * np.eye(131)] * K))
    kernel = case.kernel(KERNELS[kind])
    for how in ("soft", "hard"):
        for _ in range(2):
            assert_statistics(kernel, gathered(kernel, case, how), case, how)
        kernel.n_rows = 13
        assert_statistics(kernel, gathered(kernel, case, how), case, how)
    expected = case.joint()
    found = log_joint(kernel, kernel.operands(case.parameters), torch.tensor(case.X), kernel.buffer())
    assert_log_densities(kernel, found, expected, np.abs(expected).max())


@every_way
@every_kernel
def test_a_weight_is_a_repetition(make, name):
    counts = np.random.default_rng(4).integers(0, 4, N)
    weighted = problem(name, sample_weight=counts.astype(float))
    repeated = replace(weighted, X=np.repeat(weighted.X, counts, axis=0), sample_weight=None)
    for how in ("soft", "hard"):
        kernel = repeated.kernel(make)
        statistics = gathered(kernel, repeated, how)
        assert_statistics(kernel, statistics, weighted, how)
        assert float(statistics.weight) == counts.sum()


@every_way
@every_kernel
def test_chunks_of_any_size_and_passes_over_parts_add_up(make, name):
    for how, rows in cases(unweighted=False):
        case = problem(name, **rows)
        kernel, parts = case.kernel(make), cut(case.chunk)
        assert_statistics(kernel, gathered(kernel, case, how, parts), case, how)
        kernel.n_rows = 13
        assert_statistics(kernel, gathered(kernel, case, how), case, how)
        # Parts of the rows on one process each, every one with a kernel of its own; the first has none.
        first, *others = (gathered(case.kernel(make), case, how, chunks) for chunks in ([], parts[:2], parts[2:]))
        assert_statistics(kernel, sum(others, first), case, how)


@every_way
@pytest.mark.parametrize("kind", [kind for kind in KERNELS if "products" in kind])  # others keep nothing of rows
def test_rows_that_stay_from_pass_to_pass_are_told_from_others(kind, name):
    case, other = problem(name), problem(name, seed=1)
    kernel, stay = case.kernel(KERNELS[kind]), case.chunk._replace(stays=True)
    for chunk, seen in [(stay, case), (stay, case), (other.chunk, None), (stay, case)]:
        found = gathered(kernel, case, "soft", [chunk])
        if seen is not None:
            assert_statistics(kernel, found, seen, "soft")


@every_way
@every_kernel
def test_another_centre_gives_the_same_statistics(make, name):
    case = problem(name, sample_weight=np.random.default_rng(5).uniform(0, 2, N))
    kernel, moment = case.kernel(make), STRUCTURES[name].moment
    centres = np.random.default_rng(6).standard_normal((K, D))
    for wanted in (None, torch.tensor(centres)):
        statistics = gathered(kernel, case, "soft", centre=wanted)
        assert_statistics(kernel, statistics, case, "soft")
        for centre in (np.zeros((1, D)), centres[:1], centres):
            moved = statistics.about(torch.tensor(centre), moment)
            assert_statistics(kernel, moved, case, "soft", centre)
            assert torch.equal(moved.centre, torch.tensor(centre))


@every_way
@every_kernel
def test_rows_go_to_the_nearest_of_centres_whatever_the_structure(make, name):
    """As starts want it: one ball for all under any moments. What such a pass says of likelihoods is not used."""
    case = problem(name, weights=np.full(K, 1 / K), matrices=np.stack([np.eye(D)] * K))
    parameters = Parameters(
        torch.tensor(case.weights), torch.tensor(case.means), Spherical(torch.ones(1).double(), D, shared=True)
    )
    labels = np.linalg.norm(case.z[:, None] - case.means, axis=2).argmin(1)
    kernel, expected = case.kernel(make), replace(case, known=labels)
    accumulator = kernel.gather(parameters, hard)
    accumulator.add_all([case.chunk])
    assert_statistics(kernel, accumulator.result(), expected, "labels")


@every_way
@every_kernel
def test_components_of_weight_0_get_nothing(make, name):
    case = problem(name, weights=np.array([0.6, 0.0, 0.4]))
    for how in ("soft", "hard"):
        kernel = case.kernel(make)
        for _ in range(2):
            statistics = gathered(kernel, case, how)
            assert_statistics(kernel, statistics, case, how)
            assert statistics.mass[1] == 0


@every_way
@every_kernel
def test_rows_far_away_leave_sums_finite_and_responsibilities_whole(make, name):
    """As far as squares stay within the float type."""
    near = problem(name)
    limits = torch.finfo(near.kernel(make).dtype)
    farthest = math.log10(limits.max) / 2 - 2
    direction = np.array([0.6, -0.5, 0.62])
    for power in (3, 4, 6, 9, farthest):
        case = replace(near, X=near.shift + near.scale * 10.0**power * direction[None])
        kernel = case.kernel(make)
        for how in ("soft", "hard"):
            for _ in range(2):
                statistics = gathered(kernel, case, how)
                assert statistics.mass.sum() == pytest.approx(1, abs=8 * limits.eps)
                assert torch.isfinite(statistics.packed()).all()
                expected = logsumexp(case.joint(), axis=1)[0]
                # The rounding of entries and of coefficients times that of an inverse.
                assert float(statistics.log_likelihood) == pytest.approx(expected, rel=ROUNDING * 8 * limits.eps)


@every_way
@every_kernel
def test_a_kernel_leaves_its_arguments_as_they_were(make, name):
    case = problem(name, **dict(cases())["responsibilities"])
    frame, parameters, centre = case.frame, case.parameters, torch.tensor(case.means + 0.1)
    factor = parameters.covariances.factor
    tensors = [frame.shift, frame.scale, centre, parameters.weights, parameters.means, parameters.covariances.values]
    tensors += [getattr(factor, field.name) for field in fields(factor)]
    tensors += [parameters.natural, parameters.quadratic, parameters.log_constants]
    for rows in (case.chunk, case.chunk._replace(rows=case.chunk.rows.float())):
        tensors += [rows.rows, rows.weights, rows.known]
        before = [tensor.clone() for tensor in tensors]
        kernel = make(STRUCTURES[name].moment, frame, K)
        for assignment in (soft, hard, given, soft):
            accumulator = kernel.gather(parameters, assignment, centre)
            accumulator.add_all([rows])
            accumulator.result()
        kernel.log_joint(rows.rows, kernel.operands(parameters), kernel.buffer())
        assert all(torch.equal(now, then) for now, then in zip(tensors, before, strict=True))


# --- joint log-densities ----------------------------------------------------------------------------------------


def log_joint(kernel, operands, rows, buffer):
    """Joint log-densities in nats, (n, K) float64."""
    joint, common = kernel.log_joint(rows, operands, buffer)
    joint = joint.double().cpu() if common is None else joint.double().cpu() + common.double().cpu()
    return joint.T.numpy() / BITS


@every_structure
@every_kernel
def test_joint_log_densities_are_the_dense_ones(make, name):
    """Of rows in any float type and layout; computed once, operands and buffers serve any number of rows."""
    case = problem(name, weights=np.array([0.6, 0.0, 0.4]))
    kernel, rows, expected = case.kernel(make), torch.tensor(case.X), case.joint()
    operands, buffer = kernel.operands(case.parameters), kernel.buffer()
    sizes = np.abs(np.where(np.isfinite(expected), expected, 0)).max()
    forms = [rows, rows.float(), rows.T.contiguous().T, torch.stack([rows, rows], 2)[:, :, 0]]
    first, _ = kernel.log_joint(rows, operands, buffer)
    once = first.clone()
    for begin, end in zip([0, *CUTS], [*CUTS, N], strict=True):
        part = log_joint(kernel, operands, rows[begin:end], buffer)
        assert_log_densities(kernel, part, expected[begin:end], sizes)
    assert torch.equal(first, once)  # a result is the caller's, not the buffer's
    for form in forms:
        assert_log_densities(kernel, log_joint(kernel, operands, form, buffer), expected, sizes)


def assert_log_densities(kernel, actual, expected, sizes):
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(np.isneginf(actual), np.isneginf(expected))
    with np.errstate(invalid="ignore"):
        error = np.where(np.isneginf(expected), 0, np.abs(actual - expected)).max(initial=0) / sizes
    assert error <= ROUNDING * torch.finfo(kernel.dtype).eps, f"{error:.2g} off"


# --- the guard --------------------------------------------------------------------------------------------------

# What is promised of float32; sums in float64 are to lose no more than half of its digits.
PROMISED = {torch.float32: 1e-4, torch.float64: 1e-7}


def covariances_of(name, mass, first, second):
    """The covariances of the structure's form (B, d, d), as matrices, that sums about any centre come to."""
    between = SPECS[name].moments(np.einsum("k,ki,kj->kij", 1 / mass, first, first))
    moments = (second - between) / (mass.sum() if SPECS[name].tied else mass[:, None])
    if SPECS[name].n_axes < 2:
        return moments[:, :, None] * np.eye(D) / (1 if SPECS[name].n_axes else D)
    i, j = np.triu_indices(D)
    matrices = np.empty((len(moments), D, D))
    matrices[:, i, j] = matrices[:, j, i] = moments
    return matrices


def guarded(name, dtype, means, matrices, seed=7):
    """The index of the kernel that the guard chooses among how many, and how far off its covariances are."""
    labels = np.arange(N) % K
    white = np.random.default_rng(seed).standard_normal((N, D))
    rows = means[labels] + np.einsum("nij,nj->ni", np.linalg.cholesky(matrices)[labels], white)
    z = torch.tensor(rows).to(dtype).double().numpy()
    case = Problem(name, z, np.zeros(D), np.ones(D), np.full(K, 1 / K), means, matrices, known=labels)
    kernels = kernels_for(STRUCTURES[name].moment, case.frame, K, dtype, torch.device("cpu"))
    index = first_precise(kernels, case.parameters)
    statistics = gathered(kernels[index], case, "labels")
    found = covariances_of(name, statistics.mass.numpy(), statistics.first.numpy(), statistics.second.numpy())
    own = [z[labels == k] - z[labels == k].mean(0) for k in range(K)]
    expected = covariances_of(
        name,
        np.bincount(labels).astype(float),
        np.stack([rows.sum(0) for rows in own]),
        SPECS[name].moments(np.stack([rows.T @ rows for rows in own])),
    )
    error = np.abs(np.linalg.eigvals(np.linalg.solve(expected, found - expected))).max()
    return index, len(kernels), error, kernels[index].dtype


@every_structure
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_that_the_guard_chooses_carries_the_covariances(dtype, name):
    """However tight, and however correlated, components are beside how far apart they lie."""
    means = np.random.default_rng(9).standard_normal((K, D))
    for spread in (0.4, 2.0):
        chosen = []
        for narrow in (1.0, 1e-1, 1e-2, 1e-4, 1e-6):
            index, count, error, used = guarded(name, dtype, means, narrow**2 * SPECS[name].member(8, K, D, spread))
            chosen.append(index)
            assert error < PROMISED[used]
        assert chosen == sorted(chosen)
        assert chosen[-1] == count - 1
        assert spread > 1 or chosen[0] == 0


@every_structure
def test_the_guard_knows_what_underflows_and_what_takes_no_part(name):
    tiny = 1e-36 * SPECS[name].member(8, K, D)
    index, _, error, _ = guarded(name, torch.float32, np.zeros((K, D)), tiny)
    assert index > 0
    assert error < PROMISED[torch.float64]
    case = problem(name, weights=np.array([0.5, 0.0, 0.5]))
    case.means[1] = 1e9
    kernels = kernels_for(STRUCTURES[name].moment, case.frame, K, torch.float32, torch.device("cpu"))
    assert first_precise(kernels, case.parameters) == 0
    assert first_precise(kernels, replace(case, weights=np.full(K, 1 / K)).parameters) == len(kernels) - 1
