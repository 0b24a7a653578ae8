"""Deletes ranges of messages for good: their bytes are overwritten, and that is checked.

Deleted rows leave copies: in the log, in pages that trimming has freed, in the tail. So the pages
are overwritten with zeros, the log is truncated and the tail deleted; then every file is searched
for samples of what was deleted. Below the file system, a flash card may still hold old copies.
"""

import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from edge.hub.journal.batch import Position
from edge.hub.journal.database import StoreDamaged
from edge.hub.journal.entries import Group, pack
from edge.hub.journal.store import Store

Range = tuple[Position, Position]
"""First and last message, both included, of one epoch or of several."""

_SAMPLE: Final = 24
_SAMPLE_EVERY: Final = 500
_CHUNK: Final = 1 << 20


class EraseJobs:
    """Requests to erase, of any thread, for the thread that writes."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Sequence[Range], Future[int]]] = queue.SimpleQueue()

    def __bool__(self) -> bool:
        return not self._waiting.empty()

    def add(self, ranges: Sequence[Range]) -> Future[int]:
        """Have the ranges erased; the result is the number of messages.

        Or an OSError; or whatever else was raised, which is a mistake of the program.
        """
        future: Future[int] = Future()
        self._waiting.put((ranges, future))
        return future

    def run(self, do: Callable[[Sequence[Range]], int]) -> None:
        """Do what is waiting."""
        while self:
            ranges, future = self._waiting.get()
            try:
                future.set_result(do(ranges))
            except (OSError, ValueError, StoreDamaged) as error:
                future.set_exception(OSError(f"erase: {error}"))
            except Exception as error:  # noqa: BLE001 - a mistake; storing messages goes on
                future.set_exception(error)

    def fail(self, error: Exception) -> None:
        """Answer what is waiting with an error."""
        while self:
            self._waiting.get()[1].set_exception(OSError(f"erase: {error}"))


def erase(store: Store, ranges: Sequence[Range], files: Iterable[Path]) -> int:
    """Delete the messages in ``ranges``; return how many there were.

    The first message of an epoch stays: it holds configuration, nothing of a session. Only for the
    thread that writes; it may take as long as writing the file anew.

    Args:
        store: of the messages.
        ranges: what to delete.
        files: further files to search for remains, such as those of the tail.

    Raises:
        OSError: the storage fails, or remains were found.
    """
    count = 0
    samples: set[bytes] = set()
    for first, last in ranges:
        cursor = Position(first.epoch, first.seq - 1)
        while (group := store.group_after(cursor)) is not None:
            begins = Position(group.epoch, group.first_seq)
            if begins > last:
                break
            pieces = _keep(group, store.dictionary, first, last)
            kept = sum(each.last_seq - each.first_seq + 1 for each in pieces)
            samples |= _samples(group.data)
            samples -= {sample for sample in samples for each in pieces if sample in each.data}
            store.replace(group, pieces, first, last)
            count += group.last_seq - group.first_seq + 1 - kept
            cursor = group.last_position
    store.overwrite_free_pages(_CHUNK)
    if remains := find_samples(samples, [*store.files(), *files]):
        raise OSError(f"erase: {len(remains)} files still hold deleted messages: {remains[0]}")
    return count


def find_samples(samples: Iterable[bytes], files: Iterable[Path]) -> list[Path]:
    """Return the files that hold any of the samples."""
    wanted = list(samples)
    overlap_bytes = max(map(len, wanted), default=1) - 1
    found = []
    for path in files:
        if not path.exists():
            continue
        with path.open("rb") as file:
            overlap = b""
            while chunk := file.read(_CHUNK):
                data = overlap + chunk
                if any(sample in data for sample in wanted):
                    found.append(path)
                    break
                overlap = data[len(data) - overlap_bytes :]
    return found


def _keep(group: Group, dictionary: bytes, first: Position, last: Position) -> list[Group]:
    """Return groups of the messages before ``first`` and after ``last``."""
    begin, end = 0, group.last_seq - group.first_seq + 1  # of what goes
    if first.epoch == group.epoch:
        begin = max(0, first.seq - group.first_seq)
    if last.epoch == group.epoch:
        end = min(end, last.seq + 1 - group.first_seq)
    lines = group.lines(dictionary).split(b"\n")
    return [
        pack(group.epoch, group.first_seq + start, group.unix_ns, b"\n".join(part), dictionary)
        for start, part in ((0, lines[:begin]), (end, lines[end:]))
        if part
    ]


def _samples(data: bytes) -> set[bytes]:
    """Return parts of a group's data; its first bytes are the same in every group."""
    starts = range(min(24, max(0, len(data) - _SAMPLE)), len(data) - _SAMPLE + 1, _SAMPLE_EVERY)
    return {data[start : start + _SAMPLE] for start in starts}
