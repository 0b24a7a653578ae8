"""Erases a session from a log, and proves it.

With the messages of the session go all other messages that name a code which no other session of
the log and no configuration has. What is missing is a gap with the reason ``erased``. All other
rows stay as they are, and the cursors, too: nothing is fetched again.

============================= ===================================================================
``sqlite``                    in place; its files are written anew without free pages
``line_log``                  CSV and JSONL: files that take the place of the old ones
``parquet``                   files of the folder that take the place of the old ones
``postgresql``                rows of the database
============================= ===================================================================
"""

from collections.abc import Callable
from pathlib import Path

from edge.client.logs import full_name, is_database
from edge.client.logs.erasing.plan import Erased
from edge.client.logs.failures import open_error
from edge.errors import ConfigError


def erase_session(log: str, word: str, report: Callable[[str], None]) -> Erased:
    """Erase the session with the name or id ``word`` from a log and from its rotated files.

    An erasure that was interrupted is completed first. Only for the main thread: root acts as the
    owner of the log.

    Args:
        log: a file, a folder or the address of a database, as ``opened_log`` takes it.
        word: name or id.
        report: takes lines on what is done.

    Raises:
        ConfigError: there is no such log, or no such session in it, or it may not be read.
        LogFileError: the log cannot be changed now, such as while a logger writes to it.
    """
    if is_database(log):
        from edge.client.logs.erasing import postgresql  # noqa: PLC0415

        return postgresql.erase(log, word, report)
    try:
        return _erase_files(log, word, report)
    except OSError as error:
        raise open_error(Path(log), error) from error


def _erase_files(log: str, word: str, report: Callable[[str], None]) -> Erased:
    path = Path(log)
    if log.endswith("/") or path.is_dir() or path.suffix.lower() == ".parquet":
        from edge.client.logs.erasing import parquet  # noqa: PLC0415

        return parquet.erase(path, word, report)
    path = Path(full_name(log))
    match path.suffix.lower():
        case ".sqlite":
            from edge.client.logs.erasing import sqlite  # noqa: PLC0415

            return sqlite.erase(path, word, report)
        case ".csv" | ".jsonl":
            from edge.client.logs.erasing import line_log  # noqa: PLC0415

            return line_log.erase(path, word, report)
        case _:
            raise ConfigError(
                f"--log {log}: expected a log of affect-edge: a name that ends in .sqlite, .csv,"
                " .jsonl or .parquet, or the address of a PostgreSQL database"
            )
