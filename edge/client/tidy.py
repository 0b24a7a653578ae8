"""Messages as tidy tables: one row per face and frame, one row per event or gap.

A frame without faces has one row with empty face columns. ``faces`` is the number of faces in the
frame, and so of its rows; fewer rows mean that some are missing.

Each column has one type, also where a value is not known, so that readers such as pandas find it:

- An integer is -1 where there is none (``track``, ``page``, ``exposure_us``, ``max_error_us``,
  ``first_missing``, ``last_missing``).
- A truth value is ``true`` or ``false``; a row without a face is not ``quality_usable``.
- Other numbers and text are empty where there are none. Several reasons are joined by ``|``.

Left and right are those of the picture, but for the openness of the eyes, ``mesh_left_eye`` and
``mesh_right_eye``: those are the person's. ``time_s`` is that of ``edge.client.axis``.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge.client.gaps import Gap
from edge.protocol.messages import EventMessage, Face, FrameMessage, Message
from edge.vocabulary import EXPRESSIONS

Cell = str | int | float | bool | None

KEY_COLUMNS = ("device", "stream", "epoch", "seq")
_LANDMARKS = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")

COLUMNS = (
    *KEY_COLUMNS,
    "unix_ns",  # wall time, derived once from the next column
    "sensor_ns",  # when the picture was taken, on ``clock``
    "frame_index",
    "track",
    "participant",
    "time_s",  # since the start, one axis for frames and events
    "file",  # of a folder of pictures
    "page",  # within a file of several pictures, from 1
    "seat",  # of [zones]
    "faces",  # in this frame
    "box_x",  # pixels of the full frame, as are the landmarks
    "box_y",
    "box_width",
    "box_height",
    *(f"{landmark}_{axis}" for landmark in _LANDMARKS for axis in "xy"),
    "detection_score",
    "found",  # full, region or predicted
    "track_age_s",
    "quality_usable",
    "quality_size_px",
    "quality_sharpness",
    "quality_brightness",
    "quality_saturated",
    "quality_yaw",  # degrees
    "reasons",  # why it is not usable, or was not classified
    "label",
    "stable_label",
    "reading_age_s",  # 0: predicted from this picture; above: kept from an earlier one
    "expression_head",  # network, features or mesh: what gave the probabilities
    *(f"p_{name}" for name in EXPRESSIONS),
    "valence",
    "arousal",
    "valence_smoothed",
    "arousal_smoothed",
    "valence_relative",
    "arousal_relative",
    "baseline",
    "affect_source",  # network, recalibration or anchors: where valence and arousal come from
    "mesh_yaw",  # degrees, as are the next two; empty where the mesh was not measured
    "mesh_pitch",
    "mesh_roll",
    "mesh_left_eye",  # openness, 0 closed, 1 open
    "mesh_right_eye",
    "mesh_mouth",
    "perclos",  # of the last minute; empty where it is not known
    "perclos_reason",  # why not known; empty where it is, and where the mesh was not measured
    "blinks_per_min",
    "blinks_reason",
    "clock",
    "exposure_us",
    "published_ns",
    "synchronized",
    "max_error_us",
    "frame_width",
    "frame_height",
    "frames_dropped",  # right before this one
    "capture_ms",
    "detect_ms",
    "track_ms",
    "translate_ms",
    "classify_ms",
    "mesh_ms",
    "total_ms",
)

EVENT_COLUMNS = (
    *KEY_COLUMNS,  # ``seq`` of a gap: its first missing number
    "unix_ns",  # of a gap: that of the message after it, as are the next two
    "monotonic_ns",
    "time_s",
    "event",  # of a gap: "gap"
    "detail",  # JSON
    "first_missing",  # of a gap, else -1
    "last_missing",  # -1 as well where it is not known, as after a power cut
)

NONE = -1
"""In a column of integers: there is no value."""

INTEGERS: Final = frozenset(
    [
        "epoch", "seq", "unix_ns", "sensor_ns", "frame_index", "page", "track", "faces",
        "exposure_us", "published_ns", "max_error_us", "frame_width", "frame_height",
        "frames_dropped", "monotonic_ns", "first_missing", "last_missing",
    ]
)  # fmt: skip
BOOLEANS: Final = frozenset(["quality_usable", "synchronized"])
TEXTS: Final = frozenset(
    [
        "device", "stream", "file", "participant", "seat", "found", "reasons", "label",
        "stable_label", "expression_head", "baseline", "affect_source", "perclos_reason",
        "blinks_reason", "clock", "event", "detail",
    ]
)  # fmt: skip
"""The columns of each type; all others are numbers with a fraction."""

_FACE_COLUMNS = COLUMNS[COLUMNS.index("box_x") : COLUMNS.index("clock")]
_NO_FACE: Final = [False if name == "quality_usable" else None for name in _FACE_COLUMNS]


def frame_rows(message: FrameMessage, time_s: float) -> list[list[Cell]]:
    """Return the rows of a frame, cells in the order of ``COLUMNS``: at least one.

    Args:
        message: the frame.
        time_s: its place on the time axis, seconds.
    """
    frame, time, timing = message.frame, message.time, message.timing_ms
    head: list[Cell] = [message.device, message.stream, message.epoch, message.seq]
    head += [time.unix_ns, time.sensor_ns, frame.index]
    place: list[Cell] = [_seconds(time_s), frame.file, _integer(frame.page)]
    tail: list[Cell] = [time.clock, _integer(time.exposure_us), time.published_ns]
    tail += [time.synchronized, _integer(time.max_error_us)]
    tail += [frame.width, frame.height, frame.dropped]
    tail += [timing.capture, timing.detect, timing.track, timing.translate, timing.classify]
    tail += [timing.mesh, timing.total]
    if not message.faces:
        return [[*head, NONE, None, *place, None, 0, *_NO_FACE, *tail]]
    faces = len(message.faces)
    return [
        [
            *head,
            face.track,
            face.participant,
            *place,
            face.seat,
            faces,
            *_face_cells(face),
            *tail,
        ]
        for face in message.faces
    ]


def event_row(message: EventMessage, time_s: float) -> list[Cell]:
    """Return the row of an event at ``time_s``, cells in the order of ``EVENT_COLUMNS``."""
    key: list[Cell] = [message.device, message.stream, message.epoch, message.seq]
    return [
        *key,
        message.time.unix_ns,
        message.time.monotonic_ns,
        _seconds(time_s),
        message.event,
        detail_text(message.detail),
        NONE,
        NONE,
    ]


def detail_text(detail: Mapping[str, Any]) -> str:
    """Return the cell ``detail`` of an event: JSON on one line."""
    return json.dumps(detail, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class PlacedGap:
    """A gap, with device and times of the message that showed it.

    Attributes:
        gap: the missing messages.
        device: of the message.
        unix_ns: wall time of the message.
        monotonic_ns: time of the message on the monotonic clock; of a frame, of its publication.
        time_s: place of the message on the time axis, seconds.
    """

    gap: Gap
    device: str
    unix_ns: int
    monotonic_ns: int
    time_s: float

    @classmethod
    def before(cls, message: Message, gap: Gap, time_s: float) -> "PlacedGap":
        """Return ``gap`` as ``message`` showed it, at ``time_s``."""
        if isinstance(message, FrameMessage):
            monotonic_ns = message.time.published_ns
        else:
            monotonic_ns = message.time.monotonic_ns
        return cls(gap, message.device, message.time.unix_ns, monotonic_ns, _seconds(time_s))

    def row(self) -> list[Cell]:
        """Return the cells in the order of ``EVENT_COLUMNS``."""
        gap = self.gap
        key: list[Cell] = [self.device, gap.stream, gap.epoch, gap.first_missing]
        times: list[Cell] = [self.unix_ns, self.monotonic_ns, self.time_s]
        detail = None if gap.reason is None else json.dumps({"reason": gap.reason})
        return [*key, *times, "gap", detail, gap.first_missing, _integer(gap.last_missing)]


def csv_lines(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return ``rows`` as CSV in UTF-8, each on exactly one line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


_POINTS: Final = 5
"""Landmarks of a face."""


def _face_cells(face: Face) -> list[Cell]:
    quality, expression, affect = face.quality, face.expression, face.affect
    cells: list[Cell] = [*face.box]
    if face.landmarks is None:
        cells += [None] * (2 * _POINTS)
    else:
        cells += [coordinate for point in face.landmarks for coordinate in point]
    cells += [face.score, face.found, face.age_s]
    cells += [quality.usable, quality.size_px, quality.sharpness]
    cells += [quality.brightness, quality.saturated, quality.yaw, "|".join(quality.reasons)]
    if expression is None:
        cells += [None] * (4 + len(EXPRESSIONS))
    else:
        cells += [expression.label, expression.stable_label, expression.age_s]
        cells.append(expression.head)
        cells += [getattr(expression.probabilities, name) for name in EXPRESSIONS]
    if affect is None:
        cells += [None] * 8
    else:
        relative = affect.relative
        cells += [affect.valence, affect.arousal, affect.smoothed.valence, affect.smoothed.arousal]
        cells += [relative.valence, relative.arousal] if relative else [None, None]
        cells += [affect.baseline, affect.source]
    if face.mesh is None:
        return [*cells, *([None] * 10)]
    pose, eyes, lids = face.mesh.pose, face.mesh.eyes, face.mesh.lids
    cells += [pose.yaw, pose.pitch, pose.roll, eyes.left, eyes.right, face.mesh.mouth]
    # as any text, a reason is empty where there is none
    cells += [lids.perclos, lids.perclos_reason or None]
    return [*cells, lids.blinks_per_min, lids.blinks_reason or None]


def _seconds(time_s: float) -> float:
    return round(time_s, 6) + 0.0  # + 0.0 turns -0.0 into 0.0


def _integer(value: int | None) -> int:
    return NONE if value is None else value


def _csv_cell(cell: Cell) -> Cell:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    # CSV allows line breaks inside quotes, but a torn line would look the same
    return " ".join(cell.splitlines()) if isinstance(cell, str) else cell
