"""The JSONL format of a log: the messages as received, in order, one JSON object a line.

Statuses are included. A gap is a line of its own right before the message that revealed it::

    {"schema":"affect.log.v1","kind":"gap","device":D,"stream":S,"epoch":E,
     "first_missing":N,"last_missing":M,"reason":R,"unix_ns":time of that message}

``last_missing`` is null where it is not known, ``reason`` where only the absence was noticed.
"""

import json
from collections.abc import Callable
from pathlib import Path

from edge.client.gaps import Cursor, Gap
from edge.client.logs.linefile import RESUME_BYTES
from edge.client.logs.linefiles import opened_line_files
from edge.client.logs.progress import Progress
from edge.client.subscriber import Received
from edge.errors import ConfigError


class JsonLines:
    """Messages as received, one per line; see ``LogFormat``."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._files = opened_line_files(path, {path.suffix: b""}, report)
        (self._file,) = self._files.files
        self._progress = Progress()

    @property
    def cut_bytes(self) -> int:
        """See ``LogFormat``."""
        return self._files.cut_bytes

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
        """Cut off what was not committed; see ``LogFormat``."""
        first, is_complete = self._file.first_line()
        if first and (_json_object(first) is None if is_complete else not first.startswith(b"{")):
            raise ConfigError(f"log {self._file.path}: exists and holds no messages; name another")
        saved, is_whole = self._files.recover()
        cursors = saved.cursors
        if not is_whole:
            records = map(_json_object, self._file.last_lines(RESUME_BYTES))
            cursors += [cursor for each in records if each and (cursor := _json_cursor(each))]
        self._progress = Progress(cursors, saved.origins, saved.day)
        return cursors

    def write(self, received: Received) -> int:
        """Add the line of a message, after that of its gap; see ``LogFormat``."""
        for gap in received.gaps:
            self._file.append(_gap_line(gap, received))
        self._file.append(received.body.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
        self._progress.note(received)
        self._files.note_change()
        return 1

    def commit(self) -> None:
        """Store the lines and the cursors; see ``LogFormat``."""
        self._files.commit(self._progress)

    def rotate(self) -> None:
        """Rename the file; see ``LogFormat``."""
        if (on_day := self._progress.day) is not None:
            self._files.rotate(self._progress, on_day)

    def close(self) -> None:
        """Close the file; see ``LogFormat``."""
        self._files.close()


def _gap_line(gap: Gap, received: Received) -> bytes:
    message = received.message
    record = gap.record(message.device) | {"unix_ns": message.time.unix_ns}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _json_object(line: bytes) -> dict[str, object] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "kind" in record else None


def _json_cursor(record: dict[str, object]) -> Cursor | None:
    """Return the cursor of a line; None for a status, whose last message may not be in the log."""
    last = {"gap": "last_missing"}.get(str(record["kind"]), "seq")
    stream, epoch, seq = record.get("stream"), record.get("epoch"), record.get(last)
    if isinstance(stream, str) and isinstance(epoch, int) and isinstance(seq, int):
        return Cursor(stream, epoch, seq)
    return None
