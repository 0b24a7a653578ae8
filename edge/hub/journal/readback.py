"""Reads back from the device what was committed, past the kernel's memory.

A worn memory card may drop what is written to it and report success. The kernel serves reads of
such a file from its own memory (page cache), so that everything seems well until the power is cut.
So a part of SQLite's write-ahead log is now and then read directly from the device (``O_DIRECT``),
and compared with what the kernel has. That writes nothing. Only if they differ, a small file is
written and read back, until that succeeds.

Only the log is opened: closing any descriptor of SQLite's other files would release its locks.
Nothing is noticed on a file system without direct reads, such as tmpfs, nor where the device itself
answers from a cache that it then loses.
"""

import contextlib
import errno
import logging
import mmap
import os
from pathlib import Path
from typing import Final

from edge import clock

log = logging.getLogger("affect_edge")

EVERY_S = 10.0
PART_BYTES: Final = 256 << 10
"""Of the log at once, so that commits stay on time: 13 ms at 20 MB/s. The log is up to 8 MiB large,
mostly 4, so that all of it is read back every three to six minutes."""
_PROBE_BYTES: Final = 4096


class Readback:
    """Compares the log of one SQLite file with what the device holds. Only for one thread.

    Attributes:
        is_doubtful: the device has given back other bytes than were written, and no write has
            proved good since.
    """

    def __init__(self, path: Path) -> None:
        """Check nothing yet; ``path``: of the SQLite file."""
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._probe = path.with_name("probe")
        self._offset = 0
        self._next_ns = 0
        self.is_doubtful = False
        self._is_possible = True

    def check(self) -> None:
        """Read back the next part of the log, if it is due; call it after a commit.

        Raises:
            OSError: the device does not hold what was committed.
        """
        now_ns = clock.monotonic_ns()
        if now_ns < self._next_ns or not self._is_possible:
            return
        self._next_ns = now_ns + int(EVERY_S * 1e9)
        with contextlib.suppress(FileNotFoundError):  # another program has closed the database
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._compare(descriptor)
            finally:
                os.close(descriptor)

    def _compare(self, descriptor: int) -> None:
        offset = self._offset if self._offset < os.fstat(descriptor).st_size else 0
        self._offset = offset + PART_BYTES
        for _ in range(2):  # a second time, should another program have used the file meanwhile
            expected = os.pread(descriptor, PART_BYTES, offset)
            found = self._read_device(self._log, offset)
            if found is None or found == expected:
                return
        self.is_doubtful = True
        raise _dropped(self._log)

    def require_good_write(self) -> None:
        """Write a small file and read it back from the device.

        Raises:
            OSError: it cannot be written, or the device does not hold it.
        """
        content = os.urandom(_PROBE_BYTES)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._probe, flags, 0o600)
        try:
            os.pwrite(descriptor, content, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if self._read_device(self._probe, 0) not in (None, content):
            raise _dropped(self._probe)
        self._probe.unlink()
        self.is_doubtful = False

    def forget_cached(self) -> None:
        """Let the kernel read the SQLite file from the device again; it must not be open."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)

    def _read_device(self, path: Path, offset: int) -> bytes | None:
        """Return a part of a file as the device holds it; None if that cannot be known."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
            try:
                with mmap.mmap(-1, PART_BYTES) as aligned:  # which direct reads require
                    count = os.preadv(descriptor, [aligned], offset)
                    return aligned[:count]
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            log.info("journal: direct reads are not possible: dropped writes would go unnoticed")
            self._is_possible = False
            return None


def _dropped(path: Path) -> OSError:
    text = f"the device drops what is written to it, such as to {path}; replace the card or disk"
    return OSError(errno.EIO, text)
