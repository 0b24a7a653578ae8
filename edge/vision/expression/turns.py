"""Decides which faces of a frame are read: all, or so many that many faces cost no more than a few.

Faces take turns, those first that were not read for the longest; those that have not changed may
be left out. The decision depends on sensor time and on pictures, never on the machine's speed: a
replay gives the same messages.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge.vision.expression.unchanged import FacePixels
from edge.vision.values import Box, Frame, Prediction, SmoothedPrediction

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
    """What was read of a face, and when its frame was taken; ``pixels``: of what, if it counts."""

    sensor_ns: int
    prediction: Prediction
    smoothed: SmoothedPrediction
    pixels: FacePixels | None = None


class Readings:
    """The newest reading of each track. Not thread-safe: owned by the classify thread.

    Memory is bounded by the number of tracks that were read within ``READ_WITHIN_NS``.

    Args:
        keeps_unchanged: whether a face that has not changed keeps its reading.
    """

    def __init__(self, *, keeps_unchanged: bool = False) -> None:
        self._keeps_unchanged = keeps_unchanged
        self._newest: dict[int, Reading] = {}
        self._sensor_ns: int | None = None

    def begin(self, frame: Frame, boxes: Mapping[int, Box], faces_per_frame: int) -> frozenset[int]:
        """Begin a frame; return the tracks of the faces to read in it.

        Args:
            frame: readings that are later are of a clock that has since started again, and
                forgotten.
            boxes: of each usable face, by track.
            faces_per_frame: faces to read in a frame; 0: all.
        """
        sensor_ns = frame.sensor_ns
        step_ns = 0 if self._sensor_ns is None else max(0, sensor_ns - self._sensor_ns)
        self._sensor_ns = sensor_ns
        self._newest = {
            track: reading
            for track, reading in self._newest.items()
            if 0 <= sensor_ns - reading.sensor_ns <= READ_WITHIN_NS
        }
        ages_ns = {
            track: sensor_ns - self._newest[track].sensor_ns if track in self._newest else None
            for track in boxes
        }
        if self._keeps_unchanged:
            still = self._unchanged(frame, boxes, step_ns)
            ages_ns = {track: age_ns for track, age_ns in ages_ns.items() if track not in still}
        return faces_to_read(ages_ns, step_ns, faces_per_frame)

    def _unchanged(self, frame: Frame, boxes: Mapping[int, Box], step_ns: int) -> set[int]:
        """Return the faces that look as they did and were read recently enough."""
        return {
            track
            for track, reading in self._newest.items()
            if track in boxes
            and frame.sensor_ns - reading.sensor_ns + step_ns <= READ_WITHIN_NS
            and reading.pixels is not None
            and reading.pixels.is_unchanged(frame.luma, boxes[track])
        }

    def note(
        self,
        frame: Frame,
        track: int,
        box: Box,
        prediction: Prediction,
        smoothed: SmoothedPrediction,
    ) -> None:
        """Note what was read of the face of a track in the frame that was begun."""
        pixels = FacePixels.of(frame.luma, box) if self._keeps_unchanged else None
        self._newest[track] = Reading(frame.sensor_ns, prediction, smoothed, pixels)

    def kept(self, track: int) -> Reading:
        """Return the newest reading of a track that ``begin`` did not return."""
        return self._newest[track]
