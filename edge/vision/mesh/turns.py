"""Decides which faces of a frame the mesh measures: the stalest first, in the time that is left.

The order depends on sensor time alone. Whether there is time depends on the machine, and is asked
only where frames are lost if the loop is slow: a replay that drops nothing measures every face that
is due, and gives the same messages everywhere.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from edge.config import MeshConfig

_FRAMES: Final = 32
"""Frames whose shortest distance is the source's period. The mean would grow with lost frames, and
with it the time that seems to be left."""

_SHARE: Final = 0.9  # of the period that the stages may take
_DURATIONS: Final = 5
"""Newest measurements whose median duration is expected of the next one: one that was slow because
the machine was busy does not matter."""

_RETRY_NS: Final = 2_000_000_000
_RETRY_MAX_NS: Final = 60_000_000_000
"""After so long without a measurement one is made although it is expected to take too long: the
machine may have been busy. While that does not help, the wait is doubled up to the second value, so
that a board that is too slow loses a frame or two a minute."""


class MeshTurns:
    """When each face was measured, and what a measurement takes.

    Not thread-safe: owned by the classify thread. Memory is bounded by the faces of a frame.

    Attributes:
        every: faces are measured in one frame of so many, 0: in none; any thread may set it.
    """

    def __init__(self, config: MeshConfig) -> None:
        self._faces_per_frame = config.faces_per_frame
        self.every = 1
        self._frames = 0
        self._interval_ns = round(1e9 / config.rate_hz) if config.rate_hz else 0
        self._measured: dict[int, tuple[int, int]] = {}  # sensor time, and number of measurement
        self._due_ns: dict[int, int] = {}
        self._count = 0
        self._steps_ns: deque[int] = deque(maxlen=_FRAMES)
        self._sensor_ns: int | None = None
        self._took_ms: deque[float] = deque(maxlen=_DURATIONS)
        self._newest_ns: int | None = None  # sensor time of the newest measurement
        self._retry_ns = _RETRY_NS

    def begin(self, tracks: Iterable[int], sensor_ns: int) -> list[int]:
        """Begin a frame; return the tracks to measure in it, the stalest first.

        A face that was never measured comes before all others. With a rate, a face is due half a
        frame early, so that the rate is met on average.

        Args:
            tracks: ids of the faces that can be measured.
            sensor_ns: when the frame was taken. Times that are later are of a clock that has since
                started again, and forgotten.
        """
        if self._sensor_ns is not None and sensor_ns > self._sensor_ns:
            self._steps_ns.append(sensor_ns - self._sensor_ns)
        self._sensor_ns = sensor_ns
        self._measured = {
            track: self._measured[track]
            for track in tracks
            if track in self._measured and self._measured[track][0] <= sensor_ns
        }
        self._due_ns = {track: self._due_ns[track] for track in self._measured}
        self._frames += 1
        every = self.every
        if not every or self._frames % every:
            return []
        early_ns = self._period_ns() // 2
        due = [
            track for track in tracks if self._due_ns.get(track, sensor_ns) <= sensor_ns + early_ns
        ]
        # of faces that were measured in the same frame, the one that was measured first
        due.sort(key=lambda track: (self._measured.get(track, (0, 0))[1], track))
        return due[: self._faces_per_frame]

    def has_time(self, spent_ms: float) -> bool:
        """Return whether one more face fits before the next frame.

        Args:
            spent_ms: what the stages of this frame have taken that share the loop with the mesh.
        """
        if not self._steps_ns:
            return False  # nothing is known of the rate yet
        left_ms = _SHARE * self._period_ns() / 1e6 - spent_ms
        expected_ms = sorted(self._took_ms)[(len(self._took_ms) - 1) // 2] if self._took_ms else 0.0
        return expected_ms <= left_ms or (left_ms > 0 and self._is_retry_due())

    def note(self, track: int, took_ms: float) -> None:
        """Note that a track was measured in the frame that was begun, and how long it took."""
        if self._sensor_ns is not None:
            now_ns = self._sensor_ns
            self._count += 1
            self._measured[track] = now_ns, self._count
            self._newest_ns = now_ns
            # from when it was due, not from now: else frames that fall between would slow the rate
            next_ns = self._due_ns.get(track, now_ns) + self._interval_ns
            self._due_ns[track] = next_ns if next_ns > now_ns else now_ns + self._interval_ns
        self._took_ms.append(took_ms)
        is_too_long = took_ms > _SHARE * self._period_ns() / 1e6
        self._retry_ns = min(2 * self._retry_ns, _RETRY_MAX_NS) if is_too_long else _RETRY_NS

    def _is_retry_due(self) -> bool:
        if self._newest_ns is None or self._sensor_ns is None:
            return True
        waited_ns = self._sensor_ns - self._newest_ns
        return waited_ns < 0 or waited_ns >= self._retry_ns  # below 0: the clock started again

    def _period_ns(self) -> int:
        return min(self._steps_ns, default=0)
