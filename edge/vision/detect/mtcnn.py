"""Decoder of MTCNN: a cascade of three networks that propose, refine and place faces.

Kaipeng Zhang, Zhanpeng Zhang, Zhifeng Li, Yu Qiao: Joint Face Detection and Alignment using
Multi-task Cascaded Convolutional Networks. IEEE Signal Processing Letters, 2016. The conventions
are those of the PyTorch package facenet-pytorch. The first network holds the picture at all scales
of its pyramid; the two further ones, ``refine`` and ``output``, search squares of the picture.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.clock import Stopwatch
from edge.errors import ModelError
from edge.vision.detect.candidates import faces_of
from edge.vision.detect.input_picture import input_picture
from edge.vision.detect.suppression import by_score
from edge.vision.inference import Network
from edge.vision.values import Detection, Floats, Frame, Luma

FACE_MIN_PX: Final = 20
"""Height of the smallest face, pixels of the input."""
FACTOR: Final = 0.709
"""Each scale of the pyramid is this share of the one before."""
CELL, STEP = 12, 2  # of the proposing network: pixels that one cell sees, and between two cells
STAGES: Final = {"refine": 24, "output": 48}
"""Further network -> side of the squares that it takes, pixels."""

_PROPOSE_MIN, _REFINE_MIN = 0.6, 0.7  # scores, as published
_SAME_SCALE, _ANY_SCALE, _CONTAINED = 0.5, 0.7, 0.7  # overlaps beyond which a box is dropped
_REFINED_MAX: Final = 256
"""Squares that the second network searches at most: bounds the cost of a frame of noise."""

Rows = NDArray[np.float32]


def scales_of(size: tuple[int, int]) -> list[tuple[float, int, int]]:
    """Return the pyramid of an input of this width and height: scale, height, width of each."""
    width, height = size
    scale = CELL / FACE_MIN_PX
    shorter = min(width, height) * scale
    scales = []
    while shorter >= CELL:
        scales.append((scale, int(height * scale + 1), int(width * scale + 1)))
        scale *= FACTOR
        shorter *= FACTOR
    return scales


def cells_of(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of the proposing network's cells in a picture of this size."""
    rows, columns = (-(-(side - 2) // 2) - 4 for side in (height, width))
    return rows, columns


class Mtcnn:
    """The three networks of MTCNN. Owned by one thread; stateless between frames.

    ``info``, ``golden`` and ``input_size``: see ``edge.vision.detect.Detector``.
    """

    def __init__(self, network: Network, *, threshold: float, nms_iou: float) -> None:
        """Wrap the networks and run each once, to check that their outputs fit this decoder.

        Args:
            network: a network whose manifest names the decoder ``mtcnn`` and its two stages.
            threshold: score a face must exceed in the last network, 0..1.
            nms_iou: overlap from which the lower-scored of two faces is dropped, 0..1.

        Raises:
            ModelError: a stage or an output is missing or has another shape, or a network fails.
        """
        self._network = network
        self._threshold = threshold
        self._nms_iou = nms_iou
        self.info = network.info
        self.golden = network.manifest.golden
        self.input_size = (network.info.width, network.info.height)
        self._scales = scales_of(self.input_size)
        counts = [int(np.prod(cells_of(*each[1:]))) for each in self._scales]
        self._bounds = np.cumsum([0, *counts])
        total = int(self._bounds[-1])
        network.warm_up({"scores": [(1, total, 2)], "offsets": [(1, total, 4)]})
        if missing := sorted(set(STAGES) - set(network.stages)):
            raise ModelError(
                f"model {network.info.name}: stages: decoder 'mtcnn' also needs"
                f" {', '.join(missing)}; export the model again"
            )
        self._refine, self._output = (network.stages[name] for name in STAGES)
        self._refine.warm_up({"scores": [(1, 2)], "offsets": [(1, 4)]})
        self._output.warm_up({"scores": [(1, 2)], "offsets": [(1, 4)], "landmarks": [(1, 10)]})

    @property
    def averaged(self) -> "Mtcnn":
        """Itself: each face has its best square only."""
        return self

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        """Return the faces in ``frame``; see ``edge.vision.detect.Detector``."""
        picture, ratio_x, ratio_y = input_picture(frame, self.input_size)
        stopwatch.lap("resize")
        outputs = self._network.run(picture[None])
        boxes = self._proposed(outputs["scores"][0, :, 1], outputs["offsets"][0])
        boxes, points, scores = self._searched(picture, boxes)
        stopwatch.lap("detect")
        found: tuple[Detection, ...] = ()
        if len(boxes):
            ratios = np.array([ratio_x, ratio_y])
            corners = boxes[:, :2].astype(np.float64)
            sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).astype(np.float64)
            marks = points.astype(np.float64) * ratios
            found = faces_of(corners * ratios, sizes * ratios, marks, scores, self._nms_iou)
        stopwatch.lap("decode_boxes")
        return found

    def _proposed(self, scores: Floats, offsets: Floats) -> Rows:
        """Return the squares that the first network proposes: (n, 4), corners in pixels."""
        kept = [np.empty((0, 9), np.float32)]
        for (scale, height, width), start, end in zip(
            self._scales, self._bounds[:-1], self._bounds[1:], strict=True
        ):
            (places,) = np.nonzero(scores[start:end] >= _PROPOSE_MIN)
            if not len(places):
                continue
            places = places[by_score(scores[start + places])]
            columns = cells_of(height, width)[1]
            cells = np.stack([places % columns, places // columns], axis=1).astype(np.float32)
            divisor = np.float32(scale)
            low = np.floor((STEP * cells + 1) / divisor)
            high = np.floor((STEP * cells + CELL) / divisor)
            rows = np.concatenate(
                [low, high, scores[start + places, None], offsets[start + places]], axis=1
            )
            kept.append(rows[suppressed(rows[:, :4], _SAME_SCALE)])
        rows = np.concatenate(kept)
        rows = rows[by_score(rows[:, 4])]
        rows = rows[suppressed(rows[:, :4], _ANY_SCALE)][:_REFINED_MAX]
        sides = rows[:, 2:4] - rows[:, :2]
        return _squared(rows[:, :4] + rows[:, 5:9] * np.tile(sides, 2))

    def _searched(self, picture: Luma, boxes: Rows) -> tuple[Rows, Rows, Floats]:
        """Return boxes, landmarks (n, 5, 2) and scores, highest first, after both networks."""
        nothing = np.empty((0, 4), np.float32)
        none = nothing, np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
        sums = integral_of(picture)
        boxes, crops = crops_of(sums, boxes, STAGES["refine"])
        if not len(boxes):
            return none
        outputs = self._refine.run_tensors(crops)
        scores = outputs["scores"][:, 1]
        (kept,) = np.nonzero(scores > _REFINE_MIN)
        kept = kept[by_score(scores[kept])]
        kept = kept[suppressed(boxes[kept], _ANY_SCALE)]
        boxes = _squared(_shifted(boxes[kept], outputs["offsets"][kept]))

        boxes, crops = crops_of(sums, boxes, STAGES["output"])
        if not len(boxes):
            return none
        outputs = self._output.run_tensors(crops)
        scores = outputs["scores"][:, 1]
        (kept,) = np.nonzero(scores > self._threshold)
        if not len(kept):
            return none
        kept = kept[by_score(scores[kept])]
        boxes, scores, marks = boxes[kept], scores[kept], outputs["landmarks"][kept]
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        points = np.stack([marks[:, :5], marks[:, 5:]], axis=2)
        points = points * sides[:, None] + boxes[:, None, :2] - 1
        boxes = _shifted(boxes, outputs["offsets"][kept])
        chosen = suppressed(boxes, _CONTAINED, contained=True)
        return boxes[chosen], points[chosen], scores[chosen]


def _shifted(boxes: Rows, offsets: Floats) -> Rows:
    """Return the boxes moved by offsets in shares of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + offsets * np.tile(sides, 2)


def _squared(boxes: Rows) -> Rows:
    """Return squares with the centres of the boxes and their longer sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    corners = boxes[:, :2] + sides * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([corners, corners + longer], axis=1)


def suppressed(boxes: Rows, most: float, *, contained: bool = False) -> list[int]:
    """Return the indices of the boxes that no kept box before overlaps by more than ``most``.

    Args:
        boxes: (n, 4), left, top, right, bottom, highest score first.
        most: of intersection over union; with ``contained``: over the smaller of the two boxes,
            with sides counted in whole pixels.
        contained: see ``most``.
    """
    one = np.float32(1 if contained else 0)
    lefts, tops, rights, bottoms = boxes.T
    areas = (rights - lefts + one) * (bottoms - tops + one)
    candidate = np.ones(len(boxes), bool)
    keep = []
    for i in range(len(boxes)):
        if not candidate[i]:
            continue
        keep.append(i)
        across = np.minimum(rights[i], rights) - np.maximum(lefts[i], lefts) + one
        down = np.minimum(bottoms[i], bottoms) - np.maximum(tops[i], tops) + one
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        whole = np.minimum(areas[i], areas) if contained else areas[i] + areas - shared
        candidate &= shared <= most * whole
    return keep


def integral_of(picture: Luma) -> NDArray[np.int64]:
    """Return the sums over all rectangles from the left top corner: (height + 1, width + 1)."""
    sums = np.zeros((picture.shape[0] + 1, picture.shape[1] + 1), np.int64)
    np.cumsum(picture, axis=0, dtype=np.int64, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def crops_of(sums: NDArray[np.int64], boxes: Rows, side: int) -> tuple[Rows, list[Floats]]:
    """Return the boxes that are inside the picture, and the square of each at ``side``.

    Each pixel of a square is the mean of the pixels that it covers; boxes are cut at the border of
    the picture and stretched.
    """
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    limit = 4 * max(height, width)  # far outside: any box there is dropped
    whole = np.clip(np.trunc(boxes), -limit, limit).astype(np.int64)
    lows = np.maximum(whole[:, :2], 1) - 1
    highs = np.minimum(whole[:, 2:], [width, height])
    inside = (highs > lows).all(axis=1)
    steps = np.arange(side)
    crops = []
    for (left, top), (right, bottom) in zip(lows[inside], highs[inside], strict=True):
        bounds = []
        for start, length in ((top, bottom - top), (left, right - left)):
            first = start + steps * length // side
            last = start + -(-(steps + 1) * length // side)
            bounds.append((first, last))
        (tops, bottoms), (lefts, rights) = bounds
        total = sums[bottoms[:, None], rights] - sums[tops[:, None], rights]
        total -= sums[bottoms[:, None], lefts] - sums[tops[:, None], lefts]
        counts = (bottoms - tops)[:, None] * (rights - lefts)
        crops.append((total / counts).astype(np.float32)[None, None])
    return boxes[inside], crops
