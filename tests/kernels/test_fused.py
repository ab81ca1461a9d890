"""The kernel that makes all of a pass against float64: on a GPU where there is one, else in Triton's interpreter."""

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
from tgmm.covariance import STRUCTURES
from tgmm.data.chunk import Chunk
from tgmm.data.data import TensorData
from tgmm.kernels import choose, fused
from tgmm.kernels.assignment import hard, soft
from tgmm.kernels.products import Products
from tgmm.kernels.split import Split
from tgmm.model.parameters import Parameters

CPU = torch.device("cpu")
CASES = [
    *((covariance_type, 5, 3) for covariance_type in COVARIANCE_TYPES),
    ("full", 20, 9),
    ("diag", 60, 30),
    ("spherical", 20, 60),
    ("tied_full", 17, 17),
]


def fused_kernel(arguments, data, start):
    """A kernel past its first pass."""
    kernel = fused.Fused(*arguments, torch.float32, DEVICE)
    if start.covariances.shared:
        expectation(kernel, data, start, soft)
    return kernel


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("covariance_type", "n_components", "n_features"), CASES)
def test_statistics_are_those_of_plain_products(covariance_type, n_components, n_features, weighted):
    data, start, arguments = problem(covariance_type, n_components, n_features, weighted=weighted)
    kernel = fused_kernel(arguments, data, start)
    kernel.n_rows = 160  # two chunks, the last slices of which are not full
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]])
def test_sums_are_added_up_the_same_way_every_time(case):
    data, start, arguments = problem(*case, n=1300)
    kernel = fused_kernel(arguments, data, start)
    first, second = (expectation(kernel, data, start, soft) for _ in range(2))
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in SUMS)
    assert_close(first, expectation(Products(*arguments, torch.float64, CPU), data, start, soft))


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[-1]])
def test_what_does_not_fit_goes_to_plain_products(case):
    data, start, arguments = problem(*case)
    expected = expectation(Products(*arguments, torch.float32, DEVICE), data, start, hard)
    actual = expectation(fused.Fused(*arguments, torch.float32, DEVICE), data, start, hard)
    assert all(torch.equal(getattr(actual, name), getattr(expected, name)) for name in SUMS)


@pytest.mark.parametrize("case", [CASES[1], CASES[2], CASES[7]])
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


def test_rows_of_half_precision_and_no_rows():
    data, start, arguments = problem("diag", 5, 3)
    half = TensorData(data.rows.half(), None)
    kernel = fused_kernel(arguments, half, start)
    expected = expectation(Products(*arguments, torch.float64, CPU), TensorData(half.rows.float(), None), start, soft)
    assert_close(expectation(kernel, half, start, soft), expected)
    sums = kernel.gather(start, soft)
    for _ in range(2):
        nothing = sums.result()
        assert nothing.mass.tolist() == [0] * 5 and float(nothing.weight) == 0
        sums.add(Chunk(half.rows[:0], None, 0))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_fits_are_those_of_plain_products(covariance_type, monkeypatch):
    X, _ = mixture(3, n=200)
    weights, means, covariances = explicit_start(3, X, covariance_type, 3)
    starts = {"init_weights": weights, "init_means": means, "init_covariances": covariances}
    model = GaussianMixture(3, covariance_type=covariance_type, max_iter=5, tol=0, device=DEVICE, **starts)
    X = X.astype(np.float32)
    monkeypatch.setattr("tgmm.em.problem.FEW_NUMBERS", 0)  # for which the CPU takes float64
    monkeypatch.setattr(choose, "has_matrix_units", lambda device: False)
    expected = fit_quietly(model, X).objective_history_
    made, eta = [], fused.Fused.eta
    monkeypatch.setattr(choose, "has_matrix_units", lambda device: True)
    monkeypatch.setattr(fused.Fused, "eta", lambda self, parameters: made.append(1) or eta(self, parameters))
    np.testing.assert_allclose(fit_quietly(model, X).objective_history_, expected, rtol=1e-5)
    assert made  # the kernel served


@pytest.mark.parametrize(
    ("covariance_type", "n_features", "n_components", "dtype", "expected"),
    [
        ("spherical", 16, 16, torch.float32, fused.Fused),
        ("tied_full", 64, 64, torch.float32, fused.Fused),
        ("spherical", 16, 65, torch.float32, Products),
        ("spherical", 64, 128, torch.float32, Split),
        ("diag", 32, 64, torch.float32, fused.Fused),
        ("full", 9, 8, torch.float32, fused.Fused),
        ("full", 16, 16, torch.float32, Products),
        ("full", 9, 8, torch.float64, Products),
        ("diag", 128, 64, torch.float32, Products),
        ("diag", 32, 129, torch.float32, Split),
        ("spherical", 128, 1024, torch.float32, Split),
    ],
)
def test_the_kernel_is_chosen_where_all_stays_on_the_chip(
    covariance_type, n_features, n_components, dtype, expected, monkeypatch
):
    monkeypatch.setattr(choose, "has_matrix_units", lambda device: True)
    _, _, (moment, frame, _) = problem(covariance_type, 1, n_features, n=10)
    assert STRUCTURES[covariance_type].moment == moment
    assert choose.products_for(moment, frame, n_components, dtype, CPU) is expected


@pytest.mark.parametrize("covariance_type", TIED_TYPES)
def test_the_first_pass_of_a_pooled_structure_sums_second_moments(covariance_type):
    data, start, arguments = problem(covariance_type, 5, 3)
    kernel = fused.Fused(*arguments, torch.float32, DEVICE)
    expected = expectation(Products(*arguments, torch.float64, CPU), data, start, soft)
    assert_close(expectation(kernel, data, start, soft), expected)
    assert_close(expectation(kernel, data, start, soft), expected)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from tgmm.kernels import fused, fused_device

KINDS = dict.fromkeys(("n_rows", "n_columns", "width"), "i32") | dict.fromkeys(("left", "right"), "*i32")
KINDS |= dict.fromkeys(("weights", "totals"), "*fp64")
LIMITS = dict(LOWEST=fused.LIMITS.min, TINY=fused.LIMITS.tiny, LARGEST=fused.LARGEST)
kernel = fused_device.sums_kernel
names = kernel.arg_names
for columns, components in ((16, 16), (64, 16), (16, 64), (64, 64)):
    rows = fused.rows_of(columns, components)
    constants = dict(
        N_FEATURES=9, PAIRED=True, NORMED=False, WEIGHTED=True, SLICE=fused.SLICE, ROWS=rows,
        COLUMNS=columns, COMPONENTS=components, PRECISION=fused.PRECISION, **LIMITS,
    )
    signature = {name: "constexpr" if name in constants else KINDS.get(name, "*fp32") for name in names}
    source = ASTSource(kernel, signature, constexprs={(names.index(name),): each for name, each in constants.items()})
    options = {"num_warps": fused.WARPS, "num_stages": fused.STAGES}
    print(compile(source, target=GPUTarget("cuda", 86, 32), options=options).metadata.shared)
"""


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu_and_fits_its_shared_memory(tmp_path):
    pytest.importorskip("triton.backends.nvidia")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    sizes = [int(line) for line in run.stdout.split()]
    assert len(sizes) == 4
    assert max(sizes) <= 99 << 10  # what all GPUs from compute capability 8.0 on give one program
