"""File descriptors of this process: the standard streams, their lines, and how many may be open.

A service manager, a cron job or ``>&-`` can start a program without standard streams. The next file
that is opened then becomes standard output or error, and what is printed goes into it.
"""

import errno
import os
import resource
import sys
from typing import Final, TextIO, cast

OPEN_FILES_MIN: Final = 64
"""The daemon needs about 20, and one more for each subscriber."""

_OPEN_FILES_WANTED: Final = 4096
"""As in the unit file: libzmq ends the process when an ipc socket finds no free descriptor."""

_READER_GONE: Final = (errno.EPIPE, errno.EIO)  # a pipe's reader, or a terminal, was closed
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF)


def open_standard_streams() -> None:
    """Open /dev/null in place of standard streams that were closed when the program started.

    Call it first: later a missing descriptor may already belong to another file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number
    sys.stdin = sys.stdin or _open(0, "r")
    sys.stdout = sys.stdout or _open(1, "w")
    sys.stderr = sys.stderr or _open(2, "w")


def _open(number: int, mode: str) -> TextIO:
    stream = os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
    return cast("TextIO", stream)


def raise_open_files_limit(wanted: int = _OPEN_FILES_WANTED) -> int:
    """Raise the limit of open files to ``wanted``, as far as the system allows; return the limit.

    -1 is no limit.
    """
    limit, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < wanted:
        limit = wanted if maximum < 0 else min(wanted, maximum)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, maximum))
    return limit


def printable(text: str) -> str:
    """Escape control characters: text from outside must not control the terminal.

    Line ends, halves of characters and marks that turn the direction of writing are escaped, too:
    the result is one line, which every terminal shows as it is stored.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def write_error_line(text: str) -> None:
    """Write a line to standard error; without effect if nothing can be written there.

    Control characters in it are escaped, see ``printable``.
    """
    try:
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def report_line(text: str) -> None:
    """Write the line ``affect-edge: TEXT`` to standard error, as ``write_error_line`` does."""
    write_error_line(f"affect-edge: {text}")


def discard(stream: TextIO) -> None:
    """Send what is still written to a standard stream to /dev/null."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def is_reader_gone(error: BaseException | None) -> bool:
    """Return whether writing failed because nobody reads any more: no fault of the program."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _READER_GONE


def is_unwritable(error: BaseException | None) -> bool:
    """Return whether an open stream cannot be written, such as a file on a full disk."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE
