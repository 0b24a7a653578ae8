"""Notices that something moves where no face is known: somebody may have come into view.

A grid of pixels is compared with that of the last full look. What a known person does is not news:
the picture around and below a known face does not count.
"""

from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np

from edge.vision.values import Box, Luma

_GRID: Final = 64
"""Pixels compared along the longer side. The smallest face that a full look finds covers five of
them, across and down."""

_LEVELS_MIN: Final = 12
_NOISE_FACTOR: Final = 4
"""A pixel has changed by more than this many grey levels plus so many times the mean change of all
pixels: neither the sensor's noise nor a change of the exposure counts."""

_PIXELS_MIN: Final = 6


class ChangeWatch:
    """Compares frames with that of the last full look. Owned by one thread."""

    def __init__(self) -> None:
        self._before: Luma | None = None

    def note_look(self, luma: Luma) -> None:
        """Take ``luma``, uint8 (height, width), as the frame of the last full look."""
        self._before = _sampled(luma)

    def has_changed(self, luma: Luma, known: Iterable[Box] = ()) -> bool:
        """Return whether ``luma`` differs from the frame of the last full look.

        Args:
            luma: uint8 (height, width).
            known: the faces whose surroundings do not count, pixels of ``luma``.
        """
        now = _sampled(luma)
        if self._before is None or self._before.shape != now.shape:
            return True
        change = cv2.absdiff(self._before, now)
        limit = _LEVELS_MIN + _NOISE_FACTOR * cv2.mean(change)[0]
        has_changed = change > limit
        step = _step(luma)
        for box in known:
            left = max(0, int((box.x - box.width) / step))
            right = max(0, int((box.x + 2 * box.width) / step) + 1)
            top = max(0, int((box.y - 0.75 * box.height) / step))
            has_changed[top:, left:right] = False
        return int(np.count_nonzero(has_changed)) >= _PIXELS_MIN


def _step(luma: Luma) -> int:
    return max(1, int(max(luma.shape)) // _GRID)


def _sampled(luma: Luma) -> Luma:
    step = _step(luma)
    return np.ascontiguousarray(luma[step // 2 :: step, step // 2 :: step])
