"""The kernel that makes all of a pass: its rows, where it is chosen, that it compiles; `test_triton` has the sums."""

import pytest
import torch

pytest.importorskip("triton")

from triton_problems import CPU, DEVICE, assert_close, expectation, problem, shared_memory

from tgmm.covariance import STRUCTURES
from tgmm.data.chunk import Chunk
from tgmm.data.data import TensorData
from tgmm.kernels import choose, fused
from tgmm.kernels.assignment import soft
from tgmm.kernels.products import Products
from tgmm.kernels.split import Split


def test_rows_of_half_precision_and_no_rows():
    data, start, arguments = problem("diag", 5, 3)
    half = TensorData(data.rows.half(), None)
    kernel = fused.Fused(*arguments, torch.float32, DEVICE)
    expected = expectation(Products(*arguments, torch.float64, CPU), TensorData(half.rows.float(), None), start, soft)
    assert_close(expectation(kernel, half, start, soft), expected)
    sums = kernel.gather(start, soft)
    for _ in range(2):
        nothing = sums.result()
        assert nothing.mass.tolist() == [0] * 5 and float(nothing.weight) == 0
        sums.add(Chunk(half.rows[:0], None, 0))


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


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from tgmm.kernels import fused, fused_device

KINDS = dict.fromkeys(("n_rows", "n_columns", "width"), "i32") | dict.fromkeys(("left", "right"), "*i32")
KINDS |= dict.fromkeys(("weights", "totals"), "*fp64")
LIMITS = dict(LOWEST=fused.LIMITS.min, TINY=fused.LIMITS.tiny, LARGEST=fused.LARGEST)
kernel = fused_device.sums_kernel
names = kernel.arg_names
for columns, components in ((16, 16), (64, 64)):  # the least, of more rows at a time, and the most
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
    sizes = shared_memory(COMPILE, tmp_path)
    assert len(sizes) == 2
    assert max(sizes) <= 99 << 10  # what all GPUs from compute capability 8.0 on give one program
