"""One library in its own process: reads requests, one JSON object a line, and answers each with one.

Started by `harness.processes.Worker`; nothing else writes to the pipe it answers on.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from harness.libraries import LIBRARIES
from harness.meters import Seconds, largest_resident_bytes, least_seconds, resident_bytes
from harness.problems import Parameters

MATRIX = 2048  # order of the matrices whose product is the machine's rate


class Session:
    """A library, the problem it has loaded and the last model it fitted."""

    def __init__(self, name: str) -> None:
        self.library = LIBRARIES[name]()

    def about(self) -> dict[str, Any]:
        """Return what the library can do."""
        library = self.library
        return {"version": library.version, "structures": library.structures, "dtypes": library.dtypes}

    def load(self, rows: str, start: str, structure: str, n_components: int, n_rows: int | None) -> dict[str, Any]:
        """Read the first rows, or all, and a start from files; nothing of the problem before is kept."""
        self.rows = self.model = None
        self.rows = self.library.convert(np.load(rows)[:n_rows].copy() if n_rows else np.load(rows))
        with np.load(start) as parts:
            self.start = Parameters(parts["weights"], parts["means"], parts["covariances"])
        self.structure, self.n_components = structure, n_components
        return {}

    def fit(self, iterations: int, from_start: bool, seed: int = 0, tol: float = 0.0) -> dict[str, Any]:
        """Fit; return the wall and processor seconds and the bytes added to the process at its largest."""
        self.model = None
        before = _trimmed_resident()
        start = self.start if from_start else None
        beginning = Seconds.now()
        model = self.library.fit(self.rows, self.structure, self.n_components, iterations, start, seed, tol)
        passed = beginning.passed()
        self.model = model
        return {**passed._asdict(), "bytes": largest_resident_bytes() - before}

    def save(self, path: str) -> dict[str, Any]:
        """Write the parameters of the last fit to a file."""
        np.savez(path, **self.library.parameters(self.model, self.structure)._asdict())
        return {}

    def matrix_rate(self, dtype: str, repeats: int) -> dict[str, Any]:
        """Return the operations a second of the product of two square matrices, the best of NumPy's and torch's."""
        import torch

        a = np.random.default_rng(0).random((MATRIX, MATRIX)).astype(dtype)
        out = np.empty_like(a)
        tensor, tensor_out = torch.from_numpy(a), torch.from_numpy(out)
        products = (lambda: np.matmul(a, a, out=out), lambda: torch.mm(tensor, tensor, out=tensor_out))
        return {"rate": 2 * MATRIX**3 / min(least_seconds(product, repeats) for product in products)}


def _trimmed_resident() -> int:
    """Give back what is free, forget the largest size so far, and return the size of the process in bytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident_bytes()


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to the terminal
    warnings.simplefilter("ignore")  # fits that are cut short say so
    session = Session(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(session, request.pop("do"))(**request)
        except Exception as error:  # an answer too: the library cannot do this
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
