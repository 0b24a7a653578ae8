"""Notices that a face has not changed beyond noise since it was read: it need not be read again.

The pixels in which the face was read are compared with those at the same place now, as means of
cells. What moves an expression, such as the corner of a mouth, covers several cells. Noise that is
strong enough to change a cell's mean counts as a change: in doubt a face is read.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from edge.vision.resize import area_means
from edge.vision.values import Box, Floats, Luma

_CELLS: Final = 24
"""Cells across and down a face."""

_LEVELS: Final = 4.0
"""A cell whose mean differs by so many grey levels has changed."""

_MOVED: Final = 0.03
_GROWN: Final = 0.06
"""Shares of the box by which its centre and its size may differ: a detector's box of a still face
differs by about as much, and the crop with it."""


@dataclass(frozen=True, slots=True)
class FacePixels:
    """The pixels of a face when it was read.

    Attributes:
        box: the face.
        size: width and height of its frame.
        means: of the cells, float32 (24, 24); None where the box is outside the frame.
    """

    box: Box
    size: tuple[int, int]
    means: Floats | None

    @classmethod
    def of(cls, luma: Luma, box: Box) -> Self:
        """Return the pixels of the face at ``box``; never raises for a finite box."""
        return cls(box, _size(luma), _means(luma, box))

    def is_unchanged(self, luma: Luma, box: Box) -> bool:
        """Return whether the face, now at ``box`` of ``luma``, looks as it did then."""
        then = self.box
        if self.means is None or self.size != _size(luma):
            return False
        across = box.x + box.width / 2 - (then.x + then.width / 2)
        down = box.y + box.height / 2 - (then.y + then.height / 2)
        if abs(across) > _MOVED * then.width or abs(down) > _MOVED * then.height:
            return False
        if abs(box.width - then.width) > _GROWN * then.width:
            return False
        if abs(box.height - then.height) > _GROWN * then.height:
            return False
        now = _means(luma, then)
        return now is not None and float(np.abs(now - self.means).max()) < _LEVELS


def _size(luma: Luma) -> tuple[int, int]:
    return int(luma.shape[1]), int(luma.shape[0])


def _means(luma: Luma, box: Box) -> Floats | None:
    left, top = max(0, round(box.x)), max(0, round(box.y))
    right, bottom = round(box.x + box.width), round(box.y + box.height)
    part = luma[top : max(top, bottom), left : max(left, right)]
    return area_means(part, (_CELLS, _CELLS)) if part.size else None
