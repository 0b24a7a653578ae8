"""Known faces of pictures, and what a detector finds of them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.errors import ConfigError
from edge.files.regular import open_regular
from edge.vision.values import Box, Detection, Floats

COLUMNS: Final = ("file", "x", "y", "width", "height")
SAME: Final = 0.5
"""Lowest overlap at which a face counts as found."""


@dataclass(frozen=True, slots=True)
class KnownFace:
    """A face that a detector should find; ``landmarks`` is None if it is annotated by hand."""

    box: Box
    landmarks: Floats | None = None


def read_boxes(path: Path) -> dict[str, list[KnownFace]]:
    """Return file name -> its faces, from a CSV file with the columns file, x, y, width, height.

    Pixels of the picture, x and y of the left top corner. A row without numbers is a picture
    without a face.

    Raises:
        ConfigError: it cannot be read, a column is missing, or a value is not valid; the message
            names the line.
    """
    faces: dict[str, list[KnownFace]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="", opener=open_regular) as file:
            reader = csv.DictReader(file)
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise ConfigError(
                    f"--boxes {path}: no column {', '.join(sorted(missing))}; expected"
                    f" {','.join(COLUMNS)}"
                )
            for number, row in enumerate(reader, start=2):
                _add_row(faces, row, f"--boxes {path} line {number}")
    except OSError as error:
        raise ConfigError(f"--boxes {path}: {error.strerror}; expected a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--boxes {path}: {error}; expected a CSV file in UTF-8") from error
    if not any(faces.values()):
        raise ConfigError(f"--boxes {path}: no face in it; expected a row for each face")
    return faces


def _add_row(faces: dict[str, list[KnownFace]], row: dict[str, Any], where: str) -> None:
    file = (row["file"] or "").strip()
    if not file:
        raise ConfigError(f"{where}: no file; expected {','.join(COLUMNS)}")
    texts = [(row[name] or "").strip() for name in COLUMNS[1:]]
    known = faces.setdefault(file, [])
    if not any(texts):
        return
    try:
        x, y, width, height = (float(text) for text in texts)
    except ValueError as error:
        raise ConfigError(
            f"{where}: {','.join(texts)}; expected x, y, width and height in pixels"
        ) from error
    if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
        raise ConfigError(f"{where}: {','.join(texts)}; expected a width and height above 0")
    known.append(KnownFace(Box(x, y, width, height)))


@dataclass(slots=True)
class Findings:
    """What one detector found, compared with the known faces picture by picture."""

    pictures: int = 0
    overlaps: list[float] = field(default_factory=list)
    landmarks: list[float] = field(default_factory=list)
    false: int = 0
    small: dict[float, list[bool]] = field(default_factory=dict)

    def add(self, known: Sequence[KnownFace], found: Sequence[Detection]) -> None:
        """Compare the faces of one picture; each known face takes one found face at most."""
        self.pictures += 1
        pairs = sorted(
            (
                (face.box.iou(each.box), place, number)
                for place, face in enumerate(known)
                for number, each in enumerate(found)
            ),
            reverse=True,
        )
        best = dict.fromkeys(range(len(known)), 0.0)
        taken: set[int] = set()
        for overlap, place, number in pairs:
            if best[place] or number in taken or overlap < SAME:
                continue
            best[place] = overlap
            taken.add(number)
            marks, others = known[place].landmarks, found[number].landmarks
            if marks is not None and others is not None:
                apart = np.linalg.norm(marks - others, axis=1).mean()
                self.landmarks.append(float(apart) / known[place].box.height)
        self.overlaps += best.values()
        self.false += len(found) - len(taken)

    def add_small(self, share: float, place: Box, found: Sequence[Detection]) -> None:
        """Note whether the face at ``place``, as high as ``share`` of the picture, was found."""
        self.small.setdefault(share, []).append(any(face.box.iou(place) >= SAME for face in found))

    def figures(self) -> Mapping[str, Any]:
        """Return the figures; None where no face gives one."""
        overlaps = np.array(self.overlaps)
        matched = overlaps[overlaps >= SAME]
        return {
            "recall": float(np.mean(overlaps >= SAME)) if len(overlaps) else None,
            "iou_mean": float(matched.mean()) if len(matched) else None,
            "iou_p05": float(np.percentile(matched, 5)) if len(matched) else None,
            "landmark_error": float(np.mean(self.landmarks)) if self.landmarks else None,
            "false_positives_per_100": 100 * self.false / self.pictures if self.pictures else None,
            "recall_by_height": {
                f"{share:g}": float(np.mean(found)) for share, found in self.small.items()
            },
        }
