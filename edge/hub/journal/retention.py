"""Retention: measures the journal's file, and deletes the oldest messages by age and size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge import clock
from edge.hub.journal.batch import MissingRange, Position
from edge.hub.journal.consumers import Consumers
from edge.hub.journal.store import Store

TRIM_S = 60.0
_MEASURE_S: Final = 10.0
_GROUPS: Final = 500  # at once, so that commits stay on time


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much the journal keeps."""

    keep_s: float
    max_bytes: int


class Retention:
    """Measures and trims the file. Methods are for the thread that writes.

    Args:
        limits: of age and size.
        consumers: until every known one has acknowledged a message, only the size deletes it.
        run_s: the journal's clock, see ``Journal``.
        on_gap: called with deleted messages that a known consumer lacks.

    Attributes:
        used_bytes: size of the pages of the file that are in use, as last measured.
        oldest: position and wall time of the oldest message in the file; None if not known.
    """

    def __init__(
        self,
        limits: Limits,
        consumers: Consumers,
        run_s: Callable[[], int],
        on_gap: Callable[[MissingRange], None],
    ) -> None:
        self._limits = limits
        self._consumers = consumers
        self._run_s = run_s
        self._on_gap = on_gap
        self.used_bytes = 0
        self.oldest: tuple[Position, int] | None = None
        self._next_measure_ns = self._next_trim_ns = 0

    def measure(self, store: Store) -> None:
        """Look up the size of the file and its oldest message."""
        self.used_bytes = store.used_bytes()
        oldest = store.oldest()
        self.oldest = (Position(oldest.epoch, oldest.first_seq), oldest.unix_ns) if oldest else None

    def run(self, store: Store, *, trims: bool) -> None:
        """Measure, and with ``trims`` delete, if it is due; call it at every tick."""
        now_ns = clock.monotonic_ns()
        if now_ns >= self._next_measure_ns:
            self._next_measure_ns = now_ns + int(_MEASURE_S * 1e9)
            self.measure(store)
        if trims and now_ns >= self._next_trim_ns:
            self._next_trim_ns = now_ns + int(TRIM_S * 1e9)
            self._trim(store)

    def _trim(self, store: Store) -> None:
        """Delete a limited number of the oldest groups."""
        self.measure(store)
        run_s = self._run_s()
        acknowledged = self._consumers.acknowledged_by_all(run_s)
        excess = self.used_bytes - self._limits.max_bytes
        if excess > 0:
            groups = store.trim(count=_GROUPS, max_bytes=excess)
        else:
            before = int(run_s - self._limits.keep_s)
            groups = store.trim(count=_GROUPS, older_than_run_s=before, upto=acknowledged)
        if groups:
            self._next_trim_ns = 0  # go on at the next tick
        if acknowledged is None:
            return
        for group in groups:
            first = group.first_seq
            if group.epoch == acknowledged.epoch:
                first = max(first, acknowledged.seq + 1)
            if group.last_position > acknowledged:
                self._on_gap(MissingRange(group.epoch, first, group.last_seq, "trimmed"))
