"""``python -m benchmarks accuracy``: accuracy of the whole pipeline on annotated pictures.

Every picture goes through the daemon's own pipeline as a single frame: detector, crop, translator
if one is configured, expression network. No figure is of a network alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.board import measurement_conditions
from benchmarks.evaluation.annotated import Annotation, read_labels, read_picture
from benchmarks.evaluation.metrics import figures
from benchmarks.evaluation.neutral import relative_to_own_neutral
from edge.clock import monotonic_ns
from edge.config import Config, ImagesSource, QualityConfig
from edge.errors import ConfigError, InferenceError
from edge.vision.pipeline import Pipeline
from edge.vision.quality import assess
from edge.vision.values import FaceState, Frame, Prediction
from edge.vocabulary import EXPRESSIONS

_INTERVAL_NS: Final = 3600 * 10**9
"""Media time between two pictures: tracks and smoothing start anew with each."""

_NO_QUALITY_LIMITS: Final = QualityConfig(
    size_min_px=1.0, sharpness_min=0.0, brightness_min=0.0, brightness_max=1.0,
    saturated_max=1.0, yaw_max_deg=90.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PredictedFace:
    """One picture's face: annotation, prediction, and whether the daemon would classify it."""

    row: Annotation
    prediction: Prediction
    usable: bool


class FacePredictor:
    """Predicts single pictures with the configured pipeline, whatever their quality."""

    def __init__(self, config: Config) -> None:
        self._quality = config.quality
        source = ImagesSource(kind="images", path=".", rate_hz=0.1)
        self._pipeline = Pipeline.open(
            config.model_copy(update={"source": source, "quality": _NO_QUALITY_LIMITS})
        )
        self._index = 0

    def predict(self, path: Path) -> tuple[Prediction, bool] | None:
        """Return the prediction for the largest face, and whether the daemon would classify it.

        None if no face is found or a network fails.

        Raises:
            ConfigError: the picture cannot be read.
        """
        luma = read_picture(path)
        now_ns = monotonic_ns()
        frame = Frame(luma, self._index, self._index * _INTERVAL_NS, "media", now_ns)
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
    """Return the figures of ``evaluation.metrics.figures`` for annotated pictures.

    With ``personal_baseline`` predictions are relative to the person's first picture annotated as
    neutral, which is not scored; ``without_baseline`` has the figures of the same pictures without
    a baseline.

    Raises:
        ConfigError: labels or pictures cannot be used.
        ModelError: a configured network cannot be trusted.
    """
    rows = read_labels(labels)
    result: dict[str, Any] = {"n": len(rows), **measurement_conditions(config)}
    predictor = FacePredictor(config)
    predicted = []
    for row in rows:
        prediction = predictor.predict(images / row.file)
        if prediction is not None:
            predicted.append(PredictedFace(row, *prediction))
    if not predicted:
        raise ConfigError(f"--images {images}: no face was found on any of {len(rows)} pictures")
    result["detected"] = len(predicted)
    result["usable"] = sum(each.usable for each in predicted)
    if not personal_baseline:
        return {**result, "scored": len(predicted), **_figures(predicted)}
    personal, plain = _personal(predicted)
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


def _figures(predicted: Sequence[PredictedFace]) -> dict[str, Any]:
    return figures(
        np.array([each.prediction.probabilities for each in predicted], np.float64),
        np.array(
            [[each.prediction.affect.valence, each.prediction.affect.arousal] for each in predicted]
        ),
        np.array([EXPRESSIONS.index(each.row.expression) for each in predicted]),
        np.array([[each.row.valence, each.row.arousal] for each in predicted]),
        [each.row.subject for each in predicted],
    )


def _personal(
    predicted: Sequence[PredictedFace],
) -> tuple[list[PredictedFace], list[PredictedFace]]:
    """Return predictions relative to each person's neutral face, and the original ones."""
    relative = relative_to_own_neutral(
        [each.prediction for each in predicted],
        [EXPRESSIONS.index(each.row.expression) for each in predicted],
        [each.row.subject for each in predicted],
    )
    personal = [
        replace(predicted[index], prediction=prediction) for index, prediction in relative.items()
    ]
    return personal, [predicted[index] for index in relative]
