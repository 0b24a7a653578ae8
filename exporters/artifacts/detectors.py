"""What the exporters of all detectors share: golden answer, int8 calibration and parity."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from benchmarks.evaluation.detection_agreement import detection_agreement
from benchmarks.evaluation.pictures import split_pictures
from edge.errors import ModelError
from edge.vision.detect import detector_for
from edge.vision.golden import GOLDEN_FACE, golden_picture
from edge.vision.inference import Network
from edge.vision.inference.golden_schema import DetectionGolden, DetectionTolerance
from edge.vision.inference.manifest import Parity
from edge.vision.inference.network import input_tensor
from edge.vision.values import Detection, Floats, Luma
from exporters.artifacts import driver
from exporters.artifacts.calibration import detector_pictures
from exporters.artifacts.parity import (
    LIMITS,
    check_against_limits,
    measure,
    sample_pictures,
)

THRESHOLD, NMS_IOU = 0.5, 0.3  # the daemon's defaults

_SIDE_MIN, _SIDE_MAX = 32, 4096

_INT8_TOLERANCE: Final = DetectionTolerance(iou_min=0.88, landmark_max=0.04, score_max=0.025)
"""One grey level of noise changes an int8 box by up to 0.07 of overlap, landmarks and score by up
to 0.015. An input centred on 0 changes the score by 0.035 at 320x192, so it is still detected."""


UNKNOWN_GOLDEN: Final = DetectionGolden(
    kind="detection",
    picture_sha256="0" * 64,
    box=(0.0, 0.0, 1.0, 1.0),
    landmarks=((0.0, 0.0),) * 5,
    score=0.0,
    iou_min=1.0,
    landmark_max=1.0,
    score_max=1.0,
)
"""Until the networks have been run on the golden picture."""


def check_size(size: tuple[int, int], *, multiple: int = 32) -> None:
    """Check the input size of a detector.

    Args:
        size: width and height, pixels.
        multiple: of which both must be multiples: the stride of the coarsest maps; 1: any size.

    Raises:
        ModelError: a side is no such multiple, or out of range; one line.
    """
    width, height = size
    is_in_range = all(_SIDE_MIN <= side <= _SIDE_MAX for side in size)
    if width % multiple or height % multiple or not is_in_range:
        form = f"multiples of {multiple} from " if multiple > 1 else ""
        raise ModelError(
            f"--size {width}x{height}: expected {form}{_SIDE_MIN} to {_SIDE_MAX}, such as 320x192"
        )


def golden_of_faces(
    found: Sequence[Detection], size: tuple[int, int], *, int8: bool, hint: str = ""
) -> DetectionGolden:
    """Return what a detector found in the golden picture, with tolerances.

    Args:
        found: its detections.
        size: width and height of its input.
        int8: whether int8 artifacts must find the face, too.
        hint: what else to do if it does not find exactly one face.

    Raises:
        ModelError: it is not exactly one face; one line.
    """
    if len(found) != 1:
        raise ModelError(
            f"--size {size[0]}x{size[1]}: the network finds {len(found)} faces in"
            f" {GOLDEN_FACE.name}, expected 1; choose another size{hint}"
        )
    face = found[0]
    box = (face.box.x, face.box.y, face.box.width, face.box.height)
    x, y, w, h = (round(value, 2) for value in box)
    return DetectionGolden(
        kind="detection",
        picture_sha256=golden_picture()[1],
        box=(x, y, w, h),
        landmarks=None
        if face.landmarks is None
        else tuple((round(float(x), 2), round(float(y), 2)) for x, y in face.landmarks),
        score=round(face.score, 4),
        # three times the effect of one grey level of noise on every pixel; an input centred on 0
        # instead of 0..255 exceeds it
        iou_min=0.97,
        landmark_max=0.03,
        score_max=0.025,
        int8=_INT8_TOLERANCE if int8 else None,
    )


def quantisation(
    reference: Network,
    options: driver.ExportOptions,
    *,
    float_nodes: Collection[str],
) -> tuple[driver.Quantisation, Sequence[Luma]]:
    """Return how to quantise a detector, and the pictures that are kept back for its parity.

    Ranges are measured on the pictures and on copies with a shrunk face.

    Args:
        reference: the float network.
        options: of the export; without int8 there is nothing to quantise.
        float_nodes: names of nodes that stay float.
    """
    if options.int8_pictures is None:
        return driver.Quantisation(), ()
    split = split_pictures(options.int8_pictures)
    detector = detector_for(reference, threshold=THRESHOLD, nms_iou=NMS_IOU)
    options.progress(f"faces in {len(split.calibrate)} pictures")
    tensors = [
        input_tensor(reference.manifest.input, picture)
        for picture in detector_pictures(split.calibrate, detector)
    ]
    made = driver.Quantisation(calibration=tensors, record=split.record, float_nodes=float_nodes)
    return made, split.evaluate


def parity(
    network: Network,
    reference: Network,
    *,
    original: Callable[[Luma], Mapping[str, Floats]],
    evaluated: Sequence[Luma],
    limits: Mapping[str, float],
) -> Parity:
    """Compare float artifacts by their values, int8 artifacts by the detected faces.

    Args:
        network: the artifact.
        reference: the float network.
        original: runs the original on a picture of the input's size; outputs by role.
        evaluated: pictures that were kept back; without them int8 is compared by values, too.
        limits: largest error of a float artifact by role.
    """
    if network.info.precision == "int8" and evaluated:
        figures = detection_agreement(reference, network, evaluated)
        return check_against_limits(figures, LIMITS["face-detection"], len(evaluated))
    pictures = sample_pictures(network.info.width, network.info.height)
    return measure(((original(each), network.run(each[None])) for each in pictures), limits)
