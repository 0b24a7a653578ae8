"""``python -m benchmarks accuracy``: how right the pipeline is about annotated pictures.

Every picture goes through the daemon's own pipeline as a frame by itself: detector, crop,
translator where one is configured, expression network. No figure is of a network alone.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.board import circumstances
from benchmarks.metrics import figures
from benchmarks.neutral import NeutralReading, told_from
from edge.clock import monotonic_ns
from edge.config import Config, ImagesSource, QualityConfig
from edge.errors import ConfigError, FrameRefused, InferenceError
from edge.vision.detect import Detector
from edge.vision.pipeline import Pipeline
from edge.vision.quality import assess
from edge.vision.sources.images import read_grey
from edge.vision.values import EXPRESSIONS, Detection, FaceState, Frame, Luma, Reading
from exporters.calibration import faces_in

COLUMNS: Final = ("file", "subject", "expression", "valence", "arousal")
_APART_NS: Final = 3600 * 10**9
"""Media time between two pictures: none is the continuation of the one before."""

_EVERYTHING: Final = QualityConfig(
    size_min_px=1.0, sharpness_min=0.0, brightness_min=0.0, brightness_max=1.0,
    saturated_max=1.0, yaw_max_deg=90.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Annotated:
    """One row of the labels."""

    file: str
    subject: str
    expression: str
    valence: float
    arousal: float


@dataclass(frozen=True, slots=True)
class Read:
    """One picture's face as it was annotated and as it was read."""

    row: Annotated
    reading: Reading
    usable: bool


def read_labels(path: Path) -> list[Annotated]:
    """Return the rows of a CSV file with the columns file, subject, expression, valence, arousal.

    Raises:
        ConfigError: it cannot be read, a column is missing, or a value is not what it should be;
            the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ConfigError(
                    f"--labels {path}: no column {', '.join(sorted(missing))}; expected"
                    f" {','.join(COLUMNS)}"
                )
            rows = [_row(path, number, row) for number, row in enumerate(reader, start=2)]
    except OSError as error:
        raise ConfigError(f"--labels {path}: {error.strerror}; expected a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--labels {path}: {error}; expected a CSV file in UTF-8") from error
    if not rows:
        raise ConfigError(f"--labels {path}: no rows below the header")
    return rows


def _row(path: Path, number: int, row: dict[str, str]) -> Annotated:
    where = f"--labels {path} line {number}"
    if any(row[column] is None or not row[column].strip() for column in COLUMNS):
        raise ConfigError(f"{where}: an empty field; expected {','.join(COLUMNS)}")
    expression = row["expression"].strip()
    if expression not in EXPRESSIONS:
        raise ConfigError(f"{where}: expression {expression!r} is none of {', '.join(EXPRESSIONS)}")
    values = []
    for name in ("valence", "arousal"):
        try:
            value = float(row[name])
        except ValueError as error:
            raise ConfigError(f"{where}: {name} {row[name]!r} is no number") from error
        if not -1 <= value <= 1:
            raise ConfigError(f"{where}: {name} {row[name]}; expected -1 to 1")
        values.append(value)
    return Annotated(row["file"].strip(), row["subject"].strip(), expression, *values)


def annotated_faces(
    images: Path, rows: Iterable[Annotated], detector: Detector
) -> Iterator[tuple[Annotated, Luma, Detection | None]]:
    """Yield each annotated picture with its largest face; None where none is found.

    Raises:
        ConfigError: a picture cannot be read.
    """
    for row in rows:
        luma = _picture(images / row.file)
        found = faces_in(detector, luma)
        yield row, luma, max(found, key=lambda each: each.box.width * each.box.height, default=None)


def _picture(path: Path) -> Luma:
    try:
        return read_grey(path)
    except FrameRefused as error:
        raise ConfigError(f"--images {path.parent}: {error}") from error


class Reader:
    """Reads single pictures with the configured pipeline, whatever their quality."""

    def __init__(self, config: Config) -> None:
        self._quality = config.quality
        source = ImagesSource(kind="images", path=".", rate_hz=0.1)
        self._pipeline = Pipeline.open(
            config.model_copy(update={"source": source, "quality": _EVERYTHING})
        )
        self._index = 0

    def read(self, path: Path) -> tuple[Reading, bool] | None:
        """Return what the largest face expresses and whether the daemon would have read it.

        None where no face is found, or where the networks fail on it.

        Raises:
            ConfigError: the picture cannot be read.
        """
        luma = _picture(path)
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
        if face.reading is None:
            return None
        detection = face.track.detection
        quality = assess(luma, detection.box, detection.landmarks, self._quality)
        return face.reading, quality.usable


def _area(face: FaceState) -> float:
    return face.track.detection.box.width * face.track.detection.box.height


def run_accuracy(
    config: Config, *, images: Path, labels: Path, personal_baseline: bool
) -> dict[str, Any]:
    """Return the figures of every annotated picture; see ``benchmarks.metrics.figures``.

    With ``personal_baseline`` each person's readings are told from that person's first picture
    annotated as neutral, which is then not scored; ``without_baseline`` gives the plain figures of
    the same remaining pictures.

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
    """Return readings told from each person's neutral, and the same ones as they were."""
    told = told_from_own_neutral(
        [each.reading for each in read],
        [EXPRESSIONS.index(each.row.expression) for each in read],
        [each.row.subject for each in read],
    )
    personal = [replace(read[index], reading=reading) for index, reading in told.items()]
    return personal, [read[index] for index in told]


def first_neutrals(truth: Sequence[int], subjects: Sequence[str]) -> dict[str, int]:
    """Return the index of each person's first neutral picture, of those who have one."""
    first: dict[str, int] = {}
    for index, (label, subject) in enumerate(zip(truth, subjects, strict=True)):
        if EXPRESSIONS[label] == "neutral":
            first.setdefault(subject, index)
    return first


def told_from_own_neutral(
    readings: Sequence[Reading], truth: Sequence[int], subjects: Sequence[str]
) -> dict[int, Reading]:
    """Return what readings are from each person's first neutral picture, by their index.

    That picture has no part, nor has anybody of whom there is none; the common neutral is that of
    the others.

    Args:
        readings: of the pictures.
        truth: what each shows, index into ``EXPRESSIONS``.
        subjects: who is on each.
    """
    first = first_neutrals(truth, subjects)
    neutral = {name: NeutralReading.mean([readings[index]]) for name, index in first.items()}
    common = {
        name: NeutralReading.mean(
            readings[index] for other, index in first.items() if other != name
        )
        for name in first
        if len(first) > 1
    }
    return {
        index: told_from(readings[index], neutral[subject], common[subject])
        for index, subject in enumerate(subjects)
        if subject in common and index != first[subject]
    }
