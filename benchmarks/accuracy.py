"""``python -m benchmarks accuracy``: accuracy of the whole pipeline on annotated pictures.

Every picture goes through the daemon's own pipeline as a single frame: detector, crop, translator
if one is configured, expression network. No figure is of a network alone. With a translator, the
same pictures are also predicted without it.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.arguments import add_configuration, add_result_file, configuration_of
from benchmarks.board import measurement_conditions
from benchmarks.evaluation.annotated import Annotation, read_labels
from benchmarks.evaluation.folds import Folds, add_folds, check_folds, parse_folds
from benchmarks.evaluation.groups import group_figures
from benchmarks.evaluation.metrics import differences, figures
from benchmarks.evaluation.neutral import relative_to_own_neutral
from benchmarks.evaluation.pictures import read_picture
from benchmarks.show_fps import show_conditions
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


def add_accuracy(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``accuracy``."""
    command.add_argument("--images", type=Path, required=True, metavar="DIR")
    command.add_argument(
        "--labels", type=Path, required=True, metavar="CSV",
        help="columns file,subject,expression,valence,arousal",
    )  # fmt: skip
    command.add_argument("--pipeline", choices=("direct", "translate"), default="direct")
    add_folds(command)
    command.add_argument("--artifact", metavar="NAME", help="of the expression network")
    command.add_argument(
        "--personal-baseline",
        action="store_true",
        help="predictions relative to each person's neutral picture",
    )
    add_result_file(command)
    add_configuration(command)


def accuracy_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the result of ``run_accuracy`` for a command line.

    Raises:
        ConfigError: an argument is wrong.
        AffectEdgeError: as ``run_accuracy``.
    """
    artifact = arguments.artifact
    chosen = [f"expression.artifact={json.dumps(artifact)}"] if artifact else []
    config = configuration_of(arguments, *chosen)
    translated, translator = arguments.pipeline == "translate", config.translator
    folds = parse_folds(arguments.fold)
    if folds and not translated:
        raise ConfigError("--fold: holds translators; expected --pipeline translate with it")
    if translated and not translator.model and not folds:
        raise ConfigError(
            "--pipeline translate: no translator; name one: --set 'translator.model=\"FOLDER\"',"
            " or several by --fold FOLDER=PEOPLE"
        )
    if not translated:
        off = translator.model_copy(update={"model": ""})
        config = config.model_copy(update={"translator": off})
    return run_accuracy(
        config,
        images=arguments.images,
        labels=arguments.labels,
        personal_baseline=arguments.personal_baseline,
        folds=folds,
    )


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


def show_accuracy(result: dict[str, Any], console: Console) -> None:
    """Print a result of ``accuracy``."""
    plain, direct = result.get("without_baseline"), result.get("direct")
    table = Table("figure", "value", "95 %", title=result["command"], title_justify="left")
    if plain:
        table.add_column("without baseline")
    if direct:
        table.add_column("direct")
    rows: list[tuple[str, tuple[str, ...]]] = [
        (name, (name,)) for name in ("top1", "top2", "top3", "macro_f1")
    ]
    rows += [
        (f"{axis} {name}", (axis, name))
        for axis in ("valence", "arousal")
        for name in ("rmse", "ccc", "sagr")
    ]
    rows.append(("calibration error", ("ece",)))
    majority = result["majority"]
    rows.append((f"top1 above guessing, {result['chance']:.3f}", ("over_chance",)))
    always = f"always {majority['expression']}, {majority['share']:.3f}"
    rows.append((f"top1 above {always}", ("over_majority",)))
    others = [each for each in (plain, direct) if each]
    if all(each["change"] for each in (result, *others)):
        rows += [(f"change of {axis} ccc", ("change", axis)) for axis in ("valence", "arousal")]
    for name, path in rows:
        value, interval = _nested(result, path)["value"], _nested(result, path)["interval95"]
        cells = [name, f"{value:.3f}", f"{interval[0]:.3f} .. {interval[1]:.3f}"]
        table.add_row(*cells, *(f"{_nested(each, path)['value']:.3f}" for each in others))
    down, regions = result["downsampled"], result["normalised_rmse"]
    table.add_row("balanced top1 / macro_f1", f"{down['top1']:.3f} / {down['macro_f1']:.3f}")
    table.add_row("normalised rmse v / a", f"{regions['valence']:.3f} / {regions['arousal']:.3f}")
    console.print(table)
    grid = Table("annotated, predicted", *(name[:4] for name in EXPRESSIONS), "F1", "95 %")
    for name, counts, score, interval in zip(
        EXPRESSIONS, result["confusion"], result["f1"], result["f1_interval95"], strict=True
    ):
        shown = ("-", "-")
        if score is not None:
            shown = (f"{score:.2f}", f"{interval[0]:.2f} .. {interval[1]:.2f}")
        grid.add_row(name, *map(str, counts), *shown)
    console.print(grid)
    console.print(_groups_table(result["people"], result["glasses"]))
    if direct:
        console.print(_differences_table(result["difference"]))
        console.print(
            "Each picture was translated without its person."
            if result["folds"]
            else "The translator may have been trained on these people: see --fold.",
            highlight=False,
        )
    console.print(
        f"{result['n']} pictures, a face found on {result['detected']}, {result['usable']} of them"
        f" usable for the daemon, {result['scored']} scored; intervals: bootstrapped by person",
        highlight=False,
    )
    show_conditions(result, console)


def _groups_table(people: dict[str, Any], glasses: dict[str, Any]) -> Table:
    """Return the figures of each person, and of those with and without glasses where labelled."""
    table = Table("person", "pictures", "top1", "macro_f1", "v rmse", "a rmse", "most predicted")
    worn = {f"{name} glasses": each for name in ("with", "without") if (each := glasses.get(name))}
    for name, each in (people | worn).items():
        most = each["most_predicted"]
        names = ("top1", "macro_f1", "valence_rmse", "arousal_rmse")
        figures = [f"{each[figure]:.3f}" for figure in names]
        if interval := each.get("top1_interval95"):
            figures[0] += f", {interval[0]:.2f} .. {interval[1]:.2f}"
        shown = f"{most['expression']} {most['share']:.2f}"
        table.add_row(name, str(each["n"]), *figures, shown)
    return table


def _differences_table(difference: dict[str, Any]) -> Table:
    table = Table("translated minus direct", "value", "95 %")
    for name, each in difference.items():
        low, high = each["interval95"]
        table.add_row(name, f"{each['value']:+.3f}", f"{low:+.3f} .. {high:+.3f}")
    return table


def _nested(result: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        result = result[name]
    return result
