"""When a run has converged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stopping:
    """Stop after max_iter M-steps, or once the average objective changes by less than tol."""

    tol: float
    max_iter: int

    def converged(self, change: float) -> bool:
        """Whether a change of the average objective, in nats per unit of weight, is small enough."""
        return abs(change) < self.tol
