"""An append-only file of lines, locked against other writers."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

from edge.client.logs.failures import log_error, open_error
from edge.client.logs.progress import FileEnd
from edge.errors import ConfigError, LogFileError
from edge.files.lock import lock_file
from edge.files.regular import open_regular

RESUME_BYTES = 8 << 20
"""How much of a log's end is searched for the last message of each stream, if its progress file is
gone or belongs to another file."""

CHECKED_BYTES = 4096
"""How much of the end of the committed lines is compared to recognise a file."""

_BLOCK_BYTES = 64 * 1024


class LineFile:
    """Appends lines in commits; after a full disk, all earlier lines are complete.

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
        self._pending = bytearray()
        self._dirty = False

    @property
    def size(self) -> int:
        """Size of the file and of the lines in memory, bytes."""
        return self._size + len(self._pending)

    @property
    def is_empty(self) -> bool:
        """Whether the file has no line but its header."""
        return self._size <= len(self._header)

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
            LogFileError: it cannot be renamed, or the new file cannot be opened (LogUnavailable:
                there is no space; it may be renamed already).
        """
        try:
            os.rename(self.path, path)
        except OSError as error:
            raise log_error(self.path, error) from error
        try:
            self._open_again()
        except ConfigError as error:
            raise LogFileError(str(error)) from error

    def cut(self, count: int) -> int:
        """Cut off the last ``count`` bytes; return ``count``. Only for an incomplete end.

        Raises:
            LogFileError: the file cannot be truncated.
        """
        if count:
            try:
                os.ftruncate(self._fd, self._size - count)
            except OSError as error:
                raise log_error(self.path, error) from error
            self._size -= count
            self._dirty = True
        return count

    def last_lines(self, limit_bytes: int) -> list[bytes]:
        """Return the complete lines in the last ``limit_bytes``, without their newlines."""
        start = max(0, self._size - limit_bytes)
        lines = self._read(start, self._size - start).split(b"\n")[:-1]
        return lines[1:] if start else lines

    def append(self, lines: bytes) -> None:
        """Add ``lines``, each ended by a newline; they are in memory only until ``commit``."""
        self._pending += lines

    def commit(self) -> None:
        """Append the added lines, all of them or none, and flush them to the disk (fsync).

        A file that was deleted, moved or cut is noticed here.

        Raises:
            LogUnavailable: there is no space; the file is unchanged, the lines are kept.
            LogFileError: the file cannot be written any more.
        """
        self._follow_path()
        if self._pending:
            # no header yet where the disk was full when the file was begun
            self._write((b"" if self._size else self._header) + self._pending)
            self._lines += self._pending.count(b"\n")
            self._pending.clear()
        if not self._dirty:
            return
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise log_error(self.path, error) from error
        self._dirty = False

    def end(self) -> FileEnd:
        """Return where the committed lines end."""
        return self._end(self._size)

    def cut_to(self, end: FileEnd) -> int | None:
        """Cut off what follows a committed end; return how many bytes that was.

        None, with the file unchanged: it is another file, or was cut before that end.
        """
        if self._size < end.size or self._end(end.size) != end:
            return None
        return self.cut(self._size - end.size)

    def _end(self, size: int) -> FileEnd:
        try:
            return end_of_file(self._fd, size)
        except OSError as error:
            raise log_error(self.path, error) from error

    def _write(self, lines: bytes) -> None:
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._fd, lines[written:])
        except OSError as error:
            self._size += written
            self.cut(written)
            raise log_error(self.path, error) from error
        self._size += written
        self._dirty = True

    def close(self) -> None:
        """Close the file and release its lock; lines that were not committed are lost."""
        os.close(self._fd)

    def _follow_path(self) -> None:
        """If the path no longer leads to the open file, go on in the file that it leads to.

        Raises:
            LogFileError: no file can be opened there, or it has other contents.
        """
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
            reason, *_ = str(error).removeprefix(f"log {self.path}: ").split("; ")  # no remedy
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
        lines, self._lines = self._lines, 0
        self.deleted_lines += lines
        return f"was deleted with {lines} lines of this run"

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
            raise log_error(self.path, error) from error


def end_of_file(descriptor: int, size: int) -> FileEnd:
    """Return the end of the first ``size`` bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    start = max(0, size - CHECKED_BYTES)
    return FileEnd(size, zlib.crc32(os.pread(descriptor, size - start, start)))


def _open_locked(path: Path) -> int:
    """Open or create a regular file and lock it; return its descriptor.

    Raises:
        ConfigError: that is not possible.
    """
    try:
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    except OSError as error:
        raise open_error(path, error) from error
    try:
        in_use = "another process writes to it; give each logger its own file"
        lock_file(descriptor, name=f"log {path}", in_use=in_use)
    except ConfigError:
        os.close(descriptor)
        raise
    return descriptor
