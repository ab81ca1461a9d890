"""Results in JSON files: records of problems and libraries, and the machine that they were measured on."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
# What tells a record from others of its kind.
IDENTITY = ("shape", "separation", "structure", "dtype", "verb", "library")


def machine(threads: int) -> dict[str, Any]:
    """Return what the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "processor": next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), ""),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "load_before": os.getloadavg(),
    }


def add(results: dict[str, Any], kind: str, records: Sequence[dict[str, Any]]) -> None:
    """Add records, in place of earlier ones of the same problem and library."""
    new = {_identity(record) for record in records}
    results[kind] = [record for record in results.get(kind, []) if _identity(record) not in new] + list(records)


def _identity(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in IDENTITY)


def save(results: dict[str, Any], path: Path) -> None:
    """Write what there is so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
