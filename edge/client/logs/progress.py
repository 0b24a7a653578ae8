"""Progress of a log: the cursors, the time axes and the day of its files."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge.client.axis import Origin, TimeAxis
from edge.client.gaps import STREAMS_MAX, Cursor
from edge.client.logs.failures import log_error
from edge.client.subscriber import Received
from edge.clock import day
from edge.files.durable import replace_file
from edge.protocol.messages import StatusMessage

_SCHEMA: Final = "affect.log-progress.v1"


@dataclass(frozen=True, slots=True)
class FileEnd:
    """The end of what is committed in a file.

    Attributes:
        size: bytes that are committed.
        crc32: of the last ``linefile.CHECKED_BYTES`` of them; recognises the file.
    """

    size: int
    crc32: int


@dataclass(slots=True)
class SavedProgress:
    """What a progress file holds.

    Attributes:
        cursors: one for each stream.
        origins: time axes of the newest epochs.
        day: UTC day of the first message in the current files; None: there is none yet.
        ends: by file name.
    """

    cursors: list[Cursor] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    day: str | None = None
    ends: dict[str, FileEnd] = field(default_factory=dict)


class Progress:
    """The cursors and time axes of the messages added so far. Not thread-safe.

    It remembers the newest epoch of the 256 streams noted last.

    Attributes:
        day: UTC day of the first message since the last rotation; None: there is none yet.
    """

    def __init__(
        self,
        cursors: Iterable[Cursor] = (),
        origins: Iterable[Origin] = (),
        day: str | None = None,
    ) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        self._axis = TimeAxis(origins)
        self.day = day
        for cursor in cursors:
            self._advance(cursor.stream, (cursor.epoch, cursor.seq))

    @property
    def cursors(self) -> list[Cursor]:
        """The last message of each stream."""
        return [Cursor(stream, *last) for stream, last in self._last.items()]

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The time axes."""
        return self._axis.origins

    def note(self, received: Received) -> float:
        """Note a message and its gap; return the seconds on its epoch's axis."""
        message = received.message
        for gap in received.gaps:
            if gap.last_missing is not None:
                self._advance(gap.stream, (gap.epoch, gap.last_missing))
        if not isinstance(message, StatusMessage):
            self._advance(message.stream, (message.epoch, message.seq))
        if self.day is None:
            self.day = day(message.time.unix_ns)
        return self._axis.place(message)

    def _advance(self, stream: str, last: tuple[int, int]) -> None:
        self._last[stream] = max(self._last.pop(stream, (-1, -1)), last)  # newest at the end
        if len(self._last) > STREAMS_MAX:
            del self._last[next(iter(self._last))]


class ProgressFile:
    """Keeps the progress next to a log, as ``OUT.cursors``; replaced as a whole.

    A log can be moved or deleted; its cursors stay.

    Args:
        log: the file or folder of the log.
        report: takes a line if the file cannot be read.
    """

    def __init__(self, log: Path, report: Callable[[str], None] = lambda _line: None) -> None:
        self.path = log.with_name(f"{log.name}.cursors")
        self._report = report

    def load(self) -> SavedProgress | None:
        """Return what was stored; None if there is nothing, or it is damaged."""
        try:
            return _decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            self._report(f"{self.path}: cannot be read ({error}); the log itself is searched")
            return None

    def store(self, progress: Progress, ends: Mapping[str, FileEnd] | None = None) -> None:
        """Replace the stored progress; on return it would survive a power cut.

        Raises:
            LogFileError: that is not possible (LogUnavailable: not now); the file is unchanged.
        """
        try:
            replace_file(self.path, _encode(progress, ends or {}))
        except OSError as error:
            raise log_error(self.path, error) from error


def _encode(progress: Progress, ends: Mapping[str, FileEnd]) -> bytes:
    record = {
        "schema": _SCHEMA,
        "day": progress.day,
        "cursors": [[each.stream, each.epoch, each.seq] for each in progress.cursors],
        "axes": [
            [each.stream, each.epoch, each.start_ns, each.media_ns] for each in progress.origins
        ],
        "files": {name: [end.size, end.crc32] for name, end in ends.items()},
    }
    return json.dumps(record).encode() + b"\n"


def _decode(content: bytes) -> SavedProgress:
    record = json.loads(content)
    if record["schema"] != _SCHEMA:
        raise ValueError(f"expected schema {_SCHEMA}")
    return SavedProgress(
        [Cursor(str(stream), int(epoch), int(seq)) for stream, epoch, seq in record["cursors"]],
        [Origin(*axis) for axis in record["axes"]],
        record["day"],
        {name: FileEnd(int(size), int(crc)) for name, (size, crc) in record["files"].items()},
    )
