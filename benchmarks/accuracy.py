"""``python -m benchmarks accuracy``: accuracy of the whole pipeline on annotated pictures.

Every picture goes through the daemon's own pipeline as a single frame: detector, crop, translator
if one is configured, expression network. No figure is of a network alone. With a translator, the
same pictures are also predicted without it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.board import measurement_conditions
from benchmarks.evaluation.annotated import Annotation, read_labels
from benchmarks.evaluation.folds import Folds, check_folds
from benchmarks.evaluation.groups import group_figures
from benchmarks.evaluation.metrics import differences, figures
from benchmarks.evaluation.neutral import relative_to_own_neutral
from benchmarks.evaluation.pictures import read_picture
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
    config: Config,
    *,
    images: Path,
    labels: Path,
    personal_baseline: bool,
    folds: Folds | None = None,
) -> dict[str, Any]:
    """Return the figures of ``metrics`` and ``groups`` in ``evaluation`` for annotated pictures.

    ``heads`` counts the pictures by what gave the probabilities.

    With ``personal_baseline`` predictions are relative to the person's first picture annotated as
    neutral, which is not scored; ``without_baseline`` has the figures of the same pictures without
    a baseline.

    With a translator ``direct`` has the figures of the same pictures without it, and ``difference``
    those of the translated minus the direct ones, both without a baseline.

    Args:
        config: detector, translator and expression network, as in the daemon.
        images: folder of the pictures.
        labels: their annotations.
        personal_baseline: see above.
        folds: translators to take instead of the configured one, each for the people that it was
            trained without.

    Raises:
        ConfigError: labels or pictures cannot be used, or a person is in no fold.
        ModelError: a configured network cannot be trusted.
    """
    rows = read_labels(labels)
    if folds:
        check_folds(folds, (row.subject for row in rows))
    translators = sorted(set(folds.values())) if folds else [config.translator.model]
    configs = {each: _with_translator(config, each) for each in translators}
    result: dict[str, Any] = {"n": len(rows), **measurement_conditions(configs[translators[0]])}
    for each in translators[1:]:
        result["models"] |= measurement_conditions(configs[each])["models"]
    predictors = {each: FacePredictor(configs[each]) for each in translators}

    def predictor_for(row: Annotation) -> FacePredictor:
        return predictors[folds[row.subject] if folds else translators[0]]

    predicted = _predict_all(images, rows, predictor_for)
    result["detected"] = len(predicted)
    result["usable"] = sum(each.usable for each in predicted)
    if translators != [""]:
        direct = FacePredictor(_with_translator(config, ""))
        plain = {each.row.file: each for each in _predict_all(images, rows, lambda _: direct)}
        both = [each for each in predicted if each.row.file in plain]
        result |= _against_direct(both, [plain[each.row.file] for each in both])
        result["folds"] = dict(folds or {})
    if not personal_baseline:
        return {**result, "scored": len(predicted), **_figures(predicted)}
    personal, without = _personal(predicted)
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
        "without_baseline": _figures(without),
    }


def _with_translator(config: Config, model: str) -> Config:
    """Return ``config`` with a translator; none if ``model`` is empty."""
    return config.model_copy(
        update={"translator": config.translator.model_copy(update={"model": model})}
    )


def _predict_all(
    images: Path, rows: Sequence[Annotation], predictor_for: Callable[[Annotation], FacePredictor]
) -> list[PredictedFace]:
    """Return the predictions for the pictures on which a face is found.

    Raises:
        ConfigError: a picture cannot be read, or there is a face on none.
    """
    predicted = []
    for row in rows:
        prediction = predictor_for(row).predict(images / row.file)
        if prediction is not None:
            predicted.append(PredictedFace(row, *prediction))
    if not predicted:
        raise ConfigError(f"--images {images}: no face was found on any of {len(rows)} pictures")
    return predicted


def _against_direct(
    translated: Sequence[PredictedFace], direct: Sequence[PredictedFace]
) -> dict[str, Any]:
    """Return the figures of ``direct``, and those of ``translated`` minus them."""
    facts = _facts(translated)
    return {
        "direct": _figures(direct),
        "difference": differences(_predictions(direct), _predictions(translated), *facts),
    }


def _facts(
    predicted: Sequence[PredictedFace],
) -> tuple[NDArray[np.intp], NDArray[np.float64], list[str]]:
    """Return annotated expressions, annotated valence and arousal, and people."""
    return (
        np.array([EXPRESSIONS.index(each.row.expression) for each in predicted]),
        np.array([[each.row.valence, each.row.arousal] for each in predicted]),
        [each.row.subject for each in predicted],
    )


def _predictions(
    predicted: Sequence[PredictedFace],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return probabilities, and valence and arousal."""
    return (
        np.array([each.prediction.probabilities for each in predicted], np.float64),
        np.array(
            [[each.prediction.affect.valence, each.prediction.affect.arousal] for each in predicted]
        ),
    )


def _figures(predicted: Sequence[PredictedFace]) -> dict[str, Any]:
    arrays = (*_predictions(predicted), *_facts(predicted))
    return {
        **figures(*arrays),
        **group_figures(*arrays, glasses=[each.row.glasses for each in predicted]),
        "heads": dict(Counter(each.prediction.head for each in predicted)),
    }


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
