"""The file formats of a log; each can be continued where it stopped.

``.jsonl``
    The messages as received, in order, one JSON object per line, statuses included. A gap is a
    line of its own right before the message that revealed it::

        {"schema":"affect.log.v1","kind":"gap","device":D,"stream":S,"epoch":E,
         "first_missing":N,"last_missing":M,"unix_ns":time of that message}

``.csv``
    The table of ``edge.client.tidy``; events and gaps are in ``OUT.events.csv`` next to it.

A crash may leave a torn end: a line without its newline, or a frame without all its rows. It is cut
off when the log is opened, so a message is either complete or reported as missing. Where a log
stopped is found in its last 8 MiB: some minutes of one device. A stream without a message in them
counts as new, so no gap is reported for it.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
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
"""How much of the end of a file is searched for the last message of each stream."""


class LogFormat(Protocol):
    """Writes messages to the files of a log. Not thread-safe.

    Attributes:
        cut_bytes: bytes of a torn end that ``cursors`` cut off.
    """

    cut_bytes: int

    @property
    def files(self) -> Sequence[LineFile]:
        """The files of the log."""

    def cursors(self) -> list[Cursor]:
        """Cut off torn ends; return the logged messages as cursors, of which the highest counts.

        Call it once, before the first ``write``.

        Raises:
            ConfigError: a file is not a log of this format; it is left unchanged.
        """

    def write(self, received: Received) -> int:
        """Write the message, after its gap if it has one; return how many lines the message took.

        Raises:
            LogFileError: it cannot be written; every line in the files is complete.
        """


@contextmanager
def opened_log(
    out: Path, report: Callable[[str], None] = lambda _line: None
) -> Iterator[LogFormat]:
    """Open the log ``out`` in the format of its suffix for a ``with`` block.

    Args:
        out: the file.
        report: takes a line when a file of the log was deleted, moved or set aside.

    Raises:
        ConfigError: no format has this suffix, the file cannot be opened, or another process
            writes to it.
    """
    match out.suffix.lower():
        case ".jsonl":
            log: LogFormat = _JsonLines(out, report)
        case ".csv":
            log = _TidyCsv(out, report)
        case ".sqlite" | ".parquet":
            raise ConfigError(
                f"log {out}: {out.suffix} is not available in this version; use .csv or .jsonl"
            )
        case _:
            raise ConfigError(f"log {out}: expected a name that ends in .csv or .jsonl")
    try:
        yield log
    finally:
        for file in log.files:
            file.close()


class _JsonLines:
    """Messages as received, one per line."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._file = LineFile(path, report=report)
        self.files = (self._file,)
        self.cut_bytes = 0

    def cursors(self) -> list[Cursor]:
        first, is_complete = self._file.first_line()
        if first and (_json_object(first) is None if is_complete else not first.startswith(b"{")):
            raise ConfigError(f"log {self._file.path}: exists and holds no messages; name another")
        self.cut_bytes = self._file.start()
        records = map(_json_object, self._file.last_lines(_RESUME_BYTES))
        return [cursor for each in records if each and (cursor := _json_cursor(each))]

    def write(self, received: Received) -> int:
        lines = received.body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
        if received.gap is not None:
            lines = _gap_line(received.gap, received) + lines
        self._file.append(lines)
        return 1


class _TidyCsv:
    """Frames in one table, events and gaps in a second one."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._frames = LineFile(path, csv_lines([COLUMNS]), report)
        try:
            self._events = LineFile(
                path.with_suffix(".events.csv"), csv_lines([EVENT_COLUMNS]), report
            )
        except ConfigError:
            self._frames.close()
            raise
        self.files = (self._frames, self._events)
        self.cut_bytes = 0

    def cursors(self) -> list[Cursor]:
        headers = (csv_lines([COLUMNS]), csv_lines([EVENT_COLUMNS]))
        for file, header in zip(self.files, headers, strict=True):
            first, is_complete = file.first_line()
            if first != header[:-1] if is_complete else not header.startswith(first):
                raise ConfigError(
                    f"log {file.path}: exists with other columns; move it away or name another"
                )
        for file in self.files:
            self.cut_bytes += file.start()
        return [*self._frame_cursors(), *self._event_cursors()]

    def _frame_cursors(self) -> list[Cursor]:
        lines = self._frames.last_lines(_RESUME_BYTES)
        rows = [dict(zip(COLUMNS, row, strict=False)) for row in _csv_rows(lines)]
        cursors = [_csv_cursor(row, "seq") for row in rows]
        # the rows of a frame are written in one call, but a kill can still fall between them
        last_rows = 0
        while last_rows < len(cursors) and cursors[-1 - last_rows] == cursors[-1]:
            last_rows += 1
        if cursors and cursors[-1] is not None and last_rows < _face_count(rows[-1]):
            self.cut_bytes += self._frames.cut(sum(len(line) + 1 for line in lines[-last_rows:]))
            del cursors[-last_rows:]
        return [cursor for cursor in cursors if cursor]

    def _event_cursors(self) -> Iterator[Cursor]:
        for row in _csv_rows(self._events.last_lines(_RESUME_BYTES)):
            cells = dict(zip(EVENT_COLUMNS, row, strict=False))
            for key in ("seq", "last_missing"):
                if cursor := _csv_cursor(cells, key):
                    yield cursor

    def write(self, received: Received) -> int:
        message = received.message
        if received.gap is not None:  # first, so that a kill after the message cannot hide it
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
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "kind" in record else None


def _json_cursor(record: dict[str, object]) -> Cursor | None:
    last = {"gap": "last_missing", "status": "last_seq"}.get(str(record["kind"]), "seq")
    stream, epoch, seq = record.get("stream"), record.get("epoch"), record.get(last)
    if isinstance(stream, str) and isinstance(epoch, int) and isinstance(seq, int):
        return Cursor(stream, epoch, seq)
    return None


def _csv_rows(lines: list[bytes]) -> Iterator[list[str]]:
    # one line at a time: after a crash, an open quote must not swallow the lines after it
    for line in lines:
        try:
            yield next(csv.reader([line.decode(errors="replace")]), [])
        except csv.Error:
            yield []


def _face_count(cells: dict[str, str]) -> int:
    faces = cells.get("faces", "")
    return int(faces) if faces.isdecimal() else 0


def _csv_cursor(cells: dict[str, str], key: str) -> Cursor | None:
    epoch, seq = cells.get("epoch", ""), cells.get(key, "")
    if epoch.isdecimal() and seq.isdecimal():
        return Cursor(cells["stream"], int(epoch), int(seq))
    return None
