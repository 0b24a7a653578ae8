"""Squares of the frame in which known faces are searched: their sizes, and their pictures.

The network's boxes depend on the scale of the face in its input: a square that follows the box in
size makes the box breathe. Sizes are therefore steps of a fixed scale, with hysteresis, and a
square keeps its place while the face stays well inside. So a still face has a still square.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.vision.values import Box, Luma

SHARE: Final = 1.55
"""Side of a square, in longer sides of the face's box. Mean overlap with boxes of the whole frame
at 640x384, on moving photographs and on the demo clip: 1.5 gives 0.91 and 0.90, 1.6 gives 0.91 and
0.92, 1.7 gives 0.90 and 0.92. Landmarks jitter less in smaller squares."""

MEASURED_MODEL: Final = "centerface-96x96"
HEIGHT_FACTOR: Final = 0.982
"""Boxes that ``MEASURED_MODEL`` gives in such squares are 1.8 % higher than those of the whole
frame at 640x384 (mean over 32 photographs in motion); the expression's crop follows the height.
Chosen on photographs that are evaluated, too; of ten people, any nine give 0.975 to 0.981, and the
height of the tenth's box then differs by 1.2 % in the mean, by 2.4 % without a factor. Boxes of
other models are not changed."""

_STEP: Final = 1.1
"""Ratio of neighbouring sizes."""

_KEEP_SIZE: Final = 1.08
"""A square keeps its size while the wanted one is within this factor; more than half a step."""

_KEEP_PLACE: Final = 0.04
"""A square keeps its place while the face's centre is within this share of its side."""

_BORDER: Final = 0.02
"""A box that comes closer to the square's border than this share of its side touches it."""

_SIDE_MIN: Final = 16
SIDE_MAX: Final = 2.0
"""Largest side of a square, in longer sides of the frame."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square of whole pixels of the full frame; it may extend beyond the frame."""

    left: int
    top: int
    side: int


def square_around(box: Box, before: Square | None = None) -> Square:
    """Return the square in which the face at ``box`` is searched.

    Args:
        box: where the face is expected, filtered and predicted.
        before: the square in which it was found last; None: a new one.
    """
    wanted = SHARE * max(box.width, box.height)
    if before is None or not before.side / _KEEP_SIZE <= wanted <= before.side * _KEEP_SIZE:
        return _centred(box, _stepped(wanted))
    across = box.x + box.width / 2 - (before.left + before.side / 2)
    down = box.y + box.height / 2 - (before.top + before.side / 2)
    if max(abs(across), abs(down)) <= _KEEP_PLACE * before.side:
        return before
    return _centred(box, before.side)


def touches_border(box: Box, square: Square) -> bool:
    """Return whether the face at ``box`` may be cut by the border of ``square``."""
    margin = _BORDER * square.side
    return (
        box.x < square.left + margin
        or box.y < square.top + margin
        or box.x + box.width > square.left + square.side - margin
        or box.y + box.height > square.top + square.side - margin
    )


def cut_out(luma: Luma, square: Square) -> Luma:
    """Return the pixels of ``square``, uint8 (side, side), black where it is outside ``luma``.

    The result shares no memory with ``luma``.
    """
    height, width = luma.shape
    left, top = max(square.left, 0), max(square.top, 0)
    right = min(square.left + square.side, width)
    bottom = min(square.top + square.side, height)
    if right - left == square.side and bottom - top == square.side:
        # a copy reads memory in order, which resizing does not: together they take 0.6 of the time
        return luma[top:bottom, left:right].copy()
    padded = np.zeros((square.side, square.side), np.uint8)
    if left < right and top < bottom:
        inside = np.s_[
            top - square.top : bottom - square.top, left - square.left : right - square.left
        ]
        padded[inside] = luma[top:bottom, left:right]
    return padded


def _centred(box: Box, side: int) -> Square:
    left = round(box.x + (box.width - side) / 2)
    top = round(box.y + (box.height - side) / 2)
    return Square(left, top, side)


def _stepped(wanted: float) -> int:
    """Return the size of the scale that is nearest to ``wanted``, pixels."""
    step = round(math.log(max(wanted, _SIDE_MIN) / _SIDE_MIN, _STEP))
    return round(_SIDE_MIN * _STEP**step)
