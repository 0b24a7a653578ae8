"""Moving scenes made from still photographs: pan, zoom, head turns, leaving, two people crossing.

The photographs are true near-infrared ones; only their motion is synthetic. Every frame has noise
of its own, as a sensor's. The same folder gives the same scenes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.pictures import faces_in
from edge.vision.detect import Detector
from edge.vision.values import Box, Luma

WIDTH, HEIGHT = 1280, 720
RATE_HZ: Final = 25
SECONDS: Final = 5.0
_GREY: Final = 100.0  # of the canvas where the photograph ends
_NOISE: Final = 2.0  # standard deviation, grey levels
_HEAD: Final = (0.85, 0.8)  # semi-axes of a head's ellipse, in widths and heights of the face
_CROSSING_PX: Final = 200.0  # height of a face in the crossing scene

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scene:
    """One moving scene; ``frames`` yields pictures, uint8 (720, 1280), at 25 Hz."""

    name: str
    frames: Callable[[], Iterator[Luma]]


def scenes(pictures: Sequence[Luma], detector: Detector) -> list[Scene]:
    """Return the scenes of ``pictures``: each photograph in one kind of motion, and crossings.

    Args:
        pictures: photographs of any size, each with a face.
        detector: locates the face of each photograph.
    """
    made: list[Scene] = []
    shown: list[tuple[Luma, Box]] = []
    for number, picture in enumerate(pictures):
        if not (faces := faces_in(detector, picture)):
            continue
        shown.append((picture, max(faces, key=lambda face: face.box.height).box))
        name, path = _PATHS[number % len(_PATHS)]
        made.append(Scene(name, _moving(*shown[-1], path, number)))
    # far apart in the list: two people, not two photographs of one
    half = len(shown) // 2
    for number in range(0, half, 4):
        pair = (shown[number], shown[number + half])
        made.append(Scene("crossing", _crossing(pair, number)))
    return made


# -- paths: seconds to a matrix about the face's centre, at the middle of the picture --------------


def _pan(t: float) -> Matrix:
    x = 0.2 * WIDTH * math.sin(2 * math.pi * 0.35 * t)
    return _similarity(0.7, x, 0.1 * HEIGHT * math.sin(2 * math.pi * 0.5 * t))


def _zoom(t: float) -> Matrix:
    return _similarity(0.4 * 2.5 ** ((1 - math.cos(2 * math.pi * 0.25 * t)) / 2), 0, 0)


def _turn(t: float) -> Matrix:
    matrix = _similarity(0.7, 20 * math.sin(2 * math.pi * 0.4 * t), 0)
    angle = math.radians(6) * math.sin(2 * math.pi * 0.3 * t)
    turned = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    turned[2, 0] = 4e-4 * math.sin(2 * math.pi * 0.4 * t)
    turned[2, 1] = 2e-4 * math.sin(2 * math.pi * 0.25 * t)
    return np.asarray(matrix @ turned)


def _leave(t: float) -> Matrix:
    """Go out of the picture at one side, stay away for a second, come back."""
    away = min(max(min(t - 0.8, 4.2 - t) / 1.0, 0.0), 1.0)
    return _similarity(0.7, 0.85 * WIDTH * away**2 * (3 - 2 * away), 0)


def _still(t: float) -> Matrix:
    return _similarity(0.7, 0, 0)


_PATHS: Final[Sequence[tuple[str, Callable[[float], Matrix]]]] = (
    ("pan", _pan),
    ("zoom", _zoom),
    ("turn", _turn),
    ("leave", _leave),
    ("still", _still),
)


def _similarity(scale: float, x: float, y: float) -> Matrix:
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]])


# -- pictures --------------------------------------------------------------------------------------


def _moving(
    picture: Luma, face: Box, path: Callable[[float], Matrix], seed: int
) -> Callable[[], Iterator[Luma]]:
    # a face of half the frame's height at scale 1, whatever the photograph's size
    placed = _centred(face, 0.5 * HEIGHT)

    def frames() -> Iterator[Luma]:
        noise = _Noise(seed)
        for t in _times():
            matrix = _middle(WIDTH / 2, HEIGHT / 2) @ path(t) @ placed
            yield noise.add(_warp(picture.astype(np.float32), matrix, _GREY))

    return frames


def _crossing(
    pair: tuple[tuple[Luma, Box], tuple[Luma, Box]], seed: int
) -> Callable[[], Iterator[Luma]]:
    heads = [(picture, face, _head_mask(picture, face)) for picture, face in pair]

    def frames() -> Iterator[Luma]:
        noise = _Noise(seed)
        for t in _times():
            canvas = np.full((HEIGHT, WIDTH), _GREY, np.float32)
            across = 0.3 * WIDTH * math.cos(math.pi * t / SECONDS)
            for sign, (picture, face, mask) in zip((1, -1), heads, strict=True):
                matrix = _middle(WIDTH / 2 + sign * across, HEIGHT / 2 + sign * 20)
                matrix = matrix @ _centred(face, _CROSSING_PX)
                share = _warp(mask, matrix, 0.0)
                canvas += share * (_warp(picture.astype(np.float32), matrix, _GREY) - canvas)
            yield noise.add(canvas)

    return frames


def _times() -> Iterator[float]:
    return (number / RATE_HZ for number in range(round(SECONDS * RATE_HZ)))


def _centred(face: Box, height_px: float) -> Matrix:
    """Return the matrix that puts the face's centre at the origin, with this height."""
    scale = height_px / face.height
    x, y = face.x + face.width / 2, face.y + face.height / 2
    return _similarity(scale, -scale * x, -scale * y)


def _middle(x: float, y: float) -> Matrix:
    return _similarity(1.0, x, y)


def _warp(picture: NDArray[np.float32], matrix: Matrix, border: float) -> NDArray[np.float32]:
    return np.asarray(
        cv2.warpPerspective(
            picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderValue=border
        ),
        np.float32,
    )


def _head_mask(picture: Luma, face: Box) -> NDArray[np.float32]:
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    x = (columns - (face.x + face.width / 2)) / (_HEAD[0] * face.width)
    y = (rows - (face.y + face.height / 2)) / (_HEAD[1] * face.height)
    return np.asarray(np.clip(8 * (1 - np.hypot(x, y)), 0, 1), np.float32)


class _Noise:
    """Noise of a sensor: a part of one large field, at another place in each frame."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        size = (HEIGHT + 64, WIDTH + 64)
        self._field = self._random.normal(0, _NOISE, size).astype(np.float32)

    def add(self, picture: NDArray[np.float32]) -> Luma:
        top, left = self._random.integers(0, 64, 2)
        noisy = picture + self._field[top : top + HEIGHT, left : left + WIDTH]
        return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
