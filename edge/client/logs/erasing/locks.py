"""Who may change a log now: its owner, while no logger writes to it.

Root acts as the owner, so that new files belong to the logger that goes on with the log. It keeps
the right to read: systemd's ``DynamicUser`` has its logs below ``/var/lib/private``, a folder of
root that the owner alone cannot pass.
"""

import ctypes
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edge.client.logs.failures import open_error
from edge.errors import ConfigError, LogFileError
from edge.files.lock import lock_file
from edge.files.regular import open_regular

_CAPABILITY_VERSION: Final = 0x20080522
_DAC_READ_SEARCH: Final = 2
"""The number of the right to read files and to pass folders (capabilities(7))."""


@contextmanager
def acting_as_owner(path: Path) -> Iterator[None]:
    """Let root act as the owner of ``path`` within a ``with`` block; only for the main thread.

    Raises:
        ConfigError: ``path`` belongs to another user than the one of this process.
    """
    status = path.stat()
    user = os.geteuid()
    if status.st_uid == user:
        yield
        return
    if user != 0:
        raise ConfigError(
            f"--log {path}: belongs to {_name(status.st_uid)}; run it as that user, or with sudo"
        )
    group = os.getegid()
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    _keep_reading()
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)


def _keep_reading() -> None:
    """Let this thread read what root may read, after it has become another user.

    The kernel took the effective rights, but not the permitted ones. A container may have none:
    then the owner's own rights have to do.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)  # 0: this thread
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then those above 31
    if libc.capget(header, rights) == 0:
        rights[0] |= rights[1] & (1 << _DAC_READ_SEARCH)
        libc.capset(header, rights)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def open_locked(path: Path) -> int:
    """Open a file of a log and lock it, as a logger does; return its descriptor.

    Raises:
        LogFileError: a logger has it.
        ConfigError: it cannot be opened, or is no regular file.
    """
    try:
        descriptor = open_regular(path, os.O_RDWR)
    except OSError as error:
        raise open_error(path, error) from error
    try:
        lock_log(descriptor, path)
    except (ConfigError, LogFileError):
        os.close(descriptor)
        raise
    return descriptor


def lock_log(descriptor: int, path: Path) -> None:
    """Lock an open file of a log, as a logger does.

    Raises:
        LogFileError: a logger has it.
        ConfigError: the file system has no locks.
    """
    try:
        lock_file(descriptor, name=f"--log {path}", in_use="a logger writes to it")
    except ConfigError as error:
        if isinstance(error.__cause__, BlockingIOError):
            raise in_use(path) from error
        raise


def in_use(path: Path) -> LogFileError:
    """Return the error of a log that a logger writes to."""
    return LogFileError(
        f"--log {path}: a logger writes to it; stop it, erase the session, and start it again: it"
        " fetches what it missed"
    )
