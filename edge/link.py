"""The link between worker and hub: whole messages over one local socket.

A ``SOCK_SEQPACKET`` pair keeps message borders and has a bounded buffer: when the hub is behind,
``send`` waits, the worker's slots fill, and the newest frame wins. What travels is JSON checked
against the models below, not pickle: the worker runs native code on untrusted pictures and
files, and the hub holds the sockets and the journal.
"""

import select
import socket
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from edge.protocol.events import DETAILS, Detail
from edge.protocol.messages import Face
from edge.vocabulary import ClockName

_LARGEST = 128 * 1024


class Report(BaseModel):
    """A message on the link."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Start(Report):
    """Hub to worker, first: the configuration (JSON), and whether to hurry through a file.

    After the loss of a worker the next one goes on: frames are counted (and a file is taken up)
    from ``first_index``, tracks are numbered from ``first_track``. ``source_state`` is what is
    known of the source: "absent" need not be reported again.
    """

    kind: Literal["start"] = "start"
    config: str
    lossless: bool
    first_index: int
    first_track: int
    source_state: Literal["starting", "absent"] = "starting"


class Go(Report):
    """Hub to worker: somebody listens, open the source."""

    kind: Literal["go"] = "go"


class Ready(Report):
    """Worker to hub: models are verified and warm. ``models`` maps role to name and sha256.

    ``lock_refused`` says why the worker's memory is not locked; empty when it is.
    """

    kind: Literal["ready"] = "ready"
    models: dict[str, dict[str, str]]
    lock_refused: str


class FrameReport(Report):
    """Worker to hub: a frame's results, everything but what only the hub knows."""

    kind: Literal["frame"] = "frame"
    index: int
    width: int
    height: int
    sensor_ns: int
    clock: ClockName
    exposure_us: int | None
    captured_ns: int
    stage_ms: dict[str, float]
    faces: list[Face]


class EventReport(Report):
    """Worker to hub: something happened that the record must show."""

    kind: Literal["event"] = "event"
    event: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, detail: Detail) -> Self:
        """Return the report of an event."""
        return cls(event=detail.event, detail=detail.model_dump(mode="json"))

    def read(self) -> Detail:
        """Return what happened.

        Raises:
            ValidationError: it is no event that is known; worker and hub are of one version.
            KeyError: its name is not known.
        """
        return DETAILS[self.event].model_validate(self.detail)


class Heartbeat(Report):
    """Worker to hub, twice a second, whatever the source does.

    ``busy_s`` tells for how long each stage has been at its present item (0 when waiting).
    """

    kind: Literal["heartbeat"] = "heartbeat"
    live: bool
    expected_hz: float | None
    captured: int
    dropped: dict[str, int]
    busy_s: dict[str, float]
    rss_mb: float


class Ended(Report):
    """Worker to hub, last: nothing more will come, by order or because the source ended."""

    kind: Literal["ended"] = "ended"


class Renew(Report):
    """Worker to hub, last: a new process may find the source that this one does not."""

    kind: Literal["renew"] = "renew"
    reason: str


class Failed(Report):
    """Worker to hub, last: it cannot go on; the text is for a person, one line."""

    kind: Literal["failed"] = "failed"
    exit_code: int
    text: str


AnyReport = Start | Go | Ready | FrameReport | EventReport | Heartbeat | Ended | Renew | Failed
_REPORTS: TypeAdapter[AnyReport] = TypeAdapter(Annotated[AnyReport, Field(discriminator="kind")])


class LinkClosed(Exception):
    """The other process is gone."""


class Link:
    """One end of the link. ``send`` may be called from any thread, ``receive`` from one."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @staticmethod
    def pair() -> tuple["Link", socket.socket]:
        """Return this process's end and the raw socket that a child is to inherit."""
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
        """Send ``report``, waiting while the other end is behind.

        Raises:
            LinkClosed: the other process is gone.
        """
        try:
            self._end.send(report.model_dump_json().encode())
        except (BrokenPipeError, ConnectionResetError) as error:
            raise LinkClosed from error

    def receive(self, timeout_s: float | None = None) -> AnyReport | None:
        """Return the next report; None when ``timeout_s`` (0: at once) passed without one.

        Raises:
            LinkClosed: the other process is gone and everything it sent has been read.
        """
        # Not settimeout: it would also apply to the sends of other threads.
        if timeout_s is not None and not select.select([self._end], [], [], timeout_s)[0]:
            return None
        try:
            raw = self._end.recv(_LARGEST)
        except ConnectionResetError as error:
            raise LinkClosed from error
        if not raw:
            raise LinkClosed
        return _REPORTS.validate_json(raw)

    def close(self) -> None:
        """Close this end."""
        self._end.close()
