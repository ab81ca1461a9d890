"""One pass of EM over rows on a GPU, and one iteration of whole fits, beside IBM's Flash-GMM and scikit-learn.

    python benchmarks/run.py gpu --flash-gmm ../Flash-GMM

A pass is an E-step with its sums, all that grows with the rows. Its floors are measured on the same card in the same
run: the bytes of the rows, read once, over the bandwidth of a copy; the operations of both matrix products over the
rate of TF32 products, of which float32 accuracy takes three. Errors are those of the sums, relative to the largest,
against plain products in float64.

Flash-GMM is a folder of modules (https://github.com/IBM/Flash-GMM, cloned beside this); scikit-learn computes on
tensors by its array API. cuVS offers its mixtures to C++ alone.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

os.environ["SCIPY_ARRAY_API"] = "1"  # scikit-learn's array API needs it before scipy is imported

import torch
from sklearn import config_context
from sklearn import mixture as scikit_learn
from torch import Tensor

from harness.engine import Beginning, Kernel, e_step
from harness.options import add_shapes
from harness.problems import STRUCTURES, Shape, make_rows, make_start, operations
from harness.problems import Parameters as Start
from harness.records import RESULTS, save
from harness.tables import table
from tgmm import GaussianMixture

SHAPES = ("1Mx128x1024", "1Mx32x64", "1Mx16x16")
UNTIED = ("spherical", "diag", "full")
SEPARATION = 3.0
REFERENCE_ROWS = 20_000
MATRIX = 8192  # order of the matrices whose product is the card's rate
COPIED = 1 << 30  # bytes
FEW, MORE = 2, 4  # iterations of the shorter fit, and what the longer one has more


class Ceilings(NamedTuple):
    """What the card does at best, measured."""

    bandwidth: float  # bytes a second, read and written
    float32: float  # operations a second of float32 products
    tf32: float


class Problem(NamedTuple):
    """Rows on the device, a start, and the fit that begins with it."""

    shape: Shape
    structure: str
    rows: Tensor  # (n, d) float32
    start: Start
    beginning: Beginning


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


def problem_of(shape: Shape, structure: str, device: torch.device) -> Problem:
    """Return random rows with a start far from any solution."""
    array, means = make_rows(shape, SEPARATION, "float32")
    rows, start = torch.from_numpy(array).to(device), make_start(array, means, structure)
    return Problem(shape, structure, rows, start, Beginning.of(our_model(structure, start), rows))


def our_pass(problem: Problem, kernel: Kernel, rows: Tensor) -> Callable[[], Tensor]:
    """Return a pass by one of our kernels over rows; it gives the sums (K, 1 + d)."""

    def run() -> Tensor:
        sums = e_step(problem.beginning, kernel, rows)
        return torch.cat([sums.mass[:, None], sums.first], 1)

    run()  # the first pass of tied structures sums more
    return run


def flash_pass(name: str, problem: Problem, rows: Tensor) -> Callable[[], Tensor]:
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


def passes(problem: Problem, flash_gmm: bool) -> dict[str, Callable[[Tensor], Callable[[], Tensor]]]:
    """Return what makes a pass over given rows, by name."""
    found: dict[str, Callable[[Tensor], Callable[[], Tensor]]] = {
        "tgmm fused": lambda rows: our_pass(problem, problem.beginning.fused(torch.float32), rows),
        "tgmm products": lambda rows: our_pass(problem, problem.beginning.products(torch.float32), rows),
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
    expected = our_pass(problem, problem.beginning.products(torch.float64), rows)()
    return float((make(rows)().to(expected) - expected).abs().max() / expected.abs().max())


def repeats_exactly(make: Callable[[Tensor], Callable[[], Tensor]], problem: Problem) -> bool:
    """Whether two passes give the same bits."""
    run = make(problem.rows[:REFERENCE_ROWS])
    return torch.equal(run(), run())


def our_model(structure: str, start: Start, max_iter: int = 1) -> GaussianMixture:
    """Return an estimator that fits from a start."""
    return GaussianMixture(len(start.weights), covariance_type=structure, max_iter=max_iter, tol=0, **start.as_init())


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


def measure(problem: Problem, measured: Ceilings, chosen: Namespace) -> list[dict[str, Any]]:
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
    exact = {"True": "yes", "False": "no"}.get(str(record.get("exact")), "")
    bounds = [f"{1e3 * record['floors'][name]:.3g}" for name in ("bytes", "operations")]
    return [record["shape"], record["structure"], record["what"], *cells, *bounds, accuracy, exact]


def show(about: dict[str, Any], measured: Ceilings, records: Sequence[dict[str, Any]]) -> str:
    """Return what the card is and does at best, and the table."""
    header = ["n x d x K", "type", "what", "ms", "floor / time", "bytes, ms", "operations, ms", "error", "same bits"]
    rates = f"float32 {measured.float32 / 1e12:.3g}, TF32 {measured.tf32 / 1e12:.3g} TFLOP/s"
    lines = [
        f"{about['card']}, {about['date']}, torch {about['torch']}, Triton {about['triton']}",
        f"copy {measured.bandwidth / 1e12:.3g} TB/s, products {rates}",
        "",
        table(header, [row_of(record) for record in records]),
    ]
    return "\n".join(lines)


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=UNTIED)
    options.add_argument("--flash-gmm", type=Path, help="folder of IBM's modules")
    options.add_argument("--repeats", type=int, default=20)
    options.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    options.add_argument("--matrix", type=int, default=MATRIX)
    options.add_argument("--copied", type=int, default=COPIED)
    options.add_argument("--output", type=Path, default=RESULTS / "gpu.json")


def main(chosen: Namespace) -> None:
    if chosen.flash_gmm is not None:
        sys.path.insert(0, str(chosen.flash_gmm))
    warnings.simplefilter("ignore")  # fits that are cut short say so
    measured = ceilings(chosen.device, chosen.repeats, chosen.matrix, chosen.copied)
    card = torch.cuda.get_device_name(chosen.device) if chosen.device.type == "cuda" else str(chosen.device)
    records: list[dict[str, Any]] = []
    for shape, structure in product(chosen.shapes, chosen.structures):
        records += measure(problem_of(shape, structure, chosen.device), measured, chosen)
    about = {"card": card, "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "triton": version("triton")}
    save({**about, "ceilings": measured._asdict(), "records": records}, chosen.output)
    print(show(about, measured, records))
