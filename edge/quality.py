"""Whether a face can be read, and if not, why: measured on the face's own pixels.

Every measure is taken on the part of the box that lies in the frame, scaled to at most
``PATCH_PX`` on a side, so that cost and figures do not depend on the face's size.

- *sharpness*: variance of the Laplacian over variance of the luma, on the patch: free of
  brightness and contrast, smaller the more the picture is blurred (after Pech-Pacheco et al.,
  Diatom autofocusing in brightfield microscopy, ICPR 2000).
- *brightness*: mean luma, 0..1. *saturated*: share of pixels at ``WHITE`` or above.
- *yaw*: from where the tip of the nose lies between the eyes. With the tip ``NOSE_DEPTH`` eye
  distances before the plane of the eyes, a head turned by yaw shows it off the middle by
  ``NOSE_DEPTH * tan(yaw)`` eye distances. An approximation, for telling frontal from turned.
"""

import math
from typing import Final

import cv2
import numpy as np

from edge.config import QualityConfig
from edge.values import Box, Floats, Luma, Quality

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
    INFERENCE_FAILED: "the expression network failed on this face",
}
"""Every reason that can stand in a message, and what it means."""

PATCH_PX: Final = 64
WHITE: Final = 250
NOSE_DEPTH: Final = 0.45
_INSIDE_MIN: Final = 0.5
_VARIANCE_MIN: Final = 4.0  # a flat patch: noise of two grey levels is no structure


def assess(luma: Luma, box: Box, landmarks: Floats, config: QualityConfig) -> Quality:
    """Return the quality of the face in ``box``; never raises, whatever the box.

    Args:
        luma: the frame, uint8 (height, width).
        box: the face, pixels of the frame; may reach outside.
        landmarks: float32 (5, 2), as in ``edge.values.Detection``.
        config: the limits.
    """
    patch, inside = _patch(luma, box)
    yaw_deg = yaw(landmarks)
    if patch is None:
        return Quality(False, (OUTSIDE_FRAME,), 0.0, 0.0, 0.0, 0.0, yaw_deg)
    size_px = max(box.width, box.height)
    mean, deviation = cv2.meanStdDev(patch)
    variance = float(deviation[0, 0]) ** 2
    brightness = float(mean[0, 0]) / 255
    saturated = float(np.count_nonzero(patch >= WHITE)) / patch.size
    detail = float(cv2.meanStdDev(cv2.Laplacian(patch, cv2.CV_16S))[1][0, 0]) ** 2
    sharpness = detail / variance if variance > _VARIANCE_MIN else 0.0
    reasons = tuple(
        reason
        for reason, wrong in (
            (OUTSIDE_FRAME, inside < _INSIDE_MIN),
            (TOO_SMALL, size_px < config.size_min_px),
            (TOO_DARK, brightness < config.brightness_min),
            (TOO_BRIGHT, brightness > config.brightness_max),
            (SATURATED, saturated > config.saturated_max),
            (BLURRED, sharpness < config.sharpness_min),
            (TURNED_AWAY, abs(yaw_deg) > config.yaw_max_deg),
        )
        if wrong
    )
    return Quality(not reasons, reasons, size_px, sharpness, brightness, saturated, yaw_deg)


def yaw(landmarks: Floats) -> float:
    """Return the head's turn in degrees, -90..90, positive to the picture's right.

    Degenerate landmarks (eyes in one place) count as a full turn to the nose's side.
    """
    left_eye, right_eye, nose = (landmarks[index].astype(np.float64) for index in range(3))
    across = right_eye - left_eye
    distance = float(np.hypot(across[0], across[1]))
    if not math.isfinite(distance):
        return 90.0
    offset = nose - (left_eye + right_eye) / 2
    along = float(across @ offset) / distance if distance > 0 else float(offset[0])
    if not math.isfinite(along):
        return 90.0
    return math.degrees(math.atan2(along, NOSE_DEPTH * distance)) if along or distance else 0.0


def _patch(luma: Luma, box: Box) -> tuple[Luma | None, float]:
    """Return the part of the box in the frame, scaled down, and its share of the box."""
    height, width = luma.shape
    edges = (box.x, box.y, box.x + box.width, box.y + box.height)
    if not all(map(math.isfinite, edges)) or box.width <= 0 or box.height <= 0:
        return None, 0.0
    left, right = (min(max(round(x), 0), width) for x in (edges[0], edges[2]))
    top, bottom = (min(max(round(y), 0), height) for y in (edges[1], edges[3]))
    if right <= left or bottom <= top:
        return None, 0.0
    inside = min(1.0, (right - left) * (bottom - top) / (box.width * box.height))
    size = (min(PATCH_PX, right - left), min(PATCH_PX, bottom - top))
    part = luma[top:bottom, left:right]
    # Nearest pixels keep the sensor's noise, area would hide a blur of a few pixels in a large
    # face: linear reads two by two, cheap at any size, and the limits are set with it.
    return cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), inside
