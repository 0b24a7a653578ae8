"""A short queue between two threads: one producer, one consumer.

A slot works in one of two ways:

- ``Slot(newest_wins=True)`` for live sources: it holds one item. ``put`` never blocks and
  overwrites an item that is still waiting. So the slowest stage bounds the latency; no queue adds
  to it.
- ``Slot(newest_wins=False)`` for files read as fast as possible: it holds ``BLOCKING_LENGTH``
  items. ``put`` blocks while it is full, nothing is lost.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

BLOCKING_LENGTH: Final = 4
"""So a frame that takes one stage longer, as with a full look, does not stop the others at once."""

T = TypeVar("T")


class Closed(Exception):
    """The slot is closed; a consumer gets this only after it took the last item."""


class Slot(Generic[T]):
    """Holds items between a producer and a consumer thread, in order. Thread-safe.

    Attributes:
        dropped: how many items were overwritten before the consumer took them; never falls.
    """

    def __init__(self, *, newest_wins: bool) -> None:
        self._newest_wins = newest_wins
        self._length = 1 if newest_wins else BLOCKING_LENGTH
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Put ``item`` into the slot; return whether it overwrote an item that was not taken.

        Raises:
            Closed: the slot was closed, before the call or while it waited; the item is refused.
        """
        with self._changed:
            if not self._newest_wins:
                self._changed.wait_for(lambda: len(self._items) < self._length or self._closed)
            if self._closed:
                raise Closed
            overwritten = len(self._items) == self._length
            if overwritten:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return overwritten

    def get(self) -> T:
        """Wait for an item and take it.

        Raises:
            Closed: the slot is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(self._gives)
            if not self._items:
                raise Closed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def wait(self, is_enough: Callable[[], bool]) -> None:
        """Wait until ``get`` would not wait, or ``is_enough()``; ``wake`` has that asked again."""
        with self._changed:
            self._changed.wait_for(lambda: self._gives() or is_enough())

    def wake(self) -> None:
        """Have ``wait`` ask again whether it is enough."""
        with self._changed:
            self._changed.notify_all()

    def _gives(self) -> bool:
        """Return whether ``get`` would not wait; only under the lock."""
        return bool(self._items) or self._closed

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
