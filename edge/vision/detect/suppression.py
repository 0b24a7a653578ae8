"""Non-maximum suppression (NMS): one box per face, shared by all detectors."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.values import Floats

CANDIDATES_MAX: Final = 1024
"""Candidates kept before suppression: bounds the cost of a frame of noise."""


def by_score(scores: Floats) -> NDArray[np.intp]:
    """Return the indices of the candidates for suppression, highest score first.

    Equal scores keep their order. At most ``CANDIDATES_MAX`` indices are returned.

    Args:
        scores: (n,), finite.
    """
    return np.argsort(-scores, kind="stable")[:CANDIDATES_MAX]


def non_maximum_suppression(boxes: NDArray[np.float64], nms_iou: float) -> list[int]:
    """Return the indices of the boxes to keep, in ascending order.

    A box is dropped if a kept box before it overlaps it by ``nms_iou`` or more. Boxes that do not
    touch are kept, even if ``nms_iou`` is 0.

    Args:
        boxes: (n, 4), left, top, width and height, highest score first; finite, sizes 0 or more.
        nms_iou: intersection over union from which the later of two boxes is dropped, 0..1.
    """
    lefts, tops, widths, heights = boxes.T
    rights, bottoms, areas = lefts + widths, tops + heights, widths * heights
    candidate = np.ones(len(boxes), bool)
    keep = []
    for i in range(len(boxes)):
        if not candidate[i]:
            continue
        keep.append(i)
        across = np.minimum(rights[i], rights) - np.maximum(lefts[i], lefts)
        down = np.minimum(bottoms[i], bottoms) - np.maximum(tops[i], tops)
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        # areas too small for a float are empty: their union is 0, and they overlap nothing
        union = areas[i] + areas - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        candidate &= (overlap < nms_iou) | (shared == 0)
    return keep
