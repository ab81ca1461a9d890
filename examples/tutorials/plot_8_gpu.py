"""
On a GPU
========

The same code runs on the CPU and on the other devices of PyTorch, CUDA above all. This page was built on the device
that the first line prints.
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
# `device=None`, the default, means: a tensor's own device; for everything else CUDA where there is one, else the CPU.
# So arrays go to the GPU by themselves, and answers and parameters come back as arrays; tensors stay where they are.

rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(m, 1, size=(20_000, 8)) for m in (0, 4, 8)]).astype(np.float32)
gmm = GaussianMixture(n_components=3, random_state=0).fit(X)
print("means as", type(gmm.means_).__name__, "- labels as", type(gmm.predict(X)).__name__)

rows = torch.from_numpy(X).to(device)
gmm = GaussianMixture(n_components=3, random_state=0).fit(rows)
labels = gmm.predict(rows)
print("means on", gmm.means_.device, "- labels as", type(labels).__name__, "on", labels.device)

# %%
# `device="cpu"` forces the CPU, `device="cuda:1"` the second GPU; data elsewhere is moved. A model is saved from any
# device and loaded onto any: ``GaussianMixture.load(path, device="cpu")``.
#
# float32 or float64
# ------------------
#
# GPUs are fast in float32. Pass float32 data: rows are computed with in float32, sums are float64, and where float32
# cannot carry a step, the step is computed in float64 (:doc:`/guide/numerics`). Here the fit in both, on this page's
# device:

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
# Starts draw their random numbers on the CPU whatever the device, so that `random_state` gives the same draws
# everywhere. The trials of the default start run on the CPU in float64, and what they find is refined on the device.
# The k-means of `init_means="kmeans"` is scikit-learn's on the CPU and torch's on a GPU.
#
# Larger than the GPU's memory
# ----------------------------
#
# Arrays in the computer's memory are moved whole. A source is not (:doc:`plot_6_larger_than_memory`): its batches are
# read, copied to the device and forgotten, the next one while the last is computed with. Chunks are sized to the
# device, so that a fit needs little memory beyond the data.

batches = [X[:25_000], X[25_000:50_000], X[50_000:]]
print(GaussianMixture(n_components=3, random_state=0, device=device).fit(batches).weights_)
