"""One pass of EM over rows on a GPU, and one iteration of whole fits, beside IBM's Flash-GMM and scikit-learn.

    python benchmarks/gpu.py --flash-gmm ../Flash-GMM

A pass is an E-step with its sums, all that grows with the rows. Its floors are measured on the same card in the same
run: the bytes of the rows, read once, over the bandwidth of a copy; the operations of both matrix products over the
rate of TF32 products, of which float32 accuracy takes three. Errors are those of the sums, relative to the largest,
against plain products in float64.

Flash-GMM is a folder of modules (https://github.com/IBM/Flash-GMM, cloned beside this); scikit-learn computes on
tensors by its array API. cuVS offers its mixtures to C++ alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

os.environ["SCIPY_ARRAY_API"] = "1"  # scikit-learn's array API needs it before scipy is imported

import torch
from measuring import table
from problems import Parameters as Start
from problems import Shape, make_rows, make_start, operations
from sklearn import config_context
from sklearn import mixture as scikit_learn
from tgmm.data.batches import TensorBatches
from tgmm.data.frame import Frame
from tgmm.parameters import Parameters
from torch import Tensor

from tgmm import GaussianMixture
from tgmm.covariance import structure_named
from tgmm.kernels.assignment import soft
from tgmm.kernels.fused import Fused
from tgmm.kernels.products import Products
from tgmm.mixture import Mixture

SHAPES = ("1Mx128x1024", "1Mx32x64", "1Mx16x16")
STRUCTURES = ("spherical", "diag", "full", "tied_full", "tied_diag", "tied_spherical")
SEPARATION = 3.0
REFERENCE_ROWS = 20_000
MATRIX = 8192  # order of the matrices whose product is the card's rate
COPIED = 1 << 30  # bytes
FEW, MORE = 2, 4  # iterations of the shorter fit, and what the longer one has more
RESULTS = Path(__file__).parent / "results" / "gpu.json"


class Ceilings(NamedTuple):
    """What the card does at best, measured."""

    bandwidth: float  # bytes a second, read and written
    float32: float  # operations a second of float32 products
    tf32: float


class Problem(NamedTuple):
    """Rows and a start on the device, and the start's mixture in the frame of the rows."""

    shape: Shape
    structure: str
    rows: Tensor  # (n, d) float32
    start: Start
    frame: Frame
    mixture: Mixture


def median_seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median time of a call, after two that warm up."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(2):
        run()
    seconds = []
    for _ in range(repeats):
        synchronise()
        started = time.perf_counter()
        run()
        synchronise()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def ceilings(device: torch.device, repeats: int, order: int, n_bytes: int) -> Ceilings:
    """Measure the card: a large copy, and large products in both precisions."""
    source = torch.rand(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    copying = median_seconds(lambda: target.copy_(source), device, repeats)
    a, b = (torch.rand(order, order, device=device) for _ in range(2))
    rates = []
    for precision in ("ieee", "tf32"):
        torch.backends.cuda.matmul.fp32_precision = precision
        rates.append(2 * order**3 / median_seconds(lambda: a @ b, device, repeats))
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    return Ceilings(2 * n_bytes / copying, *rates)


def problem_of(shape: Shape, structure_name: str, device: torch.device) -> Problem:
    """Return random rows with a start far from any solution."""
    data, structure = make_rows(shape, SEPARATION, "float32"), structure_named(structure_name)
    start = make_start(data, shape.n_components, structure_name)
    weights, means, public = (torch.from_numpy(part).double().to(device) for part in start)
    covariances = structure.from_public(public, shape.n_components, shape.n_features)
    rows = torch.from_numpy(data).to(device)
    centre, variance = rows.double().mean(0), rows.double().var(0)
    frame = Frame.of(centre, variance, torch.float32, isotropic=structure.isotropic)
    framed = frame.parameters_in(Parameters(weights, means, covariances), structure)
    return Problem(shape, structure_name, rows, start, frame, Mixture.of(framed, structure))


def kernel_pass(kind: type, problem: Problem, dtype: torch.dtype, rows: Tensor) -> Callable[[], Tensor]:
    """Return a pass by one of our kernels over rows; it gives the sums (K, 1 + d + ...)."""
    kernel = kind(problem.mixture.structure, problem.frame, problem.shape.n_components, dtype, rows.device)
    batches = TensorBatches(rows)

    def run() -> Tensor:
        sums = kernel.expectation(batches, problem.mixture, soft)
        return torch.cat([sums.mass[:, None], sums.first], 1)

    run()  # the first pass of pooled structures sums more
    return run


def flash_pass(name: str, problem: Problem, rows: Tensor) -> Callable[[], Tensor]:
    """Return a pass by one of Flash-GMM's modules over the rows in the frame."""
    function = {"full": "flash_gmm_estep_full", "diag": "flash_gmm_estep_diag"}.get(
        problem.structure, "flash_gmm_estep"
    )
    estep = getattr(import_module(name), function)
    z = ((rows - problem.frame.shift) / problem.frame.scale).float().contiguous()
    weights, means, covariances = (
        getattr(problem.mixture.parameters, part) for part in ("weights", "means", "covariances")
    )
    is_full = problem.structure == "full"
    spread = torch.linalg.cholesky(torch.linalg.inv(covariances)) if is_full else covariances.log()
    operands = [part.float().contiguous() for part in (means, spread, weights.log())]

    def run() -> Tensor:
        _, mass, first, _ = estep(z, *operands)
        return torch.cat([mass[:, None], first], 1).double()

    return run


def passes(problem: Problem, flash_gmm: bool) -> dict[str, Callable[[Tensor], Callable[[], Tensor]]]:
    """Return what makes a pass over given rows, by name."""
    found: dict[str, Callable[[Tensor], Callable[[], Tensor]]] = {
        "tgmm fused": lambda rows: kernel_pass(Fused, problem, torch.float32, rows),
        "tgmm products": lambda rows: kernel_pass(Products, problem, torch.float32, rows),
    }
    modules = {
        "spherical": ("flash_gmm", "flash_gmm_h100"),
        "diag": ("flash_gmm_diag_h100",),
        "full": ("flash_gmm_full_h100",),
    }
    for name in modules.get(problem.structure, ()) if flash_gmm else ():
        found[name] = lambda rows, name=name: flash_pass(name, problem, rows)
    return found


def error_of(make: Callable[[Tensor], Callable[[], Tensor]], problem: Problem) -> float:
    """Return the largest error of the sums over the first rows, relative to the largest sum."""
    rows = problem.rows[:REFERENCE_ROWS]
    expected = kernel_pass(Products, problem, torch.float64, rows)()
    return float((make(rows)() - expected).abs().max() / expected.abs().max())


def repeats_exactly(make: Callable[[Tensor], Callable[[], Tensor]], problem: Problem) -> bool:
    """Whether two passes give the same bits."""
    run = make(problem.rows[:REFERENCE_ROWS])
    return torch.equal(run(), run())


def our_fit(problem: Problem, max_iter: int) -> object:
    weights, means, covariances = problem.start
    model = GaussianMixture(
        problem.shape.n_components, covariance_type=problem.structure, max_iter=max_iter, tol=0, accelerate=None,
        init_weights=weights, init_means=means, init_covariances=covariances,
    )  # fmt: skip
    return model.fit(problem.rows)


def their_fit(problem: Problem, max_iter: int) -> object:
    """scikit-learn's fit of tensors, from the same start."""
    weights, means, covariances = (torch.from_numpy(part).to(problem.rows.device) for part in problem.start)
    precisions = torch.linalg.inv(covariances) if covariances.ndim == 3 else 1 / covariances
    model = scikit_learn.GaussianMixture(
        problem.shape.n_components, covariance_type=problem.structure, max_iter=max_iter, tol=0,
        init_params="random_from_data", weights_init=weights, means_init=means, precisions_init=precisions,
    )  # fmt: skip
    with config_context(array_api_dispatch=True):
        return model.fit(problem.rows)


def iteration_seconds(fit: Callable[[Problem, int], object], problem: Problem, repeats: int) -> float:
    """Return the time of one iteration: the difference of two fits."""
    device = problem.rows.device
    short, long = (median_seconds(lambda n=n: fit(problem, n), device, repeats) for n in (FEW, FEW + MORE))
    return (long - short) / MORE


def floors(problem: Problem, measured: Ceilings) -> dict[str, float]:
    """Return the seconds below which no pass can be."""
    return {
        "bytes": problem.rows.nbytes / measured.bandwidth,
        "operations": operations(problem.structure, problem.shape) / (measured.tf32 / 3),
    }


def attempt(measure: Callable[[], Any]) -> Any:
    """Return a measurement, or why there is none."""
    try:
        return measure()
    except Exception as error:  # one that cannot do it leaves the others
        return f"{type(error).__name__}: {error}"


def measure(problem: Problem, measured: Ceilings, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the records of one problem."""
    least, device = floors(problem, measured), problem.rows.device
    common = {"shape": str(problem.shape), "structure": problem.structure, "floors": least}
    records = []
    for name, make in passes(problem, chosen.flash_gmm is not None).items():
        record = {
            "what": f"pass, {name}",
            "seconds": attempt(lambda make=make: median_seconds(make(problem.rows), device, chosen.repeats)),
            "error": attempt(lambda make=make: error_of(make, problem)),
            "exact": attempt(lambda make=make: repeats_exactly(make, problem)),
        }
        records.append(common | record)
    fits = {"tgmm": our_fit} | ({} if problem.structure.startswith("tied_") else {"scikit-learn": their_fit})
    for name, fit in fits.items():
        seconds = attempt(lambda fit=fit: iteration_seconds(fit, problem, 3))
        records.append(common | {"what": f"iteration, {name}", "seconds": seconds})
    return records


def row_of(record: dict[str, Any]) -> list[str]:
    """Return a row of the table."""
    seconds, least = record["seconds"], max(record["floors"].values())
    measured = isinstance(seconds, float)
    cells = [f"{1e3 * seconds:.3g}", f"{least / seconds:.2f}"] if measured else [str(seconds)[:60], ""]
    error = record.get("error", math.nan)
    accuracy = f"{error:.0e}" if isinstance(error, float) and not math.isnan(error) else ""
    exact = {True: "yes", False: "no"}.get(record.get("exact"), "")
    bounds = [f"{1e3 * record['floors'][name]:.3g}" for name in ("bytes", "operations")]
    return [record["shape"], record["structure"], record["what"], *cells, *bounds, accuracy, exact]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shapes", nargs="+", type=Shape.parse, default=[Shape.parse(shape) for shape in SHAPES])
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES[:3])
    options.add_argument("--flash-gmm", type=Path, help="folder of IBM's modules")
    options.add_argument("--repeats", type=int, default=20)
    options.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    options.add_argument("--matrix", type=int, default=MATRIX)
    options.add_argument("--copied", type=int, default=COPIED)
    options.add_argument("--output", type=Path, default=RESULTS)
    chosen = options.parse_args()
    if chosen.flash_gmm is not None:
        sys.path.insert(0, str(chosen.flash_gmm))
    warnings.simplefilter("ignore")  # fits that are cut short say so
    measured = ceilings(chosen.device, chosen.repeats, chosen.matrix, chosen.copied)
    card = torch.cuda.get_device_name(chosen.device) if chosen.device.type == "cuda" else str(chosen.device)
    records: list[dict[str, Any]] = []
    for shape in chosen.shapes:
        for structure in chosen.structures:
            records += measure(problem_of(shape, structure, chosen.device), measured, chosen)
    about = {"card": card, "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "triton": version("triton")}
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps({**about, "ceilings": measured._asdict(), "records": records}, indent=1) + "\n")
    header = ["n x d x K", "type", "what", "ms", "floor / time", "bytes, ms", "operations, ms", "error", "same bits"]
    print(f"{card}, {about['date']}, torch {about['torch']}, Triton {about['triton']}")
    rates = f"float32 {measured.float32 / 1e12:.3g}, TF32 {measured.tf32 / 1e12:.3g} TFLOP/s"
    print(f"copy {measured.bandwidth / 1e12:.3g} TB/s, products {rates}\n")
    print(table(header, [row_of(record) for record in records]))


if __name__ == "__main__":
    main()
