"""Runs a cascade classifier of OpenCV as a ``Session``: one picture in, boxes out.

OpenCV 5 has no cascade classifier. The cascade is read from the bytes that were hashed.
"""

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np

from edge.errors import InferenceError, ModelError
from edge.vision.values import Floats

SCALE_FACTOR: Final = 1.1
"""Between two sizes of the search; 1.05 takes twice as long and found no more NIR faces."""
MIN_NEIGHBOURS: Final = 2
"""Squares that must agree, beside the first."""

_ANY: Final = -1  # height and width are those of the picture


def require_classifier() -> Any:
    """Return OpenCV's class of cascade classifiers.

    Raises:
        ModelError: this OpenCV has none; one line.
    """
    make: Any = getattr(cv2, "CascadeClassifier", None)
    if make is None:
        raise ModelError(
            f"OpenCV {cv2.__version__} has no CascadeClassifier, which Viola-Jones needs;"
            " pip install 'opencv-python-headless<5', or choose another detector.model"
        )
    return make


class CascadeSession:
    """A cascade classifier; see ``edge.vision.inference.runtimes.Session``."""

    inputs: Mapping[str, tuple[tuple[int, ...], str]] = {"picture": ((1, 1, _ANY, _ANY), "float32")}
    outputs = frozenset({"boxes", "squares"})

    def __init__(self, content: bytes) -> None:
        """Read the cascade.

        Raises:
            ModelError: this OpenCV has no cascade classifier, or ``content`` is no cascade; one
                line.
        """
        self._classifier = require_classifier()()
        try:
            # old cascades, trees of C structures, are only read from a file: they are refused
            storage = cv2.FileStorage(
                content.decode("ascii"), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
            )
            is_read = self._classifier.read(storage.getFirstTopLevelNode())
        except (cv2.error, UnicodeDecodeError, SystemError) as error:
            text = " ".join(str(error).split())[:120]
            raise ModelError(f"not a cascade file of OpenCV: {text}") from error
        if not is_read or self._classifier.empty():
            raise ModelError("not a cascade file of OpenCV (opencv-cascade-classifier)")

    def run(self, tensor: Any) -> dict[str, Floats]:
        """Return ``boxes`` (n, 4), left, top, width, height, and ``squares`` (n,) that agree.

        Sorted by box: the order in which OpenCV's threads find them varies.

        Args:
            tensor: (1, 1, height, width), grey levels.

        Raises:
            InferenceError: OpenCV failed.
        """
        picture = np.ascontiguousarray(tensor[0, 0], np.uint8)
        try:
            boxes, squares = self._classifier.detectMultiScale2(
                picture, scaleFactor=SCALE_FACTOR, minNeighbors=MIN_NEIGHBOURS
            )
        except cv2.error as error:
            raise InferenceError(f"OpenCV failed: {' '.join(str(error).split())[:200]}") from error
        rows = np.reshape(np.asarray(boxes, np.float32), (-1, 4))
        order = np.lexsort(rows.T[::-1])
        return {
            "boxes": rows[order],
            "squares": np.asarray(squares, np.float32).reshape(-1)[order],
        }
