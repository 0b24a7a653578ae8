"""Reads tables of ``edge.client.tidy``: those of logs and exports, and those of ``analyse``."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import unquote

from edge.client.logs.arrow import require_arrow
from edge.errors import ConfigError, LogFileError
from edge.files.regular import NotRegularFile, refuse_special

MADE_BY: Final = "expected a table that affect-edge log, export-log or analyse made"


def csv_columns(path: Path) -> list[str]:
    """Return the columns of a table.

    Raises:
        ConfigError, LogFileError: as ``csv_rows``.
    """
    with _opened_csv(path) as file:
        return _cells(next(file, ""))


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line, from 1, and its cells of ``columns``.

    A last row that is torn is left out: the logger had not committed it.

    Raises:
        ConfigError: the table cannot be opened, lacks a column, or another row is torn.
        LogFileError: the disk fails.
    """
    with _opened_csv(path) as file:
        header = _cells(next(file, ""))
        _require_columns(path, columns, header)
        places = [header.index(name) for name in columns]
        torn = None
        for number, line in enumerate(file, 2):
            if torn is not None:
                raise ConfigError(
                    f"{path}: line {torn} is torn: it has not {len(header)} cells, as the first"
                    f" line has; {MADE_BY}"
                )
            row = _cells(line)
            if len(row) != len(header):
                torn = number
                continue
            yield number, [row[place] for place in places]


@contextmanager
def _opened_csv(path: Path) -> Iterator[TextIO]:
    with readable(path), path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        yield file


def _cells(line: str) -> list[str]:
    """Return the cells of a line; none if it is torn.

    Each row is one line (``edge.client.tidy.csv_lines``). A reader of the whole file would take all
    lines after a quote that is open for the end of one cell.
    """
    try:
        return next(csv.reader([line.rstrip("\r\n").replace("\0", "")], strict=True), [])
    except csv.Error:
        return []


def parquet_batches(path: Path, columns: Sequence[str], *, rows: int) -> Iterator[dict[str, Any]]:
    """Yield a table in parts of ``rows`` at most: a dict of column to an array of pyarrow.

    In a Parquet log, ``device`` is in the name of a folder: then it is a list of the same length.

    Raises:
        ConfigError: the table cannot be opened or lacks a column, or pyarrow is missing.
        LogFileError: it is damaged, or the disk fails.
    """
    parquet = require_arrow().parquet
    inner = list(columns)
    device = None
    with readable(path), parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if "device" in inner and "device" not in names:
            folder = path.parent.parent.name
            if folder.startswith("device="):
                inner.remove("device")
                device = unquote(folder.removeprefix("device="))
        _require_columns(path, inner, names)
        for batch in file.iter_batches(batch_size=rows, columns=inner):
            found: dict[str, Any] = {name: batch.column(name) for name in inner}
            if device is not None:
                found["device"] = [device] * batch.num_rows
            yield found


def parquet_columns(path: Path) -> list[str]:
    """Return the columns of a table.

    Raises:
        ConfigError, LogFileError: as ``parquet_batches``.
    """
    parquet = require_arrow().parquet
    with readable(path), parquet.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def parquet_files(folder: Path) -> list[Path]:
    """Return the files of one table of a Parquet log, by device and then by their first messages.

    Args:
        folder: ``faces`` or ``events`` of the log.
    """

    def key(path: Path) -> tuple[str, str, int, int]:
        # STREAM-EPOCH-SEQ, or STREAM-EPOCH-SEQ.erased with the gaps of an erased session
        device, stem = path.parent.parent.name, path.stem.removesuffix(".erased")
        stream, _, seq = stem.rpartition("-")
        stream, _, epoch = stream.rpartition("-")
        is_named = seq.isdecimal() and epoch.isdecimal()
        return (device, stream, int(epoch), int(seq)) if is_named else (device, path.stem, 0, 0)

    paths = folder.glob("**/*.parquet")
    return sorted((path for path in paths if not path.name.startswith(".")), key=key)


def spools(log: Path) -> list[Path]:
    """Return the SQLite logs in which the newest messages of a Parquet log wait, in their order.

    After a kill, messages of one of them may be in files, too.
    """
    return sorted((log / ".spool").glob("messages*.sqlite"))


def _require_columns(path: Path, wanted: Sequence[str], present: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in present]:
        raise ConfigError(f"{path}: lacks the columns {', '.join(missing[:5])}; {MADE_BY}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Translate what reading a file raises in a ``with`` block.

    Raises:
        ConfigError: it cannot be opened, or its content is something else.
        LogFileError: it is damaged, or the disk fails.
    """
    try:
        refuse_special(path)
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotRegularFile) as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {MADE_BY}") from error
    except OSError as error:  # pyarrow's errors of damaged files, too
        raise LogFileError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged: {' '.join(str(error).split())}") from error
