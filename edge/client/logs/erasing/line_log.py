"""Erases a session from a CSV or JSONL log and from the files that it was rotated to.

The files are locked against loggers. Each is written anew without the session, and takes the place
of the old one when it is complete; all other lines stay byte for byte. The plan lies next to the
log until all are done (``edge.client.logs.erasing.plan``), so that a killed erasure is completed by
the next one.
"""

import mmap
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from edge.client.logs.erasing.line_items import LineKind, kind_of
from edge.client.logs.erasing.locks import acting_as_owner, in_use, lock_log, open_locked
from edge.client.logs.erasing.names import log_files, where_in
from edge.client.logs.erasing.plan import Erased, Item, ItemFacts, Plan, PlanFile, run_plan
from edge.client.logs.erasing.remains import count_in_files
from edge.client.logs.erasing.runs import Runs, Samples
from edge.client.logs.failures import open_error
from edge.client.logs.linefile import end_of_file
from edge.client.logs.progress import FileEnd, Progress, ProgressFile, SavedProgress
from edge.client.tidy import PlacedGap
from edge.errors import LogFileError
from edge.files.durable import replacing

_NEW: Final = ".{}.erasing"


def erase(path: Path, word: str, report: Callable[[str], None]) -> Erased:
    """Erase the session with the name or id ``word`` from the log ``path``.

    Args:
        path: the log; files that it was rotated to are found by their names.
        word: name or id.
        report: takes lines on what is done.

    Raises:
        ConfigError: there is no such log, or no such session in it.
        LogFileError: a logger writes to it, or a file cannot be written (LogUnavailable: there is
            no space).
    """
    with ExitStack() as stack:
        log = _LineLog(path, stack)
        return run_plan(
            PlanFile(path.with_name(f"{path.name}.erasing")),
            lambda: ItemFacts(log.items),
            log.erase,
            word=word,
            where=str(path),
            report=report,
        )


class _File:
    """A file of a log.

    Args:
        path: not a link.
        committed: where its committed lines end, bytes; None: at the end of the file.
        is_current: whether a logger would go on with it.

    Attributes:
        size: of the committed lines and the header, bytes.
        has_tail: whether more follows, which the logger would cut off at its next start.
    """

    def __init__(self, path: Path, committed: int | None, *, is_current: bool) -> None:
        self.path = path
        self.is_current = is_current
        self.kind: LineKind = kind_of(path)
        size = path.stat().st_size
        self.size = size if committed is None else committed
        self.has_tail = self.size < size

    def lines(self) -> Iterator[bytes]:
        """Return the lines without the header; the last one may have no end."""
        with self.path.open("rb") as file:
            left = self.size - len(file.read(self.kind.header_bytes))
            while left > 0 and (line := file.readline(left)):
                left -= len(line)
                yield line

    def messages(self) -> Iterator[tuple[list[bytes], Item | None]]:
        """Return the lines of each message, with its item: a frame is with all its faces."""
        lines: list[bytes] = []
        whole: Item | None = None
        for line in self.lines():
            item = self.kind.item(line)
            if whole is not None and whole.is_same_frame(item):
                lines.append(line)
                whole = whole._replace(codes=whole.codes | item.codes)
                continue
            if lines:
                yield lines, whole
            lines, whole = [line], item
        if lines:
            yield lines, whole

    def header(self) -> bytes:
        """Return the header."""
        with self.path.open("rb") as file:
            return file.read(self.kind.header_bytes)

    def replaced(self, size: int) -> None:
        """Note that another file of ``size`` bytes has taken its place."""
        self.size, self.has_tail = size, False


class _LineLog:
    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path
        names = log_files(path)
        stack.enter_context(acting_as_owner(next(each for part in names for each in part)))
        self._progress_file = ProgressFile(path)
        self._locks: list[int] = []
        stack.callback(self._unlock)
        current = (path, path.with_suffix(".events.csv"))
        locks: dict[Path, int] = {}
        for each in [each for part in names for each in part]:
            lock = open_locked(each)
            if each in current:
                locks[each] = lock
                self._locks.append(lock)
            else:
                os.close(lock)  # no logger has it; there may be more than a process can keep open
        if log_files(path) != names:
            raise in_use(path)  # a logger has just rotated it
        self._saved, ends = self._load_progress(locks)
        committed = {each: ends.get(each, _end_of_lines(lock)) for each, lock in locks.items()}
        try:
            self._parts = [
                [
                    _File(each.resolve(), committed.get(each), is_current=each in committed)
                    for each in part
                ]
                for part in names
            ]
        except OSError as error:
            raise open_error(path, error) from error
        self._names = [each for part in names for each in part]
        for file in self._files():  # of an erasure that was killed
            file.path.with_name(_NEW.format(file.path.name)).unlink(missing_ok=True)

    def items(self) -> Iterator[Item]:
        """Return the items of all files."""
        for file in self._files():
            for line in file.lines():
                if (item := file.kind.item(line)) is not None:
                    yield item

    def erase(self, plan: Plan) -> Erased:
        """Erase what ``plan`` says."""
        messages = outside = 0
        samples = Samples()
        try:
            for part in self._parts:
                runs = _rewrite_part(part, plan, samples, self._locks)
                counts = runs.count(plan)
                messages, outside = messages + counts[0], outside + counts[1]
            self._store_progress()
        except OSError as error:
            raise LogFileError(
                f"--log {self._path}: {error.strerror or error}; the session is erased in part:"
                " make room or check the disk, and erase it again"
            ) from error
        texts = {file.kind.text(text) for file in self._files() for text in plan.texts()}
        texts |= set(samples)
        paths = [file.path for file in self._files()]
        hits = count_in_files([*paths, self._progress_file.path], texts)
        hits += sum(map(plan.dooms, self.items()))
        codes = tuple(sorted(plan.codes))
        return Erased(messages, outside, codes, len(texts), hits, where_in(self._path, self._names))

    def _files(self) -> Iterator[_File]:
        for part in self._parts:
            yield from part

    def _unlock(self) -> None:
        for descriptor in self._locks:
            os.close(descriptor)

    def _load_progress(
        self, locks: dict[Path, int]
    ) -> tuple[SavedProgress | None, dict[Path, int]]:
        """Return the logger's progress and the sizes that it has committed, by file.

        Without the size of each present file, the logger will search the log itself.
        """
        saved = self._progress_file.load()
        ends: dict[Path, int] = {}
        for path, lock in locks.items():
            end = saved.ends.get(path.name) if saved else None
            size = os.fstat(lock).st_size
            if end is not None and end.size <= size and end_of_file(lock, end.size) == end:
                ends[path] = end.size
        if saved is not None and len(ends) < len(saved.ends):
            saved = None
        return saved, ends

    def _store_progress(self) -> None:
        """Let the logger recognise the files that were written anew."""
        if self._saved is None:
            return
        ends: dict[str, FileEnd] = {}
        for path, file in zip(self._names, self._files(), strict=True):
            if file.is_current:
                with file.path.open("rb") as opened:
                    ends[path.name] = end_of_file(opened.fileno(), file.size)
        progress = Progress(self._saved.cursors, self._saved.origins, self._saved.day)
        self._progress_file.store(progress, ends)


def _rewrite_part(part: Sequence[_File], plan: Plan, samples: Samples, locks: list[int]) -> Runs:
    """Write the files of a part anew, that of its events first; return what was erased."""
    runs = Runs()
    changed: set[_File] = set()
    for file in part:
        for lines, item in file.messages():
            if item is None:
                continue
            if item.kind == "gap":
                runs.note_gap(item)
            elif plan.dooms(item):
                changed.add(file)
                if item.kind != "status":  # which has no number of its own
                    samples.add(lines[0].rstrip(b"\n")[:200])
                    runs.add(item)
    gaps = runs.gaps()
    # a kill after the events are written leaves the gaps of the frames recorded, and no other
    for file in reversed(part):
        of_file = gaps if file.kind.has_gaps else []
        if file in changed or of_file or file.has_tail:
            _rewrite(file, plan, of_file, locks)
    return runs


def _rewrite(file: _File, plan: Plan, gaps: Sequence[PlacedGap], locks: list[int]) -> None:
    waiting: dict[str, deque[PlacedGap]] = {}
    for gap in gaps:
        waiting.setdefault(gap.gap.stream, deque()).append(gap)
    mode = stat.S_IMODE(file.path.stat().st_mode)
    with replacing(file.path, name=_NEW) as new:
        if file.is_current:  # before it has its name: a logger that starts now must not have it
            locks.append(os.dup(new.fileno()))
            lock_log(locks[-1], file.path)
        os.fchmod(new.fileno(), mode)
        new.write(file.header())
        torn = b""  # a last line without an end, after which nothing may come
        for lines, item in file.messages():
            if item is not None and plan.dooms(item):
                continue
            if item is not None:
                of_stream = waiting.get(item.stream)
                while of_stream and _is_before(of_stream[0], item):
                    new.write(file.kind.gap_line(of_stream.popleft()))
            if not lines[-1].endswith(b"\n"):
                torn = lines.pop()
            new.writelines(lines)
        for of_stream in waiting.values():
            for gap in of_stream:
                new.write(file.kind.gap_line(gap))
        new.write(torn)
        size = new.tell()
    file.replaced(size)


def _is_before(gap: PlacedGap, item: Item) -> bool:
    return (gap.gap.epoch, gap.gap.first_missing) < (item.epoch, item.seq)


def _end_of_lines(descriptor: int) -> int:
    """Return the size of a file without a torn last line."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return 0
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\n") + 1
