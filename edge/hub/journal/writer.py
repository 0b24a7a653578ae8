"""The journal's thread: it opens the file, stores messages in groups, trims, and retries.

A failing or slow disk delays this thread alone. What it has not stored stays in memory and in the
tail.
"""

import contextlib
import functools
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from edge import clock
from edge.hub.identity import PreviousStart
from edge.hub.journal.batch import BEFORE_ALL, MissingRange, Position
from edge.hub.journal.consumers import Consumers
from edge.hub.journal.database import StoreDamaged, set_aside
from edge.hub.journal.entries import Entry
from edge.hub.journal.erase import EraseJobs, Range, erase
from edge.hub.journal.memory import Memory
from edge.hub.journal.previous import Found, previous_state
from edge.hub.journal.readback import Readback
from edge.hub.journal.retention import Limits, Retention
from edge.hub.journal.store import Store
from edge.hub.journal.tail import Tail

log = logging.getLogger("affect_edge")

TICK_S: Final = 0.2
"""Between commits; a power cut costs this and one commit: 0.25 s where it takes 50 ms."""
RELAXED_S: Final = 5.0
"""Between commits while every consumer keeps up: the messages are stored elsewhere, too."""
CHECK_S: Final = 2.0
"""Time for the check of the file at the start."""
_COMMIT_BYTES: Final = 1 << 20
_COMMIT_MESSAGES: Final = 4096
_CONSUMERS_S: Final = 60.0
_DOUBT_NS: Final = 60 * 10**9
_BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0)


class Writer:
    """The thread and its file. Methods are for other threads.

    Attributes:
        store: the open file; None while it cannot be opened.
        failure: why messages are not stored now; empty if they are.
        busy_since_ns: monotonic time at which the present access to storage began; None: none.
        found: set once the start has looked at the storage.
        retention: knows the size of the file and its oldest message.
        recovered: last number of each epoch of which messages were found in the tail.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits,
        consumers: Consumers,
        run_s: Callable[[], int],
        on_commit: Callable[[float], None],
        on_gap: Callable[[MissingRange], None],
        on_set_aside: Callable[[str, str], None],
    ) -> None:
        self._path = path
        self._consumers = consumers
        self._run_s = run_s
        self._on_commit, self._on_gap, self._on_set_aside = on_commit, on_gap, on_set_aside
        self.store: Store | None = None
        self.failure = ""
        self.busy_since_ns: int | None = None
        self.found = Found()
        self.retention = Retention(limits, consumers, run_s, on_gap)
        self._readback = Readback(path)
        self.recovered: dict[int, int] = {}
        self._incomplete: dict[int, int] = {}  # of these, those that are not all in the file
        self._is_new = False  # there was no file
        self.base_run_s = 0
        self._damage: tuple[Store, str] | None = None
        self._jobs = EraseJobs()
        self._is_found, self._may_begin = threading.Event(), threading.Event()
        self._is_ready = threading.Event()
        self._wake, self._is_closing = threading.Event(), False
        self._is_empty = self._is_abandoned = False
        self._error: BaseException | None = None
        self._gaps: list[MissingRange] = []  # to be stored
        self._failures = self._doubted_until_ns = 0
        self._next_try_ns = self._next_commit_ns = 0
        self._next_consumers_ns = clock.monotonic_ns() + int(_CONSUMERS_S * 1e9)

    # -- for the main thread -----------------------------------------------------------------------

    def look(
        self, stream: str, previous: PreviousStart | None, tail: Tail | None, boot: str
    ) -> None:
        """Start the thread, which opens the file of ``stream`` and reads the tail."""
        self._stream, self._previous, self._tail, self._boot = stream, previous, tail, boot
        self._before = previous.epoch if previous is not None else 0  # highest epoch in the file
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def wait_until_found(self, timeout_s: float) -> bool:
        """Wait until the storage was looked at; return whether it was."""
        return self._is_found.wait(timeout_s)

    def begin(self, stream: str, tail: Tail | None, memory: Memory) -> None:
        """Let the thread store what is in ``memory``; ``stream`` is new if there was damage."""
        self._stream, self._tail, self._memory = stream, tail, memory
        self._may_begin.set()
        if self._is_found.is_set():
            self._is_ready.wait()

    def abandon(self) -> None:
        """End the thread before it has begun."""
        self._is_abandoned = True
        self._may_begin.set()

    def close(self, timeout_s: float) -> bool:
        """Store what is left and close; return whether all was stored within ``timeout_s``."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and self._is_empty

    # -- for any thread ----------------------------------------------------------------------------

    def report_damage(self, store: Store, reason: str) -> None:
        """Have a damaged file set aside."""
        self._damage = (store, reason)
        self._wake.set()

    @property
    def readable(self) -> Store | None:
        """The open file, once the messages of the tail are in memory: readers need both."""
        return self.store if self._is_ready.is_set() else None

    def recorded_gap(self, store: Store, epoch: int, seq: int) -> MissingRange | None:
        """Return the gap that holds a message, if one was recorded."""
        waiting = (gap for gap in self._gaps.copy() if gap.holds(epoch, seq))
        return next(waiting, None) or store.gap(epoch, seq)

    def report_gap(self, gap: MissingRange) -> None:
        """Count messages that a reader has found damaged."""
        self._on_gap(gap)

    def erase(self, ranges: Sequence[Range]) -> int:
        """Delete messages after everything in memory was stored; wait until it is done.

        Raises:
            OSError: the storage fails, or remains were found.
        """
        job = self._jobs.add(ranges)
        self._wake.set()
        return job.result()

    def check(self) -> None:
        """Raise RuntimeError if the thread has ended by a mistake of the program."""
        if self._error is not None:
            raise RuntimeError("the journal's thread ended") from self._error

    # -- the thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised on the main thread by check
            self._error = error
            self._is_found.set()
            self._is_ready.set()

    def _run(self) -> None:
        try:
            recovered = self._tail.recover() if self._tail is not None else []
        except OSError as error:
            log.warning("journal: the tail of the last run cannot be read: %s", error)
            recovered = []
        with self._attempt():
            if recovered and recovered[-1].epoch > self._before:
                # its numbers would be used again, and the messages taken for stored ones
                raise StoreDamaged(
                    f"an older copy: epoch {recovered[-1].epoch} was sent, and it knows"
                    f" {self._before} epochs"
                )
            self._is_new = not self._path.exists()
            self._open(CHECK_S)
            self._note_previous(recovered)
        looked_at = self._stream
        self._is_found.set()
        self._may_begin.wait()
        if self._is_abandoned:
            if self.store is not None:
                self.store.close()
            return
        if self._stream != looked_at:
            recovered, self._previous = [], None  # of the stream whose file was set aside
        self.recovered = {entry.epoch: entry.seq for entry in recovered}
        self._incomplete = self.recovered.copy()
        self._memory.prepend(recovered)
        self._is_ready.set()
        next_ns = clock.monotonic_ns()
        while True:
            now_ns = clock.monotonic_ns()
            next_ns = max(next_ns + int(TICK_S * 1e9), now_ns)
            self._wake.wait((next_ns - now_ns) / 1e9)
            self._wake.clear()
            closing = self._is_closing
            with self._attempt():
                self._step(closing=closing)
            if closing:
                break
        self._is_empty = self._memory.count == 0 and not self.failure
        if self.store is not None:
            self.store.close()

    @contextlib.contextmanager
    def _attempt(self) -> Iterator[None]:
        """Note a failure of storage and when to try again; set a damaged file aside."""
        self.busy_since_ns = clock.monotonic_ns()
        try:
            try:
                yield
            except StoreDamaged as error:
                self._replace(str(error))
        except (OSError, StoreDamaged) as error:
            wait_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
            self._failures += 1
            self.failure = str(error)
            self._next_try_ns = clock.monotonic_ns() + int(wait_s * 1e9)
            self._jobs.fail(error)
        finally:
            self.busy_since_ns = None

    def _open(self, check_s: float) -> None:
        store = Store(self._path, self._stream, check_s=check_s)
        try:
            newest = store.newest()
            if newest is not None and newest.last_position > self._sent_upto():
                # new messages would be taken for stored ones
                raise StoreDamaged(f"holds {newest.last_position}, which was never sent")
            self.base_run_s = max(self.base_run_s, store.run_s())
            self._consumers.restore(store.consumers())
            self.retention.measure(store)
        except BaseException:
            store.close()
            raise
        old, self.store = self.store, store
        if old is not None:
            old.close()

    def _sent_upto(self) -> Position:
        """Return a position beyond which no message can be stored."""
        if self._is_ready.is_set():
            return self._memory.newest
        return Position(self._before, 2**63)

    def _replace(self, reason: str) -> None:
        """Set the file aside; open a new one unless the stream may still change.

        SQLite also takes a failing device for a damaged file. So a file in use is opened once more:
        only if that fails, too, or damage is found again within a minute, it is set aside.
        """
        self._damage = None
        if self.store is not None:
            self.store.close()
            self.store = None
            is_first = clock.monotonic_ns() > self._doubted_until_ns
            self._doubted_until_ns = clock.monotonic_ns() + _DOUBT_NS
            if is_first and self._is_found.is_set():
                with contextlib.suppress(StoreDamaged):
                    self._open(CHECK_S)
                    return
        kept = set_aside(self._path)
        self._on_set_aside(kept.name, reason)
        if not self._is_found.is_set():
            self.found.damage = reason
            if self._tail is not None:
                for path in self._tail.folder.glob("*.tail"):
                    shutil.copy(path, kept.with_name(f"{kept.name}.{path.name}"))
            return
        self._open(CHECK_S)
        assert self.store is not None
        oldest, first = self._memory.oldest or self._memory.newest, self._memory.first_of_epoch
        if first is not None:
            self.store.restore_first(first, self._boot)
            if oldest.epoch == first.epoch and oldest.seq > 1:
                self._find_gap(MissingRange(first.epoch, 1, oldest.seq - 1, "damaged"))

    def _note_previous(self, recovered: list[Entry]) -> None:
        """Note how the previous epoch ended, and which of its messages are lost or may be."""
        start, self._previous = self._previous, None
        if start is None or self.store is None:
            return
        row = self.store.epoch(start.epoch)
        state = previous_state(
            start, row, recovered, boot=self._boot, tail=self._tail, is_new=self._is_new
        )
        self.found.previous = state.row
        for gap in state.gaps:
            self._find_gap(gap)
        if state.is_empty:
            self.store.commit([], run_s=0, boot_id=start.boot_id, complete=[start.epoch])

    def _find_gap(self, gap: MissingRange) -> None:
        self._gaps.append(gap)
        self._on_gap(gap)

    def _step(self, *, closing: bool) -> None:
        """Do what is due: set aside, reopen, commit, read back, trim, jobs."""
        now_ns = clock.monotonic_ns()
        if self._damage is not None and self._damage[0] is self.store:
            raise StoreDamaged(self._damage[1])
        if (self.failure or self.store is None) and now_ns < self._next_try_ns and not closing:
            return
        if self._readback.is_doubtful:
            self._reopen_from_device()
        elif self.store is None or self._failures > 1:
            self._open(0.0 if self._failures else CHECK_S)
            self._note_previous(self._memory.first(self._memory.count))
        assert self.store is not None
        is_relaxed = self._consumers.keep_up(self._memory.newest, self._run_s())
        due = now_ns >= self._next_commit_ns or not is_relaxed
        has_jobs = bool(self._jobs)
        if due or has_jobs or closing or self.failure or self._memory.bytes > _COMMIT_BYTES:
            self._commit_all(self.store, closing=closing)
            self._next_commit_ns = clock.monotonic_ns() + int(RELAXED_S * 1e9)
        if not closing:
            self._readback.check()
        self.retention.run(self.store, trims=not closing)
        if has_jobs:
            self.busy_since_ns = None  # a long job is no failure of the storage
            self._jobs.run(functools.partial(self._erase, self.store))

    def _reopen_from_device(self) -> None:
        """Once the device holds what is written again, go on with what it holds of the file.

        Until then, readers use the file as the kernel remembers it.
        """
        self._readback.require_good_write()
        if self.store is not None:
            self.store.close()  # writes the log into the file, from memory
            self.store = None
        self._readback.forget_cached()
        self._open(CHECK_S)

    def _commit_all(self, store: Store, *, closing: bool) -> None:
        while True:
            for lost in self._memory.take_lost():
                self._find_gap(lost)
            entries = self._memory.first(_COMMIT_MESSAGES)
            consumers = None
            if closing or clock.monotonic_ns() >= self._next_consumers_ns:
                self._next_consumers_ns = clock.monotonic_ns() + int(_CONSUMERS_S * 1e9)
                consumers = self._consumers.all(self._run_s())
            if entries or self._gaps or consumers is not None:
                complete = self._completed_by(entries, closing=closing)
                start_ns = self.busy_since_ns = clock.monotonic_ns()
                store.commit(
                    entries,
                    run_s=self._run_s(),
                    boot_id=self._boot,
                    gaps=self._gaps,
                    consumers=consumers,
                    complete=complete,
                )
                self._on_commit(clock.elapsed_ms(start_ns) / 1e3)
                self._gaps = []
            self.failure, self._failures = "", 0
            if not entries:
                return
            upto = entries[-1].position
            for epoch in complete:
                self._incomplete.pop(epoch, None)
            if self.retention.oldest is None:  # before the memory forgets it
                self.retention.measure(store)
            self._memory.remove(upto)
            if self._tail is not None:
                self._tail.discard(upto)
            if len(entries) < _COMMIT_MESSAGES:
                return

    def _completed_by(self, entries: Sequence[Entry], *, closing: bool) -> list[int]:
        """Return the epochs that have no more messages once ``entries`` are stored."""
        upto = entries[-1].position if entries else BEFORE_ALL
        complete = [
            epoch for epoch, seq in self._incomplete.items() if Position(epoch, seq) <= upto
        ]
        return [*complete, self._memory.newest.epoch] if closing else complete

    def _erase(self, store: Store, ranges: Sequence[Range]) -> int:
        left = self._tail.clear(self._memory.newest) if self._tail is not None else []
        return erase(store, ranges, left)
