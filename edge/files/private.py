"""Small files that hold secrets: read only if nobody but their owner can read them."""

import os
import stat
from pathlib import Path
from typing import Final

from edge.errors import ConfigError
from edge.files.regular import open_regular

BYTES_MAX: Final = 4096


def read_small_file(
    path: Path, what: str, *, private: bool, remedy: str, bytes_max: int = BYTES_MAX
) -> bytes:
    """Return the content of a file of at most ``bytes_max`` bytes.

    Args:
        path: a regular file, or a link to one.
        what: the configuration key or option that names it, for the error message.
        private: refuse a file that other users may read. One that all users may change is always
            refused.
        remedy: what to do if there is no such file, for the error message.

    Raises:
        ConfigError: it cannot be read, is too large, no regular file, or others may read it.
    """
    try:
        descriptor = open_regular(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{what} {path}: {reason}; {remedy}") from error
    try:
        status = os.fstat(descriptor)
        if private and status.st_mode & (0o007 if _is_credential(path) else 0o077):
            raise ConfigError(
                f"{what} {path}: other users may read or change it (mode"
                f" {stat.S_IMODE(status.st_mode):04o}); expected mode 0600: run chmod 600 {path},"
                " and replace its content if others had access"
            )
        if status.st_mode & 0o002:
            raise ConfigError(
                f"{what} {path}: every user may change it (mode"
                f" {stat.S_IMODE(status.st_mode):04o}); run chmod o-w {path}, and compare its"
                " content with that of its origin"
            )
        content = os.read(descriptor, bytes_max + 1)
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}; {remedy}") from error
    finally:
        os.close(descriptor)
    if len(content) > bytes_max:
        raise ConfigError(f"{what} {path}: more than {bytes_max} bytes; {remedy}")
    return content


def _is_credential(path: Path) -> bool:
    """Return whether systemd provides the file (LoadCredential=).

    Then the bits of the group are the mask of the access list by which systemd lets the service's
    user read it, not a right of a group.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.resolve().parent == Path(str(folder)).resolve()
