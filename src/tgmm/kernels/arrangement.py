"""The rows of a chunk by what they lack: all that follows from the rows alone, whatever the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.kernels.incomplete import Group, Incomplete
from tgmm.runtime.devices import float64_device


@dataclass(frozen=True)
class Arrangement:
    """Which rows lack no value, and which others are computed together, as indices where weights are.

    Finding them makes the host wait for a device some twenty times; a pass with them does not. They take 8 bytes a row,
    and of a row with gaps 9 more for each time it is in a group, and at most 4 for each value that it lacks. The
    rows that lack none are kept themselves where they fit in one chunk, so that their kernel can keep what it makes of
    them, too.
    """

    whole: Tensor  # (n,) the rows that lack nothing
    lacking: Tensor  # the others
    empty: Tensor  # those without any value
    groups: list[Group]  # of those that lack something
    n_rows: int  # of a chunk without gaps, at most
    whole_rows: Tensor | None  # (n, d), where they are at most n_rows

    @classmethod
    def of(cls, rows: Tensor, incomplete: Incomplete, n_rows: int) -> Arrangement:
        """Find the arrangement of rows (c, d) for what meets those with gaps."""
        observed = (~torch.isnan(rows)).to(float64_device(rows.device))
        is_whole = observed.all(1)
        whole, lacking = is_whole.nonzero()[:, 0], (~is_whole).nonzero()[:, 0]
        empty = (~observed.any(1)).nonzero()[:, 0]
        is_few = 0 < len(whole) <= n_rows and len(lacking)
        groups = list(incomplete.groups(observed, lacking)) if len(lacking) else []
        whole_rows = rows[whole.to(rows.device)] if is_few else None
        return cls(whole, lacking, empty, groups, n_rows, whole_rows)

    def complete(self, chunk: Chunk) -> Iterator[Chunk]:
        """Yield the rows that lack nothing, of the chunk that was arranged, at most so many at a time."""
        if not self.groups:
            yield chunk
        elif self.whole_rows is not None:
            yield chunk.part(self.whole)._replace(rows=self.whole_rows, stays=chunk.stays)
        elif len(self.whole):
            for index in self.whole.split(self.n_rows):
                yield chunk.part(index)
