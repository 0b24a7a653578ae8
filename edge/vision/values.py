"""The immutable values that the stages of the pipeline exchange.

Pictures are mono: ``uint8`` of shape ``(height, width)``, black 0, white 255. Arrays that a
value holds are never written to. Coordinates are pixels of the full frame, origin top left, x to
the right, y down. Times are nanoseconds unless the name says otherwise.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.protocol.detail import Detail
from edge.vocabulary import AffectSource, ClockName, FoundBy, HeadName

Luma = NDArray[np.uint8]
"""A mono picture, uint8 (height, width)."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as its source delivered it.

    Attributes:
        luma: the full picture.
        index: count of the frames the source produced before this one, lost ones included, so
            that a gap in the indices means lost frames.
        sensor_ns: when the picture was taken, on ``clock``; strictly increasing within a source.
        clock: which clock ``sensor_ns`` was read from.
        captured_ns: monotonic time at which the picture was in memory.
        capture_ms: time for reading and decoding this picture, without the wait for it if known.
        exposure_us: exposure time; None if unknown.
        small: the same picture already scaled to the detector's input by the camera's hardware.
        file: name of its file in a folder of pictures; None for other sources.
        page: number of the picture within its file, from 1; None if the file has only one.
        repeat: how many times the file had been read to its end before; tracks end where it grows.
    """

    luma: Luma
    index: int
    sensor_ns: int
    clock: ClockName
    captured_ns: int
    capture_ms: float = 0.0
    exposure_us: int | None = None
    small: Luma | None = None
    file: str | None = None
    page: int | None = None
    repeat: int = 0

    @property
    def width(self) -> int:
        """Width of the full picture in pixels."""
        return int(self.luma.shape[1])

    @property
    def height(self) -> int:
        """Height of the full picture in pixels."""
        return int(self.luma.shape[0])


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle: left, top, width, height, in pixels of the full frame."""

    x: float
    y: float
    width: float
    height: float

    def iou(self, other: "Box") -> float:
        """Return intersection over union with ``other``, 0..1; 0 where both are empty."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if across <= 0 or down <= 0:
            return 0.0
        shared = across * down
        union = self.width * self.height + other.width * other.height - shared
        # far from the origin a thin box's width is rounded: the intersection may seem larger
        union = max(union, shared)
        return shared / union if union > 0 else 0.0  # areas too small for a float are empty


def _pair(x: float, y: float) -> Floats:
    return np.array((x, y), np.float32)


@dataclass(frozen=True, slots=True)
class Detection:
    """A face detected in one frame.

    Attributes:
        box: its bounding box; may extend beyond the frame.
        landmarks: float32 (5, 2), x and y of the eye at the left of the picture, the eye at the
            right, the tip of the nose, the corner of the mouth at the left, the one at the right;
            None if the detector gives none.
        score: the detector's confidence, 0..1.
        found: how the box came about; a predicted one has the landmarks, moved along, and the score
            of the detection before.
    """

    box: Box
    landmarks: Floats | None
    score: float
    found: FoundBy = "full"

    def moved(self, x: float, y: float, height_factor: float = 1.0) -> "Detection":
        """Return the same face, found in a region, ``x`` pixels to the right and ``y`` down.

        Its box gets ``height_factor`` times the height about the same centre.
        """
        height = self.box.height * height_factor
        top = self.box.y + y + (self.box.height - height) / 2
        box = Box(self.box.x + x, top, self.box.width, height)
        landmarks = None if self.landmarks is None else self.landmarks + _pair(x, y)
        return Detection(box, landmarks, self.score, "region")

    def predicted_at(self, box: Box) -> "Detection":
        """Return the same face at ``box``, its landmarks moved and scaled along."""
        if self.landmarks is None:
            return Detection(box, None, self.score, "predicted")
        width, height = max(self.box.width, 1.0), max(self.box.height, 1.0)
        scale = _pair(box.width / width, box.height / height)
        landmarks = (self.landmarks - _pair(self.box.x, self.box.y)) * scale
        return Detection(box, landmarks + _pair(box.x, box.y), self.score, "predicted")


@dataclass(frozen=True, slots=True)
class ExpectedFace:
    """A face that the tracker expects in a frame.

    Attributes:
        id: of its track; None if it is not confirmed yet.
        box: the predicted box, filtered.
        undetected_ns: time from its last detection to this frame.
        missed: whether it was searched since then and not found.
    """

    id: int | None
    box: Box
    undetected_ns: int
    missed: bool


@dataclass(frozen=True, slots=True)
class Track:
    """A detection with the id of its face over time.

    Attributes:
        id: number of the track, never reused by a tracker.
        detection: the detection in this frame, not the filtered box.
        age_s: seconds from the first detection of this track to this frame.
    """

    id: int
    detection: Detection
    age_s: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Whether a face is usable for expression recognition, and why not.

    Attributes:
        usable: whether its expression is predicted; true exactly if ``reasons`` is empty.
        reasons: why it is not usable, from a fixed vocabulary (see ``edge.vision.quality``).
        size_px: longer side of the box, pixels of the full frame.
        sharpness: see ``edge.vision.quality`` for the measure; higher is sharper.
        brightness: mean luma of the face, 0..1.
        saturated: fraction of the face's pixels that are saturated, 0..1.
        yaw_deg: head turn estimated from the landmarks, degrees, positive to the picture's right;
            None without landmarks.
    """

    usable: bool
    reasons: tuple[str, ...]
    size_px: float
    sharpness: float
    brightness: float
    saturated: float
    yaw_deg: float | None


@dataclass(frozen=True, slots=True)
class Affect:
    """A point of Russell's circumplex: valence and arousal, each in [-1, 1]."""

    valence: float
    arousal: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The expression network's prediction for one face in one frame, before smoothing.

    Attributes:
        probabilities: float32 (8,), in the order of ``EXPRESSIONS``, sum 1; 0 for those in
            ``unknown``.
        affect: valence and arousal.
        unknown: expressions that the network does not know: published as null, not as 0.
        affect_source: where valence and arousal come from.
        head: what gave the probabilities.
        inputs: float32 (1, n), from which a head with the face mesh's coefficients predicts
            anew; None: there is no such head. They never leave the worker.
    """

    probabilities: Floats
    affect: Affect
    unknown: tuple[str, ...] = ()
    affect_source: AffectSource = "network"
    head: HeadName = "network"
    inputs: Floats | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SmoothedPrediction:
    """A prediction smoothed with the earlier ones of the same track.

    Attributes:
        affect: smoothed valence and arousal.
        stable_label: the expression of the track, with hysteresis (one of ``EXPRESSIONS``).
    """

    affect: Affect
    stable_label: str


@dataclass(frozen=True, slots=True)
class Mesh:
    """The face mesh of one face in one frame; left and right are those of the person.

    Attributes:
        yaw_deg: turn of the head, degrees, positive to the picture's right.
        pitch_deg: positive up.
        roll_deg: tilt, positive where the crown leans to the picture's right.
        left_eye: openness, 0 closed, 1 open.
        right_eye: the same.
        mouth: openness, 0 closed, 1 wide open.
        coefficients: float32 (52,), 0..1, in the order of ``edge.vision.mesh.names.COEFFICIENTS``.
        points: float32 (478, 3), x and y in pixels of the full frame, z in the same unit, smaller
            is nearer.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    left_eye: float
    right_eye: float
    mouth: float
    coefficients: Floats
    points: Floats


@dataclass(frozen=True, slots=True)
class LidMeasures:
    """What is known of a face's eyes over the last minute.

    Attributes:
        perclos: share of time with closed eyes, 0..1; None if ``perclos_reason`` is not empty.
        blinks_per_min: None if ``blinks_reason`` is not empty.
        perclos_reason: ``too_short`` (the face was measured for less than a minute), ``too_seldom``
            (measurements are too far apart), or empty.
        blinks_reason: the same.
        closed_ns: time from the first frame with closed eyes to this one; None: they are open.
    """

    perclos: float | None
    blinks_per_min: float | None
    perclos_reason: str
    blinks_reason: str
    closed_ns: int | None = None


@dataclass(frozen=True, slots=True)
class FaceState:
    """The result for one face in one frame; ``prediction`` is None if it was not classified.

    ``seat``: name of the seat in ``[zones]`` in which the face is; None without seats.
    ``reading_age_ns``: time from the frame that the prediction is of to this one; 0: of this one.
    ``mesh`` and ``lids``: None if they were not measured in this frame.
    """

    track: Track
    quality: Quality
    prediction: Prediction | None = None
    smoothed: SmoothedPrediction | None = None
    seat: str | None = None
    reading_age_ns: int = 0
    mesh: Mesh | None = None
    lids: LidMeasures | None = None


@dataclass(frozen=True, slots=True)
class FrameTracks:
    """A frame and the tracks detected in it: output of the detect stage.

    ``left_out``: number of further faces that were detected and dropped, to bound the message.
    ``ignored``: number of detections outside the seats or in ignored areas, which were dropped.
    """

    frame: Frame
    tracks: tuple[Track, ...]
    stage_ms: dict[str, float] = field(default_factory=dict)
    left_out: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class FrameState:
    """A frame and the results for its faces: output of the pipeline.

    ``stage_ms`` maps stage names (resize, detect, decode_boxes, track, quality, crop, translate,
    classify, smooth, mesh) to milliseconds. ``ignored``: as in ``FrameTracks``. ``events``: what
    happened in this frame.
    """

    frame: Frame
    faces: tuple[FaceState, ...]
    stage_ms: dict[str, float] = field(default_factory=dict)
    ignored: int = 0
    events: tuple[Detail, ...] = ()
