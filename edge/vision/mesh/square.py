"""Cuts the upright square around a face out of a frame, and maps points back.

The square is turned so that the eyes are level, as the network was trained. One look is enough: on
156 near-infrared photographs the points differ from those of four looks, each in 1.5 times the box
of the points before, by 0.7 % of the distance between the outer corners of the eyes (median; 2.0 %
at most), and one look costs half of two.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.resize import halved
from edge.vision.values import Detection, Floats, Luma

# medians of the squares that four looks lead to on those photographs, in sides of the box
_SIDE: Final = 1.41
_DOWN: Final = 0.05

_BITS: Final = 12  # of the fraction of a position: 1/4096 pixel
_STEPS: Final = 32  # OpenCV interpolates between so many steps of a pixel
_SHORT_MAX: Final = 2**15 - 1
_REACH_MAX: Final = 2**18
"""Pixels of a frame that a position may be away from it, so that 32 bits hold the sums."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square that is turned in the plane of the picture; pixels of the full frame.

    Attributes:
        x: of its centre.
        y: of its centre.
        side: its length, more than 0.
        angle: by which it is turned clockwise, radians.
    """

    x: float
    y: float
    side: float
    angle: float

    def to_frame(self, points: Floats, size: int) -> Floats:
        """Return points of the cut-out, float32 (n, 3), in pixels of the full frame.

        Args:
            points: x and y in pixels of the cut-out, z in the same unit.
            size: width and height of the cut-out.
        """
        scale = self.side / size
        across, along = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        x, y = points[:, 0] - size / 2, points[:, 1] - size / 2
        columns = (self.x + across * x - along * y, self.y + along * x + across * y)
        moved: Floats = np.stack([*columns, points[:, 2] * scale], axis=1).astype(np.float32)
        return moved


def square_of(detection: Detection) -> Square | None:
    """Return the square around a face; None if its box or landmarks enclose nothing.

    A detector without landmarks finds upright faces: the square is not turned then.
    """
    box, landmarks = detection.box, detection.landmarks
    longer = max(box.width, box.height)
    eyes = [[0.0, 0.0], [1.0, 0.0]] if landmarks is None else landmarks[:2].tolist()
    (left_x, left_y), (right_x, right_y) = eyes
    values = (box.x, box.y, box.width, box.height, left_x, left_y, right_x, right_y)
    if not all(map(math.isfinite, values)) or longer < 1 or max(map(abs, values)) > _REACH_MAX / 4:
        return None
    angle = math.atan2(right_y - left_y, right_x - left_x)
    down = _DOWN * longer
    return Square(
        box.x + box.width / 2 - math.sin(angle) * down,
        box.y + box.height / 2 + math.cos(angle) * down,
        _SIDE * longer,
        angle,
    )


def cut_out(luma: Luma, square: Square, size: int) -> Luma:
    """Return the square, uint8 (size, size), upright; pixels outside the frame are black.

    Positions are integers and OpenCV interpolates them in integers: the same pixels on every
    processor. Where the square has twice as many pixels as the result or more, the frame is halved
    first, so that fine detail does not alias.
    """
    x, y, side = square.x, square.y, square.side
    while side >= 2 * size and min(luma.shape) >= 2:
        reach = side * math.sqrt(0.5)
        # even, so that pixels are paired in the same way wherever the face is
        left, top = (max(0, int(each - reach) // 2 * 2 - 2) for each in (x, y))
        right, bottom = (max(0, math.ceil(each + reach) // 2 * 2 + 2) for each in (x, y))
        part = luma[top:bottom, left:right]
        if min(part.shape) < 2:
            return np.zeros((size, size), np.uint8)
        luma = halved(part)
        x, y, side = (x - left) / 2, (y - top) / 2, side / 2
    map_1, map_2 = _positions(Square(x, y, side, square.angle), size)
    cut: Luma = cv2.remap(
        luma, map_1, map_2, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,)
    )
    return cut


def _positions(square: Square, size: int) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Return where each pixel of the cut-out lies, as ``cv2.remap`` takes it."""
    unit = 1 << _BITS
    scale = square.side / size
    across = round(math.cos(square.angle) * scale * unit)
    along = round(math.sin(square.angle) * scale * unit)
    # twice the distances from the centre are whole numbers
    steps = np.arange(1 - size, size, 2, dtype=np.int32)
    begin_x, begin_y = (round((each - 0.5) * unit) for each in (square.x, square.y))
    x = begin_x + ((steps * across)[None, :] - (steps * along)[:, None]) // 2
    y = begin_y + ((steps * along)[None, :] + (steps * across)[:, None]) // 2
    shift = _BITS - 5
    x, y = x >> shift, y >> shift
    whole = np.stack([x >> 5, y >> 5], axis=2)
    np.clip(whole, -_SHORT_MAX, _SHORT_MAX, out=whole)
    fraction = (y & (_STEPS - 1)) * _STEPS + (x & (_STEPS - 1))
    return whole.astype(np.int16), fraction.astype(np.uint16)
