"""The tables of the saved results, as `make bench` prints them."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from harness.measuring import IN_PROJECT
from harness.records import RESULTS
from suites import all as everything
from suites import convergence, factors, fits, imputation, iteration, memory, small

CLOCK = "processor_seconds"


def write(folder: Path) -> None:
    """Write each to a file in Markdown."""
    results, two = (json.loads((RESULTS / name).read_text()) for name in ("cpu-1-thread.json", "cpu-2-threads.json"))
    tables = {
        "iteration": iteration.show(results["iteration"], everything.COMPARED, CLOCK, results["rates"]),
        "two_threads": iteration.show(two["iteration"], IN_PROJECT, "seconds", two["rates"]),
        "convergence": convergence.show(results["convergence"], IN_PROJECT, CLOCK),
        "memory": memory.show(results["memory"], everything.COMPARED),
        "imputation": imputation.show(json.loads((RESULTS / "imputation-1-thread.json").read_text())["imputation"]),
    }
    few_factors = json.loads((RESULTS / "factors-1-thread.json").read_text())
    tables["factors"] = factors.show_iterations(few_factors["factors"])
    whole_fits = json.loads((RESULTS / "fits-1-thread.json").read_text())
    machine = whole_fits["machine"]
    tables["fits"] = (
        f"{fits.show(whole_fits['fits'])}\n\nMeasured on one core of an {machine['processor']}, {machine['date'][:10]}."
    )
    few_rows = json.loads((RESULTS / "small-1-thread.json").read_text())
    machine = few_rows["machine"]
    tables["small"] = (
        f"{small.show(few_rows['small'])}\n\nMeasured on one core of an {machine['processor']}, {machine['date'][:10]}."
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.md").write_text(text + "\n")
