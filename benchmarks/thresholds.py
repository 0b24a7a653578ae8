"""``python -m benchmarks thresholds``: limits of quality, and of the label's lead.

Faces of annotated pictures are degraded in steps (fewer pixels, blur, less light, more light, a hot
spot) in the frame, before the crop, and predicted again in the same box. Another frame of the same
face keeps its label in some share of cases. Where fewer than ``SAME_MIN`` of that share keep it, a
face is no longer usable: the limit of ``[quality]`` is the measure's value there. For
``affect.label_margin`` the same face is predicted as other frames would have shown it (box and
sensor noise), smoothed as the daemon does: in no more than ``SPURIOUS`` of such moments may an
expression other than the moment before's lead by the margin.

Turned heads cannot be made from pictures of frontal ones: ``yaw_max_deg`` is not measured here.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.board import circumstances
from benchmarks.evaluation.annotated import Annotated, annotated_faces, read_labels, shifted
from benchmarks.evaluation.metrics import rmse
from edge.clock import Stopwatch, monotonic_ns
from edge.config import Config
from edge.errors import ConfigError
from edge.vision.detect import open_detector
from edge.vision.expression import ExpressionNetwork, open_expression
from edge.vision.quality import assess
from edge.vision.resize import resize_area
from edge.vision.values import Box, Detection, Frame, Luma, Prediction
from edge.vocabulary import EXPRESSIONS

SAME_MIN: Final = 0.8
"""Share of the label agreement between undegraded frames that must be kept."""

SPURIOUS: Final = 0.01
"""Share of moments of one face that may put another expression ahead by the label's margin."""

LEAD_EDGES: Final = (0.0, 0.1, 0.2, 0.4, 1.01)
"""Bins of the lead of the most probable expression over the second; the last includes 1."""

_MOMENTS, _FRAMES = 4, 10
"""Moments of one face, each the mean of so many frames: what smoothing over 0.5 s leaves of ten
frames a second."""

_JITTER_SHIFT, _JITTER_SCALE = 0.02, 0.03  # standard deviations, shares of the box
_NOISE: Final = 3.0  # of the sensor in the dark, standard deviation, grey levels

Random = np.random.Generator
Spoil = Callable[["Known", float, Random], tuple[Luma, Box]]


@dataclass(frozen=True, slots=True)
class Known:
    """One annotated face, found and read in the picture as it is; ``luma`` is its surroundings."""

    row: Annotated
    luma: Luma
    face: Detection
    reading: Prediction


def run_thresholds(config: Config, *, images: Path, labels: Path, seed: int = 0) -> dict[str, Any]:
    """Return the figures by degrees of each fault, and the limits that follow.

    Raises:
        ConfigError: labels or pictures cannot be used.
        ModelError: a configured network cannot be trusted.
        InferenceError: a network fails.
    """
    network = open_expression(config.expression)
    known = _known(config, network, images, read_labels(labels))
    random = np.random.default_rng(seed)
    margin, moved = _margin(network, known, random)
    rows: dict[str, list[dict[str, float]]] = {}
    limits: dict[str, float | None] = {"label_margin": margin}
    degradation = _Degradation(config, network, known, random)
    for name, fault in FAULTS.items():
        rows[name] = [degradation.figures(fault, degree) for degree in fault.degrees]
        points = [(row["measure"], row["same_label"]) for row in rows[name]]
        limits[fault.key] = crossing(points, SAME_MIN * moved)
    return {
        **circumstances(config),
        "faces": len(known),
        "same_label_when_only_the_frame_differs": moved,
        "hits_by_lead": _by_lead(known),
        "faults": rows,
        "limits": limits,
    }


def _known(
    config: Config, network: ExpressionNetwork, images: Path, rows: Sequence[Annotated]
) -> list[Known]:
    known = []
    for row, luma, face in annotated_faces(images, rows, open_detector(config.detector)):
        if face is not None:
            part, moved = _around(luma, face)
            known.append(Known(row, part, moved, _read(network, part, moved.box)))
    if not known:
        raise ConfigError(f"--images {images}: no face was found on any of {len(rows)} pictures")
    return known


def _around(luma: Luma, face: Detection) -> tuple[Luma, Detection]:
    """Return the frame as far as half a box around the face, and the face in there."""
    box = face.box
    side = max(box.width, box.height) / 2
    left, top = max(0, int(box.x - side)), max(0, int(box.y - side))
    part = luma[top : int(box.y + box.height + side), left : int(box.x + box.width + side)]
    origin = np.array([left, top], np.float32)
    moved = Box(box.x - left, box.y - top, box.width, box.height)
    return part, replace(face, box=moved, landmarks=face.landmarks - origin)


def _read(network: ExpressionNetwork, luma: Luma, box: Box) -> Prediction:
    return network.predict(Frame(luma, 0, 0, "media", monotonic_ns()), box, Stopwatch())


def _label(reading: Prediction) -> str:
    return EXPRESSIONS[int(reading.probabilities.argmax())]


def _margin(
    network: ExpressionNetwork, known: Sequence[Known], random: Random
) -> tuple[float, float]:
    """Return the lead that hardly any other moment of a face gives another expression.

    And the share of single frames that get the label of the unspoiled picture.
    """
    leads, same = [], []
    for each in known:
        read = np.array(
            [
                _read(
                    network, _noisy(each.luma, random), _jittered(each.face.box, random)
                ).probabilities
                for _ in range(_MOMENTS * _FRAMES)
            ]
        )
        same.append(float(np.mean(read.argmax(axis=1) == each.reading.probabilities.argmax())))
        moments = read.reshape(_MOMENTS, _FRAMES, -1).mean(axis=1)
        for one, other in itertools.permutations(range(_MOMENTS), 2):
            label = moments[one].argmax()
            leads.append(float(moments[other].max() - moments[other][label]))
    return float(np.quantile(leads, 1 - SPURIOUS)), float(np.mean(same))


def _jittered(box: Box, random: Random) -> Box:
    scale = float(np.exp(random.normal(0, _JITTER_SCALE)))
    x = box.width * random.normal(0, _JITTER_SHIFT)
    y = box.height * random.normal(0, _JITTER_SHIFT)
    return shifted(box, float(x), float(y), scale)


def _noisy(luma: Luma, random: Random) -> Luma:
    noise = random.normal(0, _NOISE, luma.shape)
    noisy: Luma = np.clip(np.rint(luma + noise), 0, 255).astype(np.uint8)
    return noisy


def _by_lead(known: Sequence[Known]) -> list[dict[str, float]]:
    """Return the share of right labels in each bin of ``LEAD_EDGES``."""
    leads, hits = [], []
    for each in known:
        shares = np.sort(each.reading.probabilities)
        leads.append(float(shares[-1] - shares[-2]))
        hits.append(_label(each.reading) == each.row.expression)
    rows = []
    for low, high in itertools.pairwise(LEAD_EDGES):
        there = [hit for lead, hit in zip(leads, hits, strict=True) if low <= lead < high]
        if there:
            rows.append({"from": low, "faces": len(there), "hits": float(np.mean(there))})
    return rows


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a face is spoiled.

    Attributes:
        measure: of ``edge.vision.values.Quality``, that tells it.
        key: of ``[quality]``, its limit.
        degrees: from hardly to most.
        spoil: returns the frame and the face's box, spoiled by a degree.
    """

    measure: str
    key: str
    degrees: tuple[float, ...]
    spoil: Spoil


@dataclass(frozen=True, slots=True)
class _Degradation:
    config: Config
    network: ExpressionNetwork
    known: Sequence[Known]
    random: Random

    def figures(self, fault: Fault, degree: float) -> dict[str, float]:
        """Return the figures of all faces spoiled by ``degree``, and the measure's median there."""
        measured, same, hits = [], [], []
        values: list[tuple[float, float, float, float]] = []
        for each in self.known:
            luma, box = fault.spoil(each, degree, self.random)
            reading = _read(self.network, luma, box)
            quality = assess(luma, box, each.face.landmarks, self.config.quality)
            measured.append(float(getattr(quality, fault.measure)))
            same.append(_label(reading) == _label(each.reading))
            hits.append(_label(reading) == each.row.expression)
            affect, row = reading.affect, each.row
            values.append((affect.valence, row.valence, affect.arousal, row.arousal))
        read: NDArray[np.float64] = np.array(values)
        return {
            "degree": degree,
            "measure": float(np.median(measured)),
            "same_label": float(np.mean(same)),
            "top1": float(np.mean(hits)),
            "valence_rmse": rmse(read[:, 0], read[:, 1]),
            "arousal_rmse": rmse(read[:, 2], read[:, 3]),
        }


def crossing(points: Sequence[tuple[float, float]], least: float) -> float | None:
    """Return the measure at which the share of same labels first falls below ``least``.

    Args:
        points: (measure, share), from hardly spoiled to spoiled most.
        least: the share that must be kept.

    Between two degrees the share is taken to change evenly. None: it never falls below; the
    first measure: it is below from the start.
    """
    before: tuple[float, float] | None = None
    for measure, share in points:
        if share < least:
            if before is None:
                return measure
            part = (before[1] - least) / (before[1] - share)
            return before[0] + part * (measure - before[0])
        before = (measure, share)
    return None


def _fewer_pixels(known: Known, size_px: float, random: Random) -> tuple[Luma, Box]:
    box = known.face.box
    scale = min(1.0, size_px / max(box.width, box.height))
    height, width = (max(1, round(length * scale)) for length in known.luma.shape)
    small = resize_area(known.luma, (width, height))
    return _noisy(small, random), Box(
        box.x * scale, box.y * scale, box.width * scale, box.height * scale
    )


def _blurred(known: Known, share: float, random: Random) -> tuple[Luma, Box]:
    sigma = share * known.face.box.height
    soft: Luma = np.asarray(cv2.GaussianBlur(known.luma, (0, 0), sigma), np.uint8)
    return _noisy(soft, random), known.face.box


def _at_brightness(known: Known, level: float, random: Random) -> tuple[Luma, Box]:
    """Return the frame with another exposure; the sensor's noise stays, white clips."""
    box = known.face.box
    rows = slice(max(0, round(box.y)), max(1, round(box.y + box.height)))
    columns = slice(max(0, round(box.x)), max(1, round(box.x + box.width)))
    mean = max(1.0, float(known.luma[rows, columns].mean()))
    exposed = np.clip(known.luma * (level * 255 / mean), 0, 255).astype(np.uint8)
    return _noisy(exposed, random), box


def _hot_spot(known: Known, share: float, random: Random) -> tuple[Luma, Box]:
    """Return the frame with a lamp's reflection that burns out ``share`` of the box."""
    box = known.face.box
    y, x = np.mgrid[: known.luma.shape[0], : known.luma.shape[1]].astype(np.float32)
    centre_x = box.x + box.width * random.uniform(0.15, 0.85)
    centre_y = box.y + box.height * random.uniform(0.15, 0.85)
    distance = np.hypot(x - centre_x, y - centre_y)
    radius = float(np.sqrt(share * box.width * box.height / np.pi))
    glow = 255 * np.exp(-(np.maximum(distance - radius, 0) ** 2) / (2 * (0.3 * radius + 1) ** 2))
    lit = np.clip(known.luma + glow, 0, 255).astype(np.uint8)
    return lit, box


FAULTS: Final = {
    "fewer pixels": Fault(
        "size_px", "size_min_px", (96, 64, 48, 40, 32, 28, 24, 20, 16, 12, 8), _fewer_pixels
    ),
    "blur": Fault(
        "sharpness", "sharpness_min", (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06), _blurred
    ),
    "less light": Fault(
        "brightness", "brightness_min", (0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03), _at_brightness
    ),
    "more light": Fault(
        "brightness", "brightness_max", (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95), _at_brightness
    ),
    "hot spot": Fault(
        "saturated", "saturated_max", (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3), _hot_spot
    ),
}
"""What is measured, by name."""
