"""Bounded hand-over between two threads: one place, one producer, one consumer.

A slot knows nothing of what it carries. Two kinds of hand-over share its one place:

- ``Slot(newest_wins=True)`` for live sources: ``put`` never blocks, and an item that was still
  waiting is displaced. Latency is then bounded by the slowest stage, never by a queue.
- ``Slot(newest_wins=False)`` for files read as fast as possible: ``put`` waits, nothing is lost.
"""

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The slot was closed: for a consumer, only after the last item was taken."""


class Slot(Generic[T]):
    """A place for one item between a producing and a consuming thread. Thread-safe.

    Attributes:
        dropped: how many items were displaced before anybody took them; only ever grows.
    """

    def __init__(self, *, newest_wins: bool) -> None:
        self._newest_wins = newest_wins
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Place ``item``; return whether it displaced one that nobody had taken.

        Raises:
            Closed: the slot was closed, before the call or while it waited; the item is not taken.
        """
        with self._changed:
            if not self._newest_wins:
                self._changed.wait_for(lambda: self._item is None or self._closed)
            if self._closed:
                raise Closed
            displaced = self._item is not None
            self.dropped += displaced
            self._item = item
            self._changed.notify_all()
            return displaced

    def get(self) -> T:
        """Take the item, waiting for one.

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

    def __iter__(self) -> Iterator[T]:
        """Yield items as they come, until the slot is closed and empty."""
        try:
            while True:
                yield self.get()
        except Closed:
            return

    def close(self) -> None:
        """Let the consumer take what is there and then see ``Closed``; refuse further items."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
