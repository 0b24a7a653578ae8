"""Agreement of a detector with the float network that it was made from.

Both get the same pictures. The comparison is between detections, as the daemon decodes them, not
between outputs: a heat map may differ much where no face is, and little where one is. ``python -m
exporters`` writes these figures into manifests; ``python -m benchmarks parity`` measures them again
on a board.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from benchmarks.evaluation.pictures import faces_in, shrunk_face
from edge.errors import ModelError
from edge.vision.detect import Detector, detector_for
from edge.vision.inference import Network
from edge.vision.resize import resize_linear
from edge.vision.values import Box, Detection, Luma

SIZES_PX: Final = (32, 25, 21, 18)
"""Heights of faces, in pixels of the network's input, at which recall is measured."""

_PLACES: Final = 2  # positions on the canvas at which each shrunk face is searched
_SAME: Final = 0.5  # lowest overlap at which a face counts as found
_THRESHOLD, _NMS_IOU = 0.5, 0.3  # the daemon's defaults


def detection_agreement(
    reference: Network, candidate: Network, pictures: Sequence[Luma]
) -> dict[str, float]:
    """Return the figures of a detector against its float network.

    ``iou_mean`` and ``iou_p05`` (5th percentile): overlap of each box of the reference with the
    candidate's nearest box; a missed face counts 0. ``recall``: share of boxes that overlap by half
    or more. ``recall_NNpx``: the same for the largest face of each picture, shrunk to NN pixels of
    the network's input and set on grey, among those that the reference finds; absent if it finds
    none. ``reference_recall_NNpx``: share of the shrunk faces that the reference finds.
    ``extra_faces``: faces per picture that the reference does not find. ``landmark_error``: mean
    distance of landmarks, in shares of the box's height.

    Args:
        reference: the float network.
        candidate: another artifact of the same model, with the same input size.
        pictures: mono pictures of any size.

    Raises:
        ModelError: the reference finds no face in any picture.
        InferenceError: a network fails.
    """
    exact, tested = (
        detector_for(network, threshold=_THRESHOLD, nms_iou=_NMS_IOU)
        for network in (reference, candidate)
    )
    overlaps: list[float] = []
    landmarks: list[float] = []
    extra = 0
    small: dict[int, list[tuple[bool, bool]]] = {height_px: [] for height_px in SIZES_PX}
    for number, picture in enumerate(pictures):
        whole = resize_linear(picture, exact.input_size)
        known, found = faces_in(exact, whole), faces_in(tested, whole)
        for face in known:
            overlap, near = _nearest(face, found)
            overlaps.append(overlap)
            if near and face.landmarks is not None and near.landmarks is not None:
                apart = np.linalg.norm(face.landmarks - near.landmarks, axis=1).mean()
                landmarks.append(float(apart) / face.box.height)
        extra += sum(_nearest(face, known)[0] < _SAME for face in found)
        if not known:
            continue
        largest = max(known, key=lambda face: face.box.height).box
        for height_px in SIZES_PX:
            for place in range(_PLACES):
                shrunk = shrunk_face(whole, largest, height_px, number * _PLACES + place)
                if shrunk:
                    small[height_px].append((_finds(exact, *shrunk), _finds(tested, *shrunk)))
    if not overlaps:
        raise ModelError(f"parity: no face in {len(pictures)} pictures; expected ones with faces")
    metrics = {
        "iou_mean": float(np.mean(overlaps)),
        "iou_p05": float(np.percentile(overlaps, 5)),
        "recall": float(np.mean(np.array(overlaps) >= _SAME)),
        "extra_faces": extra / len(pictures),
        # no face found: the worst value
        "landmark_error": float(np.mean(landmarks)) if landmarks else 1.0,
    }
    for height_px, pairs in small.items():
        among = [candidate for reference, candidate in pairs if reference]
        if among:
            metrics[f"recall_{height_px}px"] = float(np.mean(among))
            metrics[f"reference_recall_{height_px}px"] = len(among) / len(pairs)
    return metrics


def _nearest(face: Detection, others: Iterable[Detection]) -> tuple[float, Detection | None]:
    """Return the largest overlap of ``face`` with one of ``others``, and that one; or (0, None)."""
    best: tuple[float, Detection | None] = (0.0, None)
    for other in others:
        overlap = face.box.iou(other.box)
        if overlap > best[0]:
            best = (overlap, other)
    return best


def _finds(detector: Detector, picture: Luma, place: Box) -> bool:
    return any(face.box.iou(place) >= _SAME for face in faces_in(detector, picture))
