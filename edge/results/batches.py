"""Batches of rows of one record: a log of any format, or the folder that ``analyse`` makes.

A batch is a dict of column to a list of cells, or to an array of pyarrow, all of one length.
Columns and their types are those of ``edge.client.tidy``; a cell that is not known is None, or -1
in a column of integers.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from edge.client.axis import TimeAxis
from edge.client.logs import is_database
from edge.client.logs.sessions import Span
from edge.client.logs.sqlite_reader import SqliteReader
from edge.client.logs.stored_rows import StoredRows
from edge.client.logs.table_reader import (
    csv_columns,
    csv_rows,
    parquet_batches,
    parquet_columns,
    parquet_files,
    readable,
    spools,
)
from edge.client.tidy import BOOLEANS, COLUMNS, EVENT_COLUMNS, INTEGERS, TEXTS, frame_rows
from edge.errors import ConfigError
from edge.protocol.messages import EventMessage, FrameMessage, StatusMessage
from edge.results.analysed import analysed_folder, tables_suffix
from edge.vocabulary import EXPRESSIONS

FRAME_COLUMNS: Final = (
    "device", "stream", "epoch", "seq", "unix_ns", "track", "participant", "time_s",
    "reasons", "stable_label", "valence", "arousal", "valence_relative", "arousal_relative",
    "clock", "synchronized", "frame_width", "frame_height", "frames_dropped",
    "affect_source", "mesh_left_eye", "perclos", "blinks_per_min",
    *(f"p_{name}" for name in EXPRESSIONS),
)  # fmt: skip
"""The columns that results need."""

_LATER: Final = frozenset(["affect_source", "mesh_left_eye", "perclos", "blinks_per_min"])
"""Columns that older tables lack; a Parquet log may have files with and without them."""

EXPECTED: Final = (
    "expected a log of affect-edge (.sqlite, .csv, .jsonl or a Parquet folder), or a folder that"
    " affect-edge analyse made"
)
_ROWS: Final = 20_000

Batch = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event of a record, or a gap (``event`` is then "gap").

    Attributes:
        device: of the message.
        stream: of its identity, as are the next two.
        epoch: number of the daemon's start.
        seq: number within the epoch; of a gap the first missing one.
        unix_ns: wall time.
        time_s: seconds on the time axis of its epoch.
        event: its name.
        detail: its fields.
    """

    device: str
    stream: str
    epoch: int
    seq: int
    unix_ns: int
    time_s: float
    event: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """A record that can be read.

    Attributes:
        events: reads all events, in order.
        frames: reads the rows of faces, in batches: all, or at least those in the spans that it is
            given, since not every format can be searched.
    """

    events: Callable[[], Iterator[RecordedEvent]]
    frames: Callable[[list[Span] | None], Iterator[Batch]]


def open_record(path: Path) -> Record:
    """Return the record at ``path``, by its kind.

    Raises:
        ConfigError: there is none, it is of another kind, or pyarrow is missing for Parquet.
    """
    if is_database(str(path).replace(":/", "://", 1)):  # a path has one slash where a URL has two
        raise ConfigError(
            "results are made of files: fetch the session with affect-edge log --out NAME.sqlite"
        )
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder; {EXPECTED}")
    if path.is_dir():
        return _of_folder(path)
    match path.suffix.lower():
        case ".sqlite":
            return _of_sqlite([path])
        case ".csv" if not path.name.endswith(".events.csv"):
            events = path.with_name(f"{path.name[:-4]}.events.csv")
            return Record(lambda: _csv_events(events), lambda _spans: _csv_frames(path))
        case ".jsonl":
            return Record(lambda: _json_events(path), lambda _spans: _json_frames(path))
        case ".parquet" if not path.name.endswith(".events.parquet"):
            events = path.with_name(f"{path.name[:-8]}.events.parquet")
            return Record(
                lambda: _parquet_events([events] if events.exists() else []),
                lambda _spans: _parquet_frames([path]),
            )
        case _:
            raise ConfigError(f"{path}: {EXPECTED}")


def _of_folder(path: Path) -> Record:
    if (path / "faces").is_dir() or spools(path):
        return _of_parquet_log(path)
    folder = analysed_folder(path)
    if folder is None:
        raise ConfigError(f"{path}: holds no record; {EXPECTED}")
    if tables_suffix(folder) == "parquet":
        return Record(
            lambda: _parquet_events([folder / "events.parquet"]),
            lambda _spans: _parquet_frames([folder / "frames.parquet"]),
        )
    return Record(
        lambda: _csv_events(folder / "events.csv"),
        lambda _spans: _csv_frames(folder / "frames.csv"),
    )


def _of_parquet_log(path: Path) -> Record:
    spooled = _of_sqlite(spools(path))

    def events() -> Iterator[RecordedEvent]:
        known: set[tuple[str, int, int, str]] = set()
        for each in chain(_parquet_events(parquet_files(path / "events")), spooled.events()):
            key = each.stream, each.epoch, each.seq, each.event
            if key not in known:  # after a kill, a spool and its files may both be there
                known.add(key)
                yield each

    def frames(spans: list[Span] | None) -> Iterator[Batch]:
        yield from _parquet_frames(parquet_files(path / "faces"))
        yield from spooled.frames(spans)

    return Record(events, frames)


def _of_sqlite(paths: Sequence[Path]) -> Record:
    def events() -> Iterator[RecordedEvent]:
        for path in paths:
            with SqliteReader(path) as reader:
                for stored in reader.events():
                    message = stored.decoded()
                    assert isinstance(message, EventMessage)
                    yield _event_of(message, stored.time_s)
                for placed in reader.gaps():
                    yield _event_of_row(dict(zip(EVENT_COLUMNS, placed.row(), strict=True)))

    def frames(spans: list[Span] | None) -> Iterator[Batch]:
        for path in paths:
            with SqliteReader(path) as reader:
                stored = StoredRows(reader, spans)
                yield from _batches(row for each in stored for row in each.frames)

    return Record(events, frames)


def _batches(rows: Iterator[Sequence[Any]]) -> Iterator[Batch]:
    places = [(name, COLUMNS.index(name)) for name in FRAME_COLUMNS]
    columns: dict[str, list[Any]] = {name: [] for name in FRAME_COLUMNS}
    count = 0
    for row in rows:
        for name, place in places:
            columns[name].append(row[place])
        count += 1
        if count == _ROWS:
            yield columns
            columns = {name: [] for name in FRAME_COLUMNS}
            count = 0
    if count:
        yield columns


def _event_of(message: EventMessage, time_s: float) -> RecordedEvent:
    return RecordedEvent(
        message.device,
        message.stream,
        message.epoch,
        message.seq,
        message.time.unix_ns,
        time_s,
        message.event,
        message.detail,
    )


def _event_of_row(row: Mapping[str, Any]) -> RecordedEvent:
    detail = json.loads(row.get("detail") or "{}")
    if not isinstance(detail, dict):
        raise ValueError("detail is no object")
    return RecordedEvent(
        str(row["device"]),
        str(row["stream"]),
        int(row["epoch"]),
        int(row["seq"]),
        int(row["unix_ns"]),
        float(row["time_s"]),
        str(row["event"]),
        detail,
    )


# --- CSV


def _csv_frames(path: Path) -> Iterator[Batch]:
    names, absent = _present(csv_columns(path))
    columns: dict[str, list[Any]] = {name: [] for name in names}
    readers = [(columns[name].append, _cell_reader(name)) for name in names]
    for line, row in csv_rows(path, names):
        try:
            for cell, (append, read) in zip(row, readers, strict=True):
                append(read(cell))
        except ValueError as error:
            raise ConfigError(f"{path}: line {line}: {error}") from error
        if len(columns["seq"]) == _ROWS:
            yield _filled(columns, absent)
            for name in names:
                columns[name].clear()
    if columns["seq"]:
        yield _filled(columns, absent)


def _present(header: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns to read, and those of ``_LATER`` that a table lacks."""
    absent: list[str] = [name for name in FRAME_COLUMNS if name in _LATER and name not in header]
    return [name for name in FRAME_COLUMNS if name not in absent], absent


def _filled(batch: Batch, absent: Sequence[str]) -> Batch:
    """Return a batch with the columns that its table lacks: nothing is known of them."""
    return {**batch, **{name: [None] * len(batch["seq"]) for name in absent}}


def _cell_reader(column: str) -> Callable[[str], Any]:
    if column in INTEGERS:
        return int
    if column in BOOLEANS:
        return "true".__eq__
    if column in TEXTS:
        return lambda cell: cell or None
    return lambda cell: float(cell) if cell else None


def _csv_events(path: Path) -> Iterator[RecordedEvent]:
    if not path.exists():  # of a table that somebody copied without its events
        return
    for line, row in csv_rows(path, EVENT_COLUMNS):
        try:
            yield _event_of_row(dict(zip(EVENT_COLUMNS, row, strict=True)))
        except ValueError as error:
            raise ConfigError(f"{path}: line {line}: {error}") from error


# --- JSONL


def _json_messages(
    path: Path,
) -> Iterator[tuple[float, FrameMessage | EventMessage | StatusMessage] | dict[str, Any]]:
    """Return messages with their place on the axis, and gaps as they are."""
    axis = TimeAxis()
    kinds: dict[str, Any] = {
        "frame": FrameMessage,
        "event": EventMessage,
        "status": StatusMessage,
    }
    with readable(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # torn by a crash: it was never acknowledged
            try:
                record = json.loads(line)
                if record["kind"] == "gap":
                    yield record
                    continue
                message: Any = kinds[record["kind"]].model_validate_json(line)
            except (ValueError, LookupError, TypeError) as error:
                raise ConfigError(
                    f"{path}: line {number} is no message of affect-edge; {EXPECTED}"
                ) from error
            yield axis.place(message), message


def _json_events(path: Path) -> Iterator[RecordedEvent]:
    gaps: list[dict[str, Any]] = []
    for found in _json_messages(path):
        if isinstance(found, dict):
            gaps.append(found)
            continue
        time_s, message = found
        for gap in gaps:
            yield RecordedEvent(
                str(gap["device"]),
                str(gap["stream"]),
                int(gap["epoch"]),
                int(gap["first_missing"]),
                int(gap["unix_ns"]),
                time_s,
                "gap",
                {"reason": gap.get("reason")},
            )
        gaps.clear()
        if isinstance(message, EventMessage):
            yield _event_of(message, round(time_s, 6))


def _json_frames(path: Path) -> Iterator[Batch]:
    yield from _batches(
        row
        for found in _json_messages(path)
        if isinstance(found, tuple) and isinstance(found[1], FrameMessage)
        for row in frame_rows(found[1], found[0])
    )


# --- Parquet


def _parquet_frames(paths: Sequence[Path]) -> Iterator[Batch]:
    for path in paths:
        names, absent = _present(parquet_columns(path))
        for batch in parquet_batches(path, names, rows=_ROWS):
            yield _filled(batch, absent)


def _parquet_events(paths: Sequence[Path]) -> Iterator[RecordedEvent]:
    for path in paths:
        for batch in parquet_batches(path, EVENT_COLUMNS, rows=_ROWS):
            columns = (
                column if isinstance(column := batch[name], list) else column.to_pylist()
                for name in EVENT_COLUMNS
            )
            for cells in zip(*columns, strict=True):
                yield _event_of_row(dict(zip(EVENT_COLUMNS, cells, strict=True)))
