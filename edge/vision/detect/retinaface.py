"""Decoder of RetinaFace: each anchor predicts whether it is a face, its box and five landmarks.

Jiankang Deng, Jia Guo, Evangelos Ververas, Irene Kotsia, Stefanos Zafeiriou: RetinaFace:
Single-shot Multi-level Face Localisation in the Wild. CVPR 2020. The conventions are those of the
public PyTorch code: two square anchors at each place of strides 8, 16 and 32, rows of places from
the top left, the smaller anchor first; offsets of centre and landmarks in tenths of the anchor's
side, logarithms of the box's sides in fifths.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.detect.candidates import clipped, faces_of
from edge.vision.detect.network_detector import NetworkDetector
from edge.vision.detect.suppression import by_score
from edge.vision.inference import Network
from edge.vision.values import Detection, Floats

STRIDES: Final = (8, 16, 32)

ROLES: Final = {"scores": 2, "boxes": 4, "landmarks": 10}
"""The output roles that this decoder needs, with the number of values for each anchor."""

_SIDES: Final = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
"""Sides of the anchors of each stride, pixels of the input."""
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_LOG_SIZE_MAX: Final = 4.0
"""Logarithms of sides relative to the anchor are clipped to this range: factors of 0.018 to 55."""
_OFFSET_MAX: Final = 16.0
"""Offsets are clipped to this many sides of the anchor; valid ones are below 1."""


def retinaface(network: Network, *, threshold: float, nms_iou: float) -> NetworkDetector:
    """Return the detector of a network whose manifest names the decoder ``retinaface``, run once.

    Arguments and errors are those of ``edge.vision.detect.detector_for``.
    """
    anchors = anchors_of((network.info.width, network.info.height))

    def decoded(
        outputs: dict[str, Floats], *, ratio_x: float, ratio_y: float
    ) -> tuple[Detection, ...]:
        return decode(
            outputs["scores"][0, :, 1],
            outputs["boxes"][0],
            outputs["landmarks"][0],
            anchors,
            threshold=threshold,
            nms_iou=nms_iou,
            ratio_x=ratio_x,
            ratio_y=ratio_y,
        )

    shapes = {role: [(1, len(anchors), values)] for role, values in ROLES.items()}
    return NetworkDetector(network, decoded, shapes)


def count_anchors(size: tuple[int, int]) -> int:
    """Return the number of anchors of an input of this width and height."""
    width, height = size
    return sum(
        -(-height // stride) * -(-width // stride) * len(_SIDES[stride]) for stride in STRIDES
    )


def anchors_of(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the anchors of an input of this width and height.

    Returns:
        (n, 3): x and y of the centre and side, pixels of the input, in the network's order.
    """
    width, height = size
    parts = []
    for stride in STRIDES:
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, side = np.meshgrid(
            (np.arange(rows) + 0.5) * stride,
            (np.arange(columns) + 0.5) * stride,
            _SIDES[stride],
            indexing="ij",
        )
        parts.append(np.stack([x, y, side], axis=-1).reshape(-1, 3))
    return np.concatenate(parts)


def decode(
    scores: Floats,
    boxes: Floats,
    landmarks: Floats,
    anchors: NDArray[np.float64],
    *,
    threshold: float,
    nms_iou: float,
    ratio_x: float,
    ratio_y: float,
) -> tuple[Detection, ...]:
    """Return the faces that the three outputs of one picture describe, highest score first.

    Boxes are not clipped to the picture. Offsets out of range are clipped, so that boxes and
    landmarks are finite for any outputs.

    Args:
        scores: (n,), scores of a face, 0..1.
        boxes: (n, 4), offsets of the centre (x, y) and logarithms of width and height.
        landmarks: (n, 10), offsets of five points (x, y).
        anchors: (n, 3), from ``anchors_of``.
        threshold: score an anchor must exceed.
        nms_iou: overlap from which the lower-scored of two boxes is dropped.
        ratio_x: full-frame pixels per model pixel, across.
        ratio_y: the same, down.
    """
    (found,) = np.nonzero(scores > threshold)
    if not len(found):
        return ()
    found = found[by_score(scores[found])]
    ratios = np.array([ratio_x, ratio_y])
    centres, sides = anchors[found, :2] * ratios, anchors[found, 2:] * ratios

    offsets = boxes[found].astype(np.float64)
    shifts = clipped(offsets[:, :2] * _CENTRE_VARIANCE, _OFFSET_MAX)
    sizes = np.exp(clipped(offsets[:, 2:] * _SIZE_VARIANCE, _LOG_SIZE_MAX)) * sides
    corners = centres + shifts * sides - sizes / 2
    points = landmarks[found].astype(np.float64).reshape(-1, 5, 2)
    points = clipped(points * _CENTRE_VARIANCE, _OFFSET_MAX) * sides[:, None] + centres[:, None]
    return faces_of(corners, sizes, points, scores[found], nms_iou)
