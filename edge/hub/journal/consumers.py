"""What consumers have acknowledged: it decides how often the journal commits, and what it trims."""

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from edge.hub.journal.batch import Position

log = logging.getLogger("affect_edge")

ACTIVE_S: Final = 60
"""A consumer that was seen within so long counts as there."""
KEEPING_UP_S: Final = 5
"""A consumer keeps up if it has acknowledged all messages older than this."""
FORGOTTEN_S: Final = 30 * 86_400
"""A consumer that was not seen for so long is forgotten; trimming does not wait for it."""
MAX_CONSUMERS: Final = 64
"""Names of one key, and names without a key. Beyond that, the one that was not seen for longest is
forgotten, if it was away for AWAY_S."""
AWAY_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Consumer:
    """What a consumer has acknowledged.

    Attributes:
        position: the consumer has stored every message up to it.
        seen_run_s: when it was last seen, on the journal's clock.
    """

    position: Position
    seen_run_s: int


class Consumers:
    """The known consumers. Any thread may call any method."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Consumer] = {}
        self._is_full = False  # and that was reported
        self._marks: deque[tuple[int, Position]] = deque(maxlen=8 * KEEPING_UP_S)

    def restore(self, stored: dict[str, Consumer]) -> None:
        """Add the consumers of earlier epochs; those that have been seen since win."""
        with self._lock:
            self._known = stored | self._known

    def acknowledge(self, name: str, position: Position, run_s: int) -> None:
        """Note that ``name`` has stored everything up to ``position``."""
        with self._lock:
            if name in self._known or self._has_room(name, run_s):
                self._known[name] = Consumer(position, run_s)

    def _of_same_key(self, name: str) -> list[str]:
        """Return the known names of the same key; with keys, a name is ``KEY/NAME``."""
        key = name.rpartition("/")[0]
        return [each for each in self._known if each.rpartition("/")[0] == key]

    def _has_room(self, name: str, run_s: int) -> bool:
        """Make room for a new consumer, such as a logger of a new file each day."""
        known = self._of_same_key(name)
        if len(known) < MAX_CONSUMERS:
            return True
        oldest = min(known, key=lambda each: self._known[each].seen_run_s)
        away_s = run_s - self._known[oldest].seen_run_s
        if away_s >= AWAY_S:
            del self._known[oldest]
            log.warning(
                "journal: more than %d consumers: %s, last seen %.0f h ago, is forgotten",
                MAX_CONSUMERS, oldest, away_s / 3600,
            )  # fmt: skip
            return True
        if not self._is_full:
            self._is_full = True
            log.warning(
                "journal: more than %d consumers: messages are not kept for %s and others beyond",
                MAX_CONSUMERS, name,
            )  # fmt: skip
        return False

    def all(self, run_s: int) -> dict[str, Consumer]:
        """Return the known consumers; those that were not seen for long are forgotten."""
        with self._lock:
            for name, each in list(self._known.items()):
                if run_s - each.seen_run_s > FORGOTTEN_S:
                    del self._known[name]
            return dict(self._known)

    def acknowledged_by_all(self, run_s: int) -> Position | None:
        """Return the position up to which every known consumer has acknowledged; None: no one."""
        return min((each.position for each in self.all(run_s).values()), default=None)

    def keep_up(self, newest: Position, run_s: int) -> bool:
        """Return whether active consumers have all but the newest messages.

        Then the messages are stored elsewhere, and the journal may write less often. Call it
        between one and eight times a second.
        """
        self._marks.append((run_s, newest))
        older = [position for then, position in self._marks if run_s - then >= KEEPING_UP_S - 1]
        active = [
            each.position
            for each in self.all(run_s).values()
            if run_s - each.seen_run_s <= ACTIVE_S
        ]
        return bool(active and older) and min(active) >= max(older)
