"""Logs: the messages of daemons in files or a database, continued where they stopped.

============================= ===================================================================
``OUT.sqlite``, or no suffix  messages as received, with views of typed columns (``sqlite_log``)
``OUT.csv``                   the tables of ``edge.client.tidy`` (``csv_log``)
``OUT.jsonl``                 messages as received, one a line (``jsonl_log``)
``OUT.parquet``, ``OUT/``     a folder of tables by device and day (``parquet_log``)
``postgresql://USER@HOST/DB`` tables of a database, for many daemons (``postgresql_log``)
============================= ===================================================================

``write`` keeps messages in memory; ``commit`` stores them together with the cursors, so a message
is in the log exactly once, or was never acknowledged: kills in between change nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, Self

from edge.client.gaps import Cursor
from edge.client.subscriber import Received
from edge.errors import ConfigError


class LogFormat(Protocol):
    """Stores messages. Not thread-safe."""

    @property
    def cut_bytes(self) -> int:
        """Bytes at the end of the log that were never committed; ``cursors`` cut them off."""

    @property
    def deleted_rows(self) -> int:
        """Rows of this run whose file was deleted while it was written."""

    @property
    def size(self) -> int:
        """Bytes of the files that ``rotate`` would set aside; 0 where there are none."""

    @property
    def day(self) -> str | None:
        """UTC day of the first message in these files, ``2026-11-27``; None while there is none."""

    def cursors(self) -> list[Cursor]:
        """Cut off what was never committed; return the cursors, of which the highest counts.

        Call it once, before the first ``write``.

        Raises:
            ConfigError: what is there is not a log of this format; it is left unchanged.
            LogUnavailable: the server does not answer now: call it again.
        """

    def write(self, received: Received) -> int:
        """Add a message, after its gap if it has one; return how many rows the message takes.

        It is in memory only until ``commit``. Never fails.
        """

    def commit(self) -> None:
        """Store all messages that were added, and the cursors: all of them or none.

        Returns when they would survive a power cut. Without new messages it is cheap: call it every
        second, so that a moved or deleted file is noticed.

        Raises:
            LogUnavailable: not now: the disk is full, or the server does not answer. The messages
                are kept: call it again.
            LogFileError: the log cannot be written any more; it holds what was committed.
        """

    def rotate(self) -> None:
        """Set the files aside under a name with their day, and go on in new ones.

        Call it right after ``commit``. The cursors are kept. Does nothing while there is no
        message, and where there are no files.

        Raises:
            LogUnavailable: not now; the log goes on in the old files.
            LogFileError: as ``commit``.
        """

    def close(self) -> None:
        """Release the log; what was not committed is lost."""


@contextmanager
def opened_log(
    out: str | Path, report: Callable[[str], None] = lambda _line: None
) -> Iterator[LogFormat]:
    """Open the log ``out`` for a ``with`` block, which commits at its end.

    Args:
        out: a file or folder; its suffix is the format.
        report: takes a line when a file of the log was deleted, moved or set aside.

    Raises:
        ConfigError: no format has this suffix, the log cannot be opened, or another process
            writes to it.
    """
    log = _open(str(out), report)
    try:
        yield log
        log.commit()
    finally:
        log.close()


class NewFiles:
    """Files and folders that a log makes: removed at the end of a ``with`` block if unwanted.

    Enter it before ``opened_log``, so that it ends after it. What was there before stays.

    Args:
        out: as that of ``opened_log``.

    Attributes:
        are_wanted: called at the end of the block, also after an error.
    """

    def __init__(self, out: str | Path) -> None:
        self.are_wanted: Callable[[], bool] = lambda: True
        self._paths = [path for path in _paths(str(out)) if not os.path.lexists(path)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.are_wanted():
            return
        for path in self._paths:
            with suppress(OSError):  # it was not made, or a folder has other files
                path.rmdir() if path.is_dir() else path.unlink()


def is_database(out: str) -> bool:
    """Return whether ``out`` is the address of a database, and no file."""
    return out.startswith(("postgresql://", "postgres://"))


def full_name(out: str) -> str:
    """Return ``out`` with the suffix that a log without any gets."""
    is_file = not (is_database(out) or out.endswith("/"))
    return f"{out}.sqlite" if is_file and not Path(out).suffix else out


def _paths(out: str) -> list[Path]:
    """Return the files and folders that a log makes before its first message, folders last."""
    if is_database(out):
        return []
    path = Path(full_name(out))
    if out.endswith("/") or path.suffix.lower() == ".parquet":
        spool = path / ".spool"
        return [*_paths(str(spool / "messages.sqlite")), spool, path]
    beside = [path.with_suffix(".events.csv")] if path.suffix.lower() == ".csv" else []
    suffixes = ("", "-wal", "-shm", ".cursors")
    return [*(path.with_name(path.name + suffix) for suffix in suffixes), *beside]


def _open(out: str, report: Callable[[str], None]) -> LogFormat:
    if is_database(out):
        from edge.client.logs.postgresql_log import PostgresLog  # noqa: PLC0415

        return PostgresLog(out, report)
    path = Path(out)
    if path.name in ("", ".."):
        raise ConfigError(f"log {out!r}: expected the name of a file or folder to write to")
    if out.endswith("/"):
        from edge.client.logs.parquet_log import ParquetLog  # noqa: PLC0415

        return ParquetLog(path, report)
    match path.suffix.lower():
        case ".sqlite" | "":
            from edge.client.logs.sqlite_log import SqliteLog  # noqa: PLC0415

            return SqliteLog(Path(full_name(out)), report)
        case ".csv":
            from edge.client.logs.csv_log import TidyCsv  # noqa: PLC0415

            return TidyCsv(path, report)
        case ".jsonl":
            from edge.client.logs.jsonl_log import JsonLines  # noqa: PLC0415

            return JsonLines(path, report)
        case ".parquet":
            from edge.client.logs.parquet_log import ParquetLog  # noqa: PLC0415

            return ParquetLog(path, report)
        case _:
            raise ConfigError(
                f"log {out}: expected a name that ends in .sqlite, .csv, .jsonl or .parquet, or"
                " the address of a PostgreSQL database"
            )
