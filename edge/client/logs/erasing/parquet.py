"""Erases a session from a Parquet log: a folder of tables by device and day.

The folder is locked against loggers. Its newest messages become files first, as at the end of a
logger. Then each file that has rows of the session is written anew without them, and takes the
place of the old one when it is complete; a file without other rows is deleted. The gaps are in
files of their own, ``STREAM-EPOCH-SEQ.erased.parquet``. The plan lies in the folder until all is
done, so that a killed erasure is completed by the next one.

Parquet files are compressed: instead of their bytes, all their rows are searched afterwards.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from edge.client.logs.erasing.line_items import item_of_row
from edge.client.logs.erasing.locks import acting_as_owner, in_use
from edge.client.logs.erasing.plan import (
    Erased,
    Item,
    ItemFacts,
    Plan,
    PlanFile,
    lies_within,
    run_plan,
)
from edge.client.logs.erasing.remains import count_in_files
from edge.client.logs.erasing.runs import Runs
from edge.client.logs.parquet_log import ParquetLog, make_folders
from edge.client.logs.sqlite_changes import open_log
from edge.client.logs.table_file import opened_table
from edge.client.tidy import EVENT_COLUMNS, PlacedGap
from edge.clock import day
from edge.errors import ConfigError, LogFileError
from edge.files.durable import replacing, sync_folder

_ROWS: Final = 10_000
_COLUMNS: Final = {
    "faces": ["stream", "epoch", "seq", "unix_ns", "published_ns", "time_s", "participant"],
    "events": [*EVENT_COLUMNS[1:]],
}
_NEW: Final = ".{}.erasing"


def erase(path: Path, word: str, report: Callable[[str], None]) -> Erased:
    """Erase the session with the name or id ``word`` from the log in the folder ``path``.

    Args:
        path: the folder.
        word: name or id.
        report: takes lines on what is done.

    Raises:
        ConfigError: there is no such log, or no such session in it, or pyarrow is missing.
        LogFileError: a logger writes to it, or a file cannot be written.
    """
    if not (path / ".spool").is_dir():
        raise ConfigError(
            f"--log {path}: no such folder of a log; expected one that affect-edge log wrote"
        )
    with ExitStack() as stack:
        stack.enter_context(acting_as_owner(path))
        try:
            log = ParquetLog(path, report)
        except ConfigError as error:
            if isinstance(error.__cause__, BlockingIOError):
                raise in_use(path) from error
            raise
        stack.callback(log.close)
        log.cursors()
        log.rotate()
        _empty_spool(path / ".spool" / "messages.sqlite")
        folder = _Folder(path)
        return run_plan(
            PlanFile(path / ".erasing"),
            lambda: ItemFacts(folder.items),
            folder.erase,
            word=word,
            where=str(path),
            report=report,
        )


class _Folder:
    """The files of a log, which is locked."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def items(self) -> Iterator[Item]:
        """Return the items of all files."""
        for file, table in self._files():
            for batch in _batches(file, _COLUMNS[table]):
                yield from _items(file, batch)

    def erase(self, plan: Plan) -> Erased:
        """Erase what ``plan`` says."""
        try:
            for new in self._path.glob("*/*/*/.*.erasing"):  # of an erasure that was killed
                new.unlink()
            goes = self._goes(plan)
            runs, doomed = self._doomed(goes)
            self._write_gaps(runs.gaps())
            for file, keeps_rows in doomed.items():
                if keeps_rows:
                    _rewrite(file, goes)
                else:
                    file.unlink()
                    sync_folder(file.parent)
        except OSError as error:
            raise LogFileError(
                f"--log {self._path}: {error.strerror or error}; the session is erased in part:"
                " make room or check the disk, and erase it again"
            ) from error
        messages, outside = runs.count(plan)
        hits = sum(map(plan.dooms, self.items()))
        texts = [text.encode() for text in plan.texts()]
        hits += count_in_files((self._path / ".spool").iterdir(), texts)
        codes = tuple(sorted(plan.codes))
        where = f"all rows of {self._path}"
        return Erased(messages, outside, codes, len(texts), hits, where)

    def _files(self) -> Iterator[tuple[Path, str]]:
        """Return all files, and the table of each."""
        for table in _COLUMNS:
            for file in sorted(self._path.glob(f"{table}/device=*/day=*/*.parquet")):
                yield file, table

    def _goes(self, plan: Plan) -> Callable[[Item], bool]:
        """Return a function that says whether a row goes: a frame goes with all its faces."""
        named = {
            item.identity
            for item in self.items()
            if not plan.codes.isdisjoint(item.codes) and not lies_within(plan.spans, item)
        }
        return lambda item: plan.dooms(item) or (item.kind == "frame" and item.identity in named)

    def _doomed(self, goes: Callable[[Item], bool]) -> tuple[Runs, dict[Path, bool]]:
        """Return what is to be erased, and the files of it: whether they have other rows, too."""
        runs = Runs()
        doomed: dict[Path, bool] = {}
        for file, table in self._files():
            is_doomed = keeps_rows = False
            for batch in _batches(file, _COLUMNS[table]):
                for item in _items(file, batch):
                    if item.kind == "gap":
                        runs.note_gap(item)
                    if goes(item):
                        is_doomed = True
                        runs.add(item)
                    else:
                        keeps_rows = True
            if is_doomed:
                doomed[file] = keeps_rows
        return runs, doomed

    def _write_gaps(self, gaps: list[PlacedGap]) -> None:
        by_folder: dict[Path, list[PlacedGap]] = {}
        for placed in gaps:
            device = quote(placed.device, safe="")
            folder = self._path / "events" / f"device={device}" / f"day={day(placed.unix_ns)}"
            by_folder.setdefault(folder, []).append(placed)
        for folder, of_folder in by_folder.items():
            make_folders(folder, self._path)
            first = of_folder[0].gap
            name = f"{first.stream}-{first.epoch}-{first.first_missing}.erased.parquet"
            with opened_table(folder / name, EVENT_COLUMNS[1:]) as table:
                table.append([placed.row()[1:] for placed in of_folder])


def _batches(file: Path, columns: list[str] | None = None) -> Iterator[Any]:
    """Return the record batches of a file; ``columns`` only, if given.

    Raises:
        LogFileError: it cannot be read.
    """
    import pyarrow  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    try:
        with pyarrow.parquet.ParquetFile(file) as source:
            yield from source.iter_batches(batch_size=_ROWS, columns=columns)
    except pyarrow.ArrowException as error:
        raise _damaged(file, error) from error


def _items(file: Path, batch: Any) -> Iterator[Item]:
    """Return the items of a record batch.

    Raises:
        LogFileError: a row is damaged.
    """
    device = unquote(file.parts[-3].removeprefix("device="))
    try:
        for row in batch.to_pylist():
            yield item_of_row(row | {"device": device})
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> LogFileError:
    return LogFileError(
        f"{file}: cannot be read ({error}); move it out of the log and erase the session again"
    )


def _rewrite(file: Path, goes: Callable[[Item], bool]) -> None:
    """Write a file anew without the rows that go."""
    import pyarrow  # noqa: PLC0415
    import pyarrow.parquet  # noqa: PLC0415

    schema = pyarrow.parquet.read_schema(file)
    mode = stat.S_IMODE(file.stat().st_mode)
    with replacing(file, name=_NEW) as new:
        os.fchmod(new.fileno(), mode)
        with pyarrow.parquet.ParquetWriter(new, schema, compression="zstd") as writer:
            for batch in _batches(file):
                kept = [not goes(item) for item in _items(file, batch)]
                if any(kept):
                    writer.write_batch(batch.filter(pyarrow.array(kept)))


def _empty_spool(spool: Path) -> None:
    """Delete the statuses that wait there, which no file gets.

    Raises:
        LogFileError: messages wait there, too.
    """
    with open_log(spool) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        ((messages,),) = connection.execute("SELECT count(*) FROM messages")
        if messages:
            raise LogFileError(f"--log {spool}: another program has it open; end it and try again")
        connection.execute("DELETE FROM statuses")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
