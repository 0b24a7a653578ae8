"""Says once that no daemon seems to be there, instead of waiting without a word."""

from collections.abc import Callable, Sequence

from edge.clock import elapsed_ms, monotonic_ns

SILENT_MS = 3000.0  # a daemon sends a status each second


class SilenceNotice:
    """Watches whether anything was received since it was made.

    Args:
        endpoints: the addresses that were connected to.
        say: takes the line; called at most once.
    """

    def __init__(self, endpoints: Sequence[str], say: Callable[[str], None]) -> None:
        self._endpoints = ", ".join(endpoints)
        self._say = say
        self._begun_ns = monotonic_ns()
        self._over = False

    def note(self, *, heard: bool) -> None:
        """Take in whether anything has come; say so after three seconds of nothing."""
        if self._over or not (heard or elapsed_ms(self._begun_ns) >= SILENT_MS):
            return
        self._over = True
        if not heard:
            self._say(f"nothing received from {self._endpoints} yet; is a daemon running there?")
