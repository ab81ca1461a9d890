"""Progress of a fit: through `logging`, and a tqdm bar where tqdm is installed."""

from __future__ import annotations

import logging
from types import TracebackType

logger = logging.getLogger("tgmm")


class Reporter:
    """Counts iterations over all runs and reports every few of them.

    Parameters
    ----------
    enabled : bool
    interval : int
        Iterations between two messages.
    """

    def __init__(self, enabled: bool, interval: int) -> None:
        self.enabled, self.interval = enabled, interval
        self.bar = None

    def __enter__(self) -> Reporter:
        """Make the messages visible, and open the bar."""
        if self.enabled:
            if not logger.hasHandlers():
                logger.addHandler(logging.StreamHandler())
            if logger.getEffectiveLevel() > logging.INFO:
                logger.setLevel(logging.INFO)
            self.bar = _bar()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def __call__(self, iteration: int, objective: float, change: float) -> None:
        """Report an iteration: the average objective and its change, in nats per unit of weight."""
        if not self.enabled:
            return
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix(objective=f"{objective:.6f}", change=f"{change:.1e}", refresh=False)
        if iteration % self.interval == 0:
            logger.info("iteration %d: average objective %.8f, change %.2e", iteration, objective, change)


def _bar():
    """Return a tqdm bar, or None where tqdm is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(desc="EM", unit="iteration")
