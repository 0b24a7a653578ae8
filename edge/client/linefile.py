"""An append-only file of lines, locked against other writers."""

import errno
import os
import stat
from pathlib import Path

from edge.clock import monotonic_ns
from edge.errors import ConfigError, LogFileError
from edge.filelock import lock_file

_BLOCK_BYTES = 64 * 1024
_SYNC_INTERVAL_NS = 1_000_000_000


class LineFile:
    """Appends lines; after a kill, a full disk or a crash, all earlier lines are complete.

    A complete line is never overwritten. Not thread-safe.

    Args:
        path: the file; created with mode 0600 if missing, in a folder that exists.

    Raises:
        ConfigError: it cannot be opened or locked, is not a regular file, or another process
            writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigError(f"log {path}: cannot be opened: {error.strerror}") from error
        try:
            self._lock()
        except ConfigError:
            os.close(self._fd)
            raise
        self._size = os.fstat(self._fd).st_size
        self._synced_ns = monotonic_ns()
        self._dirty = False

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise ConfigError(f"log {self.path}: expected a regular file, or none yet")
        in_use = "another process writes to it; give each logger its own file"
        lock_file(self._fd, name=f"log {self.path}", in_use=in_use)

    @property
    def size(self) -> int:
        """Size of the file, bytes."""
        return self._size

    def first_line(self) -> tuple[bytes, bool]:
        """Return the first line (at most its first 64 KiB), and whether a newline ends it."""
        line, newline, _ = self._read(0, _BLOCK_BYTES).partition(b"\n")
        return line, bool(newline)

    def cut_torn_line(self) -> int:
        """Cut off everything after the last newline; return how many bytes that was."""
        end = self._size
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            at = self._read(start, end - start).rfind(b"\n")
            if at >= 0:
                return self.cut(self._size - (start + at + 1))
            end = start
        return self.cut(self._size)

    def cut(self, count: int) -> int:
        """Cut off the last ``count`` bytes; return ``count``. Only for an incomplete end.

        Raises:
            LogFileError: the file cannot be truncated.
        """
        if count:
            try:
                os.ftruncate(self._fd, self._size - count)
            except OSError as error:
                raise LogFileError(f"log {self.path}: {error.strerror}") from error
            self._size -= count
            self._dirty = True
        return count

    def last_lines(self, limit_bytes: int) -> list[bytes]:
        """Return the complete lines in the last ``limit_bytes``, without their newlines."""
        start = max(0, self._size - limit_bytes)
        lines = self._read(start, self._size - start).split(b"\n")[:-1]
        return lines[1:] if start else lines

    def append(self, lines: bytes) -> None:
        """Append ``lines``, each ended by a newline: all of them or none.

        Raises:
            LogFileError: they cannot be written; the file is unchanged.
        """
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._fd, lines[written:])
        except OSError as error:
            self._size += written
            self.cut(written)
            raise LogFileError(self._error_text(error)) from error
        self._size += written
        self._dirty = True

    def sync_if_due(self) -> None:
        """Flush appended lines to the disk (fsync), at most once a second.

        Raises:
            LogFileError: the flush failed.
        """
        if self._dirty and monotonic_ns() - self._synced_ns >= _SYNC_INTERVAL_NS:
            self.sync()

    def sync(self) -> None:
        """Flush appended lines to the disk (fsync) now.

        Raises:
            LogFileError: the flush failed.
        """
        if not self._dirty:
            return
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise LogFileError(self._error_text(error)) from error
        self._synced_ns = monotonic_ns()
        self._dirty = False

    def close(self) -> None:
        """Close the file and release its lock, without flushing to the disk."""
        os.close(self._fd)

    def _read(self, start: int, count: int) -> bytes:
        try:
            return os.pread(self._fd, count, start)
        except OSError as error:
            raise LogFileError(self._error_text(error)) from error

    def _error_text(self, error: OSError) -> str:
        remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the disk"
        return (
            f"log {self.path}: {error.strerror} after {self._size} bytes; every line so far is"
            f" complete; {remedy} and start the logger again"
        )
