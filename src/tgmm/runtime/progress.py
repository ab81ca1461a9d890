"""Progress of a fit: through `logging`, and a tqdm bar where tqdm is installed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

logger = logging.getLogger("tgmm")


class _Visibility:
    """Makes the messages visible for as long as anyone reports, in any thread, and then leaves logging as it was."""

    def __init__(self) -> None:
        self.lock, self.n_users = threading.Lock(), 0
        self.level, self.handler = logging.NOTSET, logging.NullHandler()

    def begin(self) -> None:
        """Make them visible, unless they are."""
        with self.lock:
            self.n_users += 1
            if self.n_users > 1:
                return
            self.level, self.handler = logger.level, logging.NullHandler()
            if not logger.hasHandlers():
                self.handler = logging.StreamHandler()
                logger.addHandler(self.handler)
            if logger.getEffectiveLevel() > logging.INFO:
                logger.setLevel(logging.INFO)

    def end(self) -> None:
        """Leave logging as the first to begin has found it, where this is the last to end."""
        with self.lock:
            self.n_users -= 1
            if not self.n_users:
                logger.setLevel(self.level)
                logger.removeHandler(self.handler)


_visible = _Visibility()


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
        self.bar = progress_bar(enabled=False)

    def __enter__(self) -> Reporter:
        """Make the messages visible, and open the bar."""
        if self.enabled:
            self.bar = progress_bar(desc="EM", unit="iteration")
            _visible.begin()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the bar, and leave logging as it was."""
        self.bar.close()
        if self.enabled:
            _visible.end()

    def __call__(self, iteration: int, objective: float, change: float) -> None:
        """Report an iteration: the average objective and its change, in nats per unit of weight."""
        if not self.enabled:
            return
        self.bar.update()
        self.bar.set_postfix(objective=f"{objective:.6f}", change=f"{change:.1e}", refresh=False)
        if iteration % self.interval == 0:
            self.bar.clear()  # a message has a line of its own
            logger.info("iteration %d: average objective %.8f, change %.2e", iteration, objective, change)
            self.bar.refresh()

    def conclude(self, runs: Sequence[tuple[float, str, int]]) -> None:
        """Report the runs that were followed to the end: objective, start and seed of each, best first."""
        if self.enabled:
            self.bar.close()
            for objective, start, seed in runs:
                logger.info("run from %s (seed %d): average objective %.8f", start, seed, objective)


class _NoBar:
    """What stands in for a tqdm bar."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """Count nothing."""

    def set_postfix(self, **values: object) -> None:
        """Show nothing."""

    def clear(self) -> None:
        """Clear nothing."""

    def refresh(self) -> None:
        """Show nothing again."""

    def close(self) -> None:
        """Close nothing."""


def progress_bar(*, enabled: bool = True, **settings: Any) -> Any:
    """Return a tqdm bar, or one that shows nothing where it is not wanted or tqdm is not installed."""
    if not enabled:
        return _NoBar()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(**settings)
