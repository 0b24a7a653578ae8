"""The journal: keeps every frame and event, so that nothing published is lost.

The main loop appends each message before it is published: to the tail, in memory-backed files that
survive the death of the process, and to memory. A thread of its own stores what is in memory in a
SQLite file, in groups. Consumers read from the file and from memory, and acknowledge.

The journal's clock (``run_s``) counts the seconds for which the daemon has run, in all epochs. Ages
are measured on it: the wall clock may step.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from edge import clock
from edge.config import JournalConfig
from edge.hub.identity import PreviousStart, StreamIdentity, boot_id
from edge.hub.journal.batch import Batch, MissingRange, Position
from edge.hub.journal.consumers import Consumers
from edge.hub.journal.entries import Entry
from edge.hub.journal.erase import Range
from edge.hub.journal.memory import RING_BYTES, Memory
from edge.hub.journal.reader import Reader
from edge.hub.journal.retention import Limits
from edge.hub.journal.store import NAME
from edge.hub.journal.tail import Tail
from edge.hub.journal.writer import RELAXED_S, Writer
from edge.protocol.events import (
    Detail,
    JournalGap,
    JournalSetAside,
    JournalStateChanged,
    PreviousEpoch,
)
from edge.protocol.messages import JournalConsumer, JournalPosition, JournalStatus

log = logging.getLogger("affect_edge")

LOOK_S = 3.0
"""The start waits so long for the storage, then goes on without it."""
SLOW_S = 10.0
"""Storage that has not answered for so long counts as failed."""
CLOSE_S = 1.5
MEMORY_ONLY_BYTES = 16 << 20
_REPORT_NS = 600 * 10**9

State = Literal["ok", "memory"]


class Journal:
    """The journal of one epoch.

    ``append``, ``take_events``, ``status`` and ``close`` are for the hub's main loop and never wait
    for storage (``close``: for ``CLOSE_S``). The others are for any other thread.

    Attributes:
        identity: gives the numbers of messages.
        on_commit: called with the seconds of each commit, on the journal's thread.
        gap_counts: messages that are missing, by reason; of an unknown number, one.
    """

    def __init__(self, config: JournalConfig) -> None:
        """Open the folder and start an epoch in it.

        Raises:
            ConfigError: the folder cannot be used or locked, or another daemon uses it.
        """
        self._config = config
        self._start_ns = clock.monotonic_ns()
        self._events: deque[Detail] = deque()
        self._trimmed: dict[int, MissingRange] = {}
        self._next_report_ns = 0
        self._reported_state: State = "ok"
        self._tail: Tail | None = None
        self._tail_failure = ""
        self.gap_counts: dict[str, int] = {}
        self.on_commit: Callable[[float], None] = lambda _: None
        self._consumers = Consumers()
        self._writer: Writer | None = None
        if config.path:
            self._writer = Writer(
                Path(config.path) / NAME,
                limits=Limits(config.keep_h * 3600, config.max_mb << 20),
                consumers=self._consumers,
                run_s=self.run_s,
                on_commit=self._note_commit,
                on_gap=self._note_gap,
                on_set_aside=self._note_set_aside,
            )
        self.identity = StreamIdentity.open(config.path, self._look)
        if self.identity.damage:
            self._note_set_aside(self.identity.kept, self.identity.damage)
        limit = RING_BYTES if config.path else MEMORY_ONLY_BYTES
        self._memory = Memory(self.identity.epoch, limit=limit)
        self._room = limit // 2
        if self._writer is not None and self.identity.storage_error:
            # numbers that cannot be kept must not meet the stored messages of another stream
            log.error("journal: %s; messages are kept in memory", self.identity.storage_error)
            self._writer.abandon()
            self._writer = None
            if self._tail is not None:  # of the stored stream, which needs what was left in it
                self._tail.close(remove=not self._tail.was_left)
                self._tail = None
        elif self._writer is not None:
            self._begin(self._writer)
        self._reader = Reader(self._memory, self._writer)

    @property
    def stream(self) -> str:
        """UUID of the stream."""
        return self.identity.stream

    @property
    def epoch(self) -> int:
        """Number of this start within the stream."""
        return self.identity.epoch

    @property
    def newest(self) -> Position:
        """Position of the newest message; with seq -1 before the first of the epoch."""
        return self._memory.newest

    @property
    def oldest(self) -> Position | None:
        """Position of the oldest message that can be read; None if there is none."""
        return self._reader.oldest()

    @property
    def previous(self) -> PreviousEpoch | None:
        """The epoch before this one; None for the first of the stream, or if it is not known."""
        row = self._writer.found.previous if self._writer is not None else None
        if row is None or self.identity.previous is None:
            return None
        return PreviousEpoch(epoch=row.epoch, last_seq=row.last_seq, ended=row.ended)

    @property
    def pending_bytes(self) -> int:
        """Size of the messages that are not in the file yet."""
        return self._memory.bytes if self._writer is not None else 0

    @property
    def has_room(self) -> bool:
        """Whether less than half of what memory can hold waits for storage.

        A source that can wait then loses nothing, however slow the storage is.
        """
        return self._writer is None or self._memory.bytes < self._room

    def run_s(self) -> int:
        """Return the journal's clock: seconds for which the daemon has run, in all epochs."""
        base_s = self._writer.base_run_s if self._writer is not None else 0
        return base_s + int(clock.elapsed_ms(self._start_ns) / 1e3)

    # -- start -------------------------------------------------------------------------------------

    def _look(self, stream: str, previous: PreviousStart | None) -> bool:
        """Have the storage looked at; return whether its stream may go on."""
        assert self._writer is not None
        self._tail = self._open_tail(stream)
        self._writer.look(stream, previous, self._tail, boot_id())
        if not self._writer.wait_until_found(LOOK_S):
            log.warning("journal: the storage has not answered for %.0f s; going on", LOOK_S)
        return not self._writer.found.damage

    def _begin(self, writer: Writer) -> None:
        if writer.found.damage:
            if self._tail is not None:
                self._tail.close(remove=not writer.failure)  # it was copied next to the file
            self._tail = self._open_tail(self.identity.stream)
        writer.begin(self.identity.stream, self._tail, self._memory)

    def _open_tail(self, stream: str) -> Tail | None:
        try:
            return Tail(self._config.tail, stream, os.environ)
        except OSError as error:
            self._note_tail_failure(error)
            return None

    # -- the main loop -----------------------------------------------------------------------------

    def append(self, seq: int, body: bytes, unix_ns: int) -> None:
        """Keep a message; call it before the message is published.

        Args:
            seq: from the identity.
            body: JSON without the topic.
            unix_ns: wall time of the message, for people who look at the file.
        """
        entry = Entry(self.identity.epoch, seq, unix_ns, body)
        if self._tail is not None:
            try:
                self._tail.append(entry)
                self._tail_failure = ""
            except OSError as error:
                if not self._tail_failure:
                    self._note_tail_failure(error)
        if self._memory.append(entry) and self._tail is not None and self._writer is not None:
            oldest = self._memory.oldest or entry.position
            self._tail.discard(Position(oldest.epoch, oldest.seq - 1))

    def _note_tail_failure(self, error: OSError) -> None:
        self._tail_failure = f"tail: {error}"
        log.warning(
            "journal.tail cannot be written (%s): a daemon that is killed may lose the messages of"
            " the last %.0f s", error, RELAXED_S,
        )  # fmt: skip

    def state(self) -> tuple[State, str]:
        """Return whether messages reach the storage, and if not, why; without a folder: ok."""
        writer = self._writer
        if self.identity.storage_error:
            return "memory", self.identity.storage_error
        if writer is None:
            return "ok", ""
        if writer.failure:
            return "memory", writer.failure
        since_ns = writer.busy_since_ns
        if since_ns is not None and clock.elapsed_ms(since_ns) > SLOW_S * 1e3:
            return "memory", f"the storage has not answered for more than {SLOW_S:.0f} s"
        return "ok", self._tail_failure

    def take_events(self) -> list[Detail]:
        """Return what happened since the last call, to be published.

        Raises:
            RuntimeError: the journal's thread has ended; the next start stores what is left.
        """
        if self._writer is not None:
            self._writer.check()
        state, reason = self.state()
        if state != self._reported_state:
            self._reported_state = state
            if state == "memory":
                log.error("journal: messages are kept in memory only: %s", reason)
            else:
                log.info("journal: messages are stored again")
            self._events.append(JournalStateChanged(state=state, reason=reason))
        now_ns = clock.monotonic_ns()
        if self._trimmed and now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + _REPORT_NS
            trimmed, self._trimmed = self._trimmed, {}
            self._events += [_gap_event(gap) for gap in trimmed.values()]
        return [self._events.popleft() for _ in range(len(self._events))]

    def status(self) -> JournalStatus:
        """Return the journal's part of the status message."""
        state, reason = self.state()
        writer, run_s = self._writer, self.run_s()
        oldest = self._reader.known_oldest()
        return JournalStatus(
            state=state,
            reason=reason,
            oldest=oldest
            and JournalPosition(epoch=oldest[0].epoch, seq=oldest[0].seq, unix_ns=oldest[1]),
            bytes=(writer.retention.used_bytes if writer is not None else 0) + self._memory.bytes,
            max_bytes=self._config.max_mb << 20 if writer is not None else MEMORY_ONLY_BYTES,
            pending=self._memory.count if self._config.path else 0,
            consumers={
                name: JournalConsumer(lag=self._lag(each.position), age_s=run_s - each.seen_run_s)
                for name, each in sorted(self._consumers.all(run_s).items())
            },
        )

    def _lag(self, position: Position) -> int:
        """Return how many messages of this epoch a consumer has not acknowledged."""
        newest = self._memory.newest
        return newest.seq - (position.seq if position.epoch == newest.epoch else -1)

    def close(self) -> None:
        """Store what is left, for ``CLOSE_S`` at most; the tail keeps what is not stored."""
        is_stored = True
        if self._writer is not None:
            is_stored = self._writer.close(CLOSE_S)
            if not is_stored:
                reason = self.state()[1] or "the storage is slow"
                log.warning("journal: %s; the next start stores what is left", reason)
        if self._tail is not None:
            self._tail.close(remove=is_stored)
        self.identity.close()

    # -- other threads -----------------------------------------------------------------------------

    def read(self, after: Position, *, max_messages: int, max_bytes: int) -> Batch:
        """Return the stored messages after a position, all of one epoch; may wait for storage.

        Args:
            after: of the last message that the reader has; epoch 0: begin with the oldest.
            max_messages: at most so many.
            max_bytes: at most so many, or one message.

        Returns:
            The batch. It is empty and not ``caught_up`` while the storage cannot be read.
        """
        return self._reader.read(after, max_messages=max_messages, max_bytes=max_bytes)

    def acknowledge(self, name: str, position: Position) -> None:
        """Note that the consumer ``name`` has stored every message up to ``position``."""
        position = min(position, self._memory.newest)
        self._consumers.acknowledge(name, position, self.run_s())

    def erase(self, ranges: Sequence[Range]) -> int:
        """Delete messages for good; return how many. Waits for storage.

        Args:
            ranges: first and last message of each, both included.

        Raises:
            OSError: the storage fails, or files still hold what was deleted.
        """
        if self._writer is None:
            return self._memory.erase(ranges)
        count = self._writer.erase(ranges)
        for kept in Path(self._config.path).glob(f"{NAME}.damaged-*"):
            log.warning("erase: %s was set aside and may hold the messages; delete it", kept)
        return count

    # -- the journal's thread reports --------------------------------------------------------------

    def _note_commit(self, seconds: float) -> None:
        self.on_commit(seconds)

    def _note_gap(self, gap: MissingRange) -> None:
        count = 1 if gap.last_missing is None else gap.last_missing - gap.first_missing + 1
        self.gap_counts[gap.reason] = self.gap_counts.get(gap.reason, 0) + count
        if gap.reason == "trimmed":  # a consumer that is away for months: not an event a second
            before = self._trimmed.get(gap.epoch)
            first = gap.first_missing if before is None else before.first_missing
            self._trimmed[gap.epoch] = MissingRange(gap.epoch, first, gap.last_missing, gap.reason)
        else:
            self._events.append(_gap_event(gap))

    def _note_set_aside(self, kept: str, reason: str) -> None:
        log.error("journal: %s: %s; a new one begins", kept, reason)
        self._events.append(JournalSetAside(file=kept, reason=reason))


def _gap_event(gap: MissingRange) -> JournalGap:
    log.warning(
        "journal: messages of epoch %d are missing from %d to %s: %s",
        gap.epoch, gap.first_missing,
        "an unknown one" if gap.last_missing is None else gap.last_missing, gap.reason,
    )  # fmt: skip
    return JournalGap(
        epoch=gap.epoch,
        first_missing=gap.first_missing,
        last_missing=gap.last_missing,
        reason=gap.reason,
    )
