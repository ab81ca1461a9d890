"""What `import tgmm` costs: no more of other libraries than it needs."""

import subprocess
import sys

PROGRAM = """
import sys, torch, sklearn.base
before = set(sys.modules)
import tgmm
print(*(name for name in set(sys.modules) - before if name.partition(".")[0] not in ("tgmm", *sys.stdlib_module_names)))
"""


def test_import_takes_of_other_libraries_torch_and_sklearn_base_and_the_clustering_of_starts():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=120)
    more = done.stdout.split()  # the tests' own process has imported everything
    assert not [name for name in more if not name.startswith(("scipy.cluster", "scipy._lib"))]
