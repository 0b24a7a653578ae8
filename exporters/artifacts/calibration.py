"""Calibration pictures of an int8 detector."""

from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Final

from benchmarks.evaluation.pictures import faces_in, shrunk_face
from edge.vision.detect import Detector
from edge.vision.resize import resize_linear
from edge.vision.values import Luma

_SHRUNK_PX: Final = (18, 21, 25, 32, 45, 64)
"""Heights of shrunk faces in the calibration pictures of a detector, pixels of its input."""


def detector_pictures(pictures: Iterable[Luma], detector: Detector) -> Iterator[Luma]:
    """Yield calibration pictures of a detector: each as it is, and with its largest face shrunk.

    Without the shrunk ones an int8 detector misses small faces.

    Args:
        pictures: of any size.
        detector: a float detector of the input size, which locates the faces.
    """
    for number, (picture, height_px) in enumerate(zip(pictures, cycle(_SHRUNK_PX), strict=False)):
        whole = resize_linear(picture, detector.input_size)
        yield whole
        faces = faces_in(detector, whole)
        if faces:
            largest = max(faces, key=lambda face: face.box.height)
            shrunk = shrunk_face(whole, largest.box, height_px, number)
            if shrunk:
                yield shrunk[0]
