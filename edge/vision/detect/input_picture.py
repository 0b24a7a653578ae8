"""The frame at a detector's input size, shared by all detectors."""

from typing import Final, NamedTuple

import numpy as np

from edge.vision.resize import resize_linear
from edge.vision.values import Frame, Luma

_STRETCH_MIN: Final = 0.6
"""Narrower pictures, relative to the input's aspect ratio, are padded instead of stretched. In a
9:16 picture stretched to 320 x 192, the demo clip's face is never found, and padded always; at 0.6
(a square picture) stretching costs 0.06 of its score."""


class InputPicture(NamedTuple):
    """A detector's input.

    Attributes:
        picture: uint8 (height, width).
        ratio_x: full-frame pixels per pixel of ``picture``, across.
        ratio_y: the same, down.
    """

    picture: Luma
    ratio_x: float
    ratio_y: float


def input_picture(frame: Frame, size: tuple[int, int]) -> InputPicture:
    """Return the picture of ``frame`` at ``size``.

    It is stretched to fit, or padded with black at its right if it is much narrower than the input.
    If the camera's hardware has scaled the frame to this size (``frame.small``), that picture is
    returned and the full picture is not read. The result may share memory with the frame.

    Args:
        frame: the frame.
        size: width and height of the network's input, pixels.
    """
    width, height = size
    ratio_y = frame.height / height
    if frame.width * height < _STRETCH_MIN * frame.height * width:
        fitted = max(1, round(frame.width / ratio_y))
        padded = np.zeros((height, width), np.uint8)
        padded[:, :fitted] = resize_linear(frame.luma, (fitted, height))
        return InputPicture(padded, frame.width / fitted, ratio_y)
    if frame.small is not None and frame.small.shape == size[::-1]:
        return InputPicture(frame.small, frame.width / width, ratio_y)
    # area averaging costs 5 to 40 times as much and finds no more faces
    return InputPicture(resize_linear(frame.luma, size), frame.width / width, ratio_y)
