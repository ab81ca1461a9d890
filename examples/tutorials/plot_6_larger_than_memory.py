"""
Larger than memory
==================

EM needs only sums over the rows. A fit can therefore read the rows from disk in batches, once per iteration, and hold a
few batches at a time. The result equals that of a fit in memory.
"""

import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tgmm import GaussianMixture
from tgmm.data import ParquetSource, Source

folder = Path(tempfile.mkdtemp())

# %%
# A file
# ------
#
# Here a `.npy` file with 300,000 rows of four features represents one that does not fit in memory. It is written in
# pieces, as a large file would be.

centres = np.array([[0, 0, 0, 0], [6, 0, 2, 0], [0, 6, 0, 2]], dtype=np.float32)
rng = np.random.default_rng(0)
file = np.lib.format.open_memmap(folder / "rows.npy", mode="w+", dtype=np.float32, shape=(300_000, 4))
for first in range(0, len(file), 50_000):
    label = rng.integers(0, 3, 50_000)
    file[first : first + 50_000] = centres[label] + rng.standard_normal((50_000, 4), dtype=np.float32)
file.flush()
print(f"{(folder / 'rows.npy').stat().st_size / 1e6:.1f} MB")

# %%
# `fit` accepts the path. For comparison, the second fit uses the array in memory:

from_file = GaussianMixture(3, random_state=0).fit(folder / "rows.npy")
in_memory = GaussianMixture(3, random_state=0).fit(np.load(folder / "rows.npy"))
print(from_file.means_.round(3))
print(f"largest difference between the means: {np.abs(from_file.means_ - in_memory.means_).max():.1e}")

# %%
# Predictions can go to a file as well. `out` names a new `.npy` file, and the result is a memory map of it.

labels = from_file.predict(folder / "rows.npy", out=folder / "labels.npy")
print(type(labels).__name__, labels.shape, np.bincount(labels))

# %%
# The average log-likelihood and the information criteria read the file in batches, too:

print(f"score {from_file.score(folder / 'rows.npy'):.4f}, BIC {from_file.bic(folder / 'rows.npy'):.0f}")

# %%
# Parquet
# -------
#
# `fit` accepts a path or a folder of files. `ParquetSource` selects columns and can take the sample weights from one of
# them. Here a table says how often each pair of rounded values occurs in the first two columns of the file, so each of
# its rows represents many rows.

pairs, counts = np.unique(np.load(folder / "rows.npy")[:, :2].round(1), axis=0, return_counts=True)
pq.write_table(pa.table({"x": pairs[:, 0], "y": pairs[:, 1], "count": counts}), folder / "counts.parquet")
counted = GaussianMixture(3, covariance_type="diag", random_state=0)
counted.fit(ParquetSource(folder / "counts.parquet", weight_column="count"))
print(f"{len(pairs)} rows represent {counts.sum()}")
print(counted.feature_names_in_, counted.weights_.round(3), counted.means_.round(2).tolist())

# %%
# Loaders
# -------
#
# A `DataLoader` works directly, with its workers and its order, and so does a list of arrays. A generator is refused,
# because it can be read only once:

data = torch.utils.data.TensorDataset(torch.from_numpy(np.load(folder / "rows.npy")[:60_000]))
loader = torch.utils.data.DataLoader(data, batch_size=8192)
print(GaussianMixture(3, random_state=0).fit(loader).weights_)

try:
    GaussianMixture(3).fit(batch for batch in loader)
except ValueError as error:
    print(textwrap.fill(str(error), 100))

# %%
# Your own source
# ---------------
#
# For any other storage, write a subclass of :class:`tgmm.data.Source` that yields the batches from the first row each
# time it is asked. This one generates its rows.


class Simulated(Source):
    """A hundred thousand rows that are never stored."""

    n_rows = 100_000

    def __iter__(self):
        """Yield the same batches each time."""
        rng = np.random.default_rng(0)
        for _ in range(10):
            yield rng.normal([0.0, 5.0], [1.0, 2.0], size=(10_000, 2))


simulated = GaussianMixture(covariance_type="diag").fit(Simulated())
print(simulated.means_.round(2), np.sqrt(simulated.covariances_).round(2))
