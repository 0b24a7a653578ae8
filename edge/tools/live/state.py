"""What the live view knows: the newest values of each device and face; does no I/O.

All times are of this machine's monotonic clock, in ns, at which a message was received.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge.client import Received
from edge.clock import time_of_day
from edge.protocol.events import FREQUENT, EpochEnded
from edge.protocol.messages import EventMessage, Face, FrameMessage, StatusMessage
from edge.protocol.participant_events import ParticipantReleased, SessionEnded

READ_NS: Final = 1_000_000_000
"""A face counts as classified for so long after the last frame in which it was: one blurred frame
of a blinking face does not make its row flicker."""

MEASURED_NS: Final = 3_000_000_000
"""So long the newest measurement of the face mesh is shown."""

FRAME_NS: Final = 3_000_000_000
"""Without a frame for so long, a device's rows say that no picture comes."""

SILENT_NS: Final = 3_000_000_000
"""A daemon sends a status each second; without a message for so long nothing comes from it."""

_LATENCY_NS: Final = 10_000_000_000
_TRACK_NS: Final = 5_000_000_000  # a face without code and seat is shown for so long after its end
_FACES_MAX: Final = 128
_DEVICES_MAX: Final = 256
_NOTES_MAX: Final = 200
_VALUE_MAX: Final = 60


@dataclass(slots=True)
class FaceState:
    """The newest of one participant, seat or track.

    Attributes:
        participant: code; None: not assigned.
        seat: name; None: there are no seats.
        track: its newest one.
        face: as in the newest frame in which it was.
        read: as in the newest frame in which it was classified; None: it never was.
        begun_ns: when it was first received.
        seen_ns: when it was last received.
        read_ns: when it was last received classified; None: it never was.
        measured: as in the newest frame in which the face mesh measured it; None: in none.
        measured_ns: when that was received.
    """

    participant: str | None
    seat: str | None
    track: int
    face: Face
    read: Face | None
    begun_ns: int
    seen_ns: int
    read_ns: int | None
    measured: Face | None = None
    measured_ns: int | None = None

    @property
    def order(self) -> tuple[int, str, int]:
        """Where its row stands: participants, then seats, then tracks."""
        if self.participant is not None:
            return 0, self.participant, self.track
        return (1, self.seat, self.track) if self.seat is not None else (2, "", self.track)


@dataclass(frozen=True, slots=True)
class Absence:
    """A participant or a seat that the daemon knows, and that was not in view when it was asked.

    Attributes:
        participant: code; None: the seat has none.
        seat: name; None: on no seat.
        away_ns: time since the last picture with the participant; None: there was none yet.
    """

    participant: str | None
    seat: str | None
    away_ns: int | None

    @property
    def order(self) -> tuple[int, str, int]:
        """Where its row stands, as that of a ``FaceState``."""
        return (0, self.participant, 0) if self.participant else (1, self.seat or "", 0)


@dataclass(slots=True)
class DeviceState:
    """The newest of one device.

    Attributes:
        device: its name.
        run: stream and epoch of the newest message.
        received_ns: when the newest message was received.
        frame_ns: when the newest frame was received; None: none was.
        status: the newest one; None: none was received.
        missing: numbered messages that did not arrive.
        exit_code: of the daemon, if its run has ended.
        faces: by participant, seat or track.
        absences: of participants and seats, as far as the daemon was asked.
    """

    device: str
    run: tuple[str, int] = ("", 0)
    received_ns: int = 0
    frame_ns: int | None = None
    status: StatusMessage | None = None
    missing: int = 0
    exit_code: int | None = None
    faces: dict[str | int, FaceState] = field(default_factory=dict)
    absences: list[Absence] = field(default_factory=list)
    _latencies: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=1000))

    def latency_ms(self, now_ns: int) -> tuple[float, float] | None:
        """Return median and 99th percentile of the last 10 s, ms; None without a frame in them."""
        recent = sorted(ms for at_ns, ms in self._latencies if now_ns - at_ns <= _LATENCY_NS)
        if not recent:
            return None
        p50, p99 = (recent[min(len(recent) - 1, int(share * len(recent)))] for share in (0.5, 0.99))
        return p50, p99

    def note_frame(self, message: FrameMessage, now_ns: int) -> None:
        """Note a frame and its faces."""
        self.frame_ns = now_ns
        self._latencies.append((now_ns, message.timing_ms.total))
        used: set[str | int] = set()
        for face in message.faces:
            key = face.participant or face.seat or face.track
            if key in used:  # two faces on one seat
                key = face.track
            used.add(key)
            self._note_face(key, face, now_ns)
        for key, known in list(self.faces.items()):
            is_nobody = known.participant is None and known.seat is None
            # a face that got a code or a seat has another row now
            is_moved = key not in used and any(known.track == face.track for face in message.faces)
            if is_moved or (is_nobody and now_ns - known.seen_ns > _TRACK_NS):
                del self.faces[key]
        while len(self.faces) > _FACES_MAX:
            del self.faces[min(self.faces, key=lambda key: self.faces[key].seen_ns)]

    def note_event(self, message: EventMessage, now_ns: int) -> None:
        """Note an event that changes which faces are expected, or that ends the run."""
        detail = message.detail
        if message.event == EpochEnded.event:
            self.exit_code = detail.get("exit_code")
        elif message.event == ParticipantReleased.event:
            self.faces.pop(str(detail.get("participant")), None)
        elif message.event == SessionEnded.event:
            for key, known in list(self.faces.items()):
                if now_ns - known.seen_ns > READ_NS:
                    del self.faces[key]

    def note_known(self, reply: Mapping[str, Any], unix_ns: int) -> None:
        """Note who is not in view, of the reply to a ``status`` request at ``unix_ns``.

        Who was received in a frame since is in view.

        Raises:
            LookupError, TypeError: the reply has another form.
        """
        received = {face.participant for face in self.faces.values()}
        self.absences = [
            Absence(
                each["participant"],
                each["seat"],
                None if (since_ns := each["since_unix_ns"]) is None else unix_ns - since_ns,
            )
            for each in reply["participants"]
            if not each["in_view"] and each["participant"] not in received
        ]
        taken = {face.seat for face in self.faces.values()}
        for seat, code in reply["seats"].items():
            if code is None and seat not in taken:
                self.absences.append(Absence(None, seat, None))

    def begin(self, run: tuple[str, int]) -> None:
        """Begin a new run of the daemon: its tracks are new, its participants may be the same."""
        self.run, self.status, self.exit_code, self.frame_ns = run, None, None, None
        self._latencies.clear()
        self.faces = {key: face for key, face in self.faces.items() if isinstance(key, str)}

    def _note_face(self, key: str | int, face: Face, now_ns: int) -> None:
        known = self.faces.get(key)
        if known is None:
            known = FaceState(None, None, face.track, face, None, now_ns, now_ns, None)
            self.faces[key] = known
        known.participant, known.seat = face.participant, face.seat
        known.track, known.face, known.seen_ns = face.track, face, now_ns
        if face.expression is not None:
            known.read, known.read_ns = face, now_ns
        if face.mesh is not None:
            known.measured, known.measured_ns = face, now_ns


@dataclass(frozen=True, slots=True)
class Note:
    """A line below the faces: an event, a gap, or something that this program reports."""

    text: str
    style: str


class LiveState:
    """The newest of everything received. Not thread-safe.

    Attributes:
        devices: by name; where daemons that publish at the same time have one name, by name and
            stream from the second on.
        notes: the newest 200.
        count: frames and events received.
    """

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.notes: deque[Note] = deque(maxlen=_NOTES_MAX)
        self.count = 0

    def note(self, received: Received, now_ns: int) -> None:
        """Note a message and the gaps before it."""
        message = received.message
        device = self._device(message.device, message.stream, now_ns)
        device.received_ns = now_ns
        for gap in received.gaps:
            device.missing += gap.missing or 0
            self.notes.append(Note(f"{message.device}: {gap.describe()}", "bold magenta"))
        if received.late:
            return
        if (run := (message.stream, message.epoch)) != device.run:
            device.begin(run)
        match message:
            case FrameMessage():
                self.count += 1
                device.note_frame(message, now_ns)
            case EventMessage():
                self.count += 1
                device.note_event(message, now_ns)
                if message.event not in FREQUENT:
                    self.notes.append(Note(_event_words(message), "cyan"))
            case StatusMessage():
                device.status = message

    def report(self, text: str, unix_ns: int, style: str = "yellow") -> None:
        """Add a line that this program itself reports."""
        self.notes.append(Note(f"{_second(unix_ns)}  {text}", style))

    def _device(self, name: str, stream: str, now_ns: int) -> DeviceState:
        """Return the state of a stream's device; one that has gone silent goes on as this one."""
        same = {key: each for key, each in self.devices.items() if each.device == name}
        known = next((each for each in same.values() if each.run[0] in ("", stream)), None)
        for key, each in same.items():
            has_gone = each.exit_code is not None or now_ns - each.received_ns > SILENT_NS
            if has_gone and known is None:
                known = each
            elif has_gone and each is not known:
                del self.devices[key]
        if known is None:
            if len(self.devices) >= _DEVICES_MAX:
                del self.devices[min(self.devices, key=lambda key: self.devices[key].received_ns)]
            known = self.devices[f"{name} {stream}" if name in self.devices else name] = (
                DeviceState(name)
            )
        return known


def _event_words(message: EventMessage) -> str:
    values = [
        f"{name} {words}"
        for name, value in message.detail.items()
        if name != "sensor_ns" and (words := _value_words(value)) is not None
    ]
    what = f"{message.event} {', '.join(values)}"
    if message.event == "mark":
        what = f'mark "{message.detail.get("text", "")}"'
    return f"{_second(message.time.unix_ns)}  {message.device}: {what.rstrip()}"


def _value_words(value: Any) -> str | None:
    """Return a value of an event in words; None: it is not shown."""
    match value:
        case None | "" | dict():  # the configuration, versions
            return None
        case list():
            return " ".join(str(each) for each in value if not isinstance(each, dict)) or None
        case float():
            return f"{value:g}"
    text = str(value)
    return text if len(text) <= _VALUE_MAX else None  # hashes


def _second(unix_ns: int) -> str:
    return time_of_day(unix_ns).partition(".")[0]
