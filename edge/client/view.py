"""What a device has shown in the last seconds, as values for ``edge.client.advice``.

Nothing is kept beyond ``WINDOW_S``, and nothing of it is stored.
"""

import contextlib
import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from pydantic import ValidationError

from edge.client.advice import (
    Advice,
    FaceValues,
    SourceValues,
    face_advice,
    needed_size_px,
    no_face_advice,
    source_advice,
)
from edge.config import QualityConfig
from edge.protocol.events import EpochStarted, SourceStateChanged, WorkerStarted
from edge.protocol.messages import EventMessage, Face, FrameMessage, Message, StatusMessage

WINDOW_S: Final = 3.0
FRAMES_MAX: Final = 400
"""Frames kept, so that a fast source costs no more; the newest."""

_FACE_FRAMES_MIN: Final = 3
"""A face in fewer frames of the window is not judged, unless it is in all of them."""


class View:
    """Follows one device. Not thread-safe.

    Attributes:
        device: its name; empty before the first message.
        limits: of its configuration, as far as it was received; else the defaults.
        preview: whether its configuration allows the preview; None: not known.
        status: the newest; None before the first.
    """

    def __init__(self) -> None:
        self.device = ""
        self.limits = QualityConfig()
        self.preview: bool | None = None
        self.status: StatusMessage | None = None
        self._frames: deque[FrameMessage] = deque(maxlen=FRAMES_MAX)
        self._first_ns: int | None = None  # when the first frame was published
        self._reason = ""
        self._detector = ""

    @property
    def watched_s(self) -> float:
        """How long frames have come, from the first to the newest."""
        if self._first_ns is None or not self._frames:
            return 0.0
        return (self._frames[-1].time.published_ns - self._first_ns) / 1e9

    def note(self, message: Message) -> None:
        """Take in a message of the device, in any order."""
        self.device = message.device
        match message:
            case FrameMessage():
                if self._frames and message.epoch != self._frames[-1].epoch:
                    self._frames.clear()
                    self._first_ns = None
                if self._first_ns is None:
                    self._first_ns = message.time.published_ns
                self._frames.append(message)
                self._forget(message.time.published_ns)
            case StatusMessage():
                self.status = message
                if message.models and "detector" in message.models:
                    self._detector = message.models["detector"].name
                self._forget(message.time.monotonic_ns)
            case EventMessage():
                self._note_event(message)

    def advice(self) -> list[Advice]:
        """Return what was measured and what to change; empty before the first status."""
        if self.status is None:
            return []
        faces = self.faces()
        values = self.source(self.status, len(faces))
        found = source_advice(values)
        needed_px = self.needed_px()
        missing = no_face_advice(values, needed_px)
        if missing is not None:
            found.append(missing)
        for face in faces:
            found += face_advice(face, self.limits, needed_px)
        return found

    def needed_px(self) -> float:
        """Return the size that a face should have in this device's pictures."""
        newest = self._frames[-1].frame if self._frames else None
        width, height = (newest.width, newest.height) if newest else (1280, 720)
        return needed_size_px(self.limits, self._detector, width, height)

    def source(self, status: StatusMessage, faces: int) -> SourceValues:
        """Return the values of the device; ``faces``: how many are followed."""
        dropped = sum(each.frame.dropped for each in self._frames)
        total = len(self._frames) + dropped
        return SourceValues(
            source_state=status.source_state,
            source_reason=self._reason,
            picture_state=status.picture_state,
            expected_hz=status.rates.expected_hz,
            captured_hz=status.rates.captured_hz,
            published_hz=status.rates.published_hz,
            rate_divisor=status.rate_divisor,
            rate_reason=status.rate_reason,
            dropped=dropped / total if total else 0.0,
            throttled=status.throttled or (),
            faces=faces,
            ignored=self._frames[-1].frame.ignored if self._frames else 0,
        )

    def faces(self) -> list[FaceValues]:
        """Return the values of each face in the window, in the order of their names."""
        if self.status is not None and self.status.source_state != "running":
            return []
        by_name: dict[str, list[Face]] = {}
        for frame in self._frames:
            for face in frame.faces:
                by_name.setdefault(_name(face), []).append(face)
        least = min(_FACE_FRAMES_MIN, len(self._frames))
        return [
            self._values(name, faces)
            for name, faces in sorted(by_name.items(), key=lambda item: (len(item[0]), item[0]))
            if len(faces) >= least
        ]

    def _values(self, name: str, faces: Sequence[Face]) -> FaceValues:
        info = self._frames[-1].frame
        counted = Counter(reason for face in faces for reason in face.quality.reasons)
        room, edge = _room(faces[-1], info.width, info.height)
        return FaceValues(
            name=name,
            read=sum(face.expression is not None for face in faces) / len(faces),
            reasons=[reason for reason, _ in counted.most_common()],
            size_px=median(face.quality.size_px for face in faces),
            sharpness=median(face.quality.sharpness for face in faces),
            brightness=median(face.quality.brightness for face in faces),
            saturated=median(face.quality.saturated for face in faces),
            yaw_deg=_median(face.quality.yaw for face in faces),
            tilt_deg=_median(map(_tilt_deg, faces)),
            room=room,
            edge=edge,
        )

    def _forget(self, now_ns: int) -> None:
        # the newest frame stays: of a slow source it is all there is
        while len(self._frames) > 1 and now_ns - self._frames[0].time.published_ns > WINDOW_S * 1e9:
            self._frames.popleft()

    def _note_event(self, message: EventMessage) -> None:
        match message.event:
            case EpochStarted.event:
                self._reason = ""
                self.limits, self.preview = QualityConfig(), None
                # another version may have sections of another form
                with contextlib.suppress(ValidationError, AttributeError):
                    config = message.detail.get("config", {})
                    self.preview = bool(config.get("preview", {}).get("enabled"))
                    self.limits = QualityConfig.model_validate(config.get("quality", {}))
            case SourceStateChanged.event:
                self._reason = str(message.detail.get("reason", ""))
            case WorkerStarted.event:
                models = message.detail.get("models", {})
                detector = models.get("detector", {}) if isinstance(models, dict) else {}
                if isinstance(detector, dict):
                    self._detector = str(detector.get("name", ""))


def _name(face: Face) -> str:
    if face.participant:
        return face.participant
    seat = f"seat {face.seat}, " if face.seat else ""
    return f"{seat}face {face.track}"


def _median(values: Iterable[float | None]) -> float | None:
    """Return the median of the known values; None if there is none."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _tilt_deg(face: Face) -> float | None:
    if face.landmarks is None:
        return None
    (left_x, left_y), (right_x, right_y), *_ = face.landmarks
    if (left_x, left_y) == (right_x, right_y):
        return 0.0
    return math.degrees(math.atan2(right_y - left_y, right_x - left_x))


def _room(face: Face, width: int, height: int) -> tuple[float, str]:
    """Return the distance to the nearest edge in widths of the face, and which edge."""
    x, y, box_width, box_height = face.box
    edges = {
        "left": x,
        "right": width - x - box_width,
        "upper": y,
        "lower": height - y - box_height,
    }
    nearest = min(edges, key=lambda name: edges[name])
    return edges[nearest] / max(box_width, 1.0), nearest
