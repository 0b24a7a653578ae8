"""A table as a new file, CSV or Parquet, that appears at its path only when it is complete."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from edge.client.logs.arrow import require_arrow
from edge.client.logs.failures import log_error
from edge.client.tidy import BOOLEANS, INTEGERS, TEXTS, Cell, csv_lines
from edge.errors import ConfigError
from edge.files.durable import replacing, replacing_with_unique_name

Row = Sequence[Cell]

_GROUP_ROWS: Final = 20_000
"""Rows of a Parquet row group: what is in memory, some ten megabytes."""


class TableFile(Protocol):
    """Takes rows. Not thread-safe."""

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows, cells in the order of the columns.

        Raises:
            LogFileError: they cannot be written (LogUnavailable: there is no space).
        """

    def finish(self) -> None:
        """Write what is left.

        Raises:
            LogFileError: as ``append``.
        """

    def close(self) -> None:
        """Free what it holds, also of a table that is not finished. Never fails."""


@contextmanager
def opened_table(
    path: Path, columns: Sequence[str], *, is_locked: bool = True
) -> Iterator[TableFile]:
    """Make a table, in the format of its suffix, for a ``with`` block.

    It is written under another name and renamed at the end, which replaces a file that is there;
    an exception in the block removes it.

    Args:
        path: of the table, ``.csv`` or ``.parquet``.
        columns: of ``edge.client.tidy``.
        is_locked: see ``opened_new``.

    Raises:
        ConfigError: another suffix, or pyarrow is missing.
        LogFileError: it cannot be written (LogUnavailable: there is no space).
    """
    with opened_new(path, is_locked=is_locked) as file:
        table: TableFile
        if path.suffix.lower() == ".csv":
            table = _CsvTable(file, columns)
        elif path.suffix.lower() == ".parquet":
            table = _ParquetTable(file, columns)
        else:
            raise ConfigError(f"table {path}: expected a name that ends in .csv or .parquet")
        try:
            yield table
            table.finish()
        finally:
            table.close()


@contextmanager
def opened_new(path: Path, *, is_locked: bool) -> Iterator[BinaryIO]:
    """Open a file that appears at ``path`` at the end of a ``with`` block; see ``opened_table``.

    Args:
        path: of the file.
        is_locked: nobody else writes it: it is ``.NAME.new`` until then, and so overwrites what a
            kill has left. Else each writer has a file of its own, and the last one that ends stays.

    Raises:
        LogFileError: it cannot be written (LogUnavailable: there is no space).
    """
    try:
        new = replacing(path, name=".{}.new") if is_locked else replacing_with_unique_name(path)
        with new as file:
            yield file
    except OSError as error:
        raise log_error(path, error) from error


class _CsvTable:
    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._file = file
        file.write(csv_lines([columns]))

    def append(self, rows: Sequence[Row]) -> None:
        self._file.write(csv_lines(rows))

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


class _ParquetTable:
    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        pyarrow = require_arrow(extra="parquet", instead="choose .csv")
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(name, _type(pyarrow, name)) for name in columns])
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def append(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        # groups of equal size, so that the same rows give the same bytes however they come
        while len(self._rows) >= _GROUP_ROWS:
            self._write(self._rows[:_GROUP_ROWS])
            self._rows = self._rows[_GROUP_ROWS:]

    def finish(self) -> None:
        if self._rows:
            self._write(self._rows)
        self._writer.close()

    def close(self) -> None:
        # its destructor would write into a file that is closed by then
        with suppress(OSError):
            self._writer.close()

    def _write(self, rows: Sequence[Row]) -> None:
        columns = zip(*rows, strict=True)
        arrays = [
            self._arrow.array(cells, type=field.type)
            for cells, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))


def _type(pyarrow: Any, column: str) -> Any:
    if column in INTEGERS:
        return pyarrow.int64()
    if column in BOOLEANS:
        return pyarrow.bool_()
    return pyarrow.string() if column in TEXTS else pyarrow.float64()
