"""``python -m benchmarks thresholds``: limits of quality.

Faces of annotated pictures are degraded in steps (fewer pixels, blur, less light, more light, a hot
spot) in the frame, before the crop, and predicted again in the same box. Some share of faces keeps
its label when only the frame differs (box and sensor noise). A limit of ``[quality]`` is the value
of its measure at which fewer than ``SAME_MIN`` of that share keep their label.

Turned heads cannot be made from pictures of frontal ones, so ``yaw_max_deg`` is not measured here.
"""

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_configuration, add_result_file, configuration_of
from benchmarks.board import measurement_conditions
from benchmarks.evaluation.annotated import Annotation, annotated_faces, read_labels, shifted
from benchmarks.evaluation.metrics import rmse
from benchmarks.show_fps import show_conditions
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

LEAD_EDGES: Final = (0.0, 0.1, 0.2, 0.4, 1.01)
"""Bins of the lead of the most probable expression over the second; the last includes 1."""

_FRAMES: Final = 40
"""Jittered frames of each face, for the share that keeps its label."""

_JITTER_SHIFT, _JITTER_SCALE = 0.02, 0.03  # standard deviations, shares of the box
_NOISE: Final = 3.0  # standard deviation of sensor noise in the dark, grey levels

Random = np.random.Generator
Degrade = Callable[["AnnotatedFace", float, Random], tuple[Luma, Box]]


@dataclass(frozen=True, slots=True)
class AnnotatedFace:
    """One annotated face and its prediction in the picture as it is.

    Attributes:
        row: its annotation.
        luma: the part of the picture around the face, uint8 (height, width).
        face: the detection, in pixels of ``luma``.
        prediction: for the face in ``luma``.
    """

    row: Annotation
    luma: Luma
    face: Detection
    prediction: Prediction


def add_thresholds(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``thresholds``."""
    command.add_argument("--images", type=Path, required=True, metavar="DIR")
    command.add_argument("--labels", type=Path, required=True, metavar="CSV")
    add_result_file(command)
    add_configuration(command)


def thresholds_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_thresholds`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_thresholds``.
    """
    config = configuration_of(arguments)
    with Console(stderr=True).status("thresholds"):
        return run_thresholds(config, images=arguments.images, labels=arguments.labels)


def run_thresholds(config: Config, *, images: Path, labels: Path, seed: int = 0) -> dict[str, Any]:
    """Return the figures of each degradation by degree, and the limits that follow.

    Raises:
        ConfigError: labels or pictures cannot be used.
        ModelError: a configured network cannot be trusted.
        InferenceError: a network fails.
    """
    network = open_expression(config.expression)
    faces = _predicted_faces(config, network, images, read_labels(labels))
    random = np.random.default_rng(seed)
    moved = _same_label(network, faces, random)
    rows: dict[str, list[dict[str, float]]] = {}
    limits: dict[str, float | None] = {}
    degraded = _DegradedFaces(config, network, faces, random)
    for name, kind in DEGRADATIONS.items():
        rows[name] = [degraded.figures(kind, degree) for degree in kind.degrees]
        points = [(row["measure"], row["same_label"]) for row in rows[name]]
        limits[kind.key] = crossing(points, SAME_MIN * moved)
    return {
        **measurement_conditions(config),
        "faces": len(faces),
        "same_label_when_only_the_frame_differs": moved,
        "hits_by_lead": _correct_by_lead(faces),
        "faults": rows,
        "limits": limits,
    }


def _predicted_faces(
    config: Config, network: ExpressionNetwork, images: Path, rows: Sequence[Annotation]
) -> list[AnnotatedFace]:
    faces = []
    for row, luma, face in annotated_faces(images, rows, open_detector(config.detector)):
        if face is not None:
            part, moved = _with_surroundings(luma, face)
            faces.append(AnnotatedFace(row, part, moved, _predict(network, part, moved.box)))
    if not faces:
        raise ConfigError(f"--images {images}: no face was found on any of {len(rows)} pictures")
    return faces


def _with_surroundings(luma: Luma, face: Detection) -> tuple[Luma, Detection]:
    """Return the frame up to half a box around the face, and the face in its coordinates."""
    box = face.box
    side = max(box.width, box.height) / 2
    left, top = max(0, int(box.x - side)), max(0, int(box.y - side))
    part = luma[top : int(box.y + box.height + side), left : int(box.x + box.width + side)]
    origin = np.array([left, top], np.float32)
    moved = Box(box.x - left, box.y - top, box.width, box.height)
    landmarks = None if face.landmarks is None else face.landmarks - origin
    return part, replace(face, box=moved, landmarks=landmarks)


def _predict(network: ExpressionNetwork, luma: Luma, box: Box) -> Prediction:
    return network.predict(Frame(luma, 0, 0, "media", monotonic_ns()), box, Stopwatch())


def _label(prediction: Prediction) -> str:
    return EXPRESSIONS[int(prediction.probabilities.argmax())]


def _same_label(
    network: ExpressionNetwork, faces: Sequence[AnnotatedFace], random: Random
) -> float:
    """Return the share of jittered frames that keep the picture's label."""
    same = [
        _label(_predict(network, _noisy(each.luma, random), _jittered(each.face.box, random)))
        == _label(each.prediction)
        for each in faces
        for _ in range(_FRAMES)
    ]
    return float(np.mean(same))


def _jittered(box: Box, random: Random) -> Box:
    scale = float(np.exp(random.normal(0, _JITTER_SCALE)))
    x = box.width * random.normal(0, _JITTER_SHIFT)
    y = box.height * random.normal(0, _JITTER_SHIFT)
    return shifted(box, float(x), float(y), scale)


def _noisy(luma: Luma, random: Random) -> Luma:
    noise = random.normal(0, _NOISE, luma.shape)
    noisy: Luma = np.clip(np.rint(luma + noise), 0, 255).astype(np.uint8)
    return noisy


def _correct_by_lead(faces: Sequence[AnnotatedFace]) -> list[dict[str, float]]:
    """Return the share of correct labels in each bin of ``LEAD_EDGES``."""
    leads, hits = [], []
    for each in faces:
        shares = np.sort(each.prediction.probabilities)
        leads.append(float(shares[-1] - shares[-2]))
        hits.append(_label(each.prediction) == each.row.expression)
    rows = []
    for low, high in itertools.pairwise(LEAD_EDGES):
        there = [hit for lead, hit in zip(leads, hits, strict=True) if low <= lead < high]
        if there:
            rows.append({"from": low, "faces": len(there), "hits": float(np.mean(there))})
    return rows


@dataclass(frozen=True, slots=True)
class Degradation:
    """One way to degrade a face.

    Attributes:
        measure: field of ``edge.vision.values.Quality`` that measures it.
        key: key of ``[quality]`` that limits it.
        degrees: from the weakest to the strongest.
        degrade: returns the frame and the face's box, degraded by a degree.
    """

    measure: str
    key: str
    degrees: tuple[float, ...]
    degrade: Degrade


@dataclass(frozen=True, slots=True)
class _DegradedFaces:
    config: Config
    network: ExpressionNetwork
    faces: Sequence[AnnotatedFace]
    random: Random

    def figures(self, kind: Degradation, degree: float) -> dict[str, float]:
        """Return the figures of all faces degraded by ``degree``, and the measure's median."""
        measured, same, hits = [], [], []
        values: list[tuple[float, float, float, float]] = []
        for each in self.faces:
            luma, box = kind.degrade(each, degree, self.random)
            prediction = _predict(self.network, luma, box)
            quality = assess(luma, box, each.face.landmarks, self.config.quality)
            measured.append(float(getattr(quality, kind.measure)))
            same.append(_label(prediction) == _label(each.prediction))
            hits.append(_label(prediction) == each.row.expression)
            affect, row = prediction.affect, each.row
            values.append((affect.valence, row.valence, affect.arousal, row.arousal))
        predicted: NDArray[np.float64] = np.array(values)
        return {
            "degree": degree,
            "measure": float(np.median(measured)),
            "same_label": float(np.mean(same)),
            "top1": float(np.mean(hits)),
            "valence_rmse": rmse(predicted[:, 0], predicted[:, 1]),
            "arousal_rmse": rmse(predicted[:, 2], predicted[:, 3]),
        }


def crossing(points: Sequence[tuple[float, float]], least: float) -> float | None:
    """Return the measure at which the share of same labels first falls below ``least``.

    Args:
        points: (measure, share), from the weakest degradation to the strongest.
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


def _fewer_pixels(annotated: AnnotatedFace, size_px: float, random: Random) -> tuple[Luma, Box]:
    box = annotated.face.box
    scale = min(1.0, size_px / max(box.width, box.height))
    height, width = (max(1, round(length * scale)) for length in annotated.luma.shape)
    small = resize_area(annotated.luma, (width, height))
    return _noisy(small, random), Box(
        box.x * scale, box.y * scale, box.width * scale, box.height * scale
    )


def _blurred(annotated: AnnotatedFace, share: float, random: Random) -> tuple[Luma, Box]:
    sigma = share * annotated.face.box.height
    soft: Luma = np.asarray(cv2.GaussianBlur(annotated.luma, (0, 0), sigma), np.uint8)
    return _noisy(soft, random), annotated.face.box


def _at_brightness(annotated: AnnotatedFace, level: float, random: Random) -> tuple[Luma, Box]:
    """Return the frame with another exposure; white clips, the sensor's noise stays the same."""
    box = annotated.face.box
    rows = slice(max(0, round(box.y)), max(1, round(box.y + box.height)))
    columns = slice(max(0, round(box.x)), max(1, round(box.x + box.width)))
    mean = max(1.0, float(annotated.luma[rows, columns].mean()))
    exposed = np.clip(annotated.luma * (level * 255 / mean), 0, 255).astype(np.uint8)
    return _noisy(exposed, random), box


def _hot_spot(annotated: AnnotatedFace, share: float, random: Random) -> tuple[Luma, Box]:
    """Return the frame with a lamp's reflection that saturates ``share`` of the box."""
    box = annotated.face.box
    y, x = np.mgrid[: annotated.luma.shape[0], : annotated.luma.shape[1]].astype(np.float32)
    centre_x = box.x + box.width * random.uniform(0.15, 0.85)
    centre_y = box.y + box.height * random.uniform(0.15, 0.85)
    distance = np.hypot(x - centre_x, y - centre_y)
    radius = float(np.sqrt(share * box.width * box.height / np.pi))
    glow = 255 * np.exp(-(np.maximum(distance - radius, 0) ** 2) / (2 * (0.3 * radius + 1) ** 2))
    lit = np.clip(annotated.luma + glow, 0, 255).astype(np.uint8)
    return lit, box


DEGRADATIONS: Final = {
    "fewer pixels": Degradation(
        "size_px", "size_min_px", (96, 64, 48, 40, 32, 28, 24, 20, 16, 12, 8), _fewer_pixels
    ),
    "blur": Degradation(
        "sharpness", "sharpness_min", (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06), _blurred
    ),
    "less light": Degradation(
        "brightness", "brightness_min", (0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03), _at_brightness
    ),
    "more light": Degradation(
        "brightness", "brightness_max", (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95), _at_brightness
    ),
    "hot spot": Degradation(
        "saturated", "saturated_max", (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3), _hot_spot
    ),
}
"""All degradations that are measured, by name."""


def show_thresholds(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``thresholds``."""
    table = Table(
        "fault", "degree", "measure", "same label", "top1", "valence rmse", "arousal rmse",
        title=result["command"], title_justify="left",
    )  # fmt: skip
    for fault, rows in result["faults"].items():
        for row in rows:
            table.add_row(
                fault, f"{row['degree']:g}", f"{row['measure']:.3g}", f"{row['same_label']:.2f}",
                f"{row['top1']:.2f}", f"{row['valence_rmse']:.3f}", f"{row['arousal_rmse']:.3f}",
            )  # fmt: skip
        table.add_section()
    console.print(table)
    for row in result["hits_by_lead"]:
        low, high = row["from"], min(1.0, next(edge for edge in LEAD_EDGES if edge > row["from"]))
        console.print(
            f"lead over the second {low:.1f} to {high:.1f}: {row['faces']} faces,"
            f" {row['hits']:.2f} labelled correctly",
            highlight=False,
        )
    moved = result["same_label_when_only_the_frame_differs"]
    console.print(f"same label on another frame of the same face: {moved:.2f}", highlight=False)
    console.print(f"limits (same label {SAME_MIN} times that):")
    for name, value in result["limits"].items():
        shown = "never reached" if value is None else f"{value:.3g}"
        console.print(f"  {name} {shown}", highlight=False)
    show_conditions(result, console)
