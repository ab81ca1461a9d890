"""What the tests of kernels in Triton share: on a GPU where there is one, else in Triton's interpreter."""

import os
import subprocess
import sys

import torch
from structures import SPECS

from tgmm.covariance import STRUCTURES
from tgmm.data.data import TensorData
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters

DEVICE = torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
CPU = torch.device("cpu")
SUMS = ("mass", "first", "second")


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


def assert_close(statistics, expected, tolerance=2e-5):
    """Equal relative to the largest sum of each kind."""
    for name in (*SUMS, "log_likelihood", "objective", "weight"):
        actual, reference = getattr(statistics, name).cpu(), getattr(expected, name)
        assert actual.dtype == torch.float64
        assert actual.shape == reference.shape, name
        error = (actual - reference).abs().max() / reference.abs().max()
        assert error <= tolerance, f"{name} is {float(error):.2g} off"


def shared_memory(script, cache):
    """The bytes of shared memory that kernels take which a script compiles for a GPU, as it prints them."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(cache)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [int(line) for line in run.stdout.split()]
