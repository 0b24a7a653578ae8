"""A world of rectangles: each face is a rectangle of one grey level, found exactly."""

from collections.abc import Mapping

import numpy as np

from edge.clock import Stopwatch
from edge.errors import InferenceError
from edge.vision.values import Box, Detection, Frame, Luma

RATE_HZ = 25
WIDTH, HEIGHT = 640, 384

Faces = Mapping[int, Box]
"""Grey level, 1 to 255, to the face's box; later ones hide earlier ones."""


def painted(faces: Faces, width: int = WIDTH, height: int = HEIGHT) -> Luma:
    """Return a black picture with the faces, at whole pixels."""
    luma = np.zeros((height, width), np.uint8)
    for level, box in faces.items():
        left, top = round(box.x), round(box.y)
        right, bottom = left + round(box.width), top + round(box.height)
        luma[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = level
    return luma


def frame_at(seconds: float, faces: Faces, **fields: object) -> Frame:
    """Return a frame of ``faces``, taken at ``seconds``."""
    frame = {"index": 0, "clock": "media", "captured_ns": 0, **fields}
    return Frame(painted(faces), sensor_ns=round(seconds * 1e9), **frame)  # type: ignore[arg-type]


def box(x: float, y: float = 192.0, size: float = 60.0) -> Box:
    """Return a face centred on (x, y)."""
    return Box(x - size / 2, y - size / 2, size, size)


class RectangleDetector:
    """Finds the rectangles of a picture (see ``edge.vision.detect.Detector``).

    Attributes:
        looks: width and height of each picture that was searched.
        scores: level -> score; others have 0.9.
        hidden: levels that it does not find.
        fails: whether the network fails.
    """

    info = golden = None

    def __init__(self, side: tuple[int, int], scores: Mapping[int, float] | None = None) -> None:
        self.input_size = side
        self.looks: list[tuple[int, int]] = []
        self.scores = scores or {}
        self.hidden: set[int] = set()
        self.fails = False

    @property
    def averaged(self) -> "RectangleDetector":
        return self

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        if self.fails:
            raise InferenceError("not finite")
        self.looks.append((frame.width, frame.height))
        found = []
        for level in np.unique(frame.luma[frame.luma > 0]).tolist():
            if level in self.hidden:
                continue
            rows, columns = np.nonzero(frame.luma == level)
            left, top = int(columns.min()), int(rows.min())
            width, height = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
            landmarks = np.array([[left, top]] * 5, np.float32) + np.float32([width / 2, 1])
            score = self.scores.get(level, 0.9)
            found.append(Detection(Box(left, top, width, height), landmarks, score))
        stopwatch.lap("detect")
        return tuple(sorted(found, key=lambda each: -each.score))
