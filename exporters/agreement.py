"""How far a network agrees with the float one it was made from, in the figures of its task.

Both are fed the same pictures. What is compared is what the daemon would make of the outputs,
not the outputs: a heat map may be off by much where nothing is, and by little where it counts.
``python -m exporters`` writes these figures into manifests; ``python -m benchmarks parity``
measures them again on a board.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics import ccc
from edge.errors import ModelError
from edge.vision.detect import Detector, detector_for
from edge.vision.expression.readout import Readout
from edge.vision.inference import Network
from edge.vision.inference.manifest import Limit, Parity
from edge.vision.resize import resize_linear
from edge.vision.values import Box, Detection, Floats, Luma
from exporters.calibration import faces_in, shrunk_face

Readings = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Probabilities (n, labels), and valence and arousal (n, 2) in -1..1, of n faces."""

SIZES_PX: Final = (32, 25, 21, 18)
"""Heights of faces, in pixels of the network's input, at which recall is measured."""

LIMITS: Final[Mapping[str, Mapping[str, Limit]]] = {
    "face-detection": {
        "iou_mean": Limit(at_least=0.97),
        "recall_25px": Limit(at_least=0.97),
    },
    "facial-expression": {
        "concordance": Limit(at_least=0.98),
        "valence_ccc": Limit(at_least=0.99),
        "arousal_ccc": Limit(at_least=0.99),
    },
}
"""Task -> what an int8 artifact has to keep."""

_PLACES: Final = 2  # on the canvas, at which each shrunk face is looked for
_SAME: Final = 0.5  # overlap from which a face counts as found
_THRESHOLD, _NMS_IOU = 0.5, 0.3  # the daemon's defaults
_WINDOW: Final = 1.5  # standard deviation of SSIM's window, pixels


def judged(metrics: Mapping[str, float], limits: Mapping[str, Limit], samples: int) -> Parity:
    """Return ``metrics`` as parity: passed where every limit is kept.

    Raises:
        ModelError: a limit has no metric: the pictures did not show what it is about.
    """
    rounded = {name: float(f"{value:.4g}") for name, value in metrics.items()}
    absent = sorted(set(limits) - set(rounded))
    if absent:
        raise ModelError(
            f"parity: {samples} pictures cannot tell {', '.join(absent)}; give more that show faces"
        )
    return Parity(
        metrics=rounded,
        limits=dict(limits),
        samples=samples,
        passed=all(limit.kept_by(rounded[name]) for name, limit in limits.items()),
    )


def detection_agreement(
    reference: Network, candidate: Network, pictures: Sequence[Luma]
) -> dict[str, float]:
    """Return the figures of a detector against its float original.

    ``iou_mean`` and ``iou_p05`` (5th percentile): overlap of the candidate's nearest box with
    each box of the reference, a missed face counting 0. ``recall``: share of those that overlap
    by half. ``recall_NNpx``: the same for the largest face of each picture shrunk to NN pixels
    of the network's input, on grey, among those that the reference finds there; left out where
    it finds none. ``reference_recall_NNpx``: what the reference itself finds of them.
    ``extra_faces``: faces a picture that the reference does not have. ``landmark_error``: mean
    distance of landmarks in shares of the box's height.

    Args:
        reference: the float network.
        candidate: another artifact of the same model, with the same input size.
        pictures: mono pictures of any size.

    Raises:
        ModelError: the reference finds no face in any picture.
        InferenceError: a network fails.
    """
    judge, tried = (
        detector_for(network, threshold=_THRESHOLD, nms_iou=_NMS_IOU)
        for network in (reference, candidate)
    )
    overlaps: list[float] = []
    landmarks: list[float] = []
    extra = 0
    small: dict[int, list[tuple[bool, bool]]] = {height_px: [] for height_px in SIZES_PX}
    for number, picture in enumerate(pictures):
        whole = resize_linear(picture, judge.input_size)
        known, found = faces_in(judge, whole), faces_in(tried, whole)
        for face in known:
            overlap, near = _nearest(face, found)
            overlaps.append(overlap)
            if near:
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
                    small[height_px].append((_finds(judge, *shrunk), _finds(tried, *shrunk)))
    if not overlaps:
        raise ModelError(f"parity: no face in {len(pictures)} pictures; expected ones with faces")
    metrics = {
        "iou_mean": float(np.mean(overlaps)),
        "iou_p05": float(np.percentile(overlaps, 5)),
        "recall": float(np.mean(np.array(overlaps) >= _SAME)),
        "extra_faces": extra / len(pictures),
        # none found at all: as far off as can be
        "landmark_error": float(np.mean(landmarks)) if landmarks else 1.0,
    }
    for height_px, pairs in small.items():
        among = [also for seen, also in pairs if seen]
        if among:
            metrics[f"recall_{height_px}px"] = float(np.mean(among))
            metrics[f"reference_recall_{height_px}px"] = len(among) / len(pairs)
    return metrics


def _nearest(face: Detection, others: Iterable[Detection]) -> tuple[float, Detection | None]:
    """Return the largest overlap of ``face`` with one of ``others``, and which; (0, None)."""
    best: tuple[float, Detection | None] = (0.0, None)
    for other in others:
        overlap = face.box.iou(other.box)
        if overlap > best[0]:
            best = (overlap, other)
    return best


def _finds(detector: Detector, picture: Luma, place: Box) -> bool:
    return any(face.box.iou(place) >= _SAME for face in faces_in(detector, picture))


def expression_agreement(
    reference: Network, candidate: Network, crops: Sequence[Luma]
) -> dict[str, float]:
    """Return the figures of an expression network against its float original.

    ``concordance``: share of faces with the same likeliest label; ``kappa``: that agreement
    beyond chance (Cohen 1960); ``valence_ccc`` and ``arousal_ccc``: Lin's concordance
    correlation; ``probability_max_difference``, ``affect_max_difference`` and the ``mean`` ones.

    Args:
        reference: the float network.
        candidate: another artifact of the same model.
        crops: mono faces of the input's size (see ``calibration.face_crops``).

    Raises:
        InferenceError: a network fails.
    """
    one, affect = read_all(reference, crops)
    other, also = read_all(candidate, crops)
    return {
        **readings_agreement((one, affect), (other, also)),
        "probability_mean_difference": float(np.abs(one - other).mean()),
        "probability_max_difference": float(np.abs(one - other).max()),
        "affect_mean_difference": float(np.abs(affect - also).mean()),
        "affect_max_difference": float(np.abs(affect - also).max()),
    }


def read_all(network: Network, crops: Iterable[Luma]) -> Readings:
    """Return what an expression network reads from faces of its input's size.

    Raises:
        InferenceError: the network fails.
    """
    heads = [network.run(crop[None]) for crop in crops]
    shares, affect = (
        np.concatenate([each[role] for each in heads]) for role in ("expression", "affect")
    )
    probabilities, values = Readout.of(network.manifest).read(shares, affect)
    return probabilities.astype(np.float64), values.astype(np.float64)


def readings_agreement(known: Readings, seen: Readings) -> dict[str, float]:
    """Return ``concordance``, ``kappa``, ``valence_ccc`` and ``arousal_ccc`` of two readings."""
    labels, also = (shares.argmax(axis=1) for shares, _ in (known, seen))
    return {
        "concordance": float(np.mean(labels == also)),
        "kappa": kappa(labels, also),
        "valence_ccc": ccc(seen[1][:, 0], known[1][:, 0]),
        "arousal_ccc": ccc(seen[1][:, 1], known[1][:, 1]),
    }


def kappa(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Cohen's kappa of two raters' labels, at most 1; 1 where both say one label alone.

    J. Cohen: A coefficient of agreement for nominal scales, 1960.
    """
    labels = np.union1d(one, other)
    chance = sum(float(np.mean(one == each) * np.mean(other == each)) for each in labels)
    return (float(np.mean(one == other)) - chance) / (1 - chance) if chance < 1 else 1.0


def psnr_db(one: Floats, other: Floats, span: float) -> float:
    """Return the peak signal-to-noise ratio of two pictures, dB; 120 where they are equal.

    Args:
        one: a picture.
        other: another of the same shape.
        span: the largest difference that two of their values can have.
    """
    error = float(np.mean((one.astype(np.float64) - other) ** 2)) / span**2
    return -10 * float(np.log10(max(error, 1e-12)))


def ssim(one: Floats, other: Floats, span: float) -> float:
    """Return the structural similarity of two pictures (height, width), at most 1.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli: Image quality assessment: from error
    visibility to structural similarity, 2004, with its Gaussian window and constants.
    """
    x, y = one.astype(np.float64), other.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = cv2.GaussianBlur(values, (11, 11), _WINDOW)
        return blurred

    c_1, c_2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    shared = mean(x * y) - mean_x * mean_y
    upper = (2 * mean_x * mean_y + c_1) * (2 * shared + c_2)
    return float(np.mean(upper / ((mean_x**2 + mean_y**2 + c_1) * (variance_x + variance_y + c_2))))
