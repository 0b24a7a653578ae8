"""From candidates to faces, shared by the detectors whose networks give one row for each place."""

import numpy as np
from numpy.typing import NDArray

from edge.vision.detect.suppression import non_maximum_suppression
from edge.vision.values import Box, Detection, Floats

Doubles = NDArray[np.float64]


def faces_of(
    corners: Doubles, sizes: Doubles, points: Doubles, scores: Floats, nms_iou: float
) -> tuple[Detection, ...]:
    """Return the faces that remain after non-maximum suppression, highest score first.

    Args:
        corners: (n, 2), left and top of each candidate, pixels of the full frame; highest score
            first.
        sizes: (n, 2), width and height.
        points: (n, 5, 2), landmarks.
        scores: (n,), 0..1.
        nms_iou: overlap from which the lower-scored of two candidates is dropped, 0..1.
    """
    keep = non_maximum_suppression(np.concatenate([corners, sizes], axis=1), nms_iou)
    placed = points[keep].astype(np.float32)
    return tuple(
        Detection(
            Box(*(float(each) for each in (*corners[i], *sizes[i]))), placed[k], float(scores[i])
        )
        for k, i in enumerate(keep)
    )


def clipped(values: Doubles, most: float) -> Doubles:
    """Return ``values`` within ``-most..most``; half of the time of ``np.clip``."""
    return np.minimum(np.maximum(values, -most), most)
