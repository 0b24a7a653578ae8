"""Resizes 8-bit pictures with integer arithmetic: the same pixels on every processor.

``cv2.resize`` does not guarantee that. ``INTER_LINEAR`` and ``INTER_AREA`` run different code on
ARM and x86, and in different versions of OpenCV: up to half of the pixels differ, most by one grey
level, and networks then give different outputs (``docs/platforms.md``). A lint rule forbids
``cv2.resize`` outside this module.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Floats, Luma

_EXACT_MAX = 2**53
"""Integers below it are exact in a double."""


def resize_linear(picture: Luma, size: tuple[int, int]) -> Luma:
    """Return ``picture`` at ``size``, interpolated between the nearest two by two pixels.

    Faster than ``resize_area``. It reads at most four pixels for each pixel of the result, so
    strong downscaling aliases.

    Args:
        picture: uint8 (height, width), not empty.
        size: width and height of the result, pixels, at least 1.

    Returns:
        uint8 (height, width); ``picture`` itself if it already has that size.
    """
    if picture.shape == size[::-1]:
        return picture
    # fixed-point arithmetic on every processor, 1.4 to 2.2 times as slow as INTER_LINEAR
    resized: Luma = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR_EXACT)
    return resized


def resize_area(picture: Luma, size: tuple[int, int]) -> Luma:
    """Return ``picture`` at ``size``, each pixel the mean of the area that it covers.

    If the result is larger than the picture, one of its pixels covers one or two of the picture's.

    Args:
        picture: uint8 (height, width), not empty.
        size: width and height of the result, pixels, at least 1.

    Returns:
        uint8 (height, width), halves rounded to even; ``picture`` itself if it already has that
        size.
    """
    if picture.shape == size[::-1]:
        return picture
    levels: Luma = np.rint(_area_means(picture, size)).astype(np.uint8)
    return levels


def area_means(picture: Luma, size: tuple[int, int]) -> Floats:
    """Return the mean grey level of each cell of a grid over ``picture``.

    Args:
        picture: uint8 (height, width), not empty.
        size: cells across and down; a cell may be smaller than a pixel.

    Returns:
        float32 (cells down, cells across), 0..255.
    """
    return _area_means(picture, size).astype(np.float32)


def _area_means(picture: Luma, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the means of ``area_means`` before they are rounded to float32.

    Franklin C. Crow, Summed-area tables for texture mapping, SIGGRAPH 1984. A cell's corners lie
    between pixels, where the summed-area table is bilinear. In units of 1 / (width * height) pixel
    all values are integers, which doubles hold exactly: neither the order of additions nor fused
    operations change them, and IEEE 754 rounds the one division at the end the same everywhere.
    """
    width, height = size
    rows, columns = picture.shape
    if 255 * rows * columns * width * height >= _EXACT_MAX:
        raise ValueError(f"{columns}x{rows} to {width}x{height}: more than a double holds exactly")
    table = cv2.integral(picture, sdepth=cv2.CV_64F)
    y, y_part = np.divmod(np.arange(height + 1) * rows, height)
    x, x_part = np.divmod(np.arange(width + 1) * columns, width)
    y_next, x_next = np.minimum(y + 1, rows), np.minimum(x + 1, columns)
    lines = table[y] * (height - y_part)[:, None] + table[y_next] * y_part[:, None]
    corners = lines[:, x] * (width - x_part) + lines[:, x_next] * x_part
    bands = corners[1:] - corners[:-1]
    means: NDArray[np.float64] = (bands[:, 1:] - bands[:, :-1]) / (rows * columns)
    return means
