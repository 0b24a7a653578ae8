"""``python -m benchmarks accuracy``: accuracy of the whole pipeline on annotated pictures.

Every picture goes through the daemon's own pipeline as a frame by itself: detector, crop,
translator where one is configured, expression network. No figure is of a network alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.board import circumstances
from benchmarks.evaluation.annotated import Annotated, read_labels, read_picture
from benchmarks.evaluation.metrics import figures
from benchmarks.evaluation.neutral import relative_to_own_neutral
from edge.clock import monotonic_ns
from edge.config import Config, ImagesSource, QualityConfig
from edge.errors import ConfigError, InferenceError
from edge.vision.pipeline import Pipeline
from edge.vision.quality import assess
from edge.vision.values import FaceState, Frame, Prediction
from edge.vocabulary import EXPRESSIONS

_APART_NS: Final = 3600 * 10**9
"""Media time between two pictures: none is the continuation of the one before."""

_EVERYTHING: Final = QualityConfig(
    size_min_px=1.0, sharpness_min=0.0, brightness_min=0.0, brightness_max=1.0,
    saturated_max=1.0, yaw_max_deg=90.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Read:
    """One picture's face: its annotation and its prediction."""

    row: Annotated
    reading: Prediction
    usable: bool


class Reader:
    """Reads single pictures with the configured pipeline, whatever their quality."""

    def __init__(self, config: Config) -> None:
        self._quality = config.quality
        source = ImagesSource(kind="images", path=".", rate_hz=0.1)
        self._pipeline = Pipeline.open(
            config.model_copy(update={"source": source, "quality": _EVERYTHING})
        )
        self._index = 0

    def read(self, path: Path) -> tuple[Prediction, bool] | None:
        """Return what the largest face expresses and whether the daemon would have read it.

        None where no face is found, or where the networks fail on it.

        Raises:
            ConfigError: the picture cannot be read.
        """
        luma = read_picture(path)
        now_ns = monotonic_ns()
        frame = Frame(luma, self._index, self._index * _APART_NS, "media", now_ns)
        self._index += 1
        try:
            faces = self._pipeline.step(frame).faces
        except InferenceError:
            return None
        if not faces:
            return None
        face = max(faces, key=_area)
        if face.prediction is None:
            return None
        detection = face.track.detection
        quality = assess(luma, detection.box, detection.landmarks, self._quality)
        return face.prediction, quality.usable


def _area(face: FaceState) -> float:
    return face.track.detection.box.width * face.track.detection.box.height


def run_accuracy(
    config: Config, *, images: Path, labels: Path, personal_baseline: bool
) -> dict[str, Any]:
    """Return the figures of every annotated picture; see ``benchmarks.evaluation.metrics.figures``.

    With ``personal_baseline`` each person's readings are relative to that person's first
    picture annotated as neutral, which is then not scored; ``without_baseline`` gives the plain
    figures of the same remaining pictures.

    Raises:
        ConfigError: labels or pictures cannot be used.
        ModelError: a configured network cannot be trusted.
    """
    rows = read_labels(labels)
    result: dict[str, Any] = {"n": len(rows), **circumstances(config)}
    reader = Reader(config)
    read = []
    for row in rows:
        answer = reader.read(images / row.file)
        if answer is not None:
            read.append(Read(row, *answer))
    if not read:
        raise ConfigError(f"--images {images}: no face was found on any of {len(rows)} pictures")
    result["detected"] = len(read)
    result["usable"] = sum(each.usable for each in read)
    if not personal_baseline:
        return {**result, "scored": len(read), **_figures(read)}
    personal, plain = _personal(read)
    if not personal:
        raise ConfigError(
            f"--labels {labels}: a personal baseline needs at least two people with a neutral"
            " picture and another one"
        )
    return {
        **result,
        "scored": len(personal),
        "people_with_baseline": len({each.row.subject for each in personal}),
        **_figures(personal),
        "without_baseline": _figures(plain),
    }


def _figures(read: Sequence[Read]) -> dict[str, Any]:
    return figures(
        np.array([each.reading.probabilities for each in read], np.float64),
        np.array([[each.reading.affect.valence, each.reading.affect.arousal] for each in read]),
        np.array([EXPRESSIONS.index(each.row.expression) for each in read]),
        np.array([[each.row.valence, each.row.arousal] for each in read]),
        [each.row.subject for each in read],
    )


def _personal(read: Sequence[Read]) -> tuple[list[Read], list[Read]]:
    """Return readings relative to each person's neutral, and the same ones without a baseline."""
    relative = relative_to_own_neutral(
        [each.reading for each in read],
        [EXPRESSIONS.index(each.row.expression) for each in read],
        [each.row.subject for each in read],
    )
    personal = [replace(read[index], reading=reading) for index, reading in relative.items()]
    return personal, [read[index] for index in relative]
