"""Reads frames and events of one run from a log of any format, in the order of time.

Formats: a SQLite log, JSON lines, CSV tables, a folder of Parquet tables, and the folder of an
analysis (``affect-edge analyse``), which holds tables, too. Memory: some thousand rows.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from edge.client.logs.sessions import Span
from edge.client.logs.sqlite_reader import SqliteReader
from edge.client.logs.table_reader import csv_rows, parquet_batches, parquet_files, spools
from edge.client.tidy import COLUMNS
from edge.errors import ConfigError, LogFileError
from edge.files.regular import NotRegularFile, open_regular
from edge.protocol.messages import EventMessage, FrameMessage
from edge.recordings.annotation.overlay import Emotion, FaceOverlay, FrameOverlay, overlay_of
from edge.results.analysed import tables_suffix
from edge.vision.values import Affect
from edge.vocabulary import EXPRESSIONS

Row: TypeAlias = Mapping[str, Any]

_LANDMARKS: Final = tuple(
    (name, name.removesuffix("_x") + "_y")
    for name in COLUMNS[COLUMNS.index("box_height") + 1 : COLUMNS.index("detection_score")]
    if name.endswith("_x")
)
_NEEDED: Final = (
    *("stream", "epoch", "seq", "sensor_ns", "frame_index", "track", "participant"),
    *("box_x", "box_y", "box_width", "box_height", "reasons", "stable_label"),
    *(column for pair in _LANDMARKS for column in pair),
    *(f"p_{name}" for name in EXPRESSIONS),
    *("valence", "arousal", "valence_smoothed", "arousal_smoothed", "frame_width", "frame_height"),
)
_BATCH: Final = 2000


class Run(NamedTuple):
    """One start of a daemon, or one analysis, in a log."""

    stream: str
    epoch: int


class LoggedEvent(NamedTuple):
    """An event of a log."""

    run: Run
    event: str
    detail: Mapping[str, Any]


class LogTables(Protocol):
    """The content of a log; see ``open_log_tables``."""

    def events(self) -> Iterator[LoggedEvent]:
        """Yield all events in the order of the log.

        Raises:
            ConfigError: the log is of another format.
            LogFileError: it cannot be read.
        """

    def frames(self, run: Run) -> Iterator[FrameOverlay]:
        """Yield the frames of ``run`` in the order of the log.

        Raises:
            LogFileError: as ``events``.
        """


def open_log_tables(log: Path) -> LogTables:
    """Return the content of a log, by what it is: a folder, or a file with a known suffix.

    Raises:
        ConfigError: there is no such log, or its format is not known.
    """
    if log.is_dir():
        if suffix := tables_suffix(log):
            return _tables(log / f"frames.{suffix}", log / f"events.{suffix}")
        if (log / "faces").is_dir() or spools(log):
            return _ParquetFolder(log)
        raise ConfigError(
            f"--from {log}: no log of this recording in this folder; expected a Parquet log, or a"
            " folder that affect-edge analyse made"
        )
    if not log.exists():
        raise ConfigError(f"--from {log}: no such log")
    match log.suffix.lower():
        case ".sqlite" | "":
            return _SqliteTables(log)
        case ".jsonl":
            return _JsonLines(log)
        case ".csv" | ".parquet":
            events = log.with_suffix(f".events{log.suffix}")
            if not events.is_file():
                raise ConfigError(
                    f"--from {log}: {events.name} is missing next to it, which says what was"
                    " recorded; expected both tables of the log"
                )
            return _tables(log, events)
        case _:
            raise ConfigError(
                f"--from {log}: expected a log that ends in .sqlite, .jsonl, .csv or .parquet, a"
                " Parquet log, or a folder that affect-edge analyse made"
            )


class _SqliteTables:
    def __init__(self, log: Path) -> None:
        self._log = log

    def events(self) -> Iterator[LoggedEvent]:
        with SqliteReader(self._log) as reader:
            for stored in reader.messages():
                if stored.kind == "event":
                    message = stored.decoded()
                    if isinstance(message, EventMessage):
                        run = Run(message.stream, message.epoch)
                        yield LoggedEvent(run, message.event, message.detail)

    def frames(self, run: Run) -> Iterator[FrameOverlay]:
        span = Span(run.stream, (run.epoch, 0), (run.epoch, sys.maxsize))
        with SqliteReader(self._log) as reader:
            edits = reader.edits()
            for stored in reader.messages([span]):
                message = stored.decoded()
                if isinstance(message, FrameMessage):
                    codes = {
                        face.track: code
                        for face in message.faces
                        if (code := edits.participant(*run, face.track, face.participant))
                    }
                    with _damage_named(self._log):
                        overlay = overlay_of(message).with_codes(codes)
                    yield overlay


class _JsonLines:
    def __init__(self, log: Path) -> None:
        self._log = log

    def events(self) -> Iterator[LoggedEvent]:
        for line in self._lines(b'"event"'):
            try:
                message = EventMessage.model_validate_json(line)
            except ValueError:  # another kind of line that holds the word
                continue
            yield LoggedEvent(Run(message.stream, message.epoch), message.event, message.detail)

    def frames(self, run: Run) -> Iterator[FrameOverlay]:
        for line in self._lines(b'"frame"'):
            try:
                message = FrameMessage.model_validate_json(line)
            except ValueError:
                continue
            if (message.stream, message.epoch) == run:
                with _damage_named(self._log):
                    overlay = overlay_of(message)
                yield overlay

    def _lines(self, word: bytes) -> Iterator[bytes]:
        try:
            with open(self._log, "rb", opener=open_regular) as file:
                for line in file:
                    if word in line[:200]:
                        yield line
        except NotRegularFile as error:
            raise ConfigError(f"--from {self._log}: {error.strerror}; expected a log") from error
        except OSError as error:
            raise LogFileError(f"--from {self._log}: {error.strerror}") from error


class _Tables:
    """Two tables with the columns of ``edge.client.tidy``."""

    def __init__(self, log: Path, frames: Iterable[Path], events: Iterable[Path]) -> None:
        self._log = log
        self._frames = tuple(frames)
        self._events = tuple(events)

    def events(self) -> Iterator[LoggedEvent]:
        columns = ("stream", "epoch", "event", "detail")
        for path in self._events:
            with _damage_named(path):
                for row in _rows(path, columns):
                    try:
                        detail = json.loads(row["detail"] or "{}")
                        run = Run(str(row["stream"]), int(row["epoch"]))
                    except (ValueError, TypeError, KeyError, RecursionError):  # a torn line
                        continue
                    if isinstance(detail, dict):
                        yield LoggedEvent(run, str(row["event"]), detail)

    def frames(self, run: Run) -> Iterator[FrameOverlay]:
        for path in self._frames:
            wanted = (row for row in _rows(path, _NEEDED) if _run_of(row) == run)
            with _damage_named(path):
                for _, rows in groupby(wanted, key=lambda row: row["seq"]):
                    yield _frame_of(list(rows))


class _ParquetFolder(_Tables):
    """A Parquet log: tables by device and day, named by their first message."""

    def __init__(self, log: Path) -> None:
        super().__init__(log, parquet_files(log / "faces"), parquet_files(log / "events"))
        self._spools = [_SqliteTables(path) for path in spools(log)]

    def events(self) -> Iterator[LoggedEvent]:
        yield from super().events()
        for spool in self._spools:
            yield from spool.events()

    def frames(self, run: Run) -> Iterator[FrameOverlay]:
        newest = -1
        for frame in chain(super().frames(run), *(spool.frames(run) for spool in self._spools)):
            if frame.index > newest:  # a spool may have frames that are in files already
                newest = frame.index
                yield frame


def _tables(frames: Path, events: Path) -> _Tables:
    return _Tables(frames, [frames], [events])


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a table; cells of a CSV file are text.

    Raises:
        ConfigError: columns are missing, or pyarrow is.
        LogFileError: it cannot be read.
    """
    if path.suffix.lower() == ".csv":
        for _, cells in csv_rows(path, columns):
            yield dict(zip(columns, cells, strict=True))
        return
    for batch in parquet_batches(path, columns, rows=_BATCH):
        lists = (batch[name].to_pylist() for name in columns)
        for row in zip(*lists, strict=True):
            yield dict(zip(columns, row, strict=True))


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Translate what damaged values of a log raise."""
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise LogFileError(f"--from {path}: a row is damaged: {reason}") from error


def _run_of(row: Row) -> Run | None:
    try:
        return Run(str(row["stream"]), int(row["epoch"]))
    except (ValueError, TypeError):
        return None


def _frame_of(rows: list[Row]) -> FrameOverlay:
    head = rows[0]
    return FrameOverlay(
        index=int(head["frame_index"]),
        media_ns=int(head["sensor_ns"]),
        width=int(head["frame_width"]),
        height=int(head["frame_height"]),
        faces=tuple(_face_of(row) for row in rows if int(row["track"]) >= 0),
    )


def _number(cell: Any) -> float | None:
    """Return a cell as a number; None if it is empty."""
    return None if cell is None or cell == "" else float(cell)


def _points(row: Row) -> tuple[tuple[float, float], ...]:
    """Return the landmarks of a row; empty if its detector gave none."""
    numbers = [(_number(row[x]), _number(row[y])) for x, y in _LANDMARKS]
    return tuple((x, y) for x, y in numbers if x is not None and y is not None)


def _face_of(row: Row) -> FaceOverlay:
    emotion = None
    if row["stable_label"]:
        emotion = Emotion(
            tuple(_number(row[f"p_{name}"]) for name in EXPRESSIONS),
            str(row["stable_label"]),
            Affect(float(row["valence"]), float(row["arousal"])),
            Affect(float(row["valence_smoothed"]), float(row["arousal_smoothed"])),
        )
    box = (row[f"box_{name}"] for name in ("x", "y", "width", "height"))
    x, y, width, height = map(float, box)
    return FaceOverlay(
        track=int(row["track"]),
        code=row["participant"] or None,
        box=(x, y, width, height),
        landmarks=_points(row),
        reasons=tuple((row["reasons"] or "").split("|")) if row["reasons"] else (),
        emotion=emotion,
    )
