"""The fused kernels against plain products in float64: on a GPU where there is one, else in Triton's interpreter."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from structures import SPECS
from support import COVARIANCE_TYPES, TIED_TYPES

pytest.importorskip("triton")

from cases import explicit_start, fit_quietly, mixture

from tgmm import GaussianMixture
from tgmm.covariance import STRUCTURES, Spherical
from tgmm.data.data import TensorData
from tgmm.kernels import choose, fused
from tgmm.kernels.assignment import given, hard, soft
from tgmm.kernels.products import Products
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters

DEVICE = torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
CPU = torch.device("cpu")
SUMS = ("mass", "first", "second")

# Which form serves how many components and features, see `tgmm.kernels.fused`.
ALONE = [(covariance_type, 5, 3) for covariance_type in COVARIANCE_TYPES]
REMADE = [("full", 150, 8), ("diag", 150, 20), ("spherical", 150, 40), ("tied_full", 150, 40), ("tied_diag", 150, 40)]
STORED = [
    ("full", 20, 23),
    ("diag", 70, 70),
    ("spherical", 70, 150),
    ("tied_spherical", 70, 150),
    ("tied_full", 70, 150),
]


def problem(covariance_type, n_components, n_features, *, n=250, weighted=False):
    """Rows (float32), a mixture that overlaps on them, in their frame, and the arguments of a kernel."""
    structure, generator = STRUCTURES[covariance_type], torch.Generator().manual_seed(0)
    rows = 3 + 2 * torch.randn(n, n_features, generator=generator)
    frame = Frame.of(rows.double().mean(0), rows.double().var(0), torch.float32, one_scale=structure.one_scale)
    means = 0.5 * torch.randn(n_components, n_features, dtype=torch.float64, generator=generator)
    matrices = SPECS[covariance_type].member(0, n_components, n_features, 0.3 / n_features**0.5)
    public = torch.tensor(SPECS[covariance_type].public(matrices))
    covariances = structure.from_public(public, n_components, n_features)
    weights = 0.1 + torch.rand(n_components, dtype=torch.float64, generator=generator)
    start = Parameters(weights / weights.sum(), means, covariances)
    sample_weights = torch.rand(n, dtype=torch.float64, generator=generator) if weighted else None
    return TensorData(rows, sample_weights), start, (structure.moment, frame, n_components)


def expectation(kernel, data, parameters, assignment):
    """The statistics of all rows."""
    return data.fold(lambda: kernel.gather(parameters, assignment))


def fused_kernel(arguments, data, start):
    """A fused kernel past its first pass."""
    kernel = fused.Fused(*arguments, torch.float32, DEVICE)
    if start.covariances.shared:
        expectation(kernel, data, start, soft)
    return kernel


def assert_close(statistics, expected, tolerance=1e-5):
    """Equal relative to the largest sum of each kind."""
    for name in (*SUMS, "log_likelihood", "objective", "weight"):
        actual, reference = getattr(statistics, name).cpu(), getattr(expected, name)
        assert actual.dtype == torch.float64
        assert actual.shape == reference.shape, name
        error = (actual - reference).abs().max() / reference.abs().max()
        assert error <= tolerance, f"{name} is {float(error):.2g} off"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("covariance_type", "n_components", "n_features"), [*ALONE, *REMADE, *STORED])
def test_statistics_are_those_of_plain_products(covariance_type, n_components, n_features, weighted):
    data, start, arguments = problem(covariance_type, n_components, n_features, weighted=weighted)
    kernel = fused_kernel(arguments, data, start)
    kernel.n_rows = 170  # two chunks, neither of them whole tiles
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)


@pytest.mark.parametrize(
    ("cases", "alone", "stored"), [(ALONE, True, False), (REMADE, False, False), (STORED, False, True)]
)
def test_the_cases_take_the_form_they_are_meant_for(cases, alone, stored):
    for case in cases:
        _, _, arguments = problem(*case, n=200)
        tiles = fused.Fused(*arguments, torch.float32, DEVICE).tiles
        assert (tiles.alone, tiles.stored) == (alone, stored)


@pytest.mark.parametrize("case", [ALONE[0], REMADE[0], STORED[0]])
def test_sums_are_added_up_the_same_way_every_time(case, monkeypatch):
    monkeypatch.setattr(fused, "FLUSH", 32)
    data, start, arguments = problem(*case)
    kernel = fused_kernel(arguments, data, start)
    first, second = (expectation(kernel, data, start, soft) for _ in range(2))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in SUMS)
    assert_close(first, expectation(Products(*arguments, torch.float64, CPU), data, start, soft))


@pytest.mark.parametrize("covariance_type", TIED_TYPES)
def test_the_first_pass_of_a_pooled_structure_sums_second_moments(covariance_type):
    data, start, arguments = problem(covariance_type, 5, 3)
    kernel = fused.Fused(*arguments, torch.float32, DEVICE)
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)
    assert_close(expectation(kernel, data, start, soft), expected)


@pytest.mark.parametrize("case", [ALONE[0], STORED[0]])
@pytest.mark.parametrize("kind", ["hard", "given", "other structure"])
def test_what_does_not_fit_goes_to_plain_products(case, kind):
    data, start, arguments = problem(*case)
    n_components = arguments[2]
    if kind == "other structure":
        ball = Spherical(torch.ones(1, dtype=torch.float64), start.n_features, shared=True)
        start = Parameters(start.weights, start.means, ball)
    data = data.knowing(torch.arange(data.n_rows) % n_components)
    assignment = {"hard": hard, "given": given, "other structure": soft}[kind]
    expected = expectation(Products(*arguments, torch.float32, DEVICE), data, start, assignment)
    actual = expectation(fused.Fused(*arguments, torch.float32, DEVICE), data, start, assignment)
    assert all(torch.equal(getattr(actual, name), getattr(expected, name)) for name in SUMS)


@pytest.mark.parametrize("case", [ALONE[1], REMADE[1], STORED[1]])
def test_components_of_weight_0_and_rows_far_from_all_others_leave_sums_finite(case):
    data, start, arguments = problem(*case)
    data.rows[7] = 1e12
    weights = start.weights.clone()
    weights[0], weights[1] = 0, weights[0] + weights[1]
    start = Parameters(weights, start.means, start.covariances)
    actual = expectation(fused_kernel(arguments, data, start), data, start, soft)
    expected = expectation(Products(*arguments, torch.float32, CPU), data, start, soft)
    assert actual.mass[0] == 0
    assert torch.isfinite(actual.second).all()
    torch.testing.assert_close(actual.mass.cpu(), expected.mass, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(actual.log_likelihood.cpu(), expected.log_likelihood, rtol=1e-5, atol=0)


@pytest.mark.parametrize("case", [ALONE[2], STORED[0]])
def test_log_densities_are_those_of_plain_products(case):
    data, start, arguments = problem(*case)
    narrow, wide = fused.Fused(*arguments, torch.float32, DEVICE), Products(*arguments, torch.float64, CPU)
    joint, _ = narrow.log_joint(data.rows, narrow.operands(start), narrow.buffer())
    expected, _ = wide.log_joint(data.rows, wide.operands(start), wide.buffer())
    torch.testing.assert_close(joint.cpu().double(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fits_are_those_of_plain_products(covariance_type, monkeypatch):
    X, _ = mixture(3, n=200)
    weights, means, covariances = explicit_start(3, X, covariance_type, 3)
    starts = {"init_weights": weights, "init_means": means, "init_covariances": covariances}
    model = GaussianMixture(3, covariance_type=covariance_type, max_iter=5, tol=0, device=DEVICE, **starts)
    X = X.astype(np.float32)
    expected = fit_quietly(model, X).objective_history_
    monkeypatch.setattr(
        choose, "products_for", lambda dtype, device: fused.Fused if dtype == torch.float32 else Products
    )
    np.testing.assert_allclose(fit_quietly(model, X).objective_history_, expected, rtol=2e-6)


COMPILE = """
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from tgmm.kernels import fused, fused_device

SCALARS = ("n_rows", "n_components", "n_columns", "rows_per_slice")
KINDS = dict.fromkeys(SCALARS, "i32") | dict.fromkeys(("left", "right"), "*i32")
KINDS |= dict.fromkeys(("masses", "norm_sums", "sums"), "*fp64")

def shared_memory(kernel, constants):
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    signature = {name: "constexpr" if name in constants else KINDS.get(name, "*fp32") for name in names}
    constants = {(names.index(name),): value for name, value in constants.items()}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name][0] == "*"}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    compiled = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": fused.WARPS})
    assert compiled.asm["cubin"]
    assert "wgmma.mma_async" in compiled.asm["ptx"]  # the chip's matrix units
    return compiled.metadata.shared

def constants(tiles, **more):
    return dict(
        N_FEATURES=128, WEIGHTED=True, STORED=tiles.stored, ALONE=tiles.alone, NORM=True, PRECISION="tf32x3",
        LOWEST=fused.LIMITS.min, TINY=fused.LIMITS.tiny, COMPONENTS=tiles.components, FEATURES=tiles.features,
        STEP=tiles.step, FLUSH=fused.FLUSH, **({} if tiles.stored else {"joints": None}), **more,
    )

for n_components, n_columns in ((64, 128), (1024, 64), (1024, 128)):
    tiles = fused.Tiles.of(n_components, n_columns)
    print(shared_memory(fused_device.sums_kernel, constants(tiles, ROWS=tiles.rows)))
    if not tiles.alone:
        print(shared_memory(fused_device.log_sum_kernel, constants(tiles, ROWS=fused.LOG_SUM_ROWS)))
"""


@pytest.mark.slow
def test_kernels_compile_for_a_gpu_and_fit_its_shared_memory(tmp_path):
    pytest.importorskip("triton.backends.nvidia")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    sizes = [int(line) for line in run.stdout.split()]
    assert len(sizes) == 5
    assert max(sizes) <= 99 << 10  # what a multiprocessor gives one program, compute capability 8.6 and 8.9
