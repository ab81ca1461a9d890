"""Workers as seen from the process that measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from harness.environments import BENCHMARKS, PROJECT, python_of

# Settings of the surroundings that would hold a library back: an OpenBLAS told to use the kernels of another processor.
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
OUR_SOURCE = {"PYTHONPATH": str(PROJECT / "src")}


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
            [str(python_of(library)), "-m", "harness.worker", library],
            cwd=BENCHMARKS,
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
        source = OUR_SOURCE if self.library == "tgmm" else {}
        eigen = "true" if self.threads > 1 else "false"
        jax = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}"}
        return kept | thread_pools(self.threads) | source | jax


def thread_pools(threads: int) -> dict[str, str]:
    """Return the settings of the surroundings by which a new process has pools of so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))


def report(text: str) -> None:
    """Say on the terminal how far the measurements are; the tables go to standard output."""
    print(text, file=sys.stderr, flush=True)
