"""Exclusive locks on open files: one writer at a time."""

import fcntl

from edge.errors import ConfigError


def lock_file(descriptor: int, *, name: str, in_use: str) -> None:
    """Lock an open file until it is closed; does not wait.

    Args:
        descriptor: of the file.
        name: begins the error message, such as ``log session.csv``.
        in_use: the error message after the name if another process holds the lock.

    Raises:
        ConfigError: another process holds the lock, or the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"{name}: {in_use}") from error
    except OSError as error:  # NFS without a lock daemon, some CIFS and FUSE mounts
        raise ConfigError(
            f"{name}: its file system cannot lock files ({error.strerror}); use a folder on a local"
            " disk, or mount it with locks"
        ) from error
