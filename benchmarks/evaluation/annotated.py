"""Annotated pictures: the CSV file of labels, the face of each picture, and jittered boxes."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.evaluation.pictures import faces_in, read_picture
from edge.errors import ConfigError
from edge.files.regular import open_regular
from edge.vision.detect import Detector
from edge.vision.values import Box, Detection, Luma
from edge.vocabulary import EXPRESSIONS

COLUMNS: Final = ("file", "subject", "expression", "valence", "arousal")

_GLASSES: Final = {"yes": True, "no": False, "": None}


@dataclass(frozen=True, slots=True)
class Annotation:
    """One row of the labels; valence and arousal in -1..1.

    ``glasses``: whether the person wears glasses; None: not labelled.
    """

    file: str
    subject: str
    expression: str
    valence: float
    arousal: float
    glasses: bool | None = None


def read_labels(path: Path) -> list[Annotation]:
    """Return the rows of a CSV file with the columns file, subject, expression, valence, arousal.

    A column ``glasses`` with ``yes``, ``no`` or nothing may follow.

    Raises:
        ConfigError: it cannot be read, a column is missing, or a value is not valid; the message
            names the line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="", opener=open_regular) as file:
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


def _row(path: Path, number: int, row: dict[str, str]) -> Annotation:
    where = f"--labels {path} line {number}"
    if any(row[column] is None or not row[column].strip() for column in COLUMNS):
        raise ConfigError(f"{where}: an empty field; expected {','.join(COLUMNS)}")
    if "\0" in row["file"]:
        raise ConfigError(f"{where}: file {row['file']!r}; expected a name without a NUL character")
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
    worn = (row.get("glasses") or "").strip()
    if worn not in _GLASSES:
        raise ConfigError(f"{where}: glasses {worn!r}; expected yes, no or nothing")
    file, subject = row["file"].strip(), row["subject"].strip()
    valence, arousal = values
    return Annotation(file, subject, expression, valence, arousal, _GLASSES[worn])


def annotated_faces(
    images: Path, rows: Iterable[Annotation], detector: Detector
) -> Iterator[tuple[Annotation, Luma, Detection | None]]:
    """Yield each annotated picture with its largest face; None if no face is found.

    Raises:
        ConfigError: a picture cannot be read.
    """
    for row in rows:
        luma = read_picture(images / row.file)
        found = faces_in(detector, luma)
        yield row, luma, max(found, key=lambda each: each.box.width * each.box.height, default=None)


def shifted(box: Box, x: float, y: float, scale: float) -> Box:
    """Return ``box`` moved by ``x`` and ``y`` pixels and scaled about its centre."""
    width, height = box.width * scale, box.height * scale
    return Box(
        box.x + (box.width - width) / 2 + x, box.y + (box.height - height) / 2 + y, width, height
    )
