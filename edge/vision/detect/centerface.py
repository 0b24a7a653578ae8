"""Decoder of CenterFace: each cell of a coarse grid predicts the centre and size of a face.

Yuanyuan Xu, Wan Yan, Genke Yang, Jiliang Luo, Tao Li, Jianan He: CenterFace: Joint Face Detection
and Alignment Using Face as Point. Scientific Programming, 2020. The maps' conventions are those
of the published network: stride 4, ``heatmap`` (1 map), ``scale`` (log of height and width over
4), ``offset`` (y, x within the cell), ``landmarks`` (five times y, x relative to the box).
"""

import math
from functools import partial
from operator import mul
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.vision.detect.network_detector import NetworkDetector
from edge.vision.detect.suppression import by_score, non_maximum_suppression
from edge.vision.inference import Network
from edge.vision.values import Box, Detection, Floats

STRIDE: Final = 4
CHANNELS: Final = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}
"""The output roles that this decoder needs, with the number of maps of each."""

_LOG_SIZE_RANGE: Final = (-3.0, 7.0)
"""Logarithms are clipped to this range: sizes of 0.2 to 4386 model pixels."""

_OFFSET_MAX: Final = 16.0
"""Offsets are clipped to this many cells; valid ones are within 0 to 1."""

_LANDMARK_MAX: Final = 8.0
"""Landmarks are clipped to this many box sizes; valid ones are within 0 to 1."""

_SAME_CELLS: Final = 0.5
"""Lowest overlap with the best cell's box of cells that are averaged with it."""

_FEW: Final = 64
"""Up to so many cells are decoded as plain numbers. After an inference has filled the caches, forty
calls of array functions for one face take three times as long."""


def centerface(network: Network, *, threshold: float, nms_iou: float) -> NetworkDetector:
    """Return the detector of a network whose manifest names the decoder ``centerface``, run once.

    Arguments and errors are those of ``edge.vision.detect.detector_for``.
    """

    def decoded(
        outputs: dict[str, Floats], *, ratio_x: float, ratio_y: float, averaged: bool = False
    ) -> tuple[Detection, ...]:
        return decode(
            outputs["heatmap"][0, 0],
            outputs["scale"][0],
            outputs["offset"][0],
            outputs["landmarks"][0],
            threshold=threshold,
            nms_iou=nms_iou,
            ratio_x=ratio_x,
            ratio_y=ratio_y,
            averaged=averaged,
        )

    rows, columns = network.info.height // STRIDE, network.info.width // STRIDE
    shapes = {role: [(1, channels, rows, columns)] for role, channels in CHANNELS.items()}
    return NetworkDetector(network, decoded, shapes, averaged=partial(decoded, averaged=True))


def decode(
    heatmap: Floats,
    scale: Floats,
    offset: Floats,
    landmarks: Floats,
    *,
    threshold: float,
    nms_iou: float,
    ratio_x: float,
    ratio_y: float,
    averaged: bool = False,
) -> tuple[Detection, ...]:
    """Return the faces that the four maps of one picture describe, highest score first.

    Boxes are not clipped: a face cut by the border keeps its centre and size. Map values out of
    range are clipped, so that boxes and landmarks are finite for any maps.

    Args:
        heatmap: (rows, columns), scores 0..1.
        scale: (2, rows, columns), logarithms of height and width in units of 4 pixels.
        offset: (2, rows, columns), y and x of the centre within its cell.
        landmarks: (10, rows, columns), y and x of five points, relative to the size of the box.
        threshold: score a cell must exceed.
        nms_iou: overlap from which the lower-scored of two boxes is dropped.
        ratio_x: full-frame pixels per model pixel, across.
        ratio_y: the same, down.
        averaged: whether a face's box and landmarks are means, weighted by the score, over its
            cells that overlap the best one by half; else those of the best one.
    """
    cells = (heatmap > threshold).ravel().nonzero()[0]
    if not len(cells):
        return ()
    scores = heatmap.ravel()[cells]
    if averaged and len(cells) > _FEW:  # in a picture of one face, others are noise
        highest = np.sort(by_score(scores)[:_FEW])
        cells, scores = cells[highest], scores[highest]
    if len(cells) <= _FEW:
        found = dict(zip(cells.tolist(), scores.tolist(), strict=True))
        faces = _decode_few(found, (scale, offset, landmarks), nms_iou, (ratio_x, ratio_y))
        return tuple(each.mean() if averaged else each.best() for each in faces)
    rows, columns = np.divmod(cells, heatmap.shape[1])
    order = by_score(scores)
    rows, columns, scores = rows[order], columns[order], scores[order]

    sizes = np.exp(_clip(scale[:, rows, columns].astype(np.float64), *_LOG_SIZE_RANGE)) * STRIDE
    heights, widths = sizes[0] * ratio_y, sizes[1] * ratio_x
    offsets = _clip(offset[:, rows, columns].astype(np.float64), -_OFFSET_MAX, _OFFSET_MAX)
    lefts = (columns + offsets[1] + 0.5) * STRIDE * ratio_x - widths / 2
    tops = (rows + offsets[0] + 0.5) * STRIDE * ratio_y - heights / 2
    keep = non_maximum_suppression(np.stack([lefts, tops, widths, heights], axis=1), nms_iou)

    relative = landmarks[:, rows[keep], columns[keep]].astype(np.float64)
    relative = _clip(relative, -_LANDMARK_MAX, _LANDMARK_MAX)
    points = np.empty((len(keep), 5, 2), np.float32)
    points[:, :, 0] = (lefts[keep] + relative[1::2] * widths[keep]).T
    points[:, :, 1] = (tops[keep] + relative[0::2] * heights[keep]).T
    return tuple(
        Detection(
            Box(float(lefts[i]), float(tops[i]), float(widths[i]), float(heights[i])),
            points[k],
            float(scores[i]),
        )
        for k, i in enumerate(keep)
    )


class _Cell(NamedTuple):
    """What a cell says of its face: score, box, and landmarks relative to the box, y before x."""

    score: float
    box: Box
    landmarks: list[float]

    def points(self) -> list[float]:
        """Return x and y of the landmarks, one after the other."""
        left, top, width, height = self.box.x, self.box.y, self.box.width, self.box.height
        relative = self.landmarks
        if max(map(abs, relative)) > _LANDMARK_MAX:
            relative = [_limited(each, -_LANDMARK_MAX, _LANDMARK_MAX) for each in relative]
        points: list[float] = []
        for y, x in zip(relative[0::2], relative[1::2], strict=True):
            points += (left + x * width, top + y * height)
        return points


class _Face(list[_Cell]):
    """The cells of one face, highest score first."""

    def best(self) -> Detection:
        """Return the face as its best cell describes it."""
        cell = self[0]
        return Detection(cell.box, _pairs(cell.points()), cell.score)

    def mean(self) -> Detection:
        """Return the face as its cells describe it in the mean."""
        if len(self) == 1:
            return self.best()
        total = sum(cell.score for cell in self)
        shares = [cell.score / total for cell in self]
        boxes = [(cell.box.x, cell.box.y, cell.box.width, cell.box.height) for cell in self]
        box = Box(*(sum(map(mul, shares, values)) for values in zip(*boxes, strict=True)))
        all_points = zip(*(cell.points() for cell in self), strict=True)
        points = [sum(map(mul, shares, values)) for values in all_points]
        return Detection(box, _pairs(points), self[0].score)


def _pairs(points: list[float]) -> Floats:
    return np.array(points, np.float32).reshape(-1, 2)


def _decode_few(
    scores: dict[int, float],
    maps: tuple[Floats, Floats, Floats],
    nms_iou: float,
    ratios: tuple[float, float],
) -> list[_Face]:
    """Return the faces of ``decode``, for few cells: the same arithmetic on plain numbers.

    Args:
        scores: of each cell, by its number in the rows one after another, in ascending order.
        maps: scale, offset and landmarks.
        nms_iou: as in ``decode``.
        ratios: ``ratio_x`` and ``ratio_y``.
    """
    scale, offset, landmarks = maps
    across, down = STRIDE * ratios[0], STRIDE * ratios[1]
    faces: list[_Face] = []
    # sorting is stable: equal scores keep their order
    for cell in sorted(scores, key=scores.__getitem__, reverse=True):
        row, column = divmod(cell, scale.shape[2])
        log_height, log_width = scale[:, row, column].tolist()
        height = math.exp(_limited(log_height, *_LOG_SIZE_RANGE)) * down
        width = math.exp(_limited(log_width, *_LOG_SIZE_RANGE)) * across
        y, x = offset[:, row, column].tolist()
        left = (column + _limited(x, -_OFFSET_MAX, _OFFSET_MAX) + 0.5) * across - width / 2
        top = (row + _limited(y, -_OFFSET_MAX, _OFFSET_MAX) + 0.5) * down - height / 2
        box = Box(left, top, width, height)
        overlaps = [face[0].box.iou(box) for face in faces]
        is_new = not any(0 < overlap >= nms_iou for overlap in overlaps)
        if is_new:
            faces.append(_Face())
            overlaps.append(1.0)
        nearest = overlaps.index(max(overlaps))
        if is_new or overlaps[nearest] >= _SAME_CELLS:
            said = landmarks[:, row, column].tolist()
            faces[nearest].append(_Cell(scores[cell], box, said))
    return faces


def _limited(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _clip(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    # half of the time of np.clip, which is a function in Python
    return np.minimum(np.maximum(values, low), high)
