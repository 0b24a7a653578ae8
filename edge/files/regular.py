"""Regular files alone: opening a named pipe waits for its other end, and a device may never end."""

import errno
import os
import stat
from typing import Final

_CREATE_MODE: Final = 0o600


class NotRegularFile(OSError):
    """A named pipe, a device or a socket, where a file is expected."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, "not a regular file", os.fspath(path))


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """Open a regular file without waiting, or make one that only its owner may read.

    It can be the ``opener`` of ``open``.

    Raises:
        NotRegularFile: it is something else; nothing was read or written.
        OSError: it cannot be opened, or is a folder.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, _CREATE_MODE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe that nobody reads, or a socket
            raise NotRegularFile(path) from error
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise NotRegularFile(path)


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: as ``open_regular``, or it cannot be read.
    """
    with open(path, "rb", opener=open_regular) as file:
        return file.read()


def refuse_special(path: str | os.PathLike[str]) -> None:
    """Check a path that a library opens by itself, or that is to be replaced; it need not exist.

    Raises:
        NotRegularFile: a named pipe, a device or a socket is there.
        OSError: the path cannot be used.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise NotRegularFile(path)
