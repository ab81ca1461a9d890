"""Rows drawn at random from data of unknown length, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tgmm.data.chunk import Chunk, joined

BLOCK = 4096  # replacements that are drawn together
FARTHEST = 2.0**62  # no data has a row with this index


@dataclass(frozen=True)
class Sampling:
    """The size of a sample, given the number of features, and its seed."""

    size: Callable[[int], int]
    seed: int


class Reservoir:
    """A sample of rows without replacement, in which every set of rows is equally probable.

    The first rows fill the sample. Every later row replaces a random one with the right probability for its index. Only
    rows that enter the sample cost random numbers (algorithm L: Li 1994, ACM Transactions on
    Mathematical Software 20). The sample depends on the seed and the number of rows, not on the batches.

    Parameters
    ----------
    size : int
        Number of rows of the sample.
    seed : int
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._log_w = 0.0
        self._last = size - 1
        self._positions = np.empty(0, dtype=np.int64)  # of the rows that take a place, ascending
        self._places = np.empty(0, dtype=np.int64)
        self._chunks: list[tuple[np.ndarray, np.ndarray, Chunk]] = []  # places, indices, rows
        self._n_kept = 0
        self._n_seen = 0

    def indices(self, n_rows: int) -> Tensor:
        """Return the indices of the rows in a sample of this many rows, in increasing order."""
        places, positions = self._taken(0, n_rows)
        return torch.from_numpy(np.sort(positions[self._last_of_each(places)]))

    def add(self, chunk: Chunk) -> None:
        """Add the next rows."""
        places, positions = self._taken(self._n_seen, self._n_seen + chunk.rows.shape[0])
        chosen = self._last_of_each(places)
        index = torch.from_numpy(positions[chosen] - self._n_seen).to(chunk.rows.device)
        self._chunks.append((places[chosen], positions[chosen], chunk.part(index)))
        self._n_kept += len(chosen)
        self._n_seen += chunk.rows.shape[0]
        if self._n_kept > 2 * self.size + BLOCK:
            self._forget()

    def sample(self) -> Chunk:
        """Return the sample of the rows that were added, in their order."""
        self._forget()
        _, _, rows = self._chunks[0]
        return rows

    def _forget(self) -> None:
        """Keep what has its place still."""
        places = np.concatenate([places for places, _, _ in self._chunks])
        positions = np.concatenate([positions for _, positions, _ in self._chunks])
        kept = self._last_of_each(places)
        kept = kept[np.argsort(positions[kept])]
        index = torch.from_numpy(kept).to(self._chunks[0][2].rows.device)
        whole = joined([rows for _, _, rows in self._chunks])
        self._chunks, self._n_kept = [(places[kept], positions[kept], whole.part(index))], len(kept)

    def _taken(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places that rows of these indices take, one after another, and their indices."""
        filling = np.arange(begin, max(min(end, self.size), begin))
        while self._last < end:
            self._draw()
        inside = slice(*np.searchsorted(self._positions, [begin, end]))
        places = np.concatenate([filling, self._places[inside]])
        positions = np.concatenate([filling, self._positions[inside]])
        keep = int(np.searchsorted(self._positions, end))
        self._positions, self._places = self._positions[keep:], self._places[keep:]
        return places, positions

    def _draw(self) -> None:
        """Draw the next rows that take a place, and which."""
        log_w = self._log_w + np.cumsum(np.log1p(-self._generator.random(BLOCK))) / self.size
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # late in a long pass exp(log_w) is 0
            skips = np.floor(np.log1p(-self._generator.random(BLOCK)) / np.log1p(-np.exp(log_w)))
        skips = np.fmin(skips, FARTHEST / BLOCK)
        positions = self._last + np.cumsum(skips.astype(np.int64) + 1)
        self._positions = np.concatenate([self._positions, positions])
        self._places = np.concatenate([self._places, self._generator.integers(self.size, size=BLOCK)])
        self._log_w, self._last = float(log_w[-1]), int(positions[-1])

    def _last_of_each(self, places: np.ndarray) -> np.ndarray:
        """Return where each place was taken last, for those that were taken."""
        last = np.full(self.size, -1)
        last[places] = np.arange(len(places))  # of equal places NumPy keeps the last
        return last[last >= 0]
