"""Files of results: each appears at its path only when it is complete, readable by its owner."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from edge.errors import ConfigError, LogFileError
from edge.files.durable import replacing

_NO_PLACE: Final = frozenset(
    [
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EISDIR,
        errno.EEXIST,
    ]
)


@contextmanager
def opened_result(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at ``path`` at the end of a ``with`` block.

    Raises:
        ConfigError: nothing can be written there.
        LogFileError: the disk is full or fails.
    """
    try:
        with replacing(path, name=".{}.new") as file:
            yield file
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> ConfigError | LogFileError:
    """Return the error of a file or folder that could not be written."""
    text = f"{path}: cannot be written: {error.strerror}"
    if error.errno in _NO_PLACE:
        return ConfigError(f"{text}; name a place where this user may write")
    return LogFileError(f"{text}; make room, or check the disk")
