"""The folder that ``analyse`` makes of one recording: the names of its files, and where it is."""

import re
from pathlib import Path
from typing import Final

from edge.errors import ConfigError

SESSION: Final = "session.json"
"""Written last; a folder without it is not complete."""

TRACKS: Final = "tracks.csv"
SUMMARY: Final = "summary.csv"
MARKS: Final = "marks.used.csv"
VIDEO: Final = "annotated.mp4"
TABLES: Final = ("frames", "events", "joined")
"""Each as ``.parquet`` and ``.csv``."""

SUFFIXES: Final = ("parquet", "csv")
FILES: Final = frozenset(
    [
        *(SESSION, TRACKS, SUMMARY, MARKS, VIDEO),
        *(f"{table}.{suffix}" for table in TABLES for suffix in SUFFIXES),
    ]
)
"""All that may be there, besides ``PLOTS``."""

PLOTS: Final = "plots"
PLOT: Final = re.compile(r"(timeline|circumplex|expressions)(-[0-9]+)?\.(png|svg)")
"""A file in the folder ``PLOTS``."""

_NAMED: Final = 8


def tables_suffix(folder: Path) -> str | None:
    """Return the suffix of the tables in a folder of results, Parquet first; None: there are none.

    Both are there: those of faces and those of events.
    """
    for suffix in SUFFIXES:
        if all((folder / f"{table}.{suffix}").is_file() for table in TABLES[:2]):
            return suffix
    return None


def analysed_folder(path: Path) -> Path | None:
    """Return the folder with the tables: ``path``, or the only one in it; None: there is none.

    Raises:
        ConfigError: ``path`` holds several recordings.
    """
    if tables_suffix(path) is not None:
        return path
    tables = (each for suffix in SUFFIXES for each in path.glob(f"*/frames.{suffix}"))
    inner = sorted({each.parent.name for each in tables if tables_suffix(each.parent)})
    if len(inner) > 1:
        names = ", ".join(inner[:_NAMED]) + (", ..." if len(inner) > _NAMED else "")
        raise ConfigError(f"{path}: holds {len(inner)} recordings, {names}: name one of them")
    return path / inner[0] if inner else None
