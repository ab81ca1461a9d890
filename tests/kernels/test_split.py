"""Products of bfloat16 parts against float64: on a GPU where there is one, else in Triton's interpreter."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from support import COVARIANCE_TYPES, TIED_TYPES

pytest.importorskip("triton")

from cases import explicit_start, fit_quietly, mixture
from triton_problems import DEVICE, SUMS, assert_close, expectation, problem

from tgmm import GaussianMixture
from tgmm.covariance import Spherical
from tgmm.kernels import choose, split
from tgmm.kernels.assignment import given, hard, soft
from tgmm.kernels.products import Products
from tgmm.model.parameters import Parameters

CPU = torch.device("cpu")

CASES = [
    *((covariance_type, 5, 3) for covariance_type in COVARIANCE_TYPES),
    ("full", 20, 23),
    ("diag", 70, 70),
    ("spherical", 1030, 5),
    ("tied_full", 70, 150),
]


def split_kernel(arguments, data, start):
    """A kernel past its first pass."""
    kernel = split.Split(*arguments, torch.float32, DEVICE)
    if start.covariances.shared:
        expectation(kernel, data, start, soft)
    return kernel


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("covariance_type", "n_components", "n_features"), CASES)
def test_statistics_are_those_of_plain_products(covariance_type, n_components, n_features, weighted):
    data, start, arguments = problem(covariance_type, n_components, n_features, weighted=weighted)
    kernel = split_kernel(arguments, data, start)
    kernel.n_rows, kernel.slice = 160, 32  # two chunks, of five slices and of less than three
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]])
def test_sums_are_added_up_the_same_way_every_time(case):
    data, start, arguments = problem(*case)
    kernel = split_kernel(arguments, data, start)
    kernel.slice = 16  # sixteen slices, by four where parts are small
    first, second = (expectation(kernel, data, start, soft) for _ in range(2))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in SUMS)
    assert_close(first, expectation(Products(*arguments, torch.float64, CPU), data, start, soft))


@pytest.mark.parametrize(("n_rows", "expected"), [(64, (64, 64)), (1100, (1024, 1024)), (9999, (8192, 1024))])
def test_chunks_are_whole_slices(n_rows, expected):
    assert split.whole_slices(n_rows) == expected


def test_three_parts_are_a_number_to_24_bits():
    values = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2.0 ** torch.arange(
        -50.0, 50.0, 0.1, dtype=torch.float64
    )
    parts = split.bfloat16_parts(values)
    error = (sum(part.double() for part in parts) - values).abs() / values.abs()
    assert error.max() <= 2.0**-24


@pytest.mark.parametrize("covariance_type", TIED_TYPES)
def test_the_first_pass_of_a_pooled_structure_sums_second_moments(covariance_type):
    data, start, arguments = problem(covariance_type, 5, 3)
    kernel = split.Split(*arguments, torch.float32, DEVICE)
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)
    assert_close(expectation(kernel, data, start, soft), expected)


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]])
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
    actual = expectation(split.Split(*arguments, torch.float32, DEVICE), data, start, assignment)
    assert all(torch.equal(getattr(actual, name), getattr(expected, name)) for name in SUMS)


@pytest.mark.parametrize("case", [CASES[1], CASES[7]])
def test_components_of_weight_0_and_rows_far_from_all_others_leave_sums_finite(case):
    data, start, arguments = problem(*case)
    data.rows[7] = 1e12
    weights = start.weights.clone()
    weights[0], weights[1] = 0, weights[0] + weights[1]
    start = Parameters(weights, start.means, start.covariances)
    actual = expectation(split_kernel(arguments, data, start), data, start, soft)
    expected = expectation(Products(*arguments, torch.float32, CPU), data, start, soft)
    assert actual.mass[0] == 0
    assert torch.isfinite(actual.second).all()
    torch.testing.assert_close(actual.mass.cpu(), expected.mass, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(actual.log_likelihood.cpu(), expected.log_likelihood, rtol=1e-5, atol=0)


@pytest.mark.parametrize("case", [CASES[2], CASES[6]])
def test_log_densities_are_those_of_plain_products(case):
    data, start, arguments = problem(*case)
    narrow, wide = split.Split(*arguments, torch.float32, DEVICE), Products(*arguments, torch.float64, CPU)
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
    monkeypatch.setattr("tgmm.em.problem.FEW_NUMBERS", 0)  # for which the CPU takes float64
    monkeypatch.setattr(choose, "products_for", lambda *problem: Products)
    expected = fit_quietly(model, X).objective_history_
    made, eta = [], split.Split.eta
    monkeypatch.setattr(choose, "products_for", lambda *problem: split.Split if torch.float32 in problem else Products)
    monkeypatch.setattr(split.Split, "eta", lambda self, parameters: made.append(1) or eta(self, parameters))
    np.testing.assert_allclose(fit_quietly(model, X).objective_history_, expected, rtol=1e-5)
    assert made  # the kernel served


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from tgmm.kernels import split, split_device

NUMBERS = ("n_rows", "n_padded", "n_columns", "n_components", "n_slices", "n_fewer", "column")
KINDS = dict.fromkeys(NUMBERS, "i32") | dict.fromkeys(("left", "right"), "*i32") | {"sums": "*fp64"}
KINDS |= dict.fromkeys(("features", "high", "low"), "*bf16")
CONSTANTS = dict(
    N_FEATURES=128, WEIGHTED=True, LARGEST=split.LARGEST, LOWEST=split.LIMITS.min, TINY=split.LIMITS.tiny
)
SHAPES = {
    split_device.features_kernel: dict(ROWS=16, COLUMNS=128),
    split_device.norms_kernel: dict(ROWS=16, COLUMNS=128),
    split_device.softmax_kernel: dict(ROWS=4, COMPONENTS=1024),
    split_device.totals_kernel: dict(COMPONENTS=16, COLUMNS=64),
}

for kernel, shape in SHAPES.items():
    names = kernel.arg_names
    constants = {name: value for name, value in (CONSTANTS | shape).items() if name in names}
    signature = {name: "constexpr" if name in constants else KINDS.get(name, "*fp32") for name in names}
    constants = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, constexprs=constants)
    compiled = compile(source, target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]
    print(compiled.metadata.shared)
"""


@pytest.mark.slow
def test_kernels_compile_for_a_gpu_and_fit_its_shared_memory(tmp_path):
    pytest.importorskip("triton.backends.nvidia")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    sizes = [int(line) for line in run.stdout.split()]
    assert len(sizes) == 4
    assert max(sizes) <= 48 << 10  # what every multiprocessor gives one program
