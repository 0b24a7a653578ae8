"""Golden answers of detectors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edge.errors import ModelError
from edge.vision.detect.centerface import decode
from edge.vision.golden import GOLDEN_FACE, golden_picture
from edge.vision.inference.golden_schema import DetectionGolden, DetectionTolerance
from edge.vision.resize import resize_linear
from edge.vision.values import Detection, Floats, Luma

_INT8_TOLERANCE: Final = DetectionTolerance(iou_min=0.88, landmark_max=0.04, score_max=0.025)
"""One grey level of noise changes an int8 box by up to 0.07 of overlap, landmarks and score by up
to 0.015. An input centred on 0 changes the score by 0.035 at 320x192, so it is still detected."""


def detection_golden(
    maps: Callable[[Luma], Mapping[str, Floats]], size: tuple[int, int], *, int8: bool
) -> DetectionGolden:
    """Return a CenterFace network's detection in the golden picture, with tolerances.

    Args:
        maps: runs the reference network: a picture of ``size`` to maps by role.
        size: width and height of its input.
        int8: whether int8 artifacts must find the face, too.

    Raises:
        ModelError: the network does not find exactly one face; one line.
    """
    picture, _ = golden_picture()
    found_maps = maps(resize_linear(picture, size))
    found = decode(
        found_maps["heatmap"][0, 0],
        found_maps["scale"][0],
        found_maps["offset"][0],
        found_maps["landmarks"][0],
        threshold=0.5,
        nms_iou=0.3,
        ratio_x=picture.shape[1] / size[0],
        ratio_y=picture.shape[0] / size[1],
    )
    return golden_of_faces(found, size, int8=int8)


def golden_of_faces(
    found: Sequence[Detection], size: tuple[int, int], *, int8: bool
) -> DetectionGolden:
    """Return what a detector found in the golden picture, with tolerances.

    Args:
        found: its detections.
        size: width and height of its input.
        int8: whether int8 artifacts must find the face, too.

    Raises:
        ModelError: it is not exactly one face; one line.
    """
    if len(found) != 1:
        raise ModelError(
            f"--size {size[0]}x{size[1]}: the network finds {len(found)} faces in"
            f" {GOLDEN_FACE.name}, expected 1; choose another size, or put the scaling into the"
            " graph if it expects other values than 0 to 255"
        )
    face = found[0]
    box = (face.box.x, face.box.y, face.box.width, face.box.height)
    x, y, w, h = (round(value, 2) for value in box)
    return DetectionGolden(
        kind="detection",
        picture_sha256=golden_picture()[1],
        box=(x, y, w, h),
        landmarks=tuple((round(float(x), 2), round(float(y), 2)) for x, y in face.landmarks),
        score=round(face.score, 4),
        # three times the effect of one grey level of noise on every pixel; an input centred on 0
        # instead of 0..255 exceeds it
        iou_min=0.97,
        landmark_max=0.03,
        score_max=0.025,
        int8=_INT8_TOLERANCE if int8 else None,
    )
