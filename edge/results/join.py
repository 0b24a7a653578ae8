"""Other sensors, such as pressure or heart rate, joined to the rows of faces by time.

A sensor's file is a CSV with a column of times: seconds from the start of the recording, Unix time
(s, ms, us or ns, told apart by its size), or ISO 8601 with the offset from UTC. Each row of faces
gets the newest sample at or before its frame, unless that is older than the *limit*: twice the
usual spacing of the samples, and 1 s at least. Then the cells are empty.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge import clock
from edge.client.logs.arrow import require_arrow
from edge.client.tidy import COLUMNS, csv_lines
from edge.errors import ConfigError
from edge.results.batches import open_record
from edge.results.files import opened_result
from edge.results.table import Floats, Integers, Table
from edge.results.user_csv import UserTable, read_user_csv, typed

SERIES_MAX: Final = 4
"""Series that are drawn below a timeline."""

_TIME_COLUMNS: Final = ("time_s", "time", "timestamp", "unix_s", "unix_ms", "unix_ns", "datetime")
_UNIX_MIN: Final = 1e8  # seconds: three years of a recording, or 1973
_LIMIT_MIN_S: Final = 1.0
_POINTS_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers over time for a plot: their name and M points on the table's axis."""

    name: str
    time_s: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class Sensor:
    """The samples of a file, in the order of their times.

    Attributes:
        path: of the file.
        is_wall: whether ``times`` is Unix time; else it is seconds from the start.
        times: (M,) seconds.
        columns: cells by name, which begins with that of the file: numbers (float or int, None
            where a cell is empty) or texts.
        limit_s: age of the oldest sample that is joined, seconds.
    """

    path: Path
    is_wall: bool
    times: Floats
    columns: dict[str, list[Any]]
    limit_s: float

    def newest(self, at: Floats) -> Integers:
        """Return the sample for each time, seconds of its kind; -1: there is none."""
        found = np.searchsorted(self.times, at, "right") - 1
        age = at - self.times[np.maximum(found, 0)]
        return np.where((found >= 0) & (age <= self.limit_s), found, -1)


def read_sensors(paths: Sequence[Path], time_column: str | None) -> list[Sensor]:
    """Read the files of sensors.

    Args:
        paths: of the CSV files, with different names.
        time_column: name of the column of times in each; None: ``time_s``, ``time``,
            ``timestamp`` or the like.

    Raises:
        ConfigError: a file cannot be read, lacks the column, or holds a time that is none; or there
            is a column and no file.
    """
    if time_column is not None and not paths:
        raise ConfigError(
            f"--time-column {time_column!r}: expected --join FILE, too, whose column of times it is"
        )
    sensors: list[Sensor] = []
    names = set(COLUMNS)
    for path in paths:
        sensor = _read(path, time_column)
        for name in sensor.columns:
            if name in names:
                raise ConfigError(
                    f"--join {path}: the column {name!r} would be there twice; rename the file or"
                    " its column"
                )
            names.add(name)
        sensors.append(sensor)
    return sensors


def _read(path: Path, time_column: str | None) -> Sensor:
    table = read_user_csv(path, "--join")
    if time_column is None:
        lower = [name.lower() for name in table.columns]
        time_column = next(
            (table.columns[lower.index(name)] for name in _TIME_COLUMNS if name in lower), None
        )
    if time_column is None:
        raise ConfigError(
            f"--join {path}: which column is the time? It has: {', '.join(table.columns)}; name"
            " one with --time-column NAME"
        )
    at = table.column(time_column, "--time-column")
    if not table.rows:
        raise ConfigError(f"--join {path}: holds no samples")
    times, is_wall = _times(table, at)
    order = np.argsort(times, kind="stable")
    times = times[order]
    steps = np.diff(times)
    usual_s = float(np.median(steps[steps > 0])) if np.any(steps > 0) else 0.0
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(table.columns):
        if place == at or not name:
            continue
        table.column(name, "--join")  # there is no other of that name
        cells = typed([row[place] for row in table.rows], table.number)
        columns[f"{path.stem}_{name}"] = [cells[row] for row in order]
    return Sensor(path, is_wall, times, columns, max(2 * usual_s, _LIMIT_MIN_S))


def _times(table: UserTable, at: int) -> tuple[Floats, bool]:
    """Return the times in seconds, and whether they are Unix time."""
    cells = [row[at] for row in table.rows]
    found = np.empty(len(cells))
    is_text = False
    for number, (line, cell) in enumerate(zip(table.lines, cells, strict=True)):
        try:
            if not is_text:
                found[number] = table.number(cell)
                continue
        except ValueError:
            is_text = number == 0
        try:
            if not is_text:
                raise ValueError("expected a number, as in the rows before")
            found[number] = clock.unix_ns_of(clock.parse_wall_time(cell)) / 1e9
        except ValueError as error:
            raise ConfigError(
                f"--join {table.path}: line {line}: {table.columns[at]} is {cell!r}: {error}"
            ) from error
    if is_text:
        return found, True
    size = float(np.median(np.abs(found)))
    if size < _UNIX_MIN:
        return found, False
    return found / next(unit for unit in (1e9, 1e6, 1e3, 1.0) if size >= _UNIX_MIN * unit), True


def check_times(sensor: Sensor, table: Table) -> None:
    """Check that a sensor's times can be compared with those of a record.

    Raises:
        ConfigError: they are wall times, and it is not known when the record was made.
    """
    if not table.wall_time_known():
        require_no_dates(sensor, table.path)


def require_no_dates(sensor: Sensor, undated: Path) -> None:
    """Raise ``ConfigError`` if a sensor has wall times.

    Args:
        sensor: to be joined.
        undated: a record or recording of which it is not known when it was made.
    """
    if sensor.is_wall:
        raise ConfigError(
            f"--join {sensor.path}: has dates, but nothing says when {undated} was recorded:"
            " give source.recorded_at, or a column of seconds from the start"
        )


def series_of(sensors: Sequence[Sensor], table: Table) -> list[Series]:
    """Return the columns of numbers on the table's axis, thinned for a plot."""
    found = []
    for sensor in sensors:
        times = sensor.times
        if sensor.is_wall:
            unix_s = table.frame_unix_ns / 1e9
            at = np.maximum(np.searchsorted(unix_s, times, "right") - 1, 0)
            times = table.frame_time_s[at] + (times - unix_s[at])
        inside = (times >= table.start_s) & (times <= table.end_s)
        for name, cells in sensor.columns.items():
            if any(isinstance(cell, str) for cell in cells):
                continue
            values = np.array(cells, np.float64)
            keep = inside & np.isfinite(values)
            if keep.any():
                found.append(Series(name, *_thinned(times[keep], values[keep])))
    return found


def _thinned(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Keep the lowest and the highest of consecutive values, so that peaks stay."""
    if len(times) <= _POINTS_MAX:
        return times, values
    keep: set[int] = {0, len(times) - 1}
    for part in np.array_split(np.arange(len(times)), _POINTS_MAX // 2):
        keep |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    chosen = sorted(keep)
    return times[chosen], values[chosen]


def write_joined(
    folder: Path, sensors: Sequence[Sensor], *, on_step: Callable[[], None] = lambda: None
) -> list[Path]:
    """Write ``joined.parquet`` and ``joined.csv``: the table of faces with the sensors' columns.

    Each is made where ``frames.parquet`` and ``frames.csv`` are, with the same rows.

    Args:
        folder: that ``analyse`` made.
        sensors: whose times can be compared with the record's (``check_times``).
        on_step: is called after each row, or batch of rows.

    Raises:
        ConfigError: the folder holds no tables.
        LogFileError: a file cannot be read or written.
    """
    parts: list[list[Integers]] = [[] for _ in sensors]
    for batch in open_record(folder).frames(None):
        time_s = np.asarray(batch["time_s"], np.float64)
        unix_s = np.asarray(batch["unix_ns"], np.int64) / 1e9
        for sensor, found in zip(sensors, parts, strict=True):
            found.append(sensor.newest(unix_s if sensor.is_wall else time_s).astype(np.int32))
        on_step()
    samples = [np.concatenate([*found, np.zeros(0, np.int32)]) for found in parts]
    written = []
    if (folder / "frames.parquet").exists():
        written.append(folder / "joined.parquet")
        _write_parquet(folder / "frames.parquet", written[-1], sensors, samples, on_step)
    if (folder / "frames.csv").exists():
        written.append(folder / "joined.csv")
        _write_csv(folder / "frames.csv", written[-1], sensors, samples, on_step)
    return written


def _write_parquet(
    frames: Path,
    to: Path,
    sensors: Sequence[Sensor],
    samples: Sequence[Integers],
    on_step: Callable[[], None],
) -> None:
    arrow = require_arrow()
    with opened_result(to) as file, arrow.parquet.ParquetFile(frames) as source:
        schema, added = source.schema_arrow.remove_metadata(), []
        for sensor, found in zip(sensors, samples, strict=True):
            for name, cells in sensor.columns.items():
                column = arrow.array(cells)
                if arrow.types.is_null(column.type):  # a column without any value
                    column = arrow.array(cells, arrow.float64())
                schema = schema.append(arrow.field(name, column.type))
                added.append((column, found))
        with arrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            first = 0
            for batch in source.iter_batches(batch_size=20_000):
                columns = list(batch.columns)
                for column, found in added:
                    part = found[first : first + batch.num_rows]
                    columns.append(column.take(arrow.array(part, mask=part < 0)))
                writer.write_batch(arrow.RecordBatch.from_arrays(columns, schema=schema))
                first += batch.num_rows
                on_step()


def _write_csv(
    frames: Path,
    to: Path,
    sensors: Sequence[Sensor],
    samples: Sequence[Integers],
    on_step: Callable[[], None],
) -> None:
    # each row of the table is one line (edge.client.tidy.csv_lines), so that lines are extended
    names = [name for sensor in sensors for name in sensor.columns]
    with opened_result(to) as file, frames.open("rb") as source:
        file.write(next(source).rstrip(b"\n") + b"," + csv_lines([names]))
        for line, cells in zip(source, _csv_cells(sensors, samples), strict=True):
            file.write(line.rstrip(b"\n") + b"," + cells)
            on_step()


def _csv_cells(sensors: Sequence[Sensor], samples: Sequence[Integers]) -> Iterator[bytes]:
    """Return the cells that are added to each row, as a line."""
    known: dict[tuple[int, ...], bytes] = {}
    for at in zip(*(found.tolist() for found in samples), strict=True):
        if at not in known:
            known.clear()  # rows of one time follow each other
            row = [
                None if sample < 0 else cells[sample]
                for sensor, sample in zip(sensors, at, strict=True)
                for cells in sensor.columns.values()
            ]
            # a single empty cell would be quoted, as a line of its own
            known[at] = b"\n" if len(row) == 1 and row[0] is None else csv_lines([row])
        yield known[at]
