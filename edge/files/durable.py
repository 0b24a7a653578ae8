"""Files that are replaced as a whole: after a power cut they are the old or the new ones."""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Literal

from edge.errors import ConfigError
from edge.files.regular import refuse_special

_NEW: Final = ".affect-edge.new"
_PREFIX_BYTES: Final = 180


@contextmanager
def replacing_with_unique_name(path: Path) -> Iterator[BinaryIO]:
    """Like ``replacing``, in a folder of the user's: the new file has a name that nobody else has.

    Several processes may write one ``path``: the last one that ends stays. What such a block has
    left that was killed is removed.

    Raises:
        OSError: it cannot be written.
    """
    prefix = f".{os.fsdecode(os.fsencode(path.name)[:_PREFIX_BYTES])}."
    _remove_left(path.parent, prefix)
    new = path.with_name(f"{prefix}{os.getpid()}-{secrets.token_hex(4)}{_NEW}")
    with _taking_the_place(new, path, "xb") as file:
        with contextlib.suppress(OSError):  # without locks, what is left stays
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _remove_left(folder: Path, prefix: str) -> None:
    """Remove new files that no process holds any more."""
    name = re.compile(rf"{re.escape(prefix)}[0-9]+-[0-9a-f]{{8}}{re.escape(_NEW)}", re.DOTALL)
    with contextlib.suppress(OSError):
        for path in [each for each in folder.iterdir() if name.fullmatch(each.name)]:
            pid = int(path.name.removeprefix(prefix).partition("-")[0])
            if not Path(f"/proc/{pid}").exists():  # one that lives may not have locked it yet
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()


@contextmanager
def replacing(path: Path, *, name: str = "{}.new") -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` at the end of a ``with`` block.

    It is readable by its owner alone. At the end it and its folder are synced. If the block or the
    writing fails, the old file stays.

    Args:
        path: of the file to replace; there need not be one.
        name: of the new file until then, ``{}`` standing for that of ``path``.

    Raises:
        OSError: it cannot be written.
    """
    with _taking_the_place(path.with_name(name.format(path.name)), path, "wb") as file:
        yield file


@contextmanager
def _taking_the_place(new: Path, path: Path, mode: Literal["wb", "xb"]) -> Iterator[BinaryIO]:
    """Open ``new``; it replaces ``path`` at the end, or is removed if that fails."""
    try:
        with open(new, mode, opener=_open_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(new, path)  # while a lock on it still holds
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Replace ``path``, readable by its owner alone, and sync it and its folder.

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    with replacing(path) as file:
        file.write(content)


def require_place(path: Path, named: str) -> None:
    """Check that this user can make or replace a file: said now, and not after long work.

    Args:
        path: of the file.
        named: begins the message, such as ``--out``.

    Raises:
        ConfigError: its folder is none, this user may not write there, or no regular file is there.
    """
    if not os.path.isdir(path.parent):
        raise ConfigError(f"{named}: expected a folder that exists, and {path.parent} is none")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{named}: this user may not write in {path.parent}; name a place where it may"
        )
    try:
        refuse_special(path)
    except OSError as error:  # such as a name that is too long
        raise ConfigError(f"{named}: {error.strerror}; expected the name of a file") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut.

    Raises:
        OSError: that is not possible.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged_name(path: Path) -> Path:
    """Return the first free name ``NAME.damaged-N``, to set a damaged file aside under it."""
    number = 1
    while (free := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return free


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
