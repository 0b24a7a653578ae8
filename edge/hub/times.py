"""The times of messages: one axis for the frames and events of a run.

A camera's frames and all events have the wall clock's time. The frames of a file have the time at
which they were recorded, if that is known, else the time at which the file was opened; an event
between them has a time between theirs, even if the file is read faster than it was recorded.
"""

from typing import Any

from edge import clock
from edge.link import FrameReport
from edge.protocol.messages import EventTime

CLOCK_STEP_NS = 50_000_000


class MessageTimes:
    """Computes the times of messages, each once. Only for the hub's main loop.

    Args:
        recorded_unix_ns: when the first frame of a file was recorded, as configured; None: not
            configured.
        paced: whether time passes in a file as on the clock.
    """

    def __init__(self, recorded_unix_ns: int | None, *, paced: bool) -> None:
        self._recorded_unix_ns = recorded_unix_ns
        self._paced = paced
        self._zero_unix_ns: int | None = None  # wall time of the file's time 0
        self._newest: dict[str, Any] | None = None  # of a file's frames
        self._wall_offset_ns = clock.wall_minus_boottime_ns()
        self._health = clock.wall_clock_health()

    def note_recording(self, recorded_unix_ns: int | None) -> None:
        """Note when the file's first frame was recorded; before that frame, and once."""
        if self._recorded_unix_ns is None:
            self._recorded_unix_ns = recorded_unix_ns

    def of_frame(self, report: FrameReport, now_ns: int) -> dict[str, Any]:
        """Return the times of a frame that is sent at ``now_ns``: the fields of ``FrameTime``."""
        time = {
            "sensor_ns": report.sensor_ns,
            "clock": report.clock,
            "exposure_us": report.exposure_us,
            "unix_ns": self._unix_ns(report),
            "published_ns": now_ns,
            "synchronized": self._health.synchronized,
            "max_error_us": self._health.max_error_us,
        }
        if report.clock == "media":
            self._newest = time
        return time

    def now(self) -> EventTime:
        """Return the present on both clocks, with the error bound of the wall clock."""
        monotonic_ns = clock.monotonic_ns()
        return EventTime(
            monotonic_ns=monotonic_ns,
            unix_ns=monotonic_ns + clock.wall_minus_monotonic_ns(),
            synchronized=self._health.synchronized,
            max_error_us=self._health.max_error_us,
            media_ns=self._newest and self._newest["sensor_ns"],
        )

    def of_event(self) -> EventTime:
        """Return the time of an event that happens now.

        Between the frames of a file: that of the newest frame, plus the time since then if the file
        is paced.
        """
        now = self.now()
        if self._newest is None:
            return now
        since_ns = now.monotonic_ns - self._newest["published_ns"] if self._paced else 0
        return now.model_copy(update={"unix_ns": self._newest["unix_ns"] + since_ns})

    def take_clock_step_ns(self) -> int:
        """Read the wall clock's health; return by how much it jumped since the last call, or 0."""
        self._health = clock.wall_clock_health()
        offset_ns = clock.wall_minus_boottime_ns()
        step_ns = offset_ns - self._wall_offset_ns
        self._wall_offset_ns = offset_ns
        return step_ns if abs(step_ns) > CLOCK_STEP_NS else 0

    def _unix_ns(self, report: FrameReport) -> int:
        """Return the wall time of a frame, computed once, here."""
        match report.clock:
            case "monotonic":
                return report.sensor_ns + clock.wall_minus_monotonic_ns()
            case "boottime":
                return report.sensor_ns + clock.wall_minus_boottime_ns()
            case "media":
                if self._zero_unix_ns is None:
                    start_ns = self._recorded_unix_ns
                    start_ns = clock.wall_ns() if start_ns is None else start_ns
                    self._zero_unix_ns = start_ns - report.sensor_ns
                return self._zero_unix_ns + report.sensor_ns
