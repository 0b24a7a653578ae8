"""Lines of the live view: header lines per device, a line per face, and what happened; no I/O.

A line is a list of pieces, each a text and a style of rich. Every text from the network is made
printable here: it must not control the terminal.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from rich.cells import cell_len, set_cell_size

from edge.descriptors import printable
from edge.protocol.messages import ActiveAlarm, Face, StatusMessage
from edge.tools.live.eyes import closed_words, mesh_words
from edge.tools.live.state import (
    FRAME_NS,
    MEASURED_NS,
    READ_NS,
    SILENT_NS,
    Absence,
    DeviceState,
    FaceState,
    LiveState,
)

Piece = tuple[str, str]
Line = list[Piece]

GRADE_STYLES: Final = {
    "excellent": "green",
    "fair": "yellow",
    "poor": "red",
    "unusable": "bold red",
}
_REASONS = 3  # of a health grade or a face that fit a line
_CONSUMERS = 3


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths of the columns of a face's line, in characters; 0: left out."""

    width: int
    who: int
    probability: int
    bar: int
    age: int

    @classmethod
    def of_width(cls, width: int) -> "Columns":
        """Return the columns that fit ``width``: bars need 76 characters, wide ones 110."""
        bar = 0 if width < 76 else 9 if width < 110 else 17
        probability, age = (0, 0) if width < 60 else (5, 7)
        return cls(width, 12 if width < 100 else 18, probability, bar, age)

    @property
    def values(self) -> int:
        """Of label, probability, valence and arousal together."""
        return 9 + self.probability + 2 * (6 + (self.bar and self.bar + 1))

    @property
    def state(self) -> int:
        """What is left for the state: ``ok`` at least."""
        return max(2, self.width - self.who - 6 - self.values - self.age - 1)


def device_lines(device: DeviceState, now_ns: int, width: int) -> list[Line]:
    """Return the header lines of a device: rate, latency, health, picture, journal, alarms."""
    status = device.status
    pieces: Line = [(printable(device.device), "bold")]
    if device.exit_code is not None:
        pieces.append((f"ended with exit code {device.exit_code}", "yellow"))
    elif now_ns - device.received_ns > SILENT_NS:
        pieces.append((f"nothing received for {span(now_ns - device.received_ns)}", "bold red"))
    elif status is not None:
        pieces += _health(status)
    latency = device.latency_ms(now_ns)
    if latency is not None:
        pieces.append((f"latency p50 {latency[0]:.0f}, p99 {latency[1]:.0f} ms", ""))
    if status is not None:
        pieces += _record(status)
    if device.missing:
        pieces.append((f"{device.missing} messages missed here", "magenta"))
    lines = flow(pieces, width, "  ")
    for alarm in () if status is None else status.alarms:
        first, *more = wrap(_alarm_words(alarm), max(20, width - 8)) or [""]
        lines.append([("  ALARM ", "bold red"), (first, "bold red")])
        lines += [[(f"        {each}", "bold red")] for each in more]
    return lines


def _health(status: StatusMessage) -> Line:
    health, rates = status.health, status.rates
    reasons = ", ".join(map(_plain, health.reasons[:_REASONS]))
    expected = f" of {rates.expected_hz:.1f}" if rates.expected_hz is not None else ""
    pieces = [
        (f"{health.grade}{f' ({reasons})' if reasons else ''}", GRADE_STYLES[health.grade]),
        (f"{rates.published_hz:.1f}{expected} frames/s", ""),
    ]
    if status.source_state != "running":
        pieces.append((f"source {printable(status.source_state)}", "yellow"))
    is_normal = status.picture_state == "normal"
    pieces.append(
        (f"picture {printable(status.picture_state)}", "" if is_normal else "bold yellow")
    )
    if status.next_frame_s is not None:
        pieces.append((f"next picture in {span(round(status.next_frame_s * 1e9))}", ""))
    return pieces


def _record(status: StatusMessage) -> Line:
    """Return what is lost and kept: dropped frames, journal, consumers, session, clock."""
    pieces = [(f"dropped {status.frames_dropped}", "")]
    if status.worker_restarts:
        pieces.append((f"worker restarts {status.worker_restarts}", "yellow"))
    if status.soc_celsius is not None:
        pieces.append((f"{status.soc_celsius:.0f} °C", ""))
    journal = status.journal
    if journal is not None:
        is_ok = journal.state == "ok"
        reason = "" if is_ok else f" only ({printable(journal.reason)})"
        pieces.append((f"journal {journal.state}{reason}", "" if is_ok else "red"))
        for name, consumer in list(journal.consumers.items())[:_CONSUMERS]:
            pieces.append((f"{printable(name)} {consumer.lag} behind", ""))
    if status.session is not None:
        pieces.append((f"session {printable(status.session.name)}", "green"))
    if not status.time.synchronized:
        pieces.append(("clock not synchronized", "yellow"))
    return pieces


def _alarm_words(alarm: ActiveAlarm) -> str:
    """Return an active alarm in words: ``P07: not read, for 40 s``."""
    words = ": ".join(each for each in (alarm.subject, alarm.text or alarm.rule) if each)
    return printable(f"{words}, for {span(round(alarm.since_s * 1e9))}")


def face_header(columns: Columns) -> Line:
    """Return the names of the columns."""
    text = f"{'who':<{columns.who}} {'track':>5} {'label':<8}"
    text += f" {'p':>4}" if columns.probability else ""
    for name in ("valence", "arousal"):
        text += f" {name:<{6 + columns.bar}}" if columns.bar else f" {name[:5]:>5}"
    text += f" {'age':>6}" if columns.age else ""
    return [(f"{text} state", "dim")]


def face_line(face: FaceState, device: DeviceState, now_ns: int, columns: Columns) -> Line:
    """Return the line of a face: its values, or in their place why there are none."""
    who = " ".join(printable(each) for each in (face.participant, face.seat) if each) or "-"
    head = (
        f"{set_cell_size(who, columns.who)} {face.track:>5}",
        "bold" if face.participant else "",
    )
    age = f" {span(round(face.face.age_s * 1e9)):>6}" if columns.age else ""
    problem = _problem(face, device, now_ns)
    if problem is not None:
        text, style = problem
        is_in_view = device.exit_code is None and device.frame_ns == face.seen_ns
        line = [head, (f" {set_cell_size(text, columns.values - 1)}", style)]
        return [*line, (age, "")] if is_in_view else line
    affect = face.face.affect
    learns = affect is not None and affect.baseline == "learning"
    state = "ok, baseline learning" if learns else "ok"
    state = state if len(state) <= columns.state else "ok"
    return [head, *_values(face.read, columns), (f"{age} ", ""), (state, "green")]


def mesh_line(face: FaceState, device: DeviceState, now_ns: int, width: int) -> Line | None:
    """Return the line with eyes and head of a face in view; None if the face mesh is off."""
    status = device.status
    is_on = face.measured is not None or (status is not None and "mesh" in (status.models or {}))
    is_in_view = device.frame_ns is not None and device.frame_ns - face.seen_ns <= READ_NS
    if not is_on or device.exit_code is not None or not is_in_view:
        return None
    words, style = "eyes and head not measured", "dim"
    since_ns = face.begun_ns if face.measured_ns is None else face.measured_ns
    mesh = face.measured.mesh if face.measured is not None else None
    if now_ns - since_ns > MEASURED_NS:
        words += f" for {span(now_ns - since_ns)}"
    elif mesh is not None:
        words = ", ".join(mesh_words(mesh))
        style = "yellow" if closed_words(mesh.lids) else "dim"
    text = f"  {words}"
    return [(text if cell_len(text) <= width else set_cell_size(text, width), style)]


def absence_line(absence: Absence, columns: Columns) -> Line:
    """Return the line of a participant or seat without a face."""
    names = (absence.participant, absence.seat)
    who = " ".join(printable(each) for each in names if each)
    text = "not in view"
    if absence.participant is None:
        text = "nobody in view, no code"
    elif absence.away_ns is not None:
        text += f" for {span(max(0, absence.away_ns))}"
    else:
        text += " yet"
    head = (
        f"{set_cell_size(who, columns.who)} {'-':>5}",
        "bold" if absence.participant else "",
    )
    return [head, (f" {set_cell_size(text, columns.values - 1)}", "dim")]


def _values(read: Face | None, columns: Columns) -> Line:
    label, probability = "-", ""
    numbers: list[float | None] = [None, None]
    if read is not None and read.expression is not None:
        label = printable(read.expression.stable_label)
        share = getattr(read.expression.probabilities, label, None)
        probability = "" if share is None else f"{100 * share:.0f}%"
    if read is not None and read.affect is not None:
        numbers = [read.affect.smoothed.valence, read.affect.smoothed.arousal]
    line: Line = [(f" {set_cell_size(label, 8)}", "")]
    line.append((f" {probability:>4}" if columns.probability else "", ""))
    for number, colour in zip(numbers, ("cyan", "magenta"), strict=True):
        line.append((f" {'-':>5}" if number is None else f" {number:>+z5.2f}", ""))
        if columns.bar:
            line.append((f" {bar(number, columns.bar)}", colour))
    return line


def _problem(face: FaceState, device: DeviceState, now_ns: int) -> Piece | None:
    """Return why a face is not read now, in words, with a style; None if it is."""
    frame_ns = device.frame_ns
    if device.exit_code is not None or frame_ns is None:
        return ("ended", "dim") if device.exit_code is not None else ("no picture yet", "dim")
    is_waiting = device.status is not None and device.status.next_frame_s is not None
    if now_ns - frame_ns > FRAME_NS and not is_waiting:
        return f"no picture for {span(now_ns - frame_ns)}", "red"
    if frame_ns - face.seen_ns > READ_NS:
        return f"not in view for {span(now_ns - face.seen_ns)}", "dim"
    reasons = ", ".join(map(_plain, face.face.quality.reasons[:_REASONS]))
    why = f": {reasons}" if reasons else ""
    if face.read_ns is None:
        return f"not read yet{why}", "yellow"
    if frame_ns - face.read_ns > READ_NS:
        return f"not read for {span(now_ns - face.read_ns)}{why}", "yellow"
    return None


def body_lines(state: LiveState, now_ns: int, width: int) -> list[Line]:
    """Return all devices and faces, each device below the other, by name."""
    columns = Columns.of_width(width)
    lines: list[Line] = []
    names = Counter(device.device for device in state.devices.values())
    for _, device in sorted(state.devices.items()):
        if lines:
            lines.append([])
        lines += device_lines(device, now_ns, width)
        if names[device.device] > 1:
            text = f"  stream {printable(device.run[0][:8])}: {names[device.device]} daemons have"
            text += " this name; expected a device.name of its own for each"
            lines += [[(each, "bold yellow")] for each in wrap(text, max(20, width))]
        rows: list[FaceState | Absence] = [*device.faces.values(), *device.absences]
        rows.sort(key=lambda each: each.order)
        if rows:
            lines.append(face_header(columns))
            for each in rows:
                if isinstance(each, Absence):
                    lines.append(absence_line(each, columns))
                    continue
                lines.append(face_line(each, device, now_ns, columns))
                if measured := mesh_line(each, device, now_ns, width):
                    lines.append(measured)
        elif device.frame_ns is not None and device.exit_code is None:
            lines.append([("no face in view", "dim")])
    return lines


def note_lines(state: LiveState, count: int, width: int) -> list[Line]:
    """Return the newest notes, wrapped, in ``count`` lines at most; the newest last."""
    lines: list[Line] = []
    for note in reversed(state.notes):
        if len(lines) >= count:
            break
        text = printable(note.text)
        wrapped = [text] if len(text) <= width else wrap(text, width, subsequent_indent="  ")
        lines = [[(each, note.style)] for each in wrapped] + lines
    return lines[-count:] if count > 0 else []


def bar(value: float | None, width: int) -> str:
    """Return a bar from the middle to ``value`` (-1..1), ``width`` (odd) characters.

    Half characters give it a resolution of one in ``width - 1``.
    """
    side = width // 2
    halves = 0 if value is None else round(min(1.0, abs(value)) * side * 2)
    full, has_half = divmod(halves, 2)
    if value is None or value >= 0:
        filled = "█" * full + "▌" * has_half
        return f"{'·' * side}│{filled}{'·' * (side - len(filled))}"
    filled = "▐" * has_half + "█" * full
    return f"{'·' * (side - len(filled))}{filled}│{'·' * side}"


def flow(pieces: Sequence[Piece], width: int, indent: str) -> list[Line]:
    """Place pieces beside each other, two spaces apart; those that do not fit begin a line."""
    lines: list[Line] = [[]]
    used = 0
    for text, style in pieces:
        gap = "  " if lines[-1] else ""
        if lines[-1] and used + len(gap) + cell_len(text) > width:
            lines.append([])
            used, gap = 0, indent
        lines[-1].append((gap + text, style))
        used += len(gap) + cell_len(text)
    return lines


def span(ns: int) -> str:
    """Return a time in words: seconds below 100, then minutes, then hours."""
    seconds = ns // 1_000_000_000
    if seconds < 100:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 100 * 60 else f"{seconds // 3600} h"


def _plain(word: str) -> str:
    return printable(word).replace("_", " ")
