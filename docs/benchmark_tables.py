"""The tables of the saved results, as `make bench` prints them."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import convergence
import iteration
import memory
from environments import PEERS
from measuring import IN_PROJECT

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "cpu-1-thread.json"
LIBRARIES = [*IN_PROJECT, *PEERS]
CLOCK = "processor_seconds"


def write(folder: Path) -> None:
    """Write each to a file in Markdown."""
    results = json.loads(RESULTS.read_text())
    tables = {
        "iteration": iteration.show(results["iteration"], LIBRARIES, CLOCK, results["rates"]),
        "convergence": convergence.show(results["convergence"], IN_PROJECT, CLOCK),
        "memory": memory.show(results["memory"], LIBRARIES),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.md").write_text(text + "\n")
