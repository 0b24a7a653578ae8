"""The formats of a log, each continued where it stopped.

``.jsonl``
    The messages as received, in order, one JSON object a line, statuses included. A gap is a line
    of its own right before the message that showed it::

        {"schema":"affect.log.v1","kind":"gap","device":D,"stream":S,"epoch":E,
         "first_missing":N,"last_missing":M,"unix_ns":time of that message}

``.csv``
    The tidy table of ``edge.client.tidy``; events and gaps stand in ``OUT.events.csv`` beside it.

What a crash has torn (a line without its end, a frame without all its rows) is cut off when a log
is opened, so a message is either whole or told as missing. To find where a log stopped, its last
8 MiB are read: some minutes of one device. A stream last heard before them begins anew.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from edge.client.gaps import Cursor, Gap
from edge.client.linefile import LineFile
from edge.client.subscriber import Received
from edge.client.tidy import COLUMNS, EVENT_COLUMNS, csv_lines, event_row, frame_rows, gap_row
from edge.errors import ConfigError
from edge.protocol.messages import EventMessage, FrameMessage

GAP_SCHEMA = "affect.log.v1"

_RESUME_BYTES = 8 << 20


class LogFormat(Protocol):
    """Where messages are written. Not thread-safe.

    Attributes:
        cut_bytes: what ``cursors`` cut off because a crash had torn it.
    """

    cut_bytes: int

    @property
    def files(self) -> Sequence[LineFile]:
        """The files it consists of."""

    def cursors(self) -> list[Cursor]:
        """Repair the files and return where they stand; of each stream the furthest counts.

        Call it once, before the first ``write``.

        Raises:
            ConfigError: a file holds something else; it is left as it is.
        """

    def write(self, received: Received) -> int:
        """Write the gap before the message, and the message; return how many lines that took.

        Raises:
            LogFileError: it cannot be written; every line in the files is whole.
        """


@contextmanager
def opened_log(out: Path) -> Iterator[LogFormat]:
    """Open the log ``out`` in the format that its suffix names, and close it at the end.

    Raises:
        ConfigError: no format has this suffix, the file cannot be opened, or another process
            writes to it.
    """
    match out.suffix:
        case ".jsonl":
            sink: LogFormat = _JsonLines(out)
        case ".csv":
            sink = _TidyCsv(out)
        case ".sqlite" | ".parquet":
            raise ConfigError(
                f"log {out}: {out.suffix} is not available in this version; use .csv or .jsonl"
            )
        case _:
            raise ConfigError(f"log {out}: expected a name that ends in .csv or .jsonl")
    try:
        yield sink
    finally:
        for file in sink.files:
            file.close()


class _JsonLines:
    """Messages as received, one a line."""

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)
        self.files = (self._file,)
        self.cut_bytes = 0

    def cursors(self) -> list[Cursor]:
        first, whole = self._file.first_line()
        if first and (_json_object(first) is None if whole else not first.startswith(b"{")):
            raise ConfigError(f"log {self._file.path}: exists and holds no messages; name another")
        self.cut_bytes = self._file.cut_torn_line()
        found = map(_json_object, self._file.last_lines(_RESUME_BYTES))
        return [cursor for line in found if line and (cursor := _json_cursor(line))]

    def write(self, received: Received) -> int:
        lines = received.body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
        if received.gap is not None:
            lines = _gap_line(received.gap, received) + lines
        self._file.append(lines)
        return 1


class _TidyCsv:
    """Frames as a tidy table; events and gaps in a second one beside it."""

    def __init__(self, path: Path) -> None:
        self._frames = LineFile(path)
        try:
            self._events = LineFile(path.with_suffix(".events.csv"))
        except ConfigError:
            self._frames.close()
            raise
        self.files = (self._frames, self._events)
        self.cut_bytes = 0

    def cursors(self) -> list[Cursor]:
        headers = (csv_lines([COLUMNS]), csv_lines([EVENT_COLUMNS]))
        for file, header in zip(self.files, headers, strict=True):
            first, whole = file.first_line()
            if first != header[:-1] if whole else not header.startswith(first):
                raise ConfigError(
                    f"log {file.path}: exists with other columns; move it away or name another"
                )
        for file, header in zip(self.files, headers, strict=True):
            self.cut_bytes += file.cut_torn_line()
            if file.size == 0:
                file.append(header)
        return [*self._frame_cursors(), *self._event_cursors()]

    def _frame_cursors(self) -> list[Cursor]:
        lines = self._frames.last_lines(_RESUME_BYTES)
        rows = [dict(zip(COLUMNS, row, strict=False)) for row in _csv_rows(lines)]
        cursors = [_csv_cursor(row, "seq") for row in rows]
        # the rows of a frame are written at once, and a kill can still fall between them
        torn = 0
        while torn < len(cursors) and cursors[-1 - torn] == cursors[-1]:
            torn += 1
        if cursors and cursors[-1] is not None and torn < _faces(rows[-1]):
            self.cut_bytes += self._frames.cut(sum(len(line) + 1 for line in lines[-torn:]))
            del cursors[-torn:]
        return [cursor for cursor in cursors if cursor]

    def _event_cursors(self) -> Iterator[Cursor]:
        for row in _csv_rows(self._events.last_lines(_RESUME_BYTES)):
            cells = dict(zip(EVENT_COLUMNS, row, strict=False))
            for key in ("seq", "last_missing"):
                if cursor := _csv_cursor(cells, key):
                    yield cursor

    def write(self, received: Received) -> int:
        message = received.message
        if received.gap is not None:  # first: a kill in between must not hide it
            row = gap_row(received.gap, message.device, message.time.unix_ns)
            self._events.append(csv_lines([row]))
        if isinstance(message, FrameMessage):
            rows = frame_rows(message)
            self._frames.append(csv_lines(rows))
            return len(rows)
        if isinstance(message, EventMessage):
            self._events.append(csv_lines([event_row(message)]))
            return 1
        return 0


def _gap_line(gap: Gap, received: Received) -> bytes:
    record = {
        "schema": GAP_SCHEMA,
        "kind": "gap",
        "device": received.message.device,
        "stream": gap.stream,
        "epoch": gap.epoch,
        "first_missing": gap.first_missing,
        "last_missing": gap.last_missing,
        "unix_ns": received.message.time.unix_ns,
    }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _json_object(line: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "kind" in found else None


def _json_cursor(found: dict[str, object]) -> Cursor | None:
    last = {"gap": "last_missing", "status": "last_seq"}.get(str(found["kind"]), "seq")
    stream, epoch, seq = found.get("stream"), found.get("epoch"), found.get(last)
    if isinstance(stream, str) and isinstance(epoch, int) and isinstance(seq, int):
        return Cursor(stream, epoch, seq)
    return None


def _csv_rows(lines: list[bytes]) -> Iterator[list[str]]:
    # one line at a time: what a crash left inside quotes must not swallow the lines after it
    for line in lines:
        try:
            yield next(csv.reader([line.decode(errors="replace")]), [])
        except csv.Error:
            yield []


def _faces(cells: dict[str, str]) -> int:
    faces = cells.get("faces", "")
    return int(faces) if faces.isdecimal() else 0


def _csv_cursor(cells: dict[str, str], key: str) -> Cursor | None:
    epoch, seq = cells.get("epoch", ""), cells.get(key, "")
    if epoch.isdecimal() and seq.isdecimal():
        return Cursor(cells["stream"], int(epoch), int(seq))
    return None
