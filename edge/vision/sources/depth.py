"""Effective depth of grey pictures whose 16-bit values hold fewer bits, and reduction to 8 bits.

Cameras and files store 10, 12 or 14 bits in 16, in the lower bits. The container does not say how
many, so the depth is configured (``source.bits``) or measured by the largest value.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Luma

DEPTHS: Final = (8, 10, 12, 14, 16)
"""The depths that sensors have, bits."""

_MEASURED_MIN: Final = 10  # a covered sensor delivers only noise

Deep = NDArray[np.uint16]
"""A grey picture with up to 16 bits per pixel, uint16 (height, width)."""


def effective_bits(largest: int) -> int:
    """Return the smallest depth of ``DEPTHS`` that holds the value ``largest``, 0..65535."""
    return next(bits for bits in DEPTHS if largest < 1 << bits)


def to_eight_bits(picture: Deep, bits: int) -> Luma:
    """Return the upper 8 of the lower ``bits`` bits; larger values are white.

    Args:
        picture: uint16 (height, width).
        bits: effective depth, 8..16.
    """
    step = 1 << (bits - 8)
    # OpenCV rounds to the nearest; less half a step this is the floor, and never a tie
    floor = -(step - 1) / (2 * step)
    return np.asarray(cv2.convertScaleAbs(picture, alpha=1 / step, beta=floor))


class StreamDepth:
    """The effective depth of one stream of pictures. Not thread-safe.

    A measured depth is 10 bits or more, and only grows, when a value needs more bits: a dark
    picture does not change it back, so the brightness of the stream does not flicker.

    Attributes:
        bits: the configured depth; the depth measured so far, 0 before the first picture.
    """

    def __init__(self, configured: int | None) -> None:
        self._is_measured = configured is None
        self.bits = configured or 0

    def reduce(self, picture: Deep) -> Luma:
        """Return a picture of the stream, uint16 (height, width), with 8 bits."""
        if self._is_measured and self.bits < DEPTHS[-1]:
            largest = int(picture.max(initial=0))
            self.bits = max(self.bits, _MEASURED_MIN, effective_bits(largest))
        return to_eight_bits(picture, self.bits)
