"""The CSV format of a log: frames in one table, events and gaps in a second one."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

from edge.client.axis import Origin, is_file_start
from edge.client.gaps import Cursor
from edge.client.logs.linefile import RESUME_BYTES, LineFile
from edge.client.logs.linefiles import opened_line_files
from edge.client.logs.progress import Progress, SavedProgress
from edge.client.subscriber import Received
from edge.client.tidy import (
    COLUMNS,
    EVENT_COLUMNS,
    KEY_COLUMNS,
    PlacedGap,
    csv_lines,
    event_row,
    frame_rows,
)
from edge.errors import ConfigError
from edge.protocol.messages import EventMessage, FrameMessage

Cells = dict[str, str]


class TidyCsv:
    """The tables of ``edge.client.tidy``; see ``edge.client.logs.LogFormat``. Not thread-safe.

    A log whose columns are those of another version is renamed, and a new one is started: rows of
    two kinds in one table would be assigned to wrong columns.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._report = report
        headers = {path.suffix: csv_lines([COLUMNS]), ".events.csv": csv_lines([EVENT_COLUMNS])}
        self._files = opened_line_files(path, headers, report)
        self._frames, self._events = self._files.files
        self._torn_bytes = 0
        self._progress = Progress()

    @property
    def cut_bytes(self) -> int:
        """See ``LogFormat``."""
        return self._files.cut_bytes + self._torn_bytes

    @property
    def deleted_rows(self) -> int:
        """See ``LogFormat``."""
        return self._files.deleted_lines

    @property
    def size(self) -> int:
        """See ``LogFormat``."""
        return self._files.size

    @property
    def day(self) -> str | None:
        """See ``LogFormat``."""
        return self._progress.day

    def cursors(self) -> list[Cursor]:
        """Cut off what was not committed; return the logged messages; see ``LogFormat``."""
        frame_columns = _columns_of(self._frames, COLUMNS)
        event_columns = _columns_of(self._events, EVENT_COLUMNS)
        is_current = (frame_columns, event_columns) == (COLUMNS, EVENT_COLUMNS)
        saved, is_whole = self._files.recover() if is_current else (SavedProgress(), False)
        cursors, origins = saved.cursors, saved.origins
        if not is_whole:
            lines = self._frames.last_lines(RESUME_BYTES)
            frames = _rows(lines, frame_columns)
            if torn_rows := _torn_rows(frames):
                if is_current:
                    torn_bytes = sum(len(line) + 1 for line in lines[-torn_rows:])
                    self._torn_bytes = self._frames.cut(torn_bytes)
                del frames[-torn_rows:]
            events = _rows(self._events.last_lines(RESUME_BYTES), event_columns)
            if is_current:
                origins = [*origins, *_origins(frames, events)]
            cells = [(row, "seq") for row in frames]
            cells += [(row, key) for row in events for key in ("seq", "last_missing")]
            cursors += [cursor for row, key in cells if (cursor := _cursor(row, key))]
        if not is_current:
            self._set_aside()
            saved, _ = self._files.recover()
            cursors += saved.cursors
        self._progress = Progress(cursors, origins, saved.day)
        return cursors

    def write(self, received: Received) -> int:
        """Add the rows of a message; return how many; see ``LogFormat``."""
        message = received.message
        if not isinstance(message, FrameMessage | EventMessage) and received.gap is None:
            return 0
        time_s = self._progress.note(received)
        self._files.note_change()
        for gap in received.gaps:
            self._events.append(csv_lines([PlacedGap.before(message, gap, time_s).row()]))
        if isinstance(message, FrameMessage):
            rows = frame_rows(message, time_s)
            self._frames.append(csv_lines(rows))
            return len(rows)
        if isinstance(message, EventMessage):
            self._events.append(csv_lines([event_row(message, time_s)]))
            return 1
        return 0

    def commit(self) -> None:
        """Store the rows and the cursors; see ``LogFormat``."""
        self._files.commit(self._progress)

    def rotate(self) -> None:
        """Rename both tables; see ``LogFormat``."""
        if (on_day := self._progress.day) is not None:
            self._files.rotate(self._progress, on_day)

    def close(self) -> None:
        """Close both tables; see ``LogFormat``."""
        self._files.close()

    def _set_aside(self) -> None:
        """Rename both tables to the first free number, ``NAME.old-N.csv``."""
        path = self._frames.path
        for number in count(1):
            frames = path.with_name(f"{path.stem}.old-{number}.csv")
            events = frames.with_suffix(".events.csv")
            if not frames.exists() and not events.exists():
                break
        self._frames.set_aside(frames)
        self._events.set_aside(events)
        self._report(
            f"{path}: has the columns of another version; renamed to {frames.name} (and"
            f" {events.name}), a new log is started"
        )


def _columns_of(file: LineFile, current: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of a table: ``current`` if it is empty or its header is torn.

    Raises:
        ConfigError: it is not a table of this program.
    """
    header = csv_lines([current])
    first, is_complete = file.first_line()
    if header.startswith(first + b"\n" if is_complete else first):
        return current
    if is_complete and first.startswith(csv_lines([KEY_COLUMNS])[:-1] + b","):
        return tuple(first.decode(errors="replace").split(","))
    raise ConfigError(f"log {file.path}: exists with other columns; move it away or name another")


def _rows(lines: list[bytes], columns: Sequence[str]) -> list[Cells]:
    return [dict(zip(columns, row, strict=False)) for row in _parsed(lines)]


def _parsed(lines: list[bytes]) -> Iterator[list[str]]:
    # one line at a time: after a crash, an open quote must not swallow the lines after it
    for line in lines:
        try:
            yield next(csv.reader([line.decode(errors="replace")]), [])
        except csv.Error:
            yield []


def _torn_rows(frames: list[Cells]) -> int:
    """Return how many rows of the last frame there are if some are missing; else 0.

    The rows of a frame are written in one call, but a kill can still fall between them.
    """
    last = _cursor(frames[-1], "seq") if frames else None
    if last is None:
        return 0
    rows = 0
    while rows < len(frames) and _cursor(frames[-1 - rows], "seq") == last:
        rows += 1
    faces = frames[-1].get("faces", "")
    return rows if faces.isdecimal() and rows < int(faces) else 0


def _cursor(cells: Cells, key: str) -> Cursor | None:
    epoch, seq = cells.get("epoch", ""), cells.get(key, "")
    if epoch.isdecimal() and seq.isdecimal():
        return Cursor(cells["stream"], int(epoch), int(seq))
    return None


def _origins(frames: list[Cells], events: list[Cells]) -> list[Origin]:
    """Return the time axes of the logged epochs, the newest of each stream last."""
    found: dict[tuple[str, int], Origin] = {}
    for cells in [*events, *frames]:
        try:
            key = cells["stream"], int(cells["epoch"])
            start_ns = int(_monotonic_ns(cells)) - round(float(cells["time_s"]) * 1e9)
            detail = json.loads(cells.get("detail") or "{}")
        except (KeyError, ValueError):  # a damaged row
            continue
        origin = found.setdefault(key, Origin(*key))
        origin.start_ns = start_ns
        if cells.get("clock") == "media":
            origin.media_ns = int(cells["sensor_ns"])
        elif is_file_start(cells.get("event", ""), detail):
            origin.media_ns = 0
    return sorted(found.values(), key=lambda origin: origin.epoch)


def _monotonic_ns(cells: Cells) -> int:
    if "monotonic_ns" in cells:
        return int(cells["monotonic_ns"])
    return min(int(cells["sensor_ns"]), int(cells["published_ns"]))
