"""Files that are replaced as a whole: after a power cut they are the old or the new ones."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
    new = path.with_name(name.format(path.name))
    try:
        with open(new, "wb", opener=_open_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
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
