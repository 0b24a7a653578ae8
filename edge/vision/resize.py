"""Resizes 8-bit pictures with integer arithmetic: the same pixels on every processor.

``cv2.resize`` does not guarantee that. ``INTER_LINEAR`` and ``INTER_AREA`` run different code on
ARM and x86, and in different versions of OpenCV: up to half of the pixels differ, most by one grey
level, and networks then give different outputs (``docs/platforms.md``). A lint rule forbids
``cv2.resize`` outside this module.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Floats, Luma

_EXACT_MAX: Final = 2**53
"""Integers below it are exact in a double."""
_INT32_MAX: Final = 2**31 - 1
_AXES_KEPT: Final = 1024  # about 1 KB each: faces have a few hundred different lengths


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
    return area_levels(picture, size).astype(np.uint8)


def halved(picture: Luma) -> Luma:
    """Return ``picture`` at half its size, each pixel the mean of two by two, halves rounded up.

    A last column or row without a partner is left out. Three times as fast as ``resize_area``.

    Args:
        picture: uint8 (height, width), at least 2 by 2.
    """
    height, width = (length // 2 * 2 for length in picture.shape)
    even = picture[:height, :width]
    lines = even[0::2].astype(np.uint16)
    lines += even[1::2]
    means = lines[:, 0::2] + lines[:, 1::2]
    means += 2
    means >>= 2
    return means.astype(np.uint8)


def area_levels(picture: Luma, size: tuple[int, int], border: int = 0) -> NDArray[np.float64]:
    """Return the grey levels of ``resize_area`` as doubles, whole numbers, for sums over them.

    Args:
        picture: as for ``resize_area``.
        size: the same.
        border: so many pixels are left out at each side of the result, less than half of it; what
            only they cover is not read.
    """
    levels = _area_means(picture, size, border)
    return np.rint(levels, out=levels)


def area_means(picture: Luma, size: tuple[int, int]) -> Floats:
    """Return the mean grey level of each cell of a grid over ``picture``.

    Args:
        picture: uint8 (height, width), not empty.
        size: cells across and down; a cell may be smaller than a pixel.

    Returns:
        float32 (cells down, cells across), 0..255.
    """
    return _area_means(picture, size).astype(np.float32)


class _Axis(NamedTuple):
    """Where the corners of cells lie along one axis; never written to.

    Attributes:
        start: first line of the picture that the cells cover.
        end: line after the last one.
        before: index of the line of the summed-area table before each corner; its line 0 is at
            ``start``.
        after: index of the next one; the same at the end.
        before_weight: weight of ``before``, in parts of ``cells``.
        after_weight: weight of ``after``; the two add up to ``cells``.
    """

    start: int
    end: int
    before: NDArray[np.intp]
    after: NDArray[np.intp]
    before_weight: NDArray[np.float64]
    after_weight: NDArray[np.float64]


@lru_cache(maxsize=_AXES_KEPT)
def _axis(length: int, cells: int, border: int) -> _Axis:
    """Return the corners of ``cells`` equal cells over ``length`` pixels, without the border."""
    before, part = np.divmod(np.arange(border, cells - border + 1) * length, cells)
    after = np.minimum(before + 1, length)
    start, end = int(before[0]), int(after[-1])
    weights = (cells - part).astype(np.float64), part.astype(np.float64)
    return _Axis(start, end, before - start, after - start, *weights)


def _area_means(picture: Luma, size: tuple[int, int], border: int = 0) -> NDArray[np.float64]:
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
    # a table of integers takes half of the time of one of doubles
    depth = cv2.CV_32S if 255 * rows * columns <= _INT32_MAX else cv2.CV_64F
    y, x = _axis(rows, height, border), _axis(columns, width, border)
    table = cv2.integral(picture[y.start : y.end, x.start : x.end], sdepth=depth)
    lines = table.take(y.before, axis=0) * y.before_weight[:, None]
    lines += table.take(y.after, axis=0) * y.after_weight[:, None]
    corners = lines.take(x.before, axis=1) * x.before_weight
    corners += lines.take(x.after, axis=1) * x.after_weight
    bands = corners[1:] - corners[:-1]
    means: NDArray[np.float64] = (bands[:, 1:] - bands[:, :-1]) / (rows * columns)
    return means
