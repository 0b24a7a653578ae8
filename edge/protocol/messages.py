"""The wire format of messages, schema ``affect.v1``. Fields may be added, but never change.

A message is one part, ``TOPIC SPACE JSON`` in UTF-8, so that subscribers may set CONFLATE. There
are three kinds: a *frame* (the results of one picture) and an *event* (something happened), both
numbered by ``stream, epoch, seq``; and a *status* each second, which is not numbered and carries
the last number sent. Readers ignore unknown fields, and so does ``decode``.

Numbers are rounded when a message is built: pixels to 0.1, milliseconds to 0.001, shares and
affect to 0.0001. NaN and infinity are never accepted.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from edge.protocol.events import ModelReference
from edge.protocol.face_mesh import FaceMesh
from edge.protocol.wire import Count, Milliseconds, Pixel, Rounded, RoundedTo, Share, Signed, Wire
from edge.validation import first_error
from edge.vocabulary import (
    AffectSource,
    AlarmRule,
    BaselineState,
    ClockName,
    FoundBy,
    Grade,
    HeadName,
    RateReason,
    ScheduleReason,
)

SCHEMA: Final = "affect.v1"


class FrameInfo(Wire):
    """Index and size of the picture, and how many were dropped right before it.

    ``file`` is the name of its file in a folder of pictures, null for other sources; ``page`` is
    its number within that file, from 1, null if the file has only one picture. ``ignored`` counts
    detected faces that are in no seat, or in an ignored area: nothing else is known of them.
    """

    index: Count
    width: Count
    height: Count
    dropped: Count
    file: str | None = None
    page: Annotated[int, Field(ge=1)] | None = None
    ignored: Count = 0


class FrameTime(Wire):
    """When the picture was taken: ``sensor_ns`` on ``clock``; ``unix_ns`` is derived from it once.

    ``published_ns`` is the monotonic clock at the moment of sending. With ``clock`` "media"
    (files), ``sensor_ns`` is the presentation time within the file. ``max_error_us`` bounds the
    error of the wall clock and is null while it is not synchronized.
    """

    sensor_ns: int
    clock: ClockName
    exposure_us: Count | None = None
    unix_ns: int
    published_ns: int
    synchronized: bool
    max_error_us: Count | None = None


class StageTimes(Wire):
    """Milliseconds of each stage; ``total`` is from the picture in memory to publication.

    ``translate`` and ``mesh`` are not part of ``classify``; 0 where no face was translated, or
    measured.
    """

    capture: Milliseconds
    detect: Milliseconds
    track: Milliseconds
    translate: Milliseconds = 0.0
    classify: Milliseconds
    mesh: Milliseconds = 0.0
    total: Milliseconds


class FaceQuality(Wire):
    """Whether the face can be classified; ``reasons`` says why it cannot, or was not.

    ``yaw`` is null where the detector gives no landmarks.
    """

    usable: bool
    reasons: list[str]
    size_px: Pixel
    sharpness: Rounded
    brightness: Share
    saturated: Share
    yaw: Pixel | None


class Probabilities(Wire):
    """One probability per expression, in AffectNet order; they add up to 1.

    An expression that the network does not know is null: that is not 0.
    """

    neutral: Share | None
    happy: Share | None
    sad: Share | None
    surprise: Share | None
    fear: Share | None
    disgust: Share | None
    anger: Share | None
    contempt: Share | None


class FaceExpression(Wire):
    """The most probable expression, all probabilities, and the track's stable label.

    ``age_s`` is the time since the picture that they were predicted from: 0 for this one. A face
    that was not read in this picture keeps its expression and affect for a second at most.
    ``head`` names what the probabilities come from.
    """

    label: str
    probabilities: Probabilities
    stable_label: str
    age_s: Annotated[float, Field(ge=0), RoundedTo(3)] = 0.0
    head: HeadName = "network"


class Point(Wire):
    """A point of the circumplex."""

    valence: Signed
    arousal: Signed

    def relative_to(self, baseline: "Point") -> "Point":
        """Return this point with ``baseline`` as origin.

        Each axis is ``tanh(artanh(x) - artanh(baseline))``: the difference of the logits, which are
        linear in a face's features. The order is kept, and the result is within -1..1.

        Args:
            baseline: within -1..1, both ends excluded.
        """
        return Point(
            valence=_relative(self.valence, baseline.valence),
            arousal=_relative(self.arousal, baseline.arousal),
        )


class FaceAffect(Point):
    """Valence and arousal as predicted, smoothed, and relative to the neutral baseline.

    ``relative`` is derived from the values as predicted, not from the smoothed ones. ``source``
    says whether the network gave the values, or points of the expressions did.
    """

    smoothed: Point
    relative: Point | None = None
    baseline: BaselineState = "none"
    source: AffectSource = "network"


_Place = Annotated[list[Pixel], Field(min_length=2, max_length=2)]  # x and y


class Face(Wire):
    """One face; ``expression`` and ``affect`` are null if it was not classified.

    ``seat`` is the name of the seat in ``[zones]`` in which the face is, null without seats.
    ``found`` says how the box came about. ``landmarks`` is null where the detector gives none, and
    ``mesh`` if it was not measured in this picture.
    """

    track: Count
    participant: str | None = None
    seat: str | None = None
    box: Annotated[list[Pixel], Field(min_length=4, max_length=4)]
    landmarks: Annotated[list[_Place], Field(min_length=5, max_length=5)] | None
    score: Share
    found: FoundBy = "full"
    age_s: Annotated[float, Field(ge=0), RoundedTo(3)]
    quality: FaceQuality
    expression: FaceExpression | None
    affect: FaceAffect | None
    mesh: FaceMesh | None = None


class Head(Wire):
    """The first fields of every message."""

    schema_: Literal["affect.v1"] = Field(SCHEMA, alias="schema")
    kind: str
    device: str
    stream: str
    epoch: Count

    model_config = ConfigDict(populate_by_name=True)


class FrameMessage(Head):
    """The results of one picture. Topic ``affect.v1.frame.DEVICE``."""

    kind: Literal["frame"] = "frame"
    seq: Count
    frame: FrameInfo
    time: FrameTime
    timing_ms: StageTimes
    faces: list[Face]


class EventTime(Wire):
    """When the message was made: monotonic time and wall time.

    ``media_ns`` is the time within the file of the newest frame; null for cameras, and before the
    first frame. With it, the ``unix_ns`` of an event is on the axis of the file's frames.
    """

    monotonic_ns: int
    unix_ns: int
    synchronized: bool
    max_error_us: Count | None = None
    media_ns: int | None = None


class EventMessage(Head):
    """Something happened. Topic ``affect.v1.event.DEVICE``.

    ``event`` names it; ``detail`` holds its fields: see ``edge.protocol.events``.
    """

    kind: Literal["event"] = "event"
    seq: Count
    time: EventTime
    event: str
    detail: dict[str, Any] = Field(default_factory=dict)


class Health(Wire):
    """A health grade, and the reasons that keep it from being better."""

    grade: Grade
    reasons: list[str]


class Rates(Wire):
    """Frames per second over the last seconds: expected of the source, captured, published."""

    expected_hz: Annotated[float, RoundedTo(2)] | None = None
    captured_hz: Annotated[float, RoundedTo(2)]
    published_hz: Annotated[float, RoundedTo(2)]


class JournalPosition(Wire):
    """A stored message: its position and wall time."""

    epoch: Count
    seq: Count
    unix_ns: int


class JournalConsumer(Wire):
    """A consumer of the journal: messages of this epoch that it has not acknowledged, and the time
    since it was seen."""

    lag: int
    age_s: Count


class JournalStatus(Wire):
    """The journal: where messages are kept, since when, and who reads them.

    ``state`` is ``memory`` while they do not reach the storage, for the given ``reason``.
    ``pending``: messages that are not stored yet. ``bytes``: in use, of ``max_bytes``.
    """

    state: Literal["ok", "memory"]
    reason: str
    oldest: JournalPosition | None
    bytes: Count
    max_bytes: Count
    pending: Count
    consumers: dict[str, JournalConsumer]


class SessionInfo(Wire):
    """The running session: its random id, and the operator's name for it."""

    session: str
    name: str


class ScheduleStatus(Wire):
    """What is done for a frame: see ``edge.protocol.events.ScheduleChanged``."""

    faces_per_frame: Count
    full_every_s: Annotated[float, RoundedTo(3)] | None
    mesh_every: Count | None = None
    bound_by: list[ScheduleReason]


class ActiveAlarm(Wire):
    """An alarm that was raised and not cleared; ``since_s``: for how long its cause has lasted.

    ``subject``: a participant's code, ``seat NAME`` or ``track NUMBER``; empty: the device.
    """

    rule: AlarmRule
    subject: str
    since_s: Annotated[float, Field(ge=0), RoundedTo(1)]
    text: str


class StatusMessage(Head):
    """The status, once a second. Topic ``affect.v1.status.DEVICE``.

    ``last_seq`` is the highest number sent in this epoch (-1 before the first), so that even a
    lost last message is noticed. ``oldest_seq`` is the lowest one that can still be fetched, null
    before the first. ``epoch_age_s`` is the time since the first message of the epoch
    (null before it): a subscriber that has waited for longer should have received that message.

    Temperature and throttling are null if the board does not report them; boards that report only
    their voltage list ``under_voltage`` and no other flag.

    ``rate_divisor``: one frame of so many is processed, because of ``rate_reason``; null at 1.

    ``schedule``: what is done for each of them; null in messages of earlier versions.

    ``next_frame_s``: seconds until the next picture of a paced file is due, such as one of a
    time-lapse; null below a second, and for cameras.

    ``swap`` says whether pictures in the worker's memory can be written to storage: ``off`` (no
    swap area on storage), ``prevented`` (``memory_locked``, or forbidden by the service manager) or
    ``possible``, which is a health reason, too. Both are null before the worker has started.
    ``session`` is the running session, null if there is none.

    ``version``, ``purpose`` and ``priors`` are those of the epoch's first message, ``models`` those
    of the newest event ``worker_started`` (null before it): with them a subscriber that came later
    can interpret the messages that it receives.
    """

    kind: Literal["status"] = "status"
    time: EventTime
    last_seq: int
    oldest_seq: int | None = None
    epoch_age_s: Annotated[float, RoundedTo(3)] | None = None
    version: str | None = None
    purpose: str | None = None
    priors: dict[str, Rounded] | None = None
    models: dict[str, ModelReference] | None = None
    health: Health
    source_state: str
    next_frame_s: Annotated[float, RoundedTo(1)] | None = None
    picture_state: str = "normal"
    preview_s: Annotated[float, RoundedTo(1)] | None = None
    rates: Rates
    frames_published: Count
    frames_dropped: Count
    worker_restarts: Count
    worker_rss_mb: Annotated[float, RoundedTo(1)] | None = None
    soc_celsius: Annotated[float, RoundedTo(1)] | None = None
    throttled: list[str] | None = None
    rate_divisor: Annotated[int, Field(ge=1)] = 1
    rate_reason: RateReason | None = None
    schedule: ScheduleStatus | None = None
    memory_locked: bool | None = None
    swap: Literal["off", "prevented", "possible"] | None = None
    journal: JournalStatus | None = None
    session: SessionInfo | None = None
    alarms: list[ActiveAlarm] = Field(default_factory=list)


FACES: Final = TypeAdapter(list[Face])
"""Validates and encodes the faces of a frame message."""

Message = Annotated[FrameMessage | EventMessage | StatusMessage, Field(discriminator="kind")]
ANY: Final[TypeAdapter[FrameMessage | EventMessage | StatusMessage]] = TypeAdapter(Message)
"""Validates any message."""


def _relative(value: float, baseline: float) -> float:
    # tanh of the difference, by its addition theorem; rounding may exceed 1
    return max(-1.0, min(1.0, (value - baseline) / (1 - value * baseline)))


def topic(kind: str, device: str) -> str:
    """Return the topic of messages of ``kind`` from ``device``."""
    return f"{SCHEMA}.{kind}.{device}"


def encode(message: FrameMessage | EventMessage | StatusMessage) -> bytes:
    """Return the message as the part to send: topic, a space, JSON."""
    head = topic(message.kind, message.device).encode()
    return head + b" " + message.model_dump_json(by_alias=True).encode()


def encode_frame(head: Mapping[str, Any], faces_json: bytes) -> bytes:
    """Return the part of a frame message whose faces are encoded already.

    Args:
        head: all other fields of ``FrameMessage`` in their order, rounded; they are not validated.
        faces_json: a JSON array, as ``FACES`` encodes it.
    """
    name = topic("frame", head["device"]).encode()
    return b'%b %b,"faces":%b}' % (name, to_json(head).removesuffix(b"}"), faces_json)


def decode(part: bytes) -> FrameMessage | EventMessage | StatusMessage:
    """Return the message in ``part``; ignore fields of later versions.

    Raises:
        ValueError: ``part`` is not a message of this schema; the text says why in one line.
    """
    _, space, body = part.partition(b" ")
    if not space:
        raise ValueError("message without a space between topic and JSON")
    try:
        return ANY.validate_json(body)
    except ValidationError as error:
        raise ValueError(f"not an {SCHEMA} message: {first_error(error)}") from error
