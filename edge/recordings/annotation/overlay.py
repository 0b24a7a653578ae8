"""What is drawn over a picture: the faces of one frame, as a frame message gives them.

Overlays of a new analysis and of a log are the same values, rounded in the same way, so that both
give the same picture.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from edge.protocol.messages import Face, FrameMessage
from edge.recordings.result import Result
from edge.vision.values import Affect
from edge.vocabulary import EXPRESSIONS

_PIXELS_MAX: Final = 1_000_000
"""Boxes may reach outside of the picture, and drawing must not overflow."""

MATCH_NS: Final = 500_000
"""Largest difference between the times of a picture and of its overlay: half of the coarsest time
base (Matroska, 1 ms)."""


@dataclass(frozen=True, slots=True)
class Emotion:
    """What the expression network gave for a face.

    Attributes:
        probabilities: 0..1, in the order of ``EXPRESSIONS``; None: the network does not know it.
        stable_label: the expression of the track, with hysteresis.
        raw: valence and arousal of this picture alone.
        smoothed: valence and arousal, smoothed over the track.

    Raises:
        ValueError: a value is out of range, or the label is no expression.
    """

    probabilities: tuple[float | None, ...]
    stable_label: str
    raw: Affect
    smoothed: Affect

    def __post_init__(self) -> None:
        known = [share for share in self.probabilities if share is not None]
        if not known or not all(0 <= share <= 1 for share in known):  # nor NaN
            raise ValueError(f"probabilities {self.probabilities}: expected 0 to 1")
        points = (self.raw.valence, self.raw.arousal, self.smoothed.valence, self.smoothed.arousal)
        if not all(-1 <= each <= 1 for each in points):
            raise ValueError(f"valence and arousal {points}: expected -1 to 1")
        if self.stable_label not in EXPRESSIONS:
            raise ValueError(f"stable_label {self.stable_label!r}: expected an expression")

    def likeliest(self, count: int) -> list[tuple[str, float]]:
        """Return the names and probabilities of the ``count`` most probable expressions."""
        known: list[tuple[str, float]] = [
            (name, share)
            for name, share in zip(EXPRESSIONS, self.probabilities, strict=True)
            if share is not None
        ]
        return sorted(known, key=lambda each: -each[1])[:count]


@dataclass(frozen=True, slots=True)
class FaceOverlay:
    """One face.

    Attributes:
        track: number of its track.
        code: its participant; None if none was assigned.
        box: left, top, width, height, pixels of the full picture; may reach outside.
        landmarks: x and y of eyes, nose and corners of the mouth, pixels; empty: none known.
        reasons: why it was not classified; empty if it was.
        emotion: None if it was not classified.

    Raises:
        ValueError: box or landmarks are no pixels of any picture.
    """

    track: int
    code: str | None
    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...]
    reasons: tuple[str, ...]
    emotion: Emotion | None

    def __post_init__(self) -> None:
        for each in (self.box, *self.landmarks):
            if not all(abs(value) <= _PIXELS_MAX for value in each):  # nor NaN
                raise ValueError(f"box or landmarks {each}: expected pixels")

    @property
    def name(self) -> str:
        """Code of the participant, else ``track N``."""
        return self.code or f"track {self.track}"


@dataclass(frozen=True, slots=True)
class FrameOverlay:
    """The faces of one frame.

    Attributes:
        index: of the frame, as the source counted.
        media_ns: time within the file, ns.
        width: of the picture that was analysed, pixels.
        height: of the same.
        faces: by ascending track.
    """

    index: int
    media_ns: int
    width: int
    height: int
    faces: tuple[FaceOverlay, ...]

    def with_codes(self, codes: Mapping[int, str]) -> "FrameOverlay":
        """Return the same with the codes of ``codes``, by track."""
        if not codes:
            return self
        faces = (
            replace(face, code=codes[face.track]) if face.track in codes else face
            for face in self.faces
        )
        return replace(self, faces=tuple(faces))


def overlay_of(message: FrameMessage) -> FrameOverlay:
    """Return the overlay of a frame message."""
    return FrameOverlay(
        index=message.frame.index,
        media_ns=message.time.sensor_ns,
        width=message.frame.width,
        height=message.frame.height,
        faces=tuple(map(face_overlay, message.faces)),
    )


def overlay_of_result(result: Result) -> FrameOverlay:
    """Return the overlay of a result."""
    return FrameOverlay(
        index=result.index,
        media_ns=result.media_ns,
        width=result.width,
        height=result.height,
        faces=tuple(map(face_overlay, result.faces)),
    )


def face_overlay(face: Face) -> FaceOverlay:
    """Return the overlay of a face."""
    emotion = None
    if face.expression is not None and face.affect is not None:
        smoothed = face.affect.smoothed
        emotion = Emotion(
            tuple(getattr(face.expression.probabilities, name) for name in EXPRESSIONS),
            face.expression.stable_label,
            Affect(face.affect.valence, face.affect.arousal),
            Affect(smoothed.valence, smoothed.arousal),
        )
    x, y, width, height = face.box
    return FaceOverlay(
        track=face.track,
        code=face.participant,
        box=(x, y, width, height),
        landmarks=tuple((x, y) for x, y in face.landmarks or ()),
        reasons=tuple(face.quality.reasons),
        emotion=emotion,
    )


class Matcher:
    """Finds the overlay of each picture. Not thread-safe; memory: one overlay.

    Args:
        overlays: in the order of time.
        by_index: match by ``index``, as the times of the overlays are not those of the file.

    Attributes:
        spacing_ns: shortest time between two overlays so far, ns; 0 before the second one.
    """

    def __init__(self, overlays: Iterable[FrameOverlay], *, by_index: bool = False) -> None:
        self._overlays: Iterator[FrameOverlay] = iter(overlays)
        self._by_index = by_index
        self._next: FrameOverlay | None = None
        self._has_begun = False
        self.spacing_ns = 0

    def at(self, index: int, media_ns: int) -> FrameOverlay | None:
        """Return the overlay of a picture; None if there is none. Call it in the order of time."""
        if not self._has_begun:
            self._has_begun = True
            self._read()
        while self._next is not None:
            distance = self._next.index - index
            tolerance = 0
            if not self._by_index:
                distance, tolerance = self._next.media_ns - media_ns, MATCH_NS
            if distance > tolerance:
                return None
            found = self._next
            self._read()
            if abs(distance) <= tolerance:
                return found
        return None

    def _read(self) -> None:
        before, self._next = self._next, next(self._overlays, None)
        if before is not None and self._next is not None:
            spacing_ns = self._next.media_ns - before.media_ns
            if spacing_ns > 0:
                self.spacing_ns = min(self.spacing_ns or spacing_ns, spacing_ns)
