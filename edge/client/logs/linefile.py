"""An append-only file of lines, locked against other writers."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from edge.clock import monotonic_ns
from edge.errors import ConfigError, LogFileError
from edge.filelock import lock_file

RESUME_BYTES = 8 << 20
"""How much of the end of a log is searched for the last message of each stream."""

_BLOCK_BYTES = 64 * 1024
_SYNC_INTERVAL_NS = 1_000_000_000


class LineFile:
    """Appends lines; after a kill, a full disk or a crash, all earlier lines are complete.

    A complete line is never overwritten. If the file is deleted, moved or replaced while it is
    open, the lines go on in a new file at the same path; if it is cut, behind its last complete
    line. Not thread-safe.

    Args:
        path: the file; created with mode 0600 if missing, in a folder that exists.
        header: first line of the file, with its newline; empty if it has none.
        report: takes one line when the file was deleted, moved, replaced or cut.

    Attributes:
        deleted_lines: lines of this object that were lost because their file was deleted.

    Raises:
        ConfigError: it cannot be opened or locked, is not a regular file, or another process
            writes to it.
    """

    def __init__(
        self,
        path: Path,
        header: bytes = b"",
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.path = path
        self.deleted_lines = 0
        self._header = header
        self._report = report
        self._fd = _open_locked(path)
        self._size = os.fstat(self._fd).st_size
        self._lines = 0  # appended to this file
        self._synced_ns = self._looked_ns = monotonic_ns()
        self._dirty = False

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

    def start(self) -> int:
        """Cut off a torn last line, and write the header into an empty file.

        Return how many bytes were cut off.
        """
        cut_bytes = self.cut_torn_line()
        if self._size == 0 and self._header:
            self._write(self._header)
        return cut_bytes

    def set_aside(self, path: Path) -> None:
        """Rename the file to ``path``; the lines go on in a new file at the old path.

        Raises:
            ConfigError: it cannot be renamed, or the new file cannot be opened.
        """
        try:
            os.rename(self.path, path)
        except OSError as error:
            raise ConfigError(
                f"log {self.path}: cannot be renamed to {path.name}: {error.strerror}"
            ) from error
        self._open_again()

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
        self._follow_path()
        self._write(lines)
        self._lines += lines.count(b"\n")

    def _write(self, lines: bytes) -> None:
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

        A file that was deleted or moved is noticed here, too, if nothing is appended.

        Raises:
            LogFileError: the flush failed.
        """
        if monotonic_ns() - self._looked_ns >= _SYNC_INTERVAL_NS:
            self._follow_path()
        if self._dirty and monotonic_ns() - self._synced_ns >= _SYNC_INTERVAL_NS:
            self.sync()

    def sync(self) -> None:
        """Flush appended lines to the disk (fsync) now.

        Raises:
            LogFileError: the flush failed.
        """
        self._follow_path()
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

    def _follow_path(self) -> None:
        """If the path no longer leads to the open file, go on in the file that it leads to.

        Raises:
            LogFileError: no file can be opened there, or it has other contents.
        """
        self._looked_ns = monotonic_ns()
        try:
            found = os.stat(self.path)
            if os.path.samestat(found, os.fstat(self._fd)):
                if found.st_size < self._size:
                    self._follow_cut(found.st_size)
                return
        except OSError:  # no such file or folder, or a network share that is gone
            pass
        fate = self._fate()
        try:
            self._open_again()
        except ConfigError as error:
            reason = str(error).removeprefix(f"log {self.path}: ")
            raise LogFileError(
                f"log {self.path}: {fate} while it was written, and no new file can be begun there"
                f" ({reason}); restore the folder and start the logger again"
            ) from error
        first, _ = self.first_line()
        if self._size and not (first + b"\n").startswith(self._header or b"{"):
            raise LogFileError(
                f"log {self.path}: {fate} while it was written, and another file is there now;"
                " move that one away and start the logger again"
            )
        self.start()
        self._report(f"{self.path}: {fate} while it was written; it goes on in a new file")

    def _follow_cut(self, size: int) -> None:
        """Go on behind the last complete line of the file, which somebody cut to ``size`` bytes."""
        self._report(
            f"{self.path}: was cut from {self._size} to {size} bytes while it was written; it goes"
            " on there (logrotate: rotate with create, not with copytruncate)"
        )
        self._size = size
        self.start()

    def _fate(self) -> str:
        """Return what happened to the open file; count its lines if it was deleted."""
        try:
            is_deleted = os.fstat(self._fd).st_nlink == 0
        except OSError:  # deleted on a network share
            is_deleted = True
        if not is_deleted:
            return "was moved"
        self.deleted_lines += self._lines
        return f"was deleted with {self._lines} lines of this run"

    def _open_again(self) -> None:
        opened = _open_locked(self.path)
        os.close(self._fd)
        self._fd = opened
        self._size = os.fstat(opened).st_size
        self._lines = 0
        self._dirty = False

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


def _open_locked(path: Path) -> int:
    """Open or create a regular file and lock it; return its descriptor.

    Raises:
        ConfigError: that is not possible.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise ConfigError(f"log {path}: cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"log {path}: expected a regular file, or none yet")
        in_use = "another process writes to it; give each logger its own file"
        lock_file(descriptor, name=f"log {path}", in_use=in_use)
    except ConfigError:
        os.close(descriptor)
        raise
    return descriptor
