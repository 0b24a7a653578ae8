"""The file formats of a log; each can be continued where it stopped.

``.jsonl``
    The messages as received, in order, one JSON object per line, statuses included. A gap is a
    line of its own right before the message that revealed it::

        {"schema":"affect.log.v1","kind":"gap","device":D,"stream":S,"epoch":E,
         "first_missing":N,"last_missing":M,"unix_ns":time of that message}

``.csv``
    The table of ``edge.client.tidy``; events and gaps are in ``OUT.events.csv`` next to it. Tables
    with the columns of another version are renamed ``OUT.old-1.csv``, and new ones are begun.

A crash may leave a torn end: a line without its newline, or a frame without all its rows. It is cut
off when the log is opened, so a message is either complete or reported as missing. Where a log
stopped is found in its last 8 MiB: some minutes of one device. A stream without a message in them
counts as new, so no gap is reported for it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from edge.client.csv_log import TidyCsv
from edge.client.gaps import Cursor, Gap
from edge.client.linefile import RESUME_BYTES, LineFile
from edge.client.subscriber import Received
from edge.errors import ConfigError

GAP_SCHEMA = "affect.log.v1"


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
            log = TidyCsv(out, report)
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
        records = map(_json_object, self._file.last_lines(RESUME_BYTES))
        return [cursor for each in records if each and (cursor := _json_cursor(each))]

    def write(self, received: Received) -> int:
        lines = received.body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
        if received.gap is not None:
            lines = _gap_line(received.gap, received) + lines
        self._file.append(lines)
        return 1


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
