"""Decoder of Viola and Jones's detector: a cascade of Haar features, run by OpenCV 4.

P. Viola, M. Jones: Robust Real-Time Face Detection. International Journal of Computer Vision 57(2),
2004. It gives boxes alone: landmarks are None, so that the yaw of a face stays unknown.
"""

from typing import Final

import numpy as np

from edge.clock import Stopwatch
from edge.vision.detect.input_picture import input_picture
from edge.vision.detect.suppression import by_score, non_maximum_suppression
from edge.vision.inference import Network
from edge.vision.values import Box, Detection, Floats, Frame

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


class ViolaJones:
    """A cascade classifier. Owned by one thread; stateless between frames.

    ``info``, ``golden`` and ``input_size``: see ``edge.vision.detect.Detector``.
    """

    def __init__(self, network: Network, *, threshold: float, nms_iou: float) -> None:
        """Wrap the cascade and run it once.

        Args:
            network: a network whose manifest names the decoder ``viola-jones``.
            threshold: score a face must exceed, 0..1; see ``scores_of``.
            nms_iou: overlap from which the lower-scored of two faces is dropped, 0..1.

        Raises:
            ModelError: an output is missing or has another shape, or the cascade fails.
        """
        self._network = network
        self._threshold = threshold
        self._nms_iou = nms_iou
        self.info = network.info
        self.golden = network.manifest.golden
        self.input_size = (network.info.width, network.info.height)
        network.warm_up({"boxes": [(0, 4)], "squares": [(0,)]})

    @property
    def averaged(self) -> "ViolaJones":
        """Itself: its boxes are means over squares already."""
        return self

    def detect(self, frame: Frame, stopwatch: Stopwatch) -> tuple[Detection, ...]:
        """Return the faces in ``frame``; see ``edge.vision.detect.Detector``."""
        picture, ratio_x, ratio_y = input_picture(frame, self.input_size)
        stopwatch.lap("resize")
        outputs = self._network.run(picture[None])
        stopwatch.lap("detect")
        scores = scores_of(outputs["squares"])
        (kept,) = np.nonzero(scores > self._threshold)
        kept = kept[by_score(scores[kept])]
        boxes = outputs["boxes"][kept].astype(np.float64) * (ratio_x, ratio_y, ratio_x, ratio_y)
        found = tuple(
            Detection(Box(*boxes[place].tolist()), None, float(scores[kept[place]]))
            for place in non_maximum_suppression(boxes, self._nms_iou)
        )
        stopwatch.lap("decode_boxes")
        return found
