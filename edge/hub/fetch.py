"""Answers requests ``fetch`` from the journal, in a thread of its own.

Reading stored messages may wait for a disk, and a day of them takes minutes: the hub's main loop
does neither. It hands over each request and later sends the reply that it gets back, so that one
thread owns all sockets. A request that finds nothing new waits in this thread until a message is
published or its time is over; others are answered meanwhile, in the order in which they came.

The work that consumers can cause is bounded: requests without a reply by peer and in total, replies
that wait to be sent, and bytes a second.
"""

import contextlib
import json
import os
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edge import clock
from edge.errors import AffectEdgeError, RequestRefused
from edge.hub.consumer_names import ConsumerNames
from edge.hub.journal.batch import BEFORE_ALL, Batch, Position
from edge.hub.token_bucket import TokenBucket
from edge.protocol.requests import FETCH_BYTES_MAX, FetchRequest

OUTSTANDING_MAX: Final = 4
"""Requests of one peer that wait for their reply."""

PENDING_MAX: Final = 256
"""Requests of all peers without a reply. Beyond half of it none waits for new messages."""

_REPLIES_MAX: Final = 4  # that wait for the main loop
_HEAD_BYTES: Final = 2048  # more than a reply has besides its messages
_COST_MIN: Final = 16 << 10  # bytes that a request costs at least: it takes time even if empty
_BURST_S: Final = 0.25  # unused bytes of this time may be sent at once

Envelope = Sequence[bytes]
"""Parts before the reply: identity of the peer, and a delimiter if its request had one."""


class Journal(Protocol):
    """What is needed of the journal. Its attributes are read in any thread."""

    @property
    def stream(self) -> str:
        """The stream whose messages are stored."""

    @property
    def epoch(self) -> int:
        """The present epoch."""

    @property
    def oldest(self) -> Position | None:
        """The oldest stored message; None if there is none."""

    @property
    def newest(self) -> Position:
        """The newest message, stored or not."""

    def read(self, after: Position, *, max_messages: int, max_bytes: int) -> Batch:
        """Return stored messages after a position, in epoch 0 from the oldest epoch on.

        May wait for the disk. Each epoch begins with its first message, even if those that follow
        it are not stored any more.
        """

    def acknowledge(self, name: str, position: Position) -> None:
        """Note that a consumer keeps every message up to ``position``."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to send: ``body`` to the peer of ``envelope``; ``is_refusal`` if it is an error."""

    envelope: Envelope
    body: bytes
    is_refusal: bool


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request without a reply yet.

    Attributes:
        due_ns: when it is answered even if there is nothing new.
        after: its cursor as a position of this stream; None before the request was checked.
    """

    envelope: Envelope
    request: FetchRequest
    due_ns: int
    after: Position | None = None


class Fetcher:
    """Answers requests ``fetch``. Its methods are for the hub's main loop only.

    Args:
        journal: read in the thread of this object.
        rate_mb_s: limit for all replies together, MB a second.
    """

    def __init__(self, journal: Journal, *, rate_mb_s: float) -> None:
        self._journal = journal
        self._noted = journal.newest  # when the thread was last woken for a message
        self._outstanding: Counter[bytes] = Counter()  # requests without a reply, by peer
        self._is_readable = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # shared with the thread, under the lock of the condition
        self._changed = threading.Condition()
        self._has_changed = False
        self._requests: deque[_Pending] = deque()
        self._replies: deque[Reply] = deque()
        self._is_closed = False
        self._error: BaseException | None = None
        # only of the thread
        self._names = ConsumerNames()
        self._pending: list[_Pending] = []
        rate = rate_mb_s * 1e6
        self._bucket = TokenBucket(rate, rate * _BURST_S, clock.monotonic_ns())
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable while replies wait."""
        return self._is_readable

    def submit(self, envelope: Envelope, request: FetchRequest, received_ns: int) -> None:
        """Hand over a request; its reply comes from ``take``.

        Raises:
            RequestRefused: too many requests wait for their reply.
        """
        self.check_room(envelope[0])
        is_crowded = self._outstanding.total() >= PENDING_MAX // 2
        wait_s = 0.0 if is_crowded else request.wait_s
        self._outstanding[envelope[0]] += 1
        with self._changed:
            self._requests.append(_Pending(envelope, request, received_ns + int(wait_s * 1e9)))
            self._wake()

    def check_room(self, peer: bytes) -> None:
        """Raise ``RequestRefused`` if no further request of ``peer`` can wait for its reply."""
        if self._outstanding[peer] >= OUTSTANDING_MAX:
            raise RequestRefused(
                f"more than {OUTSTANDING_MAX} requests without a reply; wait for the replies",
                code="busy",
            )
        if self._outstanding.total() >= PENDING_MAX:
            raise RequestRefused(
                f"more than {PENDING_MAX} requests wait for replies; try again", code="busy"
            )

    def note_published(self) -> None:
        """Wake the requests that wait for a message, if there is one since the last call."""
        newest = self._journal.newest
        if newest != self._noted:
            self._noted = newest
            if self._outstanding:
                with self._changed:
                    self._wake()

    def take(self) -> list[Reply]:
        """Return the replies that are ready, to be sent in this order.

        Raises:
            BaseException: whatever ended the thread, which is a fault in the program.
        """
        if not self._outstanding and self._error is None:
            return []
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._is_readable)
        with self._changed:
            if self._error is not None:
                raise self._error
            replies = list(self._replies)
            self._replies.clear()
            self._wake()
        for reply in replies:
            self._outstanding[reply.envelope[0]] -= 1
            if not self._outstanding[reply.envelope[0]]:
                del self._outstanding[reply.envelope[0]]
        return replies

    def close(self) -> None:
        """End the thread after the request that it works on; the others get no reply."""
        with self._changed:
            self._is_closed = True
            self._wake()
        self._thread.join()
        os.close(self._is_readable)

    def _wake(self) -> None:
        self._has_changed = True
        self._changed.notify()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self._answer_ready()
        except BaseException as error:  # noqa: BLE001 - raised again in the main loop
            self._error = error
            os.eventfd_write(self._is_readable, 1)

    def _wait(self) -> bool:
        """Wait for something to do, and receive new requests; return False when closed."""
        timeout_s = self._idle_s()
        with self._changed:
            self._changed.wait_for(lambda: self._has_changed, timeout_s)
            self._has_changed = False
            received, self._requests = self._requests, deque()
            is_closed = self._is_closed
        for each in received:
            self._receive(each)
        return not is_closed

    def _idle_s(self) -> float | None:
        """Return the seconds until a request can be answered without any change; None: never."""
        if not self._pending or self._is_full():
            return None
        now_ns = clock.monotonic_ns()
        due_ns = min(each.due_ns for each in self._pending)
        if self._first_ready(now_ns) is not None:
            due_ns = now_ns
        return max(0.0, (due_ns - now_ns) / 1e9, self._bucket.wait_s(now_ns))

    def _is_full(self) -> bool:
        with self._changed:
            return len(self._replies) >= _REPLIES_MAX

    def _first_ready(self, now_ns: int) -> int | None:
        """Return the index of the first pending request that is to be answered now."""
        newest = self._journal.newest
        for index, each in enumerate(self._pending):
            assert each.after is not None
            if each.due_ns <= now_ns or not each.request.max or each.after < newest:
                return index
        return None

    def _receive(self, pending: _Pending) -> None:
        """Check a new request and note what it acknowledges; refuse it, or keep it as pending."""
        request = pending.request
        now_ns = clock.monotonic_ns()
        try:
            if request.name is not None:
                self._names.check(request.name, request.instance, now_ns)
            after = self._position(request)
            if request.name is not None and request.stream == self._journal.stream:
                self._journal.acknowledge(request.name, after)
        except AffectEdgeError as error:
            self._refuse(pending, error)
            return
        self._pending.append(_Pending(pending.envelope, request, pending.due_ns, after))

    def _position(self, request: FetchRequest) -> Position:
        """Return the cursor of ``request`` as a position of this stream.

        Raises:
            RequestRefused: the cursor is after the newest message.
        """
        newest, oldest = self._journal.newest, self._journal.oldest
        if request.stream != self._journal.stream:
            return newest if oldest is None else BEFORE_ALL
        after = Position(request.epoch, request.seq)
        if after > max(newest, Position(self._journal.epoch, -1)):
            raise RequestRefused(
                f"the cursor is ahead of the stream: received epoch {after.epoch}, seq {after.seq};"
                f" the newest message is epoch {newest.epoch}, seq {newest.seq}. Was the journal"
                " replaced by an older copy? Move the journal's folder away, to begin a new stream",
                code="cursor_ahead",
            )
        return after

    def _answer_ready(self) -> None:
        """Answer pending requests until none is ready, the limit is met, or replies queue up."""
        while not self._is_full():
            now_ns = clock.monotonic_ns()
            index = self._first_ready(now_ns)
            if index is None or self._bucket.level(now_ns) <= 0:
                return
            pending = self._pending.pop(index)
            assert pending.after is not None
            try:
                batch = self._read(pending.after, pending.request.max)
            except AffectEdgeError as error:
                self._refuse(pending, error)
                continue
            body = encode_reply(batch, self._journal)
            self._bucket.spend(max(len(body), _COST_MIN), now_ns)
            self._put(Reply(pending.envelope, body, is_refusal=False))
            with self._changed:
                if self._requests:  # a new one is noted before the next is answered
                    self._has_changed = True
                    return

    def _read(self, after: Position, max_messages: int) -> Batch:
        if not max_messages:  # the request only acknowledges
            is_newest = after >= self._journal.newest
            return Batch(gap=None, lines=b"", count=0, next=after, caught_up=is_newest)
        max_bytes = FETCH_BYTES_MAX - _HEAD_BYTES
        return self._journal.read(after, max_messages=max_messages, max_bytes=max_bytes)

    def _refuse(self, pending: _Pending, error: AffectEdgeError) -> None:
        self._bucket.spend(_COST_MIN, clock.monotonic_ns())
        self._put(encode_refusal(pending.envelope, error))

    def _put(self, reply: Reply) -> None:
        with self._changed:
            self._replies.append(reply)
        os.eventfd_write(self._is_readable, 1)


def encode_refusal(envelope: Envelope, error: AffectEdgeError) -> Reply:
    """Return the reply to a request that is refused because of ``error``."""
    code = error.code if isinstance(error, RequestRefused) else "failed"
    fields = {"ok": False, "code": code, "error": str(error)}
    return Reply(envelope, json.dumps(fields, ensure_ascii=False).encode(), is_refusal=True)


def encode_reply(batch: Batch, journal: Journal) -> bytes:
    """Return the reply with a batch; see ``FetchRequest`` for its fields."""
    newest, oldest, gap = max(journal.newest, batch.next), journal.oldest, batch.gap
    head = {
        "ok": True,
        "stream": journal.stream,
        "epoch": newest.epoch,
        "last_seq": newest.seq,
        "oldest": oldest and {"epoch": oldest.epoch, "seq": oldest.seq},
        "gap": gap
        and {
            "epoch": gap.epoch,
            "first_missing": gap.first_missing,
            "last_missing": gap.last_missing,
            "reason": gap.reason,
        },
        "next": {"epoch": batch.next.epoch, "seq": batch.next.seq},
        "caught_up": batch.caught_up,
    }
    begin = json.dumps(head, ensure_ascii=False).encode()[:-1] + b', "messages": ['
    if not batch.count:
        return begin + b"]}"
    return b"".join([begin, b"\n", batch.lines.replace(b"\n", b",\n"), b"\n]}"])
