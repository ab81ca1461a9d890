"""Prefetching: the next batches are read while the current one is in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

Item = TypeVar("Item")

DEPTH = 2  # items read ahead
PATIENCE = 0.1  # seconds after which a full queue is looked at again
END = object()


class Failure:
    """An exception on its way from the reading thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetched(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items that another thread reads ahead.

    Exceptions of that thread are raised here. The thread ends with the items, or when the iterator is closed.
    """
    queue: Queue[Any] = Queue(DEPTH)
    stopped = Event()

    def put(item: Any) -> None:
        while not stopped.is_set():
            with suppress(Full):
                return queue.put(item, timeout=PATIENCE)

    def read() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(END)
        except BaseException as error:  # whatever it is, it belongs to the thread that waits
            put(Failure(error))

    thread = Thread(target=read, name="tgmm-reader", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not END:
            if isinstance(item, Failure):
                raise item.error
            yield item
    finally:
        stopped.set()
        with suppress(Empty):  # room for a put that waits
            queue.get_nowait()
        thread.join()
