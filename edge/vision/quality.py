"""Face quality: whether a face is usable for expression recognition, and if not, why.

All measures use the part of the box inside the frame, scaled to a small picture, so that cost and
values do not depend on the face's size.

- *sharpness*: variance of the Laplacian over variance of the luma (after Pech-Pacheco et al.,
  Diatom autofocusing in brightfield microscopy, ICPR 2000): independent of brightness and
  contrast. Measured in the middle of the face, since the border holds hair and background, after
  averaging down to ``DETAIL_PX`` on a side: this keeps detail at the scale of eyes and mouth and
  averages out sensor noise, which would count as detail even in a blurred face. In units of white
  noise: 1 for white noise, 0.06 to 0.23 for real NIR faces in focus.
- *brightness*: mean luma, 0..1. *saturated*: fraction of pixels at ``SATURATED_LEVEL`` or above.
- *yaw*: from the position of the nose tip between the eyes. The tip is ``NOSE_DEPTH`` eye
  distances in front of the plane of the eyes, so that yaw moves it from the middle by
  ``NOSE_DEPTH * tan(yaw)`` eye distances. An approximation, good enough to tell frontal from
  turned faces.
"""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import QualityConfig
from edge.vision.resize import area_levels, resize_linear
from edge.vision.values import Box, Floats, Luma, Quality

TOO_SMALL: Final = "too_small"
BLURRED: Final = "blurred"
TOO_DARK: Final = "too_dark"
TOO_BRIGHT: Final = "too_bright"
SATURATED: Final = "saturated"
TURNED_AWAY: Final = "turned_away"
OUTSIDE_FRAME: Final = "outside_frame"
INFERENCE_FAILED: Final = "inference_failed"

REASONS: Final = {
    TOO_SMALL: "the face has too few pixels",
    BLURRED: "out of focus or moving",
    TOO_DARK: "hardly any light on the face",
    TOO_BRIGHT: "washed out as a whole",
    SATURATED: "a hot spot covers too much of the face",
    TURNED_AWAY: "turned too far to the side",
    OUTSIDE_FRAME: "more than half of the box is outside the picture",
    INFERENCE_FAILED: "the translator or the expression network failed on this face",
}
"""Every reason that a message may contain, and its meaning."""

PATCH_PX: Final = 64
DETAIL_PX: Final = 32
SATURATED_LEVEL: Final = 250
NOSE_DEPTH: Final = 0.45
_INSIDE_MIN: Final = 0.5  # of the box's area
_VARIANCE_MIN: Final = 1.0  # below it the face has no structure, only noise
_SAMPLES_MAX: Final = 128  # larger faces are subsampled to fewer than twice as many pixels a side
_NOISE_GAIN: Final = 20.0  # variance of the Laplacian (4 neighbours) of white noise of variance 1


def assess(luma: Luma, box: Box, landmarks: Floats | None, config: QualityConfig) -> Quality:
    """Return the quality of the face in ``box``; never raises, for any box.

    Args:
        luma: the frame, uint8 (height, width).
        box: the face, pixels of the frame; may reach outside.
        landmarks: float32 (5, 2), as in ``edge.vision.values.Detection``; None: the yaw is unknown,
            and the face counts as not turned away.
        config: the limits.
    """
    part, inside = _visible_part(luma, box)
    yaw_deg = None if landmarks is None else yaw(landmarks)
    if part is None:
        return Quality(False, (OUTSIDE_FRAME,), 0.0, 0.0, 0.0, 0.0, yaw_deg)
    size_px = max(box.width, box.height)
    # linear interpolation reads 2x2 pixels for each pixel of the patch: cheap at any size
    patch_size = (min(PATCH_PX, part.shape[1]), min(PATCH_PX, part.shape[0]))
    patch = resize_linear(part, patch_size)
    brightness = cv2.sumElems(patch)[0] / patch.size / 255
    saturated = float(np.count_nonzero(patch >= SATURATED_LEVEL)) / patch.size
    sharpness = _sharpness(part)
    reasons = tuple(
        reason
        for reason, applies in (
            (OUTSIDE_FRAME, inside < _INSIDE_MIN),
            (TOO_SMALL, size_px < config.size_min_px),
            (TOO_DARK, brightness < config.brightness_min),
            (TOO_BRIGHT, brightness > config.brightness_max),
            (SATURATED, saturated > config.saturated_max),
            (BLURRED, sharpness < config.sharpness_min),
            (TURNED_AWAY, yaw_deg is not None and abs(yaw_deg) > config.yaw_max_deg),
        )
        if applies
    )
    return Quality(not reasons, reasons, size_px, sharpness, brightness, saturated, yaw_deg)


def yaw(landmarks: Floats) -> float:
    """Return the yaw of the head in degrees, -90..90, positive to the picture's right.

    Degenerate landmarks (both eyes at one point) give 90 degrees towards the nose.
    """
    (left_x, left_y), (right_x, right_y), (nose_x, nose_y), *_ = landmarks.tolist()
    across_x, across_y = right_x - left_x, right_y - left_y
    distance = math.hypot(across_x, across_y)
    if not math.isfinite(distance):
        return 90.0
    offset_x, offset_y = nose_x - (left_x + right_x) / 2, nose_y - (left_y + right_y) / 2
    along = offset_x
    if distance > 0:
        along = (across_x * offset_x + across_y * offset_y) / distance
    if not math.isfinite(along):
        return 90.0
    return math.degrees(math.atan2(along, NOSE_DEPTH * distance)) if along or distance else 0.0


def _visible_part(luma: Luma, box: Box) -> tuple[Luma | None, float]:
    """Return a copy of the part of the frame inside the box, and its fraction of the box's area."""
    height, width = luma.shape
    edges = (box.x, box.y, box.x + box.width, box.y + box.height)
    if not all(map(math.isfinite, edges)) or box.width <= 0 or box.height <= 0:
        return None, 0.0
    left, right = (min(max(round(x), 0), width) for x in (edges[0], edges[2]))
    top, bottom = (min(max(round(y), 0), height) for y in (edges[1], edges[3]))
    if right <= left or bottom <= top:
        return None, 0.0
    inside = min(1.0, (right - left) * (bottom - top) / (box.width * box.height))
    # a copy reads memory in order, which resizing does not: together they take less time
    return luma[top:bottom, left:right].copy(), inside


def _sharpness(part: Luma) -> float:
    rows, columns = (max(1, length // _SAMPLES_MAX) for length in part.shape)
    face = area_levels(part[::rows, ::columns], (DETAIL_PX, DETAIL_PX), border=DETAIL_PX // 8)
    inner = face[1:-1, 1:-1]
    variance = _variance(inner)
    if variance <= _VARIANCE_MIN:
        return 0.0
    laplacian = face[:-2, 1:-1] + face[2:, 1:-1]
    laplacian += face[1:-1, :-2]
    laplacian += face[1:-1, 2:]
    laplacian -= inner * 4
    return _variance(laplacian) / (_NOISE_GAIN * variance)


def _variance(values: NDArray[np.float64]) -> float:
    """Return the variance of whole numbers: exact sums, in any order, on every processor."""
    count, total = values.size, float(np.add.reduce(values, axis=None))
    squares = float(np.add.reduce(values * values, axis=None))
    return (count * squares - total * total) / (count * count)
