"""Counts the pictures of a file that a decoder left out without an error.

Some decoders (HEVC, MPEG-2) return no picture for a damaged packet, and report success. What is
missing shows in the times: packets of the file whose times no picture has.
"""

from bisect import bisect_right
from typing import Any, Final

import cv2

from edge.clock import elapsed_ms, monotonic_ns

_LIMIT_S: Final = 2.0  # for reading a file once more, without decoding
_ENDED_TRIES: Final = 64
_HOLES_MAX: Final = 10_000


class PictureTimes:
    """The times of the pictures that a file gave, as far as others may be missing between them.

    Args:
        period_ms: usual time between two pictures.
    """

    def __init__(self, period_ms: float) -> None:
        self._period_ms = period_ms
        self._holes: list[tuple[float, float]] = []
        self._last_ms: float | None = None
        self.count = 0

    def note(self, time_ms: float) -> None:
        """Note the time of the next picture."""
        self.count += 1
        if self._last_ms is None or time_ms < self._last_ms:
            self._last_ms = self._last_ms or time_ms
            return
        if time_ms - self._last_ms > 1.5 * self._period_ms and len(self._holes) < _HOLES_MAX:
            self._holes.append((self._last_ms, time_ms))
        self._last_ms = time_ms

    def count_missing(self, packets: Any) -> int:
        """Return how many packets of the file have a time that no picture has.

        Packets before the first picture do not count: a file may begin before a key frame.

        Args:
            packets: a new ``cv2.VideoCapture`` of the file; it is read for two seconds at most.
        """
        if self._last_ms is None or not packets.set(cv2.CAP_PROP_FORMAT, -1):  # packets, undecoded
            return 0
        margin_ms = self._period_ms / 2
        starts = [start for start, _ in self._holes]
        began_ns = monotonic_ns()
        missing = failures = 0
        while failures < _ENDED_TRIES and elapsed_ms(began_ns) < _LIMIT_S * 1e3:
            if not packets.grab():
                failures += 1
                continue
            failures = 0
            time_ms = packets.get(cv2.CAP_PROP_POS_MSEC)
            at = bisect_right(starts, time_ms) - 1
            in_hole = at >= 0 and starts[at] + margin_ms < time_ms < self._holes[at][1] - margin_ms
            missing += in_hole or time_ms > self._last_ms + margin_ms
        return missing
