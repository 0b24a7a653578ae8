"""The link between worker and hub: reports over one local socket pair.

A ``SOCK_SEQPACKET`` pair keeps message boundaries and has a bounded buffer: if the hub is slow,
``send`` blocks, the worker's slots fill, and the newest frame wins. Reports are JSON, validated by
the models below, and not pickle: the worker runs native code on untrusted pictures and files, and
must not be able to run code in the hub, which owns the sockets and the journal.
"""

import select
import socket
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from edge.protocol.events import DETAILS, Detail
from edge.protocol.messages import Face
from edge.vocabulary import ClockName, PictureState

_REPORT_BYTES_MAX = 128 * 1024


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


class Go(Report):
    """Hub to worker: open the source, and process one frame of ``divisor``."""

    kind: Literal["go"] = "go"
    divisor: int = 1


class Limit(Report):
    """Hub to worker: process one frame of ``divisor``. A file read without loss ignores it."""

    kind: Literal["limit"] = "limit"
    divisor: int


class Ready(Report):
    """Worker to hub: the models are verified and warmed up. ``models``: name, sha256 by role.

    ``lock_error`` says why the worker's memory is not locked; empty when it is.
    """

    kind: Literal["ready"] = "ready"
    models: dict[str, dict[str, str]]
    lock_error: str


class FrameReport(Report):
    """Worker to hub: the results of a frame; the hub adds numbers, participants and times."""

    kind: Literal["frame"] = "frame"
    index: int
    width: int
    height: int
    sensor_ns: int
    clock: ClockName
    exposure_us: int | None
    file: str | None
    page: int | None
    captured_ns: int
    stage_ms: dict[str, float]
    faces: list[Face]
    ignored: int = 0


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
            KeyError: the event's name is unknown.
            ValidationError: the fields do not fit the model. Both are bugs, since worker and hub
                are of the same version.
        """
        return DETAILS[self.event].model_validate(self.detail)


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


AnyReport = (
    Start | Go | Limit | Ready | FrameReport | EventReport | Heartbeat | Ended | Renew | Failed
)
_REPORTS: TypeAdapter[AnyReport] = TypeAdapter(Annotated[AnyReport, Field(discriminator="kind")])


class LinkClosed(Exception):
    """The other process is gone."""


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
            LinkClosed: the other process is gone.
        """
        try:
            self._end.send(report.model_dump_json().encode())
        except (BrokenPipeError, ConnectionResetError) as error:
            raise LinkClosed from error

    def receive(self, timeout_s: float | None = None) -> AnyReport | None:
        """Return the next report, or None after ``timeout_s`` (0: at once; None: no limit).

        Raises:
            LinkClosed: the other process is gone and everything it sent has been read.
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
        return _REPORTS.validate_json(raw)

    def close(self) -> None:
        """Close this end."""
        self._end.close()
