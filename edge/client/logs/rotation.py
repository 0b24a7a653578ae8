"""Rotation of a log: when its files are set aside, and under which names."""

import os
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from edge.client.logs import LogFormat
from edge.client.subscriber import Received
from edge.clock import day
from edge.errors import ConfigError

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_MIN_BYTES: Final = 10**6


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to rotate a log.

    Attributes:
        daily: before the first message of a later UTC day than that of the file's first message.
        bytes: when the files are this large.
    """

    daily: bool = False
    bytes: int | None = None

    def is_due(self, log: LogFormat, received: Received) -> bool:
        """Return whether ``log`` is to be rotated before ``received`` is written."""
        if log.day is None:
            return False
        if self.bytes is not None and log.size >= self.bytes:
            return True
        return self.daily and day(received.message.time.unix_ns) > log.day


def parse_rotation(text: str | None) -> Rotation:
    """Return the rotation that ``--rotate`` names: ``day``, or a size such as ``500MB`` or ``2GB``.

    Raises:
        ConfigError: it is neither, or the size is below 1 MB.
    """
    if text is None:
        return Rotation()
    if text.lower() == "day":
        return Rotation(daily=True)
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size < _MIN_BYTES:
        raise ConfigError(
            f"--rotate {text!r}: expected day, or a size of at least 1MB, such as 500MB or 2GB"
        )
    return Rotation(bytes=size)


def dated_name(path: Path, on_day: str, *others: str) -> Path:
    """Return a free name for a file that is set aside: ``session.2026-11-27.sqlite``.

    Args:
        path: the file.
        on_day: its UTC day, or another word for it, such as ``damaged``.
        others: suffixes of files that are set aside with it, such as ``.events.csv``; free as well.
    """
    for number in count(1):
        suffix = f".{number}" if number > 1 else ""
        found = path.with_name(f"{path.stem}.{on_day}{suffix}{path.suffix}")
        if not any(os.path.lexists(each) for each in (found, *map(found.with_suffix, others))):
            return found
    raise AssertionError  # count() does not end
