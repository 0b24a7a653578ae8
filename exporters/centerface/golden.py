"""Golden answer of CenterFace."""

from collections.abc import Callable, Mapping

from edge.vision.detect.centerface import decode
from edge.vision.golden import golden_picture
from edge.vision.inference.golden_schema import DetectionGolden
from edge.vision.resize import resize_linear
from edge.vision.values import Floats, Luma
from exporters.artifacts.detectors import NMS_IOU, THRESHOLD, golden_of_faces

_HINT = ", or put the scaling into the graph if it expects other values than 0 to 255"


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
        threshold=THRESHOLD,
        nms_iou=NMS_IOU,
        ratio_x=picture.shape[1] / size[0],
        ratio_y=picture.shape[0] / size[1],
    )
    return golden_of_faces(found, size, int8=int8, hint=_HINT)
