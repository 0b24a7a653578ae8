"""A queue of length one between two threads: one producer, one consumer.

A slot works in one of two ways:

- ``Slot(newest_wins=True)`` for live sources: ``put`` never blocks and overwrites an item that is
  still waiting. So the slowest stage bounds the latency; no queue adds to it.
- ``Slot(newest_wins=False)`` for files read as fast as possible: ``put`` blocks, nothing is lost.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The slot is closed; a consumer gets this only after it took the last item."""


class Slot(Generic[T]):
    """Holds one item between a producer and a consumer thread. Thread-safe.

    Attributes:
        dropped: how many items were overwritten before the consumer took them; never falls.
    """

    def __init__(self, *, newest_wins: bool) -> None:
        self._newest_wins = newest_wins
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Put ``item`` into the slot; return whether it overwrote an item that was not taken.

        Raises:
            Closed: the slot was closed, before the call or while it waited; the item is refused.
        """
        with self._changed:
            if not self._newest_wins:
                self._changed.wait_for(lambda: self._item is None or self._closed)
            if self._closed:
                raise Closed
            overwritten = self._item is not None
            self.dropped += overwritten
            self._item = item
            self._changed.notify_all()
            return overwritten

    def get(self) -> T:
        """Wait for an item and take it.

        Raises:
            Closed: the slot is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            if item is None:
                raise Closed
            self._changed.notify_all()
            return item

    def wait(self, is_enough: Callable[[], bool]) -> None:
        """Wait until ``get`` would not wait, or ``is_enough()``; ``wake`` has that asked again."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed or is_enough())

    def wake(self) -> None:
        """Have ``wait`` ask again whether it is enough."""
        with self._changed:
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield items as they come, until the slot is closed and empty."""
        try:
            while True:
                yield self.get()
        except Closed:
            return

    def close(self) -> None:
        """Refuse further items; the consumer takes the last one and then gets ``Closed``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
