"""The tail: the newest messages in files of memory-backed storage.

A process that is killed loses what it had in its own memory, but not what it has written to a file
there. So each message is in the tail before it is published, and the next start of the daemon
stores what the killed one had not stored yet. A power cut empties the tail.

A segment is a file ``EPOCH-FIRST.tail`` of records: a head (length, CRC-32, number, wall time),
then the message. The last record may be incomplete, if the process was killed while writing it; it
was not published then. While a message could not be written and is not stored either, an empty file
``incomplete`` says so.
"""

import contextlib
import errno
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edge.hub.journal.batch import BEFORE_ALL, Position
from edge.hub.journal.entries import Entry

SEGMENT_BYTES: Final = 256 << 10
_HEAD: Final = struct.Struct(
    "<IIqq"
)  # length of the body, CRC-32 of all that follows, seq, unix_ns
_SUFFIX: Final = ".tail"


class Tail:
    """The tail of one stream. ``append`` is for one thread, the others for any.

    Attributes:
        folder: of the segments, private to the user.
        was_left: the folder was there: the last process did not end cleanly.
        was_incomplete: that process could not write all its messages.
    """

    def __init__(self, setting: str, stream: str, environment: Mapping[str, str]) -> None:
        """Create the folder if it is not there.

        Args:
            setting: ``journal.tail``: where to keep it; empty: RUNTIME_DIRECTORY or /dev/shm.
            stream: each has a folder of its own, so that two daemons never share one.
            environment: for RUNTIME_DIRECTORY.

        Raises:
            OSError: the folder cannot be used, or belongs to another user.
        """
        runtime = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
        if runtime:  # a link into /run/private, with DynamicUser= and RuntimeDirectoryPreserve=
            runtime = os.path.realpath(runtime)
        root = setting or runtime or f"/dev/shm/affect-edge-{os.geteuid()}"
        folder = Path(root) / f"tail-{stream}"
        self.was_left = folder.exists()
        self.folder = _private(_private(folder.parent, parents=True) / folder.name)
        self._mark = self.folder / "incomplete"
        self.was_incomplete = self._mark.exists()
        self._missing = BEFORE_ALL if self.was_incomplete else None  # the newest not written
        self._lock = threading.Lock()
        self._closed: deque[tuple[Position, Path]] = deque()  # last message of each, its file
        self._file: int | None = None
        self._path = self.folder
        self._size = 0
        self._last = BEFORE_ALL

    def recover(self) -> list[Entry]:
        """Return the messages of earlier processes, in order; call it before ``append``.

        Their segments stay until ``discard``.
        """
        entries: list[Entry] = []
        for epoch, _, path in sorted(_segments(self.folder)):
            read = _read_segment(epoch, path)
            entries += read
            last = read[-1].position if read else Position(epoch, -1)
            self._closed.append((last, path))
        return entries

    def append(self, entry: Entry) -> None:
        """Write a message.

        Raises:
            OSError: it cannot be written, such as without free memory.
        """
        content = struct.pack("<qq", entry.seq, entry.unix_ns) + entry.body
        record = struct.pack("<II", len(entry.body), zlib.crc32(content)) + content
        with self._lock:
            try:
                self._write(entry, record)
            except OSError:
                if self._missing is None:
                    with contextlib.suppress(OSError):  # it takes no space
                        self._mark.touch(mode=0o600)
                self._missing = entry.position
                raise

    def _write(self, entry: Entry, record: bytes) -> None:
        if self._file is None or self._size >= SEGMENT_BYTES:
            self._rotate(entry)
        assert self._file is not None
        written = os.write(self._file, record)
        if written != len(record):
            # what follows an incomplete record cannot be read: the next one begins a segment
            self._size = SEGMENT_BYTES
            raise OSError(errno.ENOSPC, "no space left for the tail")
        self._size += written
        self._last = entry.position

    def _rotate(self, entry: Entry) -> None:
        path = self.folder / f"{entry.epoch}-{entry.seq}{_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(path, flags, 0o600)
        if self._file is not None:
            os.close(self._file)
            self._closed.append((self._last, self._path))
        self._file, self._path, self._size = file, path, 0

    def discard(self, upto: Position) -> None:
        """Delete the segments whose messages are all stored: those up to ``upto``.

        The newest segment stays: after the process was killed, it shows which message was the last.
        """
        with self._lock:
            if self._missing is not None and self._missing <= upto:
                self._mark.unlink(missing_ok=True)
                self._missing = None
            while self._closed and self._closed[0][0] <= upto:
                self._closed.popleft()[1].unlink(missing_ok=True)

    def clear(self, upto: Position) -> list[Path]:
        """Delete all messages up to ``upto``, which are stored; return the files that are left."""
        with self._lock:
            if self._file is not None and self._last <= upto:
                self._path.unlink(missing_ok=True)
                os.close(self._file)
                self._file = None
        self.discard(upto)
        return [path for _, _, path in _segments(self.folder)]

    def close(self, *, remove: bool) -> None:
        """Close the newest segment; with ``remove``, delete all: every message is stored."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._closed.append((self._last, self._path))
        if remove:
            self.discard(Position(2**63, -1))  # of every epoch: a new stream begins with 1 again
            with contextlib.suppress(OSError):  # a segment that could not be recovered stays
                self.folder.rmdir()


def _segments(folder: Path) -> list[tuple[int, int, Path]]:
    found = []
    for path in folder.glob(f"*{_SUFFIX}"):
        epoch, _, first = path.name.removesuffix(_SUFFIX).partition("-")
        if epoch.isdecimal() and first.isdecimal():
            found.append((int(epoch), int(first), path))
    return found


def _read_segment(epoch: int, path: Path) -> list[Entry]:
    data = path.read_bytes()
    entries, at = [], 0
    while at + _HEAD.size <= len(data):
        length, checksum, seq, unix_ns = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if end > len(data) or zlib.crc32(data[at + 8 : end]) != checksum:
            break
        entries.append(Entry(epoch, seq, unix_ns, data[at + _HEAD.size : end]))
        at = end
    return entries


def _private(path: Path, *, parents: bool = False) -> Path:
    """Create the folder if it is not there; refuse one that another user could change."""
    path.mkdir(mode=0o700, parents=parents, exist_ok=True)
    state = path.lstat()
    if state.st_uid != os.geteuid() or not path.is_dir() or path.is_symlink():
        raise PermissionError(errno.EACCES, f"{path} belongs to another user, or is not a folder")
    return path
