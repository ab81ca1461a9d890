"""Products of bfloat16 parts: their slices, the parts, and that the kernels compile; `test_triton` has the sums."""

import pytest
import torch

pytest.importorskip("triton")

from triton_problems import shared_memory

from tgmm.kernels import split


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
    sizes = shared_memory(COMPILE, tmp_path)
    assert len(sizes) == 4
    assert max(sizes) <= 48 << 10  # what every multiprocessor gives one program
