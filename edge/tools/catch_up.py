"""Reports the progress of a consumer that fetches what it missed."""

from collections.abc import Callable
from typing import Final

from edge.client import Subscriber
from edge.clock import elapsed_ms, monotonic_ns

_FIRST_MS: Final = 2000.0
_EACH_MS: Final = 5000.0
_REMIND_MS: Final = 60_000.0  # doubled with each reminder
_REMIND_MAX_MS: Final = 3_600_000.0


class CatchUpNotice:
    """Reports rate and remainder while messages are fetched, and what is waited for.

    Args:
        subscriber: whose messages are counted.
        report: takes each line.
    """

    def __init__(self, subscriber: Subscriber, report: Callable[[str], None]) -> None:
        self._subscriber = subscriber
        self._report = report
        self._fetched = self._reported = 0
        self._since_ns = self._reported_ns = monotonic_ns()
        self._due_ms = _FIRST_MS
        self._is_behind = False
        self._waiting_ns: int | None = None  # since when a wait was reported
        self._remind_ms = 0.0

    def turn(self, *, fetched: int) -> None:
        """Note a turn of the loop that receives; report every five seconds.

        Args:
            fetched: how many messages of the journal were received.
        """
        if fetched:
            self._fetched += fetched
        elif self._is_behind and self._subscriber.caught_up:
            seconds = elapsed_ms(self._since_ns) / 1e3
            self._report(f"caught up: {self._fetched} messages fetched in {seconds:.0f} s")
            self._is_behind = False
            self._fetched = self._reported = 0
        elapsed = elapsed_ms(self._reported_ns)
        if elapsed < self._due_ms:
            return
        self._report_progress(elapsed)
        if not self._fetched:
            self._since_ns = monotonic_ns()
        self._reported, self._reported_ns, self._due_ms = self._fetched, monotonic_ns(), _EACH_MS

    def _report_progress(self, elapsed: float) -> None:
        waiting_for = self._subscriber.waiting_for
        if not waiting_for:
            self._waiting_ns = None
        elif self._waiting_ns is None or elapsed_ms(self._waiting_ns) >= self._remind_ms:
            is_first = self._waiting_ns is None
            self._remind_ms = _REMIND_MS if is_first else min(2 * self._remind_ms, _REMIND_MAX_MS)
            self._waiting_ns = monotonic_ns()
            self._report(f"waiting for {waiting_for}")
        fetched = self._fetched - self._reported
        if self._subscriber.caught_up or not fetched:
            return
        self._is_behind = True
        rate, left = fetched / elapsed * 1e3, self._subscriber.backlog
        remainder = "" if left is None else f", {left} left"
        self._report(f"catching up: {rate:.0f} messages/s{remainder}")
