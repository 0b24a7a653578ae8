"""Decides which faces of a frame are read: all, or so many that many faces cost no more than a few.

Faces take turns, those first that were not read for the longest. The decision depends on sensor
time and on which faces are there, never on the machine's speed: a replay gives the same messages.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from edge.vision.values import Prediction, SmoothedPrediction

READ_WITHIN_NS: Final = 1_000_000_000
"""Each face is read at least once within this time; no reading that is kept is older."""


def faces_to_read(
    ages_ns: Mapping[int, int | None], step_ns: int, faces_per_frame: int
) -> frozenset[int]:
    """Return the tracks to read in this frame.

    Those are the ``faces_per_frame`` with the oldest readings; more if else a face had its turn
    too seldom, a new face had no reading, or a reading would be older than ``READ_WITHIN_NS``
    before the next frame.

    Args:
        ages_ns: by track of each usable face: time since its last reading, 0 or more; None: none.
        step_ns: time since the frame before, 0 or more, as the next one may take.
        faces_per_frame: faces to read in a frame; 0: all.
    """
    if not faces_per_frame or len(ages_ns) <= faces_per_frame:
        return frozenset(ages_ns)
    frames_within = max(1, READ_WITHIN_NS // max(1, step_ns))
    count = max(faces_per_frame, math.ceil(len(ages_ns) / frames_within))
    due = {
        track
        for track, age_ns in ages_ns.items()
        if age_ns is None or age_ns + step_ns > READ_WITHIN_NS
    }
    others = sorted(
        (track for track in ages_ns if track not in due),
        key=lambda track: (-(ages_ns[track] or 0), track),
    )
    return frozenset(due) | frozenset(others[: max(0, count - len(due))])


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a face, and when its frame was taken."""

    sensor_ns: int
    prediction: Prediction
    smoothed: SmoothedPrediction


class Readings:
    """The newest reading of each track. Not thread-safe: owned by the classify thread.

    Memory is bounded by the number of tracks that were read within ``READ_WITHIN_NS``.
    """

    def __init__(self) -> None:
        self._newest: dict[int, Reading] = {}
        self._sensor_ns: int | None = None

    def begin(self, tracks: Iterable[int], sensor_ns: int, faces_per_frame: int) -> frozenset[int]:
        """Begin a frame; return which of the usable faces ``tracks`` to read in it.

        Args:
            tracks: ids.
            sensor_ns: when the frame was taken. Readings that are later are of a clock that has
                since started again, and forgotten.
            faces_per_frame: faces to read in a frame; 0: all.
        """
        step_ns = 0 if self._sensor_ns is None else max(0, sensor_ns - self._sensor_ns)
        self._sensor_ns = sensor_ns
        self._newest = {
            track: reading
            for track, reading in self._newest.items()
            if 0 <= sensor_ns - reading.sensor_ns <= READ_WITHIN_NS
        }
        ages_ns = {
            track: sensor_ns - self._newest[track].sensor_ns if track in self._newest else None
            for track in tracks
        }
        return faces_to_read(ages_ns, step_ns, faces_per_frame)

    def note(self, track: int, reading: Reading) -> None:
        """Note what was read of a track in the frame that was begun."""
        self._newest[track] = reading

    def kept(self, track: int) -> Reading:
        """Return the newest reading of a track that ``begin`` did not return."""
        return self._newest[track]
