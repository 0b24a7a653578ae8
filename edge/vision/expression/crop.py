"""Crops the square around a face and scales it to a network's input size."""

import numpy as np

from edge.clock import Stopwatch
from edge.vision.resize import resize_area, resize_linear
from edge.vision.translate import Translator
from edge.vision.values import Box, Luma


def face_picture(
    luma: Luma,
    box: Box,
    size: tuple[int, int],
    margin: float,
    *,
    stopwatch: Stopwatch,
    translator: Translator | None,
) -> Luma:
    """Return the input picture of an expression network, uint8 (height, width) of ``size``.

    With a translator the crop has the translator's size, and the translated face is scaled to
    ``size``. The expression network's margin applies in both cases. Laps ``crop`` and, with a
    translator, ``translate``.

    Raises:
        InferenceError: the translator failed on this face.
    """
    if translator is None:
        face = square_crop(luma, box, size, margin)
        stopwatch.lap("crop")
        return face
    face = square_crop(luma, box, (translator.info.width, translator.info.height), margin)
    stopwatch.lap("crop")
    # generators leave checkerboard artefacts, which point sampling would alias
    face = resize_area(translator.translate(face), size)
    stopwatch.lap("translate")
    return face


def square_crop(luma: Luma, box: Box, size: tuple[int, int], margin: float) -> Luma:
    """Return the square around ``box``, scaled to ``size``, uint8 (height, width).

    The square shares the box's centre; its side is the box's longer side times ``1 + margin``,
    rounded to whole pixels, at least 1. Pixels outside the picture are black.

    Args:
        luma: the full picture.
        box: a face, pixels of ``luma``; may be partly or wholly outside it.
        size: width and height of the result, pixels.
        margin: fraction of the longer side added to it, 0 or more.
    """
    width, height = size
    side = max(1, round(max(box.width, box.height) * (1 + margin)))
    left = round(box.x + box.width / 2 - side / 2)
    top = round(box.y + box.height / 2 - side / 2)
    x_0, x_1 = max(left, 0), min(left + side, luma.shape[1])
    y_0, y_1 = max(top, 0), min(top + side, luma.shape[0])
    if x_0 >= x_1 or y_0 >= y_1:
        return np.zeros((height, width), np.uint8)
    inside = luma[y_0:y_1, x_0:x_1]
    if inside.shape == (side, side):
        return resize_linear(inside, size)
    crop = np.zeros((height, width), np.uint8)
    u_0, u_1 = round((x_0 - left) * width / side), round((x_1 - left) * width / side)
    v_0, v_1 = round((y_0 - top) * height / side), round((y_1 - top) * height / side)
    if u_0 < u_1 and v_0 < v_1:
        crop[v_0:v_1, u_0:u_1] = resize_linear(inside, (u_1 - u_0, v_1 - v_0))
    return crop
