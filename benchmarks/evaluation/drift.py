"""Pictures of a face that holds still: a photograph that drifts, turns and grows a little.

Every frame has noise of its own, as a sensor's. The same seed gives the same pictures.
"""

import math
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.resize import resize_area
from edge.vision.values import Box, Luma

WIDTH, HEIGHT = 640, 480
RATE_HZ: Final = 25
FACE_PX: Final = 160.0
"""Height of the face on average."""

DRIFT_PX: Final = 6.0
SCALE: Final = 0.05
TURN_DEG: Final = 3.0
"""Amplitudes of what moves: across and down, size, and tilt."""

NOISE: Final = 3.0
"""Standard deviation of each pixel, grey levels."""

_PERIODS_S: Final = (2.0, 10.0)  # shortest and longest of the swings
_GREY: Final = 100  # of the canvas where the photograph ends
_SPARE: Final = 64  # pixels by which the field of noise is larger than the picture


class Drift:
    """How a face moves that holds still, and the noise of its pictures.

    Args:
        seed: gives phases and periods of the swings, and the noise.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._periods_s = self._random.uniform(*_PERIODS_S, 4)
        self._phases = self._random.uniform(0, 1, 4)
        size = (HEIGHT + _SPARE, WIDTH + _SPARE)
        self._field = self._random.normal(0, NOISE, size).astype(np.float32)

    def pictures(self, photograph: Luma, face: Box, first: int, count: int) -> Iterator[Luma]:
        """Yield pictures ``first`` and following, uint8 (480, 640), at 25 Hz.

        Args:
            photograph: of any size.
            face: in its pixels; comes to the middle of the picture, ``FACE_PX`` high.
            first: number of the first picture, for the place in the swings.
            count: so many pictures.
        """
        share = FACE_PX / face.height
        x, y = face.x + face.width / 2, face.y + face.height / 2
        if share < 1:  # the mean of areas, so that fine detail does not alias
            high, wide = photograph.shape
            small = resize_area(
                photograph, (max(1, round(wide * share)), max(1, round(high * share)))
            )
            x, y = x * small.shape[1] / wide, y * small.shape[0] / high
            photograph, share = small, 1.0
        for number in range(first, first + count):
            matrix = self._matrix(number / RATE_HZ, share, x, y)
            moved = cv2.warpAffine(
                photograph, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderValue=(_GREY,)
            )
            top, left = self._random.integers(0, _SPARE, 2)
            noisy = moved + self._field[top : top + HEIGHT, left : left + WIDTH]
            yield np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)

    def _matrix(self, t: float, share: float, x: float, y: float) -> NDArray[np.float64]:
        swings = np.sin(2 * np.pi * (t / self._periods_s + self._phases)).tolist()
        scale = share * (1 + SCALE * swings[2])
        angle = math.radians(TURN_DEG * swings[3])
        across, along = math.cos(angle) * scale, math.sin(angle) * scale
        to_x, to_y = WIDTH / 2 + DRIFT_PX * swings[0], HEIGHT / 2 + DRIFT_PX * swings[1]
        return np.array(
            [
                [across, -along, to_x - across * x + along * y],
                [along, across, to_y - along * x - across * y],
            ]
        )
