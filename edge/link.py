"""The link between worker and hub: reports over one local socket pair.

A ``SOCK_SEQPACKET`` pair keeps message boundaries and has a bounded buffer: if the hub is slow,
``send`` blocks, the worker's slots fill, and the newest frame wins. Reports are JSON, validated by
the models below, and not pickle: the worker runs native code on untrusted pictures and files, and
must not be able to run code in the hub, which owns the sockets and the journal.

The report of a frame is no model, as it comes for each frame; its faces are validated as one part
of it. The hub publishes only what a model has read: whatever runs in the worker, no field that a
message does not have, such as pixels, leaves the hub.
"""

import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from edge.protocol.events import DETAILS, Detail
from edge.protocol.messages import Face
from edge.validation import first_error
from edge.vocabulary import ClockName, PictureState

_REPORT_BYTES_MAX = 128 * 1024
_INTEGER_MAX: Final = 2**62


class ReportRefused(ValueError):
    """What the other process sent is no report: a part of its memory may be damaged."""


class Report(BaseModel):
    """A message on the link."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Start(Report):
    """Hub to worker, first: the configuration (JSON) and where to start.

    ``lossless``: read a file as fast as possible and drop nothing. A replacement worker continues
    where the lost one stopped: it numbers frames (and reads a file) from ``first_index``, and
    numbers tracks from ``first_track``. ``source_state`` is the state that the hub has published:
    the worker need not report "absent" again. So it is with ``picture_state``.
    """

    kind: Literal["start"] = "start"
    config: str
    lossless: bool
    first_index: int
    first_track: int
    source_state: Literal["starting", "absent"] = "starting"
    picture_state: PictureState = "normal"


class _Limited(Report):
    """How much the worker is to do; a file read without loss is processed as configured.

    ``divisor``: one frame of so many is processed. ``faces_per_frame``: so many faces are read in
    a frame, 0: as many as configured. ``full_every_factor``: the time between full looks is so many
    times the configured one. ``mesh_every``: the mesh measures in one frame of so many, 0: in none.
    """

    divisor: int = Field(1, ge=1)
    faces_per_frame: int = Field(0, ge=0)
    full_every_factor: int = Field(1, ge=1)
    mesh_every: int = Field(1, ge=0)


class Go(_Limited):
    """Hub to worker: open the source. ``preview_px``: as in ``SendPreview``."""

    kind: Literal["go"] = "go"
    preview_px: int = 0


class Limit(_Limited):
    """Hub to worker: do so much from now on."""

    kind: Literal["limit"] = "limit"


class SendPreview(Report):
    """Hub to worker: send pictures of this width with the heartbeats; 0: none."""

    kind: Literal["send_preview"] = "send_preview"
    width_px: int


class PreviewPicture(Report):
    """Worker to hub, after ``SendPreview``: the frame ``index`` as a small grey JPEG, base64."""

    kind: Literal["preview"] = "preview"
    index: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    jpeg: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class Loading(Report):
    """Worker to hub, before ``Ready``: a step of the start is done, such as a network loaded."""

    kind: Literal["loading"] = "loading"


class Ready(Report):
    """Worker to hub: the models are verified and warmed up. ``models``: their facts by role.

    ``lock_error`` says why the worker's memory is not locked; empty when it is.
    """

    kind: Literal["ready"] = "ready"
    models: dict[str, dict[str, str | int]]
    lock_error: str


@dataclass(frozen=True, slots=True)
class FrameReport:
    """Worker to hub: the results of a frame; the hub adds numbers, participants and times.

    No model: it is the only report that comes for each frame.

    Attributes:
        index: and the fields up to ``stage_ms``: as in ``Frame`` and ``FrameState``.
        faces_json: the faces of the frame message, a JSON array; empty once received.
        faces: the same, validated; only of a report that was received.
    """

    index: int
    width: int
    height: int
    ignored: int
    sensor_ns: int
    captured_ns: int
    clock: ClockName
    exposure_us: int | None
    file: str | None
    page: int | None
    stage_ms: dict[str, float]
    faces_json: bytes
    faces: Sequence[Face] = ()

    def encode(self) -> bytes:
        """Return the report for the link: its fields as a JSON array, the faces last."""
        fields = [getattr(self, name) for name in _FIELDS]
        return b"%b,%b]" % (to_json(fields).removesuffix(b"]"), self.faces_json)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Return the report in ``raw``.

        Raises:
            ReportRefused: it is none.
        """
        try:
            values = _REPORT.validate_json(raw)
        except ValidationError as error:
            raise ReportRefused(f"no report of a frame: {first_error(error)}") from error
        if max((face.track for face in values[-1]), default=0) >= _INTEGER_MAX:
            raise ReportRefused("no report of a frame: expected numbers of tracks below 2**62")
        return cls(*values[:-1], b"", values[-1])


_FIELDS: Final = tuple(FrameReport.__slots__[:-2])
"""The fields that travel before the faces."""

_Count = Annotated[int, Field(strict=True, ge=0, lt=_INTEGER_MAX)]
_Nanoseconds = Annotated[int, Field(strict=True, gt=-_INTEGER_MAX, lt=_INTEGER_MAX)]
_Milliseconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
_REPORT: Final = TypeAdapter(
    tuple[
        _Count, _Count, _Count, _Count, _Nanoseconds, _Nanoseconds, ClockName, _Count | None,
        str | None, _Count | None, dict[str, _Milliseconds], list[Face],
    ]
)  # fmt: skip
"""One call reads and checks all fields: several took half as long again."""


class EventReport(Report):
    """Worker to hub: an event to publish."""

    kind: Literal["event"] = "event"
    event: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, detail: Detail) -> Self:
        """Return the report of an event."""
        return cls(event=detail.event, detail=detail.model_dump(mode="json"))

    def parse(self) -> Detail:
        """Return the detail as its model.

        Raises:
            ReportRefused: the event's name is unknown, or the fields do not fit it.
        """
        try:
            return DETAILS[self.event].model_validate(self.detail)
        except KeyError:
            raise ReportRefused(f"event {self.event!r}: unknown") from None
        except ValidationError as error:
            raise ReportRefused(f"event {self.event}: {first_error(error)}") from error


class Heartbeat(Report):
    """Worker to hub, twice a second, whatever the source does.

    ``busy_s``: seconds that each busy stage has spent on its current item; idle stages are missing.
    ``due_in_s``: seconds until the next frame of a paced file is due; None when it is not waited
    for. ``limited_hz``: rate that is left where the hub limits it; None where it does not, or where
    the source's rate is unknown. ``open_files``: descriptors; None where unknown.
    """

    kind: Literal["heartbeat"] = "heartbeat"
    live: bool
    expected_hz: float | None
    due_in_s: float | None = None
    captured: int
    dropped: dict[str, int]
    busy_s: dict[str, float]
    rss_mb: float
    limited_hz: float | None = None
    open_files: int | None = None


class Ended(Report):
    """Worker to hub, last: the worker was stopped, or the source ended."""

    kind: Literal["ended"] = "ended"


class Renew(Report):
    """Worker to hub, last: replace this worker, since a new process may find the source."""

    kind: Literal["renew"] = "renew"
    reason: str


class Failed(Report):
    """Worker to hub, last: the worker failed; ``text`` says why in one line."""

    kind: Literal["failed"] = "failed"
    exit_code: int
    text: str


_OtherReport = (
    Start
    | Go
    | Limit
    | SendPreview
    | PreviewPicture
    | Loading
    | Ready
    | EventReport
    | Heartbeat
    | Ended
    | Renew
    | Failed
)
_OTHERS: TypeAdapter[_OtherReport] = TypeAdapter(
    Annotated[_OtherReport, Field(discriminator="kind")]
)
AnyReport = FrameReport | _OtherReport


class LinkClosed(Exception):
    """The other process is gone, or this end was closed."""


class Link:
    """One end of the link. ``send`` may be called from any thread, ``receive`` from one."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._readable = select.poll()
        self._readable.register(end, select.POLLIN)

    @staticmethod
    def pair() -> tuple["Link", socket.socket]:
        """Return this process's end, and the raw socket for a child process to inherit."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Link(ours), theirs

    @staticmethod
    def inherited(fd: int) -> "Link":
        """Return the end that this process inherited as file descriptor ``fd``."""
        return Link(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._end.fileno()

    def send(self, report: AnyReport) -> None:
        """Send ``report``; block while the buffer is full.

        Raises:
            LinkClosed: the other process is gone, or this end was closed meanwhile.
        """
        if isinstance(report, FrameReport):
            raw = report.encode()
        else:
            raw = report.model_dump_json().encode()
        try:
            self._end.send(raw)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise LinkClosed from error
        except OSError as error:
            if self._end.fileno() >= 0:
                raise
            raise LinkClosed from error  # a thread that a driver held has come back too late

    def receive(self, timeout_s: float | None = None) -> AnyReport | None:
        """Return the next report, or None after ``timeout_s`` (0: at once; None: no limit).

        Raises:
            LinkClosed: the other process is gone and everything it sent has been read.
            ReportRefused: what it sent is no report.
        """
        # Not settimeout: it would also apply to the sends of other threads. Not select: it refuses
        # descriptors above 1023, which a hub with many subscribers has.
        if timeout_s is not None and not self._readable.poll(timeout_s * 1000):
            return None
        try:
            raw = self._end.recv(_REPORT_BYTES_MAX)
        except ConnectionResetError as error:
            raise LinkClosed from error
        if not raw:
            raise LinkClosed
        if raw.startswith(b"["):
            return FrameReport.decode(raw)
        try:
            return _OTHERS.validate_json(raw)
        except ValidationError as error:
            raise ReportRefused(f"{first_error(error)}") from error

    def close(self) -> None:
        """Close this end."""
        self._end.close()
