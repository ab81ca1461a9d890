"""Everything that this project claims about a GPU, in one run that ends with what fell short: `make gpu-check`.

    python benchmarks/run.py gpu --flash-gmm ../Flash-GMM

The parts are the tests that need a GPU; the errors of all kernels against plain products in float64; the time and
memory of a pass over rows (an E-step with its sums, all that grows with the rows); E-steps and fits that others
published, each named with its card; fits from raw data, with missing values too; many small fits at once; and
iterations of whole fits beside scikit-learn on tensors.

Floors are measured on the same card in the same run: the bytes of the rows, read once, over the bandwidth of a copy;
the operations of both matrix products over the rate of bfloat16 products, of which float32 accuracy takes six.
Flash-GMM is a folder of modules (https://github.com/IBM/Flash-GMM, cloned beside this). cuVS offers its mixtures to
C++ alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

os.environ["SCIPY_ARRAY_API"] = "1"  # scikit-learn's array API needs it before scipy is imported

import torch

from harness import gpu_passes
from harness.card import GIGA, Card, Ceilings
from harness.gpu_passes import Problem
from harness.options import add_shapes
from harness.problems import STRUCTURES, Shape
from harness.processes import thread_pools
from harness.records import RESULTS, save
from harness.tables import table
from suites.many import make_problems
from tgmm import GaussianMixture, fit_many

ROOT = Path(__file__).parents[2]
SHAPES = ("1Mx128x1024", "1Mx32x64", "1Mx16x16")
UNTIED = ("spherical", "diag", "full")
ON_CARDS = "triton or fused or split or bfloat16"  # the tests of kernels that are for cards alone
ACCURACY = ("20kx3x5", "20kx16x64", "20kx256x16", "20kx128x1024", "20kx256x1024")
ACCURATE = 2e-5  # of the largest sum, or the error of float32 products where that is larger
HALF = 0.5  # of the floor, what a pass of a large shape is to reach
LARGE = 1e11  # operations, from which on a shape is
TIMES = {"10kx128x1024": 3e-3, "100kx128x1024": 18e-3, "1Mx128x1024": 152e-3, "10Mx128x1024": 1.519}
FLASH_GMM = "Flash-GMM's README, A100"
FITS = {("1Mx64x64", "diag"): (7.7, "pycave, GTX 1080 Ti"), ("100kx32x16", "full"): (2.4, "pycave, GTX 1080 Ti")}
ITERATIONS = 100
PROBLEMS, SWEEP, GMM_GPU = 1000, 0.111, "gmm-gpu, P100"  # seconds of all problems
FEWER = 10  # times fewer problems from the default start, which takes far longer
LACKING = 0.1  # of the values, where some are missing
RAW = ("100kx16x16", "1Mx10x8", "1Mx32x64")
Record = dict[str, Any]


class Check:
    """One run of all parts: what each measures, and what fell short."""

    def __init__(self, card: Card, ceilings: Ceilings, chosen: Namespace) -> None:
        self.card, self.ceilings, self.chosen = card, ceilings, chosen

    def tests(self) -> Iterator[Record]:
        """Run the tests that need a GPU, and those of its kernels, in processes of one thread each."""
        processes = ["-n", "8"] if find_spec("xdist") else []
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *processes]
        alone = os.environ | thread_pools(1)
        for what in (["-m", "gpu", "tests"], ["-m", "not slow", "-k", ON_CARDS, "tests/kernels"]):
            run = subprocess.run([*command, *what], cwd=ROOT, env=alone, capture_output=True, text=True)
            lines = run.stdout.strip().splitlines()
            failed = [line for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
            short = None if run.returncode == 0 else "; ".join(failed[:5]) or "tests failed"
            yield {"what": " ".join(what), "result": lines[-1] if lines else run.stderr[-200:], "short": short}

    def accuracy(self) -> Iterator[Record]:
        """Hold the sums of all kernels against float64."""
        for shape, structure in product(self.chosen.accuracy, STRUCTURES):
            problem = Problem.of(shape, structure, self.card.device)
            errors = {name: attempt(problem.error, make) for name, make in self._ours(problem).items()}
            plain = errors["tgmm, float32 products"]
            most = max(ACCURATE, 2 * plain) if isinstance(plain, float) else 0.0
            wrong = [f"{name}: {error}" for name, error in errors.items() if isinstance(error, str) or error > most]
            yield {**named(problem), "what": "sums", **errors, "short": "; ".join(wrong) or None}

    def passes(self) -> Iterator[Record]:
        """Time a pass over the rows of large shapes, by every kernel that there is."""
        for shape, structure in product(self.chosen.shapes, self.chosen.structures):
            problem = Problem.of(shape, structure, self.card.device)
            others = [self._pass(problem, name, make) for name, make in self._all(problem).items()]
            ours = others.pop(0)
            yield {**ours, "short": self._shortfall(ours, others)}
            yield from others

    def published(self) -> Iterator[Record]:
        """Repeat what others published."""
        shape = Shape.parse(f"{self.chosen.million}x128x1024")
        problem = Problem.of(shape, "spherical", self.card.device)
        for name, seconds in TIMES.items():
            shape = Shape.parse(name)
            wanted = shape.n_rows * len(problem.rows) // 1_000_000
            rows = problem.rows.repeat(-(-wanted // len(problem.rows)), 1)[:wanted]
            run = gpu_passes.our_pass(problem, problem.beginning.split(), rows)
            yield self._against(f"E-step, {FLASH_GMM}", name, "spherical", attempt(self.card.seconds, run), seconds)
        for (name, structure), (seconds, source) in FITS.items():
            shape = Shape.parse(name.replace("1M", self.chosen.million))
            fit = partial(self._fit, shape, structure, init_means="kmeans", max_iter=ITERATIONS, tol=0, accelerate=None)
            yield self._against(f"fit, {ITERATIONS} iterations, {source}", name, structure, attempt(fit), seconds)

    def iterations(self) -> Iterator[Record]:
        """Time an iteration of whole fits from one start, ours and scikit-learn's."""
        for shape, structure in product(self.chosen.shapes, self.chosen.structures):
            problem = Problem.of(shape, structure, self.card.device)
            ours, theirs = (
                attempt(gpu_passes.iteration_seconds, self.card, fit, problem)
                for fit in (gpu_passes.our_fit, gpu_passes.their_fit)
            )
            yield self._against("iteration, scikit-learn on tensors", str(shape), structure, ours, theirs)

    def raw(self) -> Iterator[Record]:
        """Time the default fit from raw data on this device, and its memory."""
        for name in self.chosen.raw:
            shape = Shape.parse(name)
            seconds = attempt(self._fit, shape, "full")
            short = seconds if isinstance(seconds, str) else None
            yield {"what": "default fit", "shape": name, "structure": "full", "seconds": seconds, "short": short}

    def missing(self) -> Iterator[Record]:
        """Time as many iterations on rows that lack values as on the same rows with all values."""
        shares = {"all values": 0.0, "missing values": LACKING}
        for shape, (what, share) in product(map(Shape.parse, self.chosen.raw[:1]), shares.items()):
            fit = partial(self._fit, shape, "full", share, init_means="kpp", max_iter=10, tol=0, accelerate=None)
            seconds = attempt(fit)
            short = seconds if isinstance(seconds, str) else None
            yield {"what": f"10 iterations, {what}", "shape": str(shape), "seconds": seconds, "short": short}

    def many(self) -> Iterator[Record]:
        """Fit many small problems at once, as others published it."""
        count = self.chosen.problems
        every = torch.from_numpy(make_problems(count)).to(self.card.device)
        for start, rows in (("kmeans", every), ("auto", every[: -(-count // FEWER)])):
            fit = partial(fit_many, rows, n_components=2, init_means=start, random_state=0)
            theirs = SWEEP * len(rows) / PROBLEMS if start == "kmeans" else None
            what, shape = f"fit_many, init_means={start!r}; {GMM_GPU}", f"{len(rows)} of 400x2x2"
            yield self._against(what, shape, "full", attempt(self.card.seconds, fit), theirs)

    def _fit(self, shape: Shape, structure: str, lacking: float = 0.0, **settings: Any) -> float:
        rows = torch.from_numpy(gpu_passes.rows_of(shape)[0]).to(self.card.device)
        if lacking:
            gaps = torch.rand(rows.shape, generator=torch.Generator().manual_seed(0)) < lacking
            rows, settings = rows.masked_fill(gaps.to(rows.device), torch.nan), settings | {"missing": "em"}
        model = GaussianMixture(shape.n_components, covariance_type=structure, random_state=0, **settings)
        model.fit(rows)
        return self.card.once(lambda: model.fit(rows))

    def _ours(self, problem: Problem) -> dict[str, Callable[[torch.Tensor], gpu_passes.Pass]]:
        """Return what makes a pass by our kernels, the one that a fit takes first."""
        kernels = {
            "tgmm": problem.beginning.chosen,
            "tgmm, bfloat16 parts": problem.beginning.split,
            "tgmm, float32 products": lambda: problem.beginning.products(torch.float32),
        }
        return {
            name: lambda rows, make=make: gpu_passes.our_pass(problem, make(), rows) for name, make in kernels.items()
        }

    def _all(self, problem: Problem) -> dict[str, Callable[[torch.Tensor], gpu_passes.Pass]]:
        found = self._ours(problem)
        if problem.structure == "spherical" and self.chosen.flash_gmm is not None:
            found["Flash-GMM"] = lambda rows: gpu_passes.flash_pass(problem, rows, "flash_gmm")
        if problem.structure == "diag" and problem.shape.n_components < 1000:
            found["MixtureSameFamily, log_prob alone"] = lambda rows: gpu_passes.torch_pass(problem, rows)
        return found

    def _pass(self, problem: Problem, name: str, make: Callable[[torch.Tensor], gpu_passes.Pass]) -> Record:
        run = attempt(make, problem.rows)
        if isinstance(run, str):
            return {**named(problem), "what": name, "seconds": run}
        seconds = attempt(self.card.seconds, run)
        floors = problem.floors(self.ceilings)
        reached = {"floor / time": max(floors.values()) / seconds} if isinstance(seconds, float) else {}
        record = {**named(problem), "what": name, "seconds": seconds, "floors": floors, **reached}
        if name.startswith("tgmm"):
            record |= {"memory": attempt(self.card.memory, run), "same bits": torch.equal(run(), run())}
        return record

    def _shortfall(self, ours: Record, others: Sequence[Record]) -> str | None:
        seconds = ours["seconds"]
        if isinstance(seconds, str):
            return seconds
        faster = [record for record in others if isinstance(record["seconds"], float) and record["seconds"] < seconds]
        reasons = [f"{record['what']} takes {1e3 * record['seconds']:.3g} ms" for record in faster]
        if not ours["same bits"]:
            reasons.append("two passes differ")
        work = ours["floors"]["operations"] * self.ceilings.bfloat16 / gpu_passes.PRODUCTS
        if work >= LARGE and ours["floor / time"] < HALF:
            reasons.append(f"{ours['floor / time']:.2f} of the floor")
        return "; ".join(reasons) or None

    def _against(self, what: str, shape: str, structure: str, ours: Any, theirs: Any) -> Record:
        """Return our time beside another."""
        short = ours if isinstance(ours, str) else None
        if isinstance(ours, float) and isinstance(theirs, float) and theirs < ours:
            short = f"theirs takes {1e3 * theirs:.3g} ms"
        return {
            "what": what, "shape": shape, "structure": structure, "seconds": ours, "theirs": theirs, "short": short,
        }  # fmt: skip


PARTS = ("tests", "accuracy", "passes", "published", "raw", "missing", "many", "iterations")


def named(problem: Problem) -> Record:
    return {"shape": str(problem.shape), "structure": problem.structure}


def attempt(measure: Callable[..., Any], *arguments: Any) -> Any:
    """Return a measurement, or why there is none."""
    try:
        return measure(*arguments)
    except Exception as error:  # one that cannot do it leaves the others
        return f"{type(error).__name__}: {error}"[:200]


FORMATS: dict[str, Callable[[Any], str]] = {
    "seconds": lambda value: f"{1e3 * value:.3g}",
    "theirs": lambda value: f"{1e3 * value:.3g}",
    "floor / time": lambda value: f"{value:.2f}",
    "memory": lambda value: f"{value / GIGA:.2f}",
    **dict.fromkeys(("tgmm", "tgmm, bfloat16 parts", "tgmm, float32 products"), lambda value: f"{value:.0e}"),
    "same bits": lambda value: "yes" if value else "no",
}
HIDDEN = ("part", "floors", "short")
HEADERS = {"seconds": "ms", "theirs": "theirs, ms", "memory": "memory, GB"}


def cell(name: str, value: Any) -> str:
    """Return a value as the table shows it."""
    if value is None:
        return ""
    return FORMATS[name](value) if name in FORMATS and not isinstance(value, str) else str(value)[:70]


def shown(records: Sequence[Record]) -> str:
    """Return the table of one part."""
    names = list(dict.fromkeys(name for record in records for name in record if name not in HIDDEN))
    rows = [[cell(name, record.get(name)) for name in names] for record in records]
    return table([HEADERS.get(name, name) for name in names], rows)


def shortfalls(records: Sequence[Record]) -> str:
    """Return a line for everything that fell short."""
    found = []
    for record in records:
        if record.get("short"):
            what = " ".join(record[name] for name in ("part", "what", "shape", "structure") if name in record)
            found.append(f"- {what}: {record['short']}")
    return "\n".join(["Fell short:", *found]) if found else "Nothing fell short."


def add_options(options: ArgumentParser) -> None:
    add_shapes(options, SHAPES)
    options.add_argument("--structures", nargs="+", choices=STRUCTURES, default=UNTIED)
    options.add_argument("--accuracy", nargs="*", type=Shape.parse, default=[Shape.parse(shape) for shape in ACCURACY])
    options.add_argument("--raw", nargs="*", default=RAW, help="shapes of the fits from raw data")
    options.add_argument("--problems", type=int, default=PROBLEMS, help="how many are fitted at once")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--million", default="1M", help="rows in the place of a million of what others published")
    options.add_argument("--flash-gmm", type=Path, help="folder of IBM's modules")
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    options.add_argument("--matrix", type=int, default=8192, help="order of the matrices that are multiplied")
    options.add_argument("--copied", type=int, default=1 << 30, help="bytes")
    options.add_argument("--output", type=Path, default=RESULTS / "gpu.json")


def main(chosen: Namespace) -> None:
    if chosen.flash_gmm is not None:
        sys.path.insert(0, str(chosen.flash_gmm))
    warnings.simplefilter("ignore")  # fits that are cut short say so
    card, started = Card(chosen.device, chosen.repeats), time.perf_counter()
    ceilings = card.ceilings(chosen.matrix, chosen.copied)
    about = card.about()
    print(f"{about['card']}, {about['date']}, torch {about['torch']}, Triton {about['triton']}; {ceilings}\n")
    records: list[Record] = []
    for part in chosen.parts:
        found = [{"part": part, **record} for record in getattr(Check(card, ceilings, chosen), part)()]
        records += found
        save({**about, "ceilings": vars(ceilings), "records": records}, chosen.output)
        print(f"{part} ({time.perf_counter() - started:.0f} s so far)\n\n{shown(found)}\n", flush=True)
    print(shortfalls(records))
