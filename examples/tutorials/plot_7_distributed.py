"""
Many processes
==============

EM needs only sums over the rows, so many processes, on one machine or several, can fit one mixture together. Each
process has its own rows. An iteration adds a few numbers over all processes and leaves all of them with the same
parameters. The rows stay where they are.
"""

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tgmm import GaussianMixture

# %%
# Data
# ----
#
# Four Parquet files of different sizes represent a folder that many machines can read.

folder = Path(tempfile.mkdtemp())
data = folder / "data"
data.mkdir()
centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
rng = np.random.default_rng(0)
for number, n_rows in enumerate((4000, 1000, 3000, 2000)):
    rows = centres[rng.integers(0, 3, n_rows)] + rng.normal(size=(n_rows, 2))
    pq.write_table(pa.table({"x": rows[:, 0], "y": rows[:, 1]}), data / f"part-{number}.parquet")

# %%
# The program
# -----------
#
# Every process runs the same program. It joins the process group, opens its share of the files, and fits with
# `distributed=True`. The rest is the same as for one process.

program = Path("../distributed_fit.py")
print(program.read_text().partition("def parse_arguments")[0].rstrip())

# %%
# `torchrun` starts the program, here twice on this machine. On GPUs, start one process for each and use NCCL instead of
# gloo.

launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
options = ["--tol", "1e-8", "--save", str(folder / "model.pth")]
run = subprocess.run([*launch, str(data), *options], stdout=subprocess.PIPE, text=True, check=True)
print(run.stdout)

# %%
# The same fit
# ------------
#
# A single process with all rows finds the same mixture. With more processes, sums are added in a different order, so
# the results agree up to rounding.

together = GaussianMixture.load(folder / "model.pth")
alone = GaussianMixture(3, tol=1e-8, random_state=0).fit(data)
order = [model.means_.sum(1).argsort() for model in (together, alone)]
print(together.means_[order[0]].round(3).tolist())
print(f"largest difference: {np.abs(together.means_[order[0]] - alone.means_[order[1]]).max():.1e}")

# %%
# Resuming after a crash
# ----------------------
#
# With `checkpoint`, a fit regularly updates a file, and ``fit(..., resume=True)`` continues from it. The result equals
# that of an uninterrupted fit, bit for bit. In this example, a limit of ten steps stands in for the crash.

settings = {"n_components": 3, "init_means": "random", "tol": 1e-9, "random_state": 0}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    GaussianMixture(**settings, max_iter=10, checkpoint=folder / "fit.pth").fit(data)
resumed = GaussianMixture(**settings, max_iter=1000, checkpoint=folder / "fit.pth").fit(data, resume=True)
straight = GaussianMixture(**settings, max_iter=1000).fit(data)
print(f"{resumed.n_iter_} and {straight.n_iter_} iterations, equal: {bool((resumed.means_ == straight.means_).all())}")
