"""What ``analyse`` keeps in a recording's folder for a later report: its marks, and its sensors."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.client.logs.arrow import require_arrow
from edge.client.tidy import COLUMNS, csv_lines
from edge.errors import ConfigError
from edge.results.files import opened_result
from edge.results.join import Sensor
from edge.results.marks import Mark, Marks, read_marks

MARKS: Final = "marks.used.csv"


def write_kept_marks(folder: Path, marks: Sequence[Mark]) -> None:
    """Write ``marks.used.csv`` into a folder, as ``--marks`` reads it; times in seconds.

    Raises:
        LogFileError: it cannot be written.
    """
    rows: list[list[str | float]] = [["time_s", "mark"]]
    rows += [[mark.time_s, mark.text] for mark in marks]
    with opened_result(folder / MARKS) as file:
        file.write(csv_lines(rows))


def kept_marks(record: Path) -> Marks | None:
    """Return the marks that were given to ``analyse``; None: there were none.

    Raises:
        ConfigError: ``marks.used.csv`` cannot be read, or was changed to something else.
    """
    folder = _folder(record)
    if folder is None or not (folder / MARKS).exists():
        return None
    return read_marks(folder / MARKS)


def kept_sensors(record: Path) -> list[Sensor]:
    """Return the columns of numbers in ``joined.parquet`` or ``joined.csv``; none: no such file.

    Raises:
        ConfigError: the file cannot be read.
    """
    folder = _folder(record)
    for name, read in (("joined.parquet", _parquet), ("joined.csv", _csv)):
        if folder is None or not (folder / name).exists():
            continue
        try:
            times, columns = read(folder / name)
        except (OSError, ValueError, LookupError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{folder / name}: cannot be read: {reason}; make it again, or name the files of"
                " the sensors with --join"
            ) from error
        # a picture has a row for each face
        time_s, first = np.unique(np.array(times, np.float64), return_index=True)
        cells = {name: [column[row] for row in first] for name, column in columns.items()}
        return [Sensor(folder / name, is_wall=False, times=time_s, columns=cells, limit_s=0.0)]
    return []


def _folder(record: Path) -> Path | None:
    if not record.is_dir():
        return None
    found = (*record.glob("*/frames.parquet"), *record.glob("*/frames.csv"))
    inner = list({each.parent for each in found})
    is_analysed = any((record / f"frames.{suffix}").exists() for suffix in ("parquet", "csv"))
    return record if is_analysed or len(inner) != 1 else inner[0]


def _parquet(path: Path) -> tuple[list[float], dict[str, list[Any]]]:
    arrow = require_arrow()
    with arrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = [
            field.name
            for field in schema
            if field.name not in COLUMNS
            and (arrow.types.is_floating(field.type) or arrow.types.is_integer(field.type))
        ]
        rows = file.read(columns=["time_s", *names])
        found = {name: rows.column(name).cast(arrow.float64()).to_pylist() for name in names}
        return rows.column("time_s").to_pylist(), found


def _csv(path: Path) -> tuple[list[float], dict[str, list[Any]]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        head = next(reader)
        at, first = head.index("time_s"), len(COLUMNS)
        rows = [(float(row[at]), row[first:]) for row in reader]
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(head[first:]):
        try:
            columns[name] = [float(row[place]) if row[place] else None for _, row in rows]
        except ValueError:  # a column of texts
            continue
    return [time_s for time_s, _ in rows], columns
