"""
On a GPU
========

The same code runs on the CPU and on the other devices of PyTorch, above all CUDA. The first line of output is the
device on which this page was built.
"""

import time
import warnings

import numpy as np
import torch

from tgmm import GaussianMixture

device = "cuda" if torch.cuda.is_available() else "cpu"
print(device)

# %%
# Where a fit runs
# ----------------
#
# With `device=None`, the default, a tensor is computed on its own device. Everything else is computed on CUDA if it is
# available, and on the CPU otherwise. Arrays are therefore moved to the GPU automatically, and predictions and
# parameters come back as arrays. Tensors stay where they are.

rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(m, 1, size=(20_000, 8)) for m in (0, 4, 8)]).astype(np.float32)
gmm = GaussianMixture(n_components=3, random_state=0).fit(X)
print("means as", type(gmm.means_).__name__, "- labels as", type(gmm.predict(X)).__name__)

rows = torch.from_numpy(X).to(device)
gmm = GaussianMixture(n_components=3, random_state=0).fit(rows)
labels = gmm.predict(rows)
print("means on", gmm.means_.device, "- labels as", type(labels).__name__, "on", labels.device)

# %%
# `device="cpu"` forces the CPU, and `device="cuda:1"` selects the second GPU. Data on another device are moved. You can
# load a model on a different device than it was saved from: ``GaussianMixture.load(path, device="cpu")``.
#
# float32 or float64
# ------------------
#
# GPUs are fast in float32, so pass float32 data. Operations on rows are then in float32 and sums in float64. Where
# float32 is not precise enough for a step, the step is computed in float64 (:doc:`/guide/numerics`). This compares both
# types on the device of this page:

for dtype in (torch.float32, torch.float64):
    typed = rows.to(dtype)
    model = GaussianMixture(n_components=3, init_means=gmm.means_, tol=0, max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        model.fit(typed)
    print(f"{dtype}: {time.perf_counter() - start:.2f} s for 20 iterations, log-likelihood {model.lower_bound_:.6f}")

# %%
# Random numbers
# --------------
#
# Starts draw their random numbers on the CPU whatever the device, so `random_state` gives the same numbers everywhere.
# The trials of the default start run on the CPU in float64, and their result is refined on the device.
# `init_means="kmeans"` uses scikit-learn's k-means on the CPU and a torch implementation on a GPU.
#
# Data larger than the GPU's memory
# ---------------------------------
#
# An array in host memory is moved as a whole. A source is not (:doc:`plot_6_larger_than_memory`): its batches are read,
# copied to the device and discarded, and the next batch is prepared while the current one is computed. Chunks are sized
# for the device, so a fit needs little memory in addition to the data.

batches = [X[:25_000], X[25_000:50_000], X[50_000:]]
print(GaussianMixture(n_components=3, random_state=0, device=device).fit(batches).weights_)
