"""Writes messages to a log: when to commit, to rotate, and to wait for space."""

import select
from collections.abc import Callable
from typing import Final, TypeVar

from edge.client import Received
from edge.client.logs import LogFormat
from edge.client.logs.rotation import Rotation
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import LogUnavailable

COMMIT_MS: Final = 500.0
"""Longest time from a message to its commit: what a kill of the logger has to fetch again."""

COMMIT_MESSAGES: Final = 8000
COMMIT_BYTES: Final = 16 << 20
"""Bound the memory; only a logger that catches up reaches them within ``COMMIT_MS``."""

_IDLE_MS: Final = 1000.0  # between commits without messages, which notice moved and deleted files
_RETRY_S: Final = 0.2
_T = TypeVar("_T")
_REMIND_MS: Final = 60_000.0


class LogWriter:
    """Adds messages to a log and commits them. Not thread-safe.

    Args:
        sink: the log, after ``cursors``.
        rotation: when to rotate.
        committed: called after each commit that stored messages; it may acknowledge them.
        stop: called five times a second while the log cannot be written; true gives up.
        report: takes a line when the log cannot be written, each minute of that, and at its end.
    """

    def __init__(
        self,
        sink: LogFormat,
        rotation: Rotation,
        *,
        committed: Callable[[], None],
        stop: Callable[[], bool],
        report: Callable[[str], None],
    ) -> None:
        self._sink = sink
        self._rotation = rotation
        self._committed = committed
        self._stop = stop
        self._report = report
        self._messages = 0  # since the last commit
        self._bytes = 0
        self._first_ns = self._committed_ns = monotonic_ns()

    def write(self, received: Received) -> int:
        """Add a message, after a rotation that it makes due; return the rows that it takes.

        Raises:
            LogFileError: as ``commit``.
        """
        if self._rotation.is_due(self._sink, received):
            self.rotate()
        if not self._messages:
            self._first_ns = monotonic_ns()
        self._messages += 1
        self._bytes += len(received.part)
        return self._sink.write(received)

    def turn(self) -> None:
        """Commit if it is due; call it after each message and five times a second.

        Raises:
            LogFileError: as ``commit``.
        """
        if self._messages:
            is_much = self._messages >= COMMIT_MESSAGES or self._bytes >= COMMIT_BYTES
            if is_much or elapsed_ms(self._first_ns) >= COMMIT_MS:
                self.commit()
        elif elapsed_ms(self._committed_ns) >= _IDLE_MS:
            self.commit()

    def commit(self) -> None:
        """Commit; while the log cannot be written, wait.

        Raises:
            LogFileError: the log cannot be written any more, or ``stop`` ended the wait.
        """
        self._wait_for(self._sink.commit)
        self._committed_ns = monotonic_ns()
        if self._messages:
            self._messages = self._bytes = 0
            self._committed()

    def rotate(self) -> None:
        """Commit, then set the log's files aside.

        Raises:
            LogFileError: as ``commit``.
        """
        self.commit()
        self._wait_for(self._sink.rotate)

    def _wait_for(self, action: Callable[[], None]) -> None:
        try:
            until_available(action, stop=self._stop, report=self._report)
        except LogUnavailable as error:
            raise LogUnavailable(
                f"{error}; stopped with {self._messages} messages in memory: they are lost unless"
                " the daemon's journal has them"
            ) from error


def until_available(
    action: Callable[[], _T],
    *,
    stop: Callable[[], bool],
    report: Callable[[str], None],
    give_up_s: float = 0.0,
) -> _T:
    """Call ``action`` until it does not raise LogUnavailable; return what it returns.

    Args:
        action: opens or writes a log.
        stop: called five times a second; true gives up.
        report: takes a line at once, each minute, and at the end of the wait.
        give_up_s: the longest wait, s; 0: as long as it takes.

    Raises:
        LogUnavailable: ``stop`` or ``give_up_s`` ended the wait.
    """
    started_ns = monotonic_ns()
    reported_ns: int | None = None
    while True:
        try:
            result = action()
        except LogUnavailable as error:
            if stop():
                raise
            if 0 < give_up_s <= elapsed_ms(started_ns) / 1e3:
                raise LogUnavailable(f"{error}; given up after {give_up_s:g} s") from error
            if reported_ns is None or elapsed_ms(reported_ns) >= _REMIND_MS:
                reported_ns = monotonic_ns()
                waited_s = elapsed_ms(started_ns) / 1e3
                report(f"{error}; waiting" + (f" for {waited_s:.0f} s" if waited_s >= 1 else ""))
            select.select((), (), (), _RETRY_S)
        else:
            if reported_ns is not None:
                report(f"written again after {elapsed_ms(started_ns) / 1e3:.0f} s")
            return result
