"""Decoder of Viola and Jones's detector: a cascade of Haar features, run by OpenCV 4.

P. Viola, M. Jones: Robust Real-Time Face Detection. International Journal of Computer Vision 57(2),
2004. It gives boxes alone: landmarks are None, so that the yaw of a face stays unknown.
"""

from functools import partial
from typing import Final

import numpy as np

from edge.vision.detect.network_detector import NetworkDetector
from edge.vision.detect.suppression import by_score, non_maximum_suppression
from edge.vision.inference import Network
from edge.vision.values import Box, Detection, Floats

HALF_SCORE: Final = 3
"""Squares that agree on a face whose score is 0.5."""


def scores_of(squares: Floats) -> Floats:
    """Return scores, 0..1, from how many squares of the search agree on each face.

    The cascade gives no probability. The score grows with the number n: ``n / (n + 3)``. Clear
    faces have 0.8 and more; of what only two squares call a face, 0.4, most is none.

    Args:
        squares: (n,), 0 or more.
    """
    return squares / (squares + np.float32(HALF_SCORE))


def viola_jones(network: Network, *, threshold: float, nms_iou: float) -> NetworkDetector:
    """Return the detector of a network whose manifest names the decoder ``viola-jones``, run once.

    Arguments and errors are those of ``edge.vision.detect.detector_for``. The threshold is
    one of ``scores_of``.
    """
    decoder = partial(decode, threshold=threshold, nms_iou=nms_iou)
    return NetworkDetector(network, decoder, {"boxes": [(0, 4)], "squares": [(0,)]})


def decode(
    outputs: dict[str, Floats], *, threshold: float, nms_iou: float, ratio_x: float, ratio_y: float
) -> tuple[Detection, ...]:
    """Return the faces that the cascade found in one picture, highest score first.

    Args:
        outputs: ``boxes`` (n, 4), in pixels of the input, and ``squares`` (n,).
        threshold: score a face must exceed.
        nms_iou: overlap from which the lower-scored of two boxes is dropped.
        ratio_x: full-frame pixels per pixel of the input, across.
        ratio_y: the same, down.
    """
    scores = scores_of(outputs["squares"])
    (kept,) = np.nonzero(scores > threshold)
    kept = kept[by_score(scores[kept])]
    boxes = outputs["boxes"][kept].astype(np.float64) * (ratio_x, ratio_y, ratio_x, ratio_y)
    return tuple(
        Detection(Box(*boxes[place].tolist()), None, float(scores[kept[place]]))
        for place in non_maximum_suppression(boxes, nms_iou)
    )
