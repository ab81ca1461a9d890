"""A virtual environment for every peer, made once under benchmarks/.venvs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]
PROJECT = BENCHMARKS.parent
VENVS = BENCHMARKS / ".venvs"
# What each needs beyond the versions of constraints.txt; the others live in the environment that measures.
PEERS = {
    "tgmm-0.4.3": ["tgmm==0.4.3"],
    "pomegranate": ["pomegranate==1.1.2"],
    "gmmx": ["gmmx==0.7", "scikit-learn"],  # its start is scikit-learn's k-means
}
PUBLISHED = "tgmm-0.4.3"  # before this library was rewritten: compared with where it is asked for


def python_of(library: str) -> Path:
    """Return the Python that runs a library, after making its environment where there is none."""
    if library not in PEERS:
        return Path(sys.executable)
    venv = VENVS / library
    stamp = venv / ".installed"
    if not stamp.exists() or stamp.read_text().split() != PEERS[library]:
        print(f"installing {library} into {venv.relative_to(PROJECT)}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        constraints = PROJECT / "constraints.txt"
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", str(constraints), *PEERS[library]], check=True)
        stamp.write_text("\n".join(PEERS[library]))
    return venv / "bin" / "python"
