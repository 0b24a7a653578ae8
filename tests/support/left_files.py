"""What is in files that other programs, or threads, may delete meanwhile."""

import contextlib
from pathlib import Path


def content_of(path: Path) -> bytes:
    """Return what is in a file; nothing if it is none, or was deleted."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
