"""Looks for remains of what was erased in the bytes of files."""

import mmap
from collections.abc import Iterable
from pathlib import Path

from edge.client.logs.failures import log_error


def count_in_files(paths: Iterable[Path], texts: Iterable[bytes]) -> int:
    """Return how often any of ``texts`` is in the files; missing files have none.

    Raises:
        LogFileError: a file cannot be read.
    """
    wanted = list(texts)
    return sum(_count(path, wanted) for path in paths)


def _count(path: Path, texts: list[bytes]) -> int:
    hits = 0
    try:
        if not path.is_file() or not path.stat().st_size:
            return 0
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            for text in texts:
                at = content.find(text)
                while at >= 0:
                    hits += 1
                    at = content.find(text, at + 1)
    except OSError as error:
        raise log_error(path, error) from error
    return hits
