"""Blinks, eyes that stay closed, and PERCLOS, from the openness of the eyes over time.

PERCLOS is the share of time in which the eyes are at least 80 % closed (W. W. Wierwille et al.,
*Research on vehicle-based driver status/performance monitoring*, DOT HS 808 247, 1994), here over
the last minute. Everything runs on sensor time. What too few measurements cannot show is None, with
a reason: a blink lasts for 0.1 to 0.4 s.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edge.protocol.detail import Detail
from edge.protocol.lid_events import Blink, EyesClosed, EyesLost, EyesOpened
from edge.vision.values import LidMeasures

CLOSED: Final = 0.25
OPEN: Final = 0.45
"""Openness below which eyes are closed, and above which they are open again. Faces whose lids were
drawn at a quarter of their height measure about 0.2; closed eyes on photographs 0 to 0.25."""

_BLINK_MAX_NS: Final = 500_000_000
_STEP_BLINK_NS: Final = 100_000_000
"""Between measurements that are further apart a blink may be missed."""
_STEP_MAX_NS: Final = 1_500_000_000
"""Between measurements that are further apart nothing is known of the eyes. A mesh that measures
once a second is late by some milliseconds now and then."""
_WINDOW_NS: Final = 60_000_000_000
_COVERED_MIN: Final = 0.75
"""Share of the window that must be known."""

TOO_SHORT: Final = "too_short"
TOO_SELDOM: Final = "too_seldom"
"""Why something is not known."""


@dataclass(slots=True)
class _Track:
    """One face's measurements of the last minute, and the closure that goes on."""

    first_ns: int
    last_ns: int  # of the newest measurement
    seen_ns: int  # of the newest frame that the face is in
    seat: str | None = None
    is_closed: bool = False
    closed_ns: int = 0
    is_reported: bool = False
    is_dense: bool = True  # whether the closure was measured often enough for a blink
    steps: deque[tuple[int, int, bool]] = field(default_factory=deque)  # end, length, closed
    blinks: deque[int] = field(default_factory=deque)
    known_ns: int = 0
    dense_ns: int = 0
    shut_ns: int = 0


class LidWatch:
    """Follows the eyes of every track. Not thread-safe: owned by the classify thread.

    Memory is bounded by a minute's measurements of the faces that are there.

    Args:
        eyes_closed_s: eyes that stay closed for so long are reported.
        vanish_s: a track ends where its face is in no frame for longer.
    """

    def __init__(self, eyes_closed_s: float, vanish_s: float) -> None:
        self._limit_ns = round(eyes_closed_s * 1e9)
        self._vanish_ns = round(vanish_s * 1e9)
        self._tracks: dict[int, _Track] = {}

    def begin(self, seats: Mapping[int, str | None], sensor_ns: int) -> list[Detail]:
        """Begin a frame; return the ends of reported closures that cannot be followed any more.

        Args:
            seats: of the faces in the frame, by track; None: on no seat.
            sensor_ns: when the frame was taken.
        """
        events: list[Detail] = []
        for track, known in list(self._tracks.items()):
            if track in seats:
                known.seen_ns, known.seat = sensor_ns, seats[track]
            # a time in the future is of a clock that has since started again
            has_ended = not 0 <= sensor_ns - known.seen_ns <= self._vanish_ns
            is_unknown = not 0 <= sensor_ns - known.last_ns <= _STEP_MAX_NS
            if known.is_reported and (has_ended or is_unknown):
                events.append(
                    EyesLost(
                        track=track,
                        seat=known.seat,
                        reason="track_ended" if has_ended else "not_measured",
                        closed_s=_seconds(known.last_ns - known.closed_ns),
                        sensor_ns=known.last_ns,
                    )
                )
            if is_unknown:
                known.is_closed = known.is_reported = False
            if has_ended:
                del self._tracks[track]
        return events

    def update(
        self, track: int, openness: float, sensor_ns: int, seat: str | None = None
    ) -> tuple[LidMeasures, list[Detail]]:
        """Take a measurement of the frame that was begun; return what is known, and new events.

        Args:
            track: id of the face.
            openness: mean of both eyes, 0..1.
            sensor_ns: when the frame was taken, later than the measurement before; else the track
                begins anew.
            seat: on which the face is.
        """
        known = self._tracks.get(track)
        if known is None or sensor_ns <= known.last_ns:
            known = self._tracks[track] = _Track(sensor_ns, sensor_ns, sensor_ns, seat)
        step_ns = sensor_ns - known.last_ns
        _add_step(known, step_ns, sensor_ns)
        known.last_ns = sensor_ns
        events: list[Detail] = []
        known.is_dense &= step_ns <= _STEP_BLINK_NS
        duration_ns = sensor_ns - known.closed_ns
        if known.is_closed and openness > OPEN:
            if known.is_reported:
                events.append(
                    EyesOpened(
                        track=track,
                        seat=seat,
                        closed_s=_seconds(duration_ns),
                        sensor_ns=sensor_ns,
                    )
                )
            elif known.is_dense and duration_ns <= _BLINK_MAX_NS:
                known.blinks.append(sensor_ns)
                events.append(
                    Blink(
                        track=track,
                        seat=seat,
                        duration_ms=round(duration_ns / 1e6),
                        sensor_ns=known.closed_ns,
                    )
                )
            known.is_closed = known.is_reported = False
        elif not known.is_closed and openness < CLOSED:
            known.is_closed, known.closed_ns = True, sensor_ns
            known.is_dense = step_ns <= _STEP_BLINK_NS
        elif known.is_closed and not known.is_reported and duration_ns >= self._limit_ns:
            known.is_reported = True
            events.append(
                EyesClosed(
                    track=track,
                    seat=seat,
                    closed_s=_seconds(duration_ns),
                    sensor_ns=known.closed_ns,
                )
            )
        return _measures(known), events


def _seconds(duration_ns: int) -> float:
    return round(duration_ns / 1e9, 3)


def _add_step(known: _Track, step_ns: int, sensor_ns: int) -> None:
    """Count the time since the measurement before, and forget what is older than the window."""
    if 0 < step_ns <= _STEP_MAX_NS:
        known.steps.append((sensor_ns, step_ns, known.is_closed))
        _count(known, step_ns, known.is_closed, 1)
    while known.steps and known.steps[0][0] <= sensor_ns - _WINDOW_NS:
        _, length_ns, closed = known.steps.popleft()
        _count(known, length_ns, closed, -1)
    while known.blinks and known.blinks[0] <= sensor_ns - _WINDOW_NS:
        known.blinks.popleft()


def _count(known: _Track, step_ns: int, closed: bool, sign: int) -> None:
    known.known_ns += sign * step_ns
    known.shut_ns += sign * step_ns * closed
    known.dense_ns += sign * step_ns * (step_ns <= _STEP_BLINK_NS)


def _measures(known: _Track) -> LidMeasures:
    closed_ns = known.last_ns - known.closed_ns if known.is_closed else None
    if known.last_ns - known.first_ns < _WINDOW_NS:
        return LidMeasures(None, None, TOO_SHORT, TOO_SHORT, closed_ns)
    perclos = blinks = None
    if known.known_ns >= _COVERED_MIN * _WINDOW_NS:
        perclos = known.shut_ns / known.known_ns
    if known.dense_ns >= _COVERED_MIN * _WINDOW_NS:
        blinks = len(known.blinks) * 60e9 / known.dense_ns
    return LidMeasures(
        perclos,
        blinks,
        TOO_SELDOM if perclos is None else "",
        TOO_SELDOM if blinks is None else "",
        closed_ns,
    )
