"""Decoder of YuNet: each place of three grids predicts a face, its box and five landmarks.

Wei Wu, Hanyang Peng, Shiqi Yu: YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence
Research, 2023. The conventions are those of the published network and of OpenCV's
``FaceDetectorYN``: one row for each place of strides 8, 16 and 32, rows of places from the top
left; the score is the geometric mean of ``cls`` and ``obj``; ``bbox`` holds the centre relative to
the place and the logarithms of width and height, ``kps`` the points relative to the place, all in
units of the stride.
"""

from functools import partial
from typing import Final

import numpy as np

from edge.vision.detect.candidates import Doubles, clipped, faces_of
from edge.vision.detect.network_detector import NetworkDetector
from edge.vision.detect.suppression import by_score
from edge.vision.inference import Network
from edge.vision.values import Detection, Floats

STRIDES: Final = (8, 16, 32)

PARTS: Final = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""Parts of the output, with the number of values at each place; a role is ``PART_STRIDE``."""

_LOG_SIZE_MAX: Final = 7.0
"""Logarithms of sides relative to the stride are clipped to this range."""
_OFFSET_MAX: Final = 512.0
"""Offsets are clipped to this many strides; valid ones are within the picture."""


def roles() -> dict[str, int]:
    """Return role -> number of values at each place, for the twelve outputs."""
    return {f"{part}_{stride}": count for part, count in PARTS.items() for stride in STRIDES}


def places_of(size: tuple[int, int]) -> Doubles:
    """Return the places of an input of this width and height, of all strides.

    Returns:
        (n, 3): x and y in units of the stride, and the stride in pixels of the input.
    """
    width, height = size
    parts = []
    for stride in STRIDES:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride].reshape(2, -1)
        parts.append(np.stack([x, y, np.full(len(x), stride)], axis=1))
    return np.concatenate(parts).astype(np.float64)


def yunet(network: Network, *, threshold: float, nms_iou: float) -> NetworkDetector:
    """Return the detector of a network whose manifest names the decoder ``yunet``, run once.

    Arguments and errors are those of ``edge.vision.detect.detector_for``.
    """
    width, height = network.info.width, network.info.height
    places = places_of((width, height))
    shapes = {
        f"{part}_{stride}": [(1, (height // stride) * (width // stride), count)]
        for part, count in PARTS.items()
        for stride in STRIDES
    }
    decoder = partial(decode, places=places, threshold=threshold, nms_iou=nms_iou)
    return NetworkDetector(network, decoder, shapes)


def decode(
    outputs: dict[str, Floats],
    places: Doubles,
    *,
    threshold: float,
    nms_iou: float,
    ratio_x: float,
    ratio_y: float,
) -> tuple[Detection, ...]:
    """Return the faces that the twelve outputs of one picture describe, highest score first.

    Boxes are not clipped to the picture. Values out of range are clipped, so that scores, boxes and
    landmarks are valid for any outputs.

    Args:
        outputs: role -> (1, n, values), n the number of places of the stride.
        places: from ``places_of``.
        threshold: score that a place must exceed.
        nms_iou: overlap from which the lower-scored of two boxes is dropped.
        ratio_x: full-frame pixels per model pixel, across.
        ratio_y: the same, down.
    """
    likely, object_ = (_joined(outputs, part)[:, 0] for part in ("cls", "obj"))
    unit = np.minimum(np.maximum(likely, 0), 1) * np.minimum(np.maximum(object_, 0), 1)
    scores: Floats = np.sqrt(unit)
    (found,) = np.nonzero(scores > threshold)
    if not len(found):
        return ()
    found = found[by_score(scores[found])]
    cells = places[found, :2]
    pixels = places[found, 2:] * np.array([ratio_x, ratio_y])  # of a stride, in the full frame
    boxes = _joined(outputs, "bbox")[found].astype(np.float64)
    sizes = np.exp(clipped(boxes[:, 2:], _LOG_SIZE_MAX)) * pixels
    corners = (cells + clipped(boxes[:, :2], _OFFSET_MAX)) * pixels - sizes / 2
    points = _joined(outputs, "kps")[found].astype(np.float64).reshape(-1, 5, 2)
    points = (cells[:, None] + clipped(points, _OFFSET_MAX)) * pixels[:, None]
    return faces_of(corners, sizes, points, scores[found], nms_iou)


def _joined(outputs: dict[str, Floats], part: str) -> Floats:
    return np.concatenate([outputs[f"{part}_{stride}"][0] for stride in STRIDES])
