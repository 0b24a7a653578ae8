"""Decides whether a face's expression is predicted with the coefficients of its mesh.

A mesh is not measured in every frame, and the two heads differ in their predictions. So a face
keeps its head: it changes to the one with coefficients after they were known for a while without a
break, and back when they are too old. The decision depends on sensor time alone: a replay gives the
same messages.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edge.vision.values import Floats

KEEP_NS: Final = 1_000_000_000
"""Coefficients that are older are not used: as for readings, which are kept for no longer."""

HOLD_NS: Final = 3_000_000_000
"""They must have been known for so long before a face changes to the head that uses them, so that a
mesh which is measured now and then does not make the expression jump."""

_FORGET_NS: Final = 60_000_000_000  # far beyond the life of a lost track


@dataclass(slots=True)
class _Face:
    """What is known of a face: newest coefficients, since when without a break, and its head."""

    coefficients: Floats | None = None
    measured_ns: int = 0
    since_ns: int = 0
    read_ns: int | None = None
    uses_mesh: bool = False


class HeadChoice:
    """The head of each track. Not thread-safe: owned by the classify thread.

    Memory is bounded by the tracks of a minute.
    """

    def __init__(self) -> None:
        self._faces: dict[int, _Face] = {}

    def begin(self, tracks: Iterable[int], sensor_ns: int) -> None:
        """Begin a frame; forget tracks that were last seen long ago.

        Args:
            tracks: of the frame.
            sensor_ns: when it was taken. What is later is of a clock that has since started again,
                and forgotten.
        """
        kept = {
            track: face
            for track, face in self._faces.items()
            if 0 <= sensor_ns - max(face.measured_ns, face.read_ns or 0) <= _FORGET_NS
        }
        self._faces = {track: kept.get(track, _Face()) for track in {*kept, *tracks}}

    def note(self, track: int, coefficients: Floats, sensor_ns: int) -> None:
        """Note that the mesh of a track of this frame was measured."""
        face = self._faces[track]
        if face.coefficients is None or sensor_ns - face.measured_ns > KEEP_NS:
            face.since_ns = sensor_ns
        face.coefficients, face.measured_ns = coefficients, sensor_ns

    def coefficients(self, track: int, sensor_ns: int) -> Floats | None:
        """Return the coefficients with which to predict a track of this frame; None: without.

        A track that is read for the first time uses them at once.
        """
        face = self._faces[track]
        is_first, face.read_ns = face.read_ns is None, sensor_ns
        if face.coefficients is None or sensor_ns - face.measured_ns > KEEP_NS:
            face.uses_mesh = False
        elif is_first or sensor_ns - face.since_ns >= HOLD_NS:
            face.uses_mesh = True
        return face.coefficients if face.uses_mesh else None
