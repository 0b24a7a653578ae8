"""Errors of a log's file system, as errors of the log."""

import errno
from pathlib import Path
from typing import Final

from edge.errors import ConfigError, LogFileError, LogUnavailable
from edge.files.regular import NotRegularFile

_FULL: Final = frozenset([errno.ENOSPC, errno.EDQUOT])
_FAILING: Final = frozenset([errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE])


def open_error(path: Path, error: OSError) -> ConfigError | LogFileError:
    """Return the error of a log that could not be opened.

    It is a ``LogFileError`` if the disk fails, ``LogUnavailable`` if it is full, else a
    ``ConfigError``: a wrong path, or missing rights.

    Args:
        path: of the file or folder, for the text.
        error: what the operating system reported.
    """
    if error.errno in _FULL or error.errno in _FAILING:
        return log_error(path, error)
    remedy = ""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        remedy = f"; expected a folder {path.parent}: make it with mkdir -p, or name another file"
    elif isinstance(error, NotRegularFile):
        remedy = "; expected a log: name another file"
    elif error.errno == errno.EACCES:
        remedy = "; run it as the user to whom the folder and the log belong, or name another file"
    return ConfigError(f"log {path}: cannot be opened: {error.strerror}{remedy}")


def log_error(path: Path, error: OSError) -> LogFileError:
    """Return the error of a log that could not be written: ``LogUnavailable`` if it lacks space.

    Args:
        path: of the file or folder, for the text.
        error: what the operating system reported.
    """
    if error.errno in _FULL:
        return LogUnavailable(f"log {path}: {error.strerror}; make room")
    return LogFileError(
        f"log {path}: {error.strerror}; what was committed is complete; check the disk and start"
        " the logger again"
    )
