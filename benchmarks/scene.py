"""Frames for ``benchmarks fps`` whose faces are known: the golden face, moved along known paths.

A scene has one period of frames and repeats without a seam. The golden face is scaled and placed in
whole pixels, so that the true boxes are exact; sensor noise makes every frame another one. The same
arguments give the same pixels on every processor.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model, load_manifest
from edge.vision.inference.golden_schema import DetectionGolden
from edge.vision.pipeline import MAX_FACES
from edge.vision.resize import resize_linear
from edge.vision.sources.decode import silence_opencv
from edge.vision.values import Box, Frame, Luma

MOTIONS: Final = ("still", "pan", "zoom", "cross", "leave")
RATE_HZ: Final = 25
PERIOD: Final = 100
"""Frames of a scene before it repeats: four seconds."""

SIZES: Final = (160, 4096)
"""Smallest and largest side of a frame, pixels."""

_BACKGROUND: Final = 48
_NOISE: Final = 2.0  # standard deviation of the sensor noise, grey levels
_FACE_HEIGHT_MAX: Final = 0.3  # of the frame's height
_MARGIN: Final = 1.35  # of the pasted picture, relative to the face in it
_SLACK: Final = 0.25  # of a face's place, left free for its motion
_SLACK_MANY: Final = 0.1  # with more than ``_FEW`` faces: CenterFace needs 25 pixels of its input
_FEW: Final = 8
_ZOOM: Final = 0.3
_VISIBLE_MIN: Final = 0.9  # share of a box: with less in view, the face is not counted either way
_IOU_MIN: Final = 0.5
_REFERENCE: Final = "centerface-640x384"  # its manifest states the golden face's box


@dataclass(frozen=True)
class Scene:
    """One period of frames, and the true boxes of each.

    Attributes:
        frames: in order, 40 ms apart; frame ``index`` of a repetition equals ``index % PERIOD``.
        truth: for each frame, the box of each face; None while it is not counted, because it is
            partly outside or hidden.
    """

    faces: int
    motion: str
    frames: tuple[Frame, ...]
    truth: tuple[tuple[Box | None, ...], ...]


def make_scene(faces: int, motion: str, size: tuple[int, int]) -> Scene:
    """Return a scene of ``faces`` faces.

    Args:
        faces: 1 to ``MAX_FACES``.
        motion: one of ``MOTIONS``. ``pan``: each on an ellipse in its place, one face through half
            of the frame; ``zoom``: each grows and shrinks by 30 %; ``cross``: two neighbours swap
            places and hide one another; ``leave``: each goes out of the frame and returns.
        size: width and height of the frames, each in ``SIZES``.

    Raises:
        ConfigError: an argument is out of range.
    """
    if not 1 <= faces <= MAX_FACES:
        raise ConfigError(f"--faces {faces}: expected 1 to {MAX_FACES}")
    if motion not in MOTIONS:
        raise ConfigError(f"--motion {motion}: expected one of {', '.join(MOTIONS)}")
    patch, inside = _face_picture()
    noise = np.random.default_rng(1).normal(0, _NOISE, (size[1], size[0])).round().astype(np.int16)
    paths = _Paths(faces, motion, size, patch.shape[1] / patch.shape[0])
    frames, truth = [], []
    for index in range(PERIOD):
        canvas = np.full((size[1], size[0]), _BACKGROUND, np.uint8)
        placed: list[Box] = []
        for face in range(faces):
            x, y, width, height = paths.place(face, index)
            _paste(canvas, resize_linear(patch, (width, height)), x, y)
            scale_x, scale_y = width / patch.shape[1], height / patch.shape[0]
            placed.append(
                Box(x + inside.x * scale_x, y + inside.y * scale_y,
                    inside.width * scale_x, inside.height * scale_y)
            )  # fmt: skip
        shift = (37 * index % size[1], 101 * index % size[0])
        noisy = np.clip(canvas + np.roll(noise, shift, (0, 1)), 0, 255).astype(np.uint8)
        sensor_ns = index * 1_000_000_000 // RATE_HZ
        frames.append(Frame(noisy, index, sensor_ns, "media", 0))
        truth.append(tuple(
            box if _visible(box, placed[face + 1 :], size) >= _VISIBLE_MIN else None
            for face, box in enumerate(placed)
        ))  # fmt: skip
    return Scene(faces, motion, tuple(frames), tuple(truth))


class FoundFaces:
    """Compares the faces that were found with the true ones, frame by frame."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._counts = dict.fromkeys(("true", "found", "false", "switches", "predicted", "read"), 0)
        self._reading_age_max_s: float | None = None
        self._iou_sum = 0.0
        self._track_of: dict[int, int] = {}

    def update(self, index: int, found: Sequence[tuple[int, Box, float | None]]) -> None:
        """Add a frame.

        Args:
            index: of the frame, of any repetition.
            found: the track, the box, and the age of its reading in seconds (0: of this frame;
                None: it has none), of each face.
        """
        truth = self._scene.truth[index % PERIOD]
        pairs = sorted(
            ((box.iou(true), face, place)
             for face, true in enumerate(truth) if true is not None
             for place, (_, box, _) in enumerate(found)),
            reverse=True,
        )  # fmt: skip
        faces, places = set[int](), set[int]()
        for iou, face, place in pairs:
            if iou < _IOU_MIN or face in faces or place in places:
                continue
            faces.add(face)
            places.add(place)
            track, _, age_s = found[place]
            self._counts["switches"] += self._track_of.get(face, track) != track
            self._track_of[face] = track
            if age_s is not None:
                self._counts["predicted"] += 1
                self._counts["read"] += age_s == 0
                self._reading_age_max_s = max(age_s, self._reading_age_max_s or 0.0)
            self._iou_sum += iou
        self._counts["true"] += sum(true is not None for true in truth)
        self._counts["found"] += len(faces)
        # a face that is not counted may be found
        self._counts["false"] += max(0, len(found) - len(faces) - sum(t is None for t in truth))

    def figures(self) -> dict[str, Any]:
        """Return recall, mean IoU, false faces, identity switches, predictions and their age."""
        counts = self._counts
        return {
            "faces": self._scene.faces,
            "motion": self._scene.motion,
            "face_height_px": statistics.median(
                box.height for boxes in self._scene.truth for box in boxes if box is not None
            ),
            "counted": counts["true"],
            "recall": counts["found"] / counts["true"] if counts["true"] else None,
            "mean_iou": self._iou_sum / counts["found"] if counts["found"] else None,
            "false_faces": counts["false"],
            "identity_switches": counts["switches"],
            "predicted_share": counts["predicted"] / counts["true"] if counts["true"] else None,
            "read_share": counts["read"] / counts["true"] if counts["true"] else None,
            "reading_age_max_s": self._reading_age_max_s,
        }


class _Paths:
    """Where each face is in each frame: rows and columns of places, and a motion in each."""

    def __init__(self, faces: int, motion: str, size: tuple[int, int], aspect: float) -> None:
        self._motion = motion
        self._size = size
        self._columns = max(1, min(faces, round(math.sqrt(faces * size[0] / size[1] * 1.3))))
        rows = math.ceil(faces / self._columns)
        self._cell = (size[0] / self._columns, size[1] / rows)
        self._slack = _SLACK if faces <= _FEW else _SLACK_MANY
        room = 1 - self._slack
        height = min(
            self._cell[1] * room, self._cell[0] * room / aspect,
            _FACE_HEIGHT_MAX * _MARGIN * size[1],
        )  # fmt: skip
        if motion == "zoom":
            height = min(height, self._cell[1] * room / (1 + _ZOOM), self._cell[0] / (1 + _ZOOM))
        self._height, self._width = height, height * aspect
        self._alone = faces == 1
        self._faces = faces

    def place(self, face: int, index: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height of a face's picture, whole pixels."""
        row, column = divmod(face, self._columns)
        x, y = (column + 0.5) * self._cell[0], (row + 0.5) * self._cell[1]
        turn = 2 * math.pi * index / PERIOD
        phase = turn + 2.4 * face  # neighbours do not move alike
        scale = 1.0
        match self._motion:
            case "pan":
                reach_x, reach_y = (self._cell[axis] * self._slack / 2 for axis in (0, 1))
                if self._alone:
                    reach_x, reach_y = self._size[0] / 4, self._size[1] / 8
                x += reach_x * math.cos(phase)
                y += reach_y * math.sin(phase)
            case "zoom":
                scale = 1 + _ZOOM * math.sin(phase)
            case "cross":
                partner = face + 1 if column % 2 == 0 else face - 1
                if column % 2 == 1 or (column + 1 < self._columns and partner < self._faces):
                    toward = 1 if column % 2 == 0 else -1
                    x += toward * self._cell[0] * (1 - math.cos(turn)) / 2
            case "leave":
                out = 1 if column >= self._columns / 2 else -1
                way = (self._size[0] - x if out > 0 else x) + self._width
                x += out * way * max(0.0, math.sin(phase))
        width, height = round(self._width * scale), round(self._height * scale)
        return round(x - width / 2), round(y - height / 2), max(1, width), max(1, height)


def _face_picture() -> tuple[Luma, Box]:
    """Return the golden face with a margin, and the face's box in it."""
    picture, _ = golden_picture()
    golden = load_manifest(find_model(_REFERENCE)).golden
    assert isinstance(golden, DetectionGolden)
    x, y, width, height = golden.box
    left, top = (round(at - side * (_MARGIN - 1) / 2) for at, side in ((x, width), (y, height)))
    right, bottom = left + round(width * _MARGIN), top + round(height * _MARGIN)
    return picture[top:bottom, left:right].copy(), Box(x - left, y - top, width, height)


def _paste(canvas: Luma, picture: Luma, x: int, y: int) -> None:
    height, width = picture.shape
    left, top = max(0, x), max(0, y)
    right, bottom = min(canvas.shape[1], x + width), min(canvas.shape[0], y + height)
    if left < right and top < bottom:
        canvas[top:bottom, left:right] = picture[top - y : bottom - y, left - x : right - x]


def _visible(box: Box, in_front: Sequence[Box], size: tuple[int, int]) -> float:
    """Return the share of a box that is in the frame and not behind another face."""
    columns = np.arange(math.ceil(box.width)) + box.x
    rows = np.arange(math.ceil(box.height)) + box.y
    shown: NDArray[np.bool_] = np.outer(
        (rows >= 0) & (rows < size[1]), (columns >= 0) & (columns < size[0])
    )
    for other in in_front:
        margin_x, margin_y = (side * (_MARGIN - 1) / 2 for side in (other.width, other.height))
        shown &= ~np.outer(
            (rows >= other.y - margin_y) & (rows < other.y + other.height + margin_y),
            (columns >= other.x - margin_x) & (columns < other.x + other.width + margin_x),
        )
    return float(shown.mean())


def write_video(scene: Scene, path: str, repeat: int) -> None:
    """Write a scene as a video for the daemon, ``repeat`` times over.

    Raises:
        ConfigError: OpenCV cannot write it.
    """
    silence_opencv()  # FFmpeg reads its level when it is first used
    height, width = scene.frames[0].luma.shape
    motion_jpeg = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(path, motion_jpeg, RATE_HZ, (width, height), isColor=False)
    if not writer.isOpened():
        raise ConfigError("--faces: this OpenCV cannot write a video; leave out --mode daemon")
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
    for _ in range(repeat):
        for frame in scene.frames:
            writer.write(frame.luma)
    writer.release()
