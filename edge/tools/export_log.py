"""``affect-edge export-log``: tidy tables from a SQLite log.

``OUT.csv`` or ``OUT.parquet`` has one row per face and frame, and ``OUT.events.*`` the events and
gaps, with the columns of ``edge.client.tidy``. ``OUT.jsonl`` has the messages as received, in the
order of reception. The log may be written meanwhile: what it held at the start is exported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.client.logs.sessions import Span
from edge.client.logs.sqlite_reader import SqliteReader
from edge.client.logs.stored_rows import StoredRows
from edge.client.logs.table_file import opened_new, opened_table
from edge.client.tidy import COLUMNS, EVENT_COLUMNS
from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError
from edge.files.durable import require_place

SUFFIXES: Final = (".parquet", ".csv", ".jsonl")
_REPORT_MS: Final = 2000.0


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """Counts of an export.

    Attributes:
        messages: messages exported.
        rows: rows of faces, in a JSONL lines.
        events: rows of events and gaps; 0 for a JSONL.
        files: the files made.
    """

    messages: int
    rows: int
    events: int
    files: tuple[Path, ...]


def run_export(
    log: Path,
    to: Path,
    *,
    session: str | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> ExportSummary:
    """Export a log; the files appear when they are complete.

    Args:
        log: a SQLite log; it is not changed.
        to: the file to make or to replace, ``.parquet``, ``.csv`` or ``.jsonl``.
        session: only the messages of the session with this name or id.
        report: takes a line of progress every two seconds.

    Raises:
        ConfigError: ``log`` is not a log, ``to`` has another suffix, the session is not in the log,
            or pyarrow is missing (exit 78).
        LogFileError: the log cannot be read, or the files cannot be written (exit 1).
    """
    if to.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--to {to}: expected a name that ends in .parquet, .csv or .jsonl")
    require_place(to, f"--to {to}")
    with SqliteReader(log) as reader:
        spans = None if session is None else reader.spans_of(session)
        progress = _Progress(reader.count(spans), report)
        if to.suffix.lower() == ".jsonl":
            return _export_messages(reader, to, spans, progress)
        return _export_tables(reader, to, spans, progress)


def _export_messages(
    reader: SqliteReader, to: Path, spans: list[Span] | None, progress: "_Progress"
) -> ExportSummary:
    with opened_new(to, is_locked=False) as file:
        for stored in reader.messages(spans):
            file.write(stored.body.replace("\n", " ").replace("\r", " ").encode() + b"\n")
            progress.add()
    return ExportSummary(progress.done, progress.done, 0, (to,))


def _export_tables(
    reader: SqliteReader, to: Path, spans: list[Span] | None, progress: "_Progress"
) -> ExportSummary:
    events_to = to.with_suffix(f".events{to.suffix}")
    rows = events = 0
    with (
        opened_table(to, COLUMNS, is_locked=False) as faces,
        opened_table(events_to, EVENT_COLUMNS, is_locked=False) as others,
    ):
        for message in StoredRows(reader, spans):
            faces.append(message.frames)
            others.append(message.events)
            rows += len(message.frames)
            events += len(message.events)
            if message.is_message:
                progress.add()
    return ExportSummary(progress.done, rows, events, (to, events_to))


class _Progress:
    def __init__(self, total: int, report: Callable[[str], None]) -> None:
        self.done = 0
        self._total = total
        self._report = report
        self._started_ns = self._reported_ns = monotonic_ns()

    def add(self) -> None:
        self.done += 1
        if self.done % 1000 or elapsed_ms(self._reported_ns) < _REPORT_MS:
            return
        self._reported_ns = monotonic_ns()
        rate = self.done / elapsed_ms(self._started_ns) * 1e3
        share = self.done / max(1, self._total)
        self._report(
            f"{self.done} of {self._total} messages ({share:.0%}), {rate:.0f} messages/s,"
            f" {(self._total - self.done) / rate:.0f} s left"
        )
