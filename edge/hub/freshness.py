"""Decides whether the absence of results is a fault, for the watchdog of the service manager."""

STALE_S = 10.0
"""A running source may go for this long without a result that it has not declared to be away."""

_MENTIONED_S = 1.0  # shorter waits for the next frame are no news


class Freshness:
    """Notes when results are due. For the hub's one loop; times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._due_ns = 0

    def note_due(self, due_in_s: float | None, now_ns: int) -> None:
        """Note that the next frame of a file is due in ``due_in_s``; None: nothing is declared."""
        if due_in_s is not None:
            self._due_ns = now_ns + int(due_in_s * 1e9)

    def next_frame_s(self, now_ns: int) -> float | None:
        """Return the seconds until the next frame is due; None if it is due within a second."""
        wait_s = (self._due_ns - now_ns) / 1e9
        return wait_s if wait_s >= _MENTIONED_S else None

    def is_fresh(self, now_ns: int, *, source_state: str, result_ns: int | None) -> bool:
        """Return whether results are recent, or their absence is declared and being handled.

        Args:
            now_ns: the present.
            source_state: state of the source; every one but ``running`` is declared and handled.
            result_ns: time of the newest result; None before the first.
        """
        if source_state != "running" or result_ns is None:
            return True
        return now_ns - max(result_ns, self._due_ns) < STALE_S * 1e9
