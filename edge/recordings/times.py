"""Times within a recording, as people give them on a command line."""

import math
import re
from typing import Final

from edge.errors import ConfigError

INTERVAL_MIN_S: Final = 0.1
"""A shorter interval of a summary holds hardly a picture, and a row for each face."""

_CLOCK: Final = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_SECONDS: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|min|m|h)?")
_UNITS: Final = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def seconds_of(text: str, option: str) -> float:
    """Return the seconds that a text such as ``12.5``, ``12.5s``, ``2min`` or ``1:02:03.5`` means.

    Args:
        text: of the option.
        option: its name, for the message.

    Raises:
        ConfigError: it is no time, or negative.
    """
    cleaned = text.strip().lower()
    if found := _CLOCK.fullmatch(cleaned):
        hours, minutes, seconds = found.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    if found := _SECONDS.fullmatch(cleaned):
        value = float(found[1]) * _UNITS[found[2]]
        if math.isfinite(value) and value < 1e8:
            return value
    raise ConfigError(
        f"{option} {text!r}: expected a time within the recording, such as 12.5s, 2min or 1:02:03"
    )


def interval_of(text: str | None) -> float | None:
    """Return the length of the summary's intervals, seconds; None: ``--interval`` is not given.

    Raises:
        ConfigError: as ``seconds_of``; or it is less than ``INTERVAL_MIN_S``.
    """
    if text is None:
        return None
    value = seconds_of(text, "--interval")
    if value < INTERVAL_MIN_S:
        raise ConfigError(f"--interval {text!r}: expected {INTERVAL_MIN_S:g} s or more")
    return value
