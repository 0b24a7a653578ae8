"""The pace of a file: when each of its frames is due, by its own times."""

from typing import Final

from edge import clock

JUMP_S: Final = 10.0
"""A wait between two frames is never a jump up to here."""

JUMP_PERIODS: Final = 3
"""How many times the usual wait a jump exceeds."""

_FALLBACK_HZ: Final = 25.0


class Pace:
    """Computes when frames are due, without waiting for a hole in their times.

    A recording that was interrupted, or files that were joined, have times that jump by hours. A
    second jump right after the first one is the pace of the file: a time-lapse.

    Args:
        expected_hz: frames per second that the file states; None if it states none.
    """

    def __init__(self, expected_hz: float | None) -> None:
        self._usual_ns = 1e9 / (expected_hz or _FALLBACK_HZ)
        self._is_usual_known = False
        self._last_ns: int | None = None
        self._start_ns: int | None = None  # monotonic time of the file's time 0
        self._has_jumped = False

    def jump_s(self, sensor_ns: int) -> float | None:
        """Return by how many seconds the times jump before this frame; None if they do not.

        Call it once for each frame, in order, before ``due_ns``.
        """
        last_ns, self._last_ns = self._last_ns, sensor_ns
        if last_ns is None:
            return None
        wait_ns = sensor_ns - last_ns
        is_jump = wait_ns > max(JUMP_S * 1e9, JUMP_PERIODS * self._usual_ns)
        if is_jump and not self._has_jumped:
            self._has_jumped = True
            if self._start_ns is not None:
                self._start_ns -= wait_ns
            return wait_ns / 1e9
        self._has_jumped = False
        self._usual_ns = max(self._usual_ns, wait_ns) if self._is_usual_known else wait_ns
        self._is_usual_known = True
        return None

    def due_ns(self, sensor_ns: int) -> int:
        """Return the monotonic time at which a frame is due; the first one is due now."""
        if self._start_ns is None:
            self._start_ns = clock.monotonic_ns() - sensor_ns
        return self._start_ns + sensor_ns
