"""One notice that nothing is received: perhaps no daemon is running."""

from collections.abc import Callable, Sequence

from edge.clock import elapsed_ms, monotonic_ns

SILENT_MS = 3000.0  # a daemon sends a status each second


class SilenceNotice:
    """Reports once if nothing was received within three seconds of its creation.

    Args:
        endpoints: the addresses that the subscriber connects to.
        report: takes the line; called at most once.
    """

    def __init__(self, endpoints: Sequence[str], report: Callable[[str], None]) -> None:
        self._endpoints = ", ".join(endpoints)
        self._report = report
        self._started_ns = monotonic_ns()
        self._done = False

    def update(self, *, received: bool) -> None:
        """Note whether anything was received; report once after three seconds without."""
        if self._done or not (received or elapsed_ms(self._started_ns) >= SILENT_MS):
            return
        self._done = True
        if not received:
            self._report(f"nothing received from {self._endpoints} yet; is a daemon running there?")
