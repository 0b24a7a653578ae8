"""The files of a log: the present ones, and those that it was rotated to, by their names."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.client.logs.failures import open_error
from edge.errors import ConfigError

_SET_ASIDE: Final = r"(\d{4}-\d\d-\d\d(\.\d+)?|old-\d+)"
"""What rotation puts between the stem and the suffix of a name."""


def log_files(path: Path) -> list[list[Path]]:
    """Return the files of a log, the present ones last; of a CSV log frames and events in twos.

    Args:
        path: of the log; of a CSV log the table of the frames.

    Raises:
        ConfigError: there is none, or it is the table of the events.
    """
    if path.name.lower().endswith(".events.csv"):
        raise ConfigError(
            f"--log {path}: is the second table of a log; expected its first one, such as"
            f" {path.name[: -len('.events.csv')]}.csv"
        )
    suffixes = [path.suffix] + [".events.csv"] * (path.suffix.lower() == ".csv")
    pattern = re.compile(
        rf"({re.escape(path.stem)}(\.{_SET_ASIDE})?)({'|'.join(map(re.escape, suffixes))})"
    )
    try:
        found = {match[1] for name in os.listdir(path.parent) if (match := pattern.fullmatch(name))}
    except (FileNotFoundError, NotADirectoryError):
        found = set()
    except OSError as error:
        raise open_error(path, error) from error
    if not found:
        raise ConfigError(f"--log {path}: no such file; expected a log that affect-edge log wrote")
    stems = sorted(found, key=lambda stem: (stem == path.stem, stem))
    parts = [[path.with_name(stem + suffix) for suffix in suffixes] for stem in stems]
    return [[each for each in part if each.exists()] for part in parts]


def where_in(path: Path, paths: Sequence[Path]) -> str:
    """Return what was searched: the bytes of ``paths``, the files of the log ``path``."""
    if path not in paths:
        return f"the bytes of the rotated files of {path}"
    others = f" and of {len(paths) - 1} more files" if len(paths) > 1 else ""
    return f"the bytes of {path}{others}"
