"""The tables of one recording: those of ``edge.client.tidy``, as a logger makes them.

What measures the run and not the recording is unknown in them, so that every machine and every
repetition gives the same bytes: ``published_ns``, ``monotonic_ns`` and ``max_error_us`` are -1, the
columns ``*_ms`` empty, ``synchronized`` false. ``unix_ns`` is -1 if it is not known when the
recording was made.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from edge.client.logs.table_file import TableFile, opened_table
from edge.client.tidy import (
    COLUMNS,
    EVENT_COLUMNS,
    NONE,
    Cell,
    detail_text,
    event_row,
    frame_rows,
)
from edge.errors import ConfigError, LogFileError
from edge.protocol.events import DETAILS, Detail
from edge.protocol.lid_events import LidEvent
from edge.protocol.messages import (
    EventMessage,
    EventTime,
    FrameInfo,
    FrameMessage,
    FrameTime,
    StageTimes,
)
from edge.recordings.result import Result

_TRACK: Final = COLUMNS.index("track")
_PARTICIPANT: Final = COLUMNS.index("participant")
_EVENT: Final = EVENT_COLUMNS.index("event")
_DETAIL: Final = EVENT_COLUMNS.index("detail")
_OF_EYES: Final = {name for name, each in DETAILS.items() if issubclass(each, LidEvent)}
_STAGES: Final[dict[str, Any]] = dict.fromkeys(StageTimes.model_fields)
_NO_TIMES: Final = StageTimes.model_construct(**_STAGES)
_BATCH_ROWS: Final = 10_000

Row = list[Cell]


class Tables:
    """Writes results and events of one recording as rows, numbered in their order.

    Args:
        frames: the tables of faces.
        events: the tables of events.
        device: name in the rows.
        stream: UUID of the analysis.
        recorded_unix_ns: when the first picture was taken; None: unknown.
        codes: participants by track, assigned afterwards.

    Attributes:
        first_ns: time within the recording of its first picture, which was taken at
            ``recorded_unix_ns``; to be set when it is known.
        messages: results and events so far.
    """

    def __init__(
        self,
        frames: Sequence[TableFile],
        events: Sequence[TableFile],
        *,
        device: str,
        stream: str,
        recorded_unix_ns: int | None,
        codes: Mapping[int, str],
    ) -> None:
        self._frames = frames
        self._events = events
        self._head: dict[str, Any] = {"device": device, "stream": stream, "epoch": 1}
        self._recorded_unix_ns = recorded_unix_ns
        self._codes = codes
        self._media_ns: int | None = None  # of the newest result
        self.first_ns = 0
        self.messages = 0

    def result(self, result: Result) -> None:
        """Add the rows of a picture.

        Raises:
            LogFileError: they cannot be written.
        """
        self._media_ns = result.media_ns
        message = FrameMessage.model_construct(
            **self._head,
            seq=self._next_seq(),
            frame=FrameInfo.model_construct(
                index=result.index,
                width=result.width,
                height=result.height,
                dropped=result.dropped,
                file=result.file,
                page=result.page,
                ignored=result.ignored,
            ),
            time=FrameTime.model_construct(
                sensor_ns=result.media_ns,
                clock="media",
                exposure_us=None,
                unix_ns=self._unix_ns(),
                published_ns=NONE,
                synchronized=False,
                max_error_us=None,
            ),
            timing_ms=_NO_TIMES,
            faces=list(result.faces),
        )
        self.frame_rows(frame_rows(message, result.media_ns / 1e9))

    def frame_rows(self, rows: list[Row], *, replace: bool = False) -> None:
        """Add rows of faces, with the participants that were assigned afterwards.

        ``replace``: those that the rows have were assigned afterwards, too, and no longer count.
        """
        if self._codes or replace:
            for row in rows:
                present = None if replace else row[_PARTICIPANT]
                row[_PARTICIPANT] = self._codes.get(row[_TRACK], present)  # type: ignore[arg-type]
        for table in self._frames:
            table.append(rows)

    def event(self, detail: Detail) -> None:
        """Add the row of an event; it has the time of the picture before it.

        Raises:
            LogFileError: it cannot be written.
        """
        message = EventMessage(
            **self._head,
            seq=self._next_seq(),
            time=EventTime(
                monotonic_ns=NONE,
                unix_ns=self._unix_ns(),
                synchronized=False,
                media_ns=self._media_ns,
            ),
            event=detail.event,
            detail=detail.model_dump(mode="json"),
        )
        self.event_rows([event_row(message, (self._media_ns or 0) / 1e9)])

    def event_rows(self, rows: list[Row], *, replace: bool = False) -> None:
        """Add rows of events; those of eyes with the participants, as ``frame_rows`` does."""
        if self._codes or replace:
            for row in rows:
                if row[_EVENT] in _OF_EYES:
                    detail = json.loads(str(row[_DETAIL]))
                    present = None if replace else detail.get("participant")
                    detail["participant"] = self._codes.get(detail["track"], present)
                    row[_DETAIL] = detail_text(detail)
        for table in self._events:
            table.append(rows)

    def _next_seq(self) -> int:
        self.messages += 1
        return self.messages - 1

    def _unix_ns(self) -> int:
        """Return the wall time of the newest picture; -1 if it is not known."""
        if self._recorded_unix_ns is None:
            return NONE
        if self._media_ns is None:
            return self._recorded_unix_ns
        return self._recorded_unix_ns - self.first_ns + self._media_ns


@contextmanager
def opened_tables(
    folder: Path,
    *,
    csv: bool,
    device: str,
    stream: str,
    recorded_unix_ns: int | None,
    codes: Mapping[int, str],
) -> Iterator[Tables]:
    """Make ``frames.*`` and ``events.*`` in a folder for a ``with`` block.

    Args:
        folder: that of the recording's results.
        csv: whether to make CSV files beside those in Parquet.
        device: and all others: see ``Tables``.

    Raises:
        ConfigError: pyarrow is missing.
        LogFileError: they cannot be written.
    """
    suffixes = (".parquet", ".csv") if csv else (".parquet",)
    with _written(folder), ExitStack() as stack:

        def opened(name: str, columns: Sequence[str]) -> list[TableFile]:
            return [
                stack.enter_context(opened_table(folder / f"{name}{suffix}", columns))
                for suffix in suffixes
            ]

        yield Tables(
            opened("frames", COLUMNS),
            opened("events", EVENT_COLUMNS),
            device=device,
            stream=stream,
            recorded_unix_ns=recorded_unix_ns,
            codes=codes,
        )


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Describe the errors of tables as those of results: no logger has to be started again."""
    try:
        yield
    except LogFileError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise LogFileError(
            f"{folder}: cannot be written: {cause.strerror}; make room, or check the disk"
        ) from error


def stored_rows(path: Path) -> Iterator[list[Row]]:
    """Yield the rows of a Parquet table of an earlier analysis, in parts of bounded size.

    Raises:
        ConfigError: it cannot be read, or is damaged.
    """
    import pyarrow.parquet  # noqa: PLC0415

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                columns = [column.to_pylist() for column in batch.columns]
                yield [list(row) for row in zip(*columns, strict=True)]
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ConfigError:
    """Return the error of a file of an earlier analysis that cannot be read."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return ConfigError(
        f"{path}: cannot be read: {reason}; add --again to analyse the recording anew"
    )
