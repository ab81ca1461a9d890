"""Which rows are likely to be noise, for starts, which look at the others."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.runtime.devices import widen

NEIGHBOURS = 10  # the distance to that many tells how dense rows are
AMONG = 2048  # rows at most


def likely_components(sample: Chunk, different: Tensor, frame: Frame, share: float) -> Chunk:
    """Return the rows of a sample without the share of them that are farthest from their neighbours.

    Rows of a cluster have their neighbours nearer than noise has (Byers & Raftery 1998, J. American Statistical
    Association 93). Neighbours are looked for among the different rows, in the frame, in an order of their own.
    """
    from sklearn.neighbors import NearestNeighbors

    rows = frame.rows_in(widen(sample.rows)).cpu().numpy()
    step = max(1, different.shape[0] // AMONG)
    others = different[::step].cpu().double().numpy()
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(others))).fit(others)
    distances = torch.from_numpy(search.kneighbors(rows)[0][:, -1]).to(sample.rows.device)
    return sample.part(distances <= distances.quantile(1 - share))
