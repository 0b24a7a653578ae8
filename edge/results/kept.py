"""What ``analyse`` keeps in a recording's folder for a later report: its marks, and its sensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.client.logs.arrow import require_arrow
from edge.client.logs.table_reader import csv_columns, csv_rows, readable
from edge.client.tidy import COLUMNS, csv_lines
from edge.errors import ConfigError, LogFileError
from edge.results.analysed import MARKS, analysed_folder
from edge.results.files import opened_result
from edge.results.join import Sensor
from edge.results.marks import Mark, Marks, read_marks
from edge.results.user_csv import number, typed


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
    folder = analysed_folder(record)
    if folder is None or not (folder / MARKS).exists():
        return None
    return read_marks(folder / MARKS)


def kept_sensors(record: Path) -> list[Sensor]:
    """Return the columns of numbers in ``joined.parquet`` or ``joined.csv``; none: no such file.

    Raises:
        ConfigError: the file cannot be read.
    """
    folder = analysed_folder(record)
    for name, read in (("joined.parquet", _parquet), ("joined.csv", _csv)):
        path = None if folder is None else folder / name
        if path is None or not path.exists():
            continue
        try:
            with readable(path):
                times, columns = read(path)
        except (ConfigError, LogFileError) as error:
            raise ConfigError(
                f"{error}; make it again with affect-edge analyse, or name the files of the sensors"
                " with --join"
            ) from error
        # a picture has a row for each face
        time_s, first = np.unique(np.array(times, np.float64), return_index=True)
        cells = {name: [column[row] for row in first] for name, column in columns.items()}
        return [Sensor(path, is_wall=False, times=time_s, columns=cells, limit_s=0.0)]
    return []


def _parquet(path: Path) -> tuple[list[float], dict[str, list[Any]]]:
    arrow = require_arrow()
    with arrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        if "time_s" not in schema.names:
            raise ValueError("it has no column time_s")
        names = [
            field.name
            for field in schema
            if field.name not in COLUMNS
            and (arrow.types.is_floating(field.type) or arrow.types.is_integer(field.type))
        ]
        rows = file.read(columns=["time_s", *names])
    # a plot needs no digit beyond those of a float
    found = {name: rows.column(name).cast(arrow.float64(), safe=False) for name in names}
    times = rows.column("time_s").to_pylist()
    return times, {name: column.to_pylist() for name, column in found.items()}


def _csv(path: Path) -> tuple[list[float], dict[str, list[Any]]]:
    names = [name for name in csv_columns(path) if name not in COLUMNS]
    times: list[float] = []
    columns: dict[str, list[str]] = {name: [] for name in names}
    for line, (time_s, *cells) in csv_rows(path, ["time_s", *names]):
        try:
            times.append(number(time_s))
        except ValueError as error:
            raise ValueError(f"line {line}: time_s is {time_s!r}") from error
        for name, cell in zip(names, cells, strict=True):
            columns[name].append(cell)
    return times, {name: typed(cells) for name, cells in columns.items()}
