"""A fingerprint of rows, with the weights and components that were given with them."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk
from tgmm.data.data import Data

ODD = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: its multiples are spread evenly (Knuth, TAOCP, 6.4)
HASHED_ROWS = 8192
BITS = {4: torch.int32, 8: torch.int64}  # by the bytes of a float


@dataclass(frozen=True)
class Fingerprint:
    """Sums modulo 2^64 of a hash of each row: exact, whatever the order, the chunks or the processes."""

    rows: int = 0
    weights: int = 0  # of the rows with their weights
    known: int = 0  # of the rows with the responsibilities that they begin with
    labels: int = 0  # of the rows with what is known of their components

    def __add__(self, other: Fingerprint) -> Fingerprint:
        """Return the sums over the rows of both."""
        return Fingerprint(*((a + b) % 2**64 for a, b in zip(astuple(self), astuple(other), strict=True)))


def fingerprint_of(data: Data, responsibilities: Tensor | None, labels: Tensor | None = None) -> Fingerprint:
    """Return the fingerprint of all rows of all processes, with what is known about the component of each."""
    found = (data if responsibilities is None else data.knowing(responsibilities)).fold(FingerprintOf)
    if labels is None:
        return found
    return replace(found, labels=data.knowing(labels).fold(FingerprintOf).known)


class FingerprintOf(Accumulator[Fingerprint]):
    """Gathers the fingerprint of rows."""

    n_rows = HASHED_ROWS

    def __init__(self) -> None:
        self.total = Fingerprint()

    def add(self, chunk: Chunk) -> None:
        """Add that of a chunk."""
        rows = known = _hashed(chunk.rows)  # (c,)
        weights = chunk.own_weights()
        weights = _hashed(weights[:, None], rows.to(weights.device))
        if chunk.known is not None:
            known = _hashed(chunk.known.reshape(len(rows), -1), rows.to(chunk.known.device))
        self.total += Fingerprint(*(int(hashes.sum()) % 2**64 for hashes in (rows, weights, known)))

    def result(self) -> Fingerprint:
        """Return the sums."""
        return self.total


def _hashed(values: Tensor, seed: Tensor | None = None) -> Tensor:
    """Return a 64-bit hash of each row (c, m) of numbers, (c,), from a seed for each row, (c,)."""
    bits = values.view(BITS[values.element_size()]).long()  # (c, m)
    odd = [_signed(ODD * (2 * place + 1)) for place in range(values.shape[1])]
    sums = (_mixed(bits) * torch.tensor(odd, device=bits.device)).sum(1)
    return _mixed(sums if seed is None else sums + seed)


def _mixed(bits: Tensor) -> Tensor:
    """Return integers whose every bit depends on all bits (Steele, Lea & Flood 2014, OOPSLA: the finaliser)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ _shifted(bits, shift)) * _signed(factor)
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Return the bits moved to the right, with zeros on the left."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _signed(number: int) -> int:
    """Return the 64-bit integer with a sign that has the same bits."""
    return (number + 2**63) % 2**64 - 2**63
