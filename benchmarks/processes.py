"""Workers as seen from the process that measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from environments import python_of

HERE = Path(__file__).parent
# Settings of the surroundings that would hold a library back: an OpenBLAS told to use the kernels of another processor.
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class WorkerError(RuntimeError):
    """A library that could not do what it was asked."""


class Worker:
    """One library in its own process and environment.

    Parameters
    ----------
    library : str
        A name of `libraries.LIBRARIES`.
    threads : int
        How many threads it may use.
    """

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads = library, threads
        self.process = subprocess.Popen(
            [str(python_of(library)), str(HERE / "worker.py"), library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment(),
        )
        self.about = self.ask("about")

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to one request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": f"its process ended with status {self.process.wait()}"}
        if "error" in reply:
            raise WorkerError(f"{self.library}: {reply['error']}")
        return reply

    def can(self, structure: str, dtype: str) -> bool:
        """Whether the library has this structure in this float type."""
        return structure in self.about["structures"] and dtype in self.about["dtypes"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in (*FORCED, "PYTHONPATH")}
        pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        source = {"PYTHONPATH": str(HERE.parent / "src")} if self.library == "tgmm" else {}
        eigen = "true" if self.threads > 1 else "false"
        jax = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}"}
        return kept | pools | source | jax


def report(text: str) -> None:
    """Say on the terminal how far the measurements are; the tables go to standard output."""
    print(text, file=sys.stderr, flush=True)
