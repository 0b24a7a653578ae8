"""Frames for tests of detectors and networks, and pictures of the fake camera."""

from typing import Any

import numpy as np

from edge.vision.values import Frame, Luma


def frame_of(luma: Luma, small: Luma | None = None) -> Frame:
    """Return a frame of read-only pictures: code that writes to them raises an error."""
    for picture in (luma, small):
        if picture is not None:
            picture.flags.writeable = False
    return Frame(luma, index=0, sensor_ns=0, clock="media", captured_ns=0, small=small)


def paint(number: int, width: int, height: int, buffer: Any) -> Any:
    """Return the planes of frame ``number``: a ramp in luma, 0xEE in padding and chroma."""
    planes = np.full_like(buffer, 0xEE)
    rows, columns = np.mgrid[0:height, 0:width]
    planes[:height, :width] = (rows + columns + 7 * number) % 256
    return planes
