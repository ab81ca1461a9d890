"""Rewrite ``constraints.txt`` from the environment that runs this script.

    make constraints

installs every extra into a fresh environment, at the newest versions, and runs this there. What was installed is what
gets pinned; a release that needs a newer Python than the oldest one supported is pinned only where it can be installed.
"""

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 10)
NOT_OURS = {"pip", "setuptools", "wheel", "tgmm"}
HEADER = """\
# The versions that the tests were last run with, for every extra of pyproject.toml; `make constraints` rewrites them.
#
# Every installation of the project itself goes through this file (pip install -c constraints.txt ...). A user's need
# not: the ranges in pyproject.toml hold. torch is pinned without a local version label, so a CPU build of it serves
# wherever pip sees one; an unpinned torch takes the newest release with all its accelerator libraries: gigabytes.
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def oldest_python(requires: str | None) -> tuple[int, int]:
    """The lower bound of a ``Requires-Python`` such as ``!=3.9.7,>=3.11``."""
    bounds = re.findall(r">=?\s*(\d+)\.(\d+)", requires or "")
    return max(((int(major), int(minor)) for major, minor in bounds), default=(0, 0))


def pin(distribution: metadata.Distribution) -> str:
    version = distribution.version.partition("+")[0]
    line = f"{canonical(distribution.name)}=={version}"
    needed = oldest_python(distribution.metadata["Requires-Python"])
    if needed > OLDEST_PYTHON:
        line += f'; python_version >= "{needed[0]}.{needed[1]}"'
    return line


def main() -> None:
    lines = sorted({pin(d) for d in metadata.distributions() if canonical(d.name) not in NOT_OURS})
    (ROOT / "constraints.txt").write_text(HEADER + "\n" + "\n".join(lines) + "\n")
    print(f"constraints.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
