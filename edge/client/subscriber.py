"""A subscriber to one or more daemons: gives decoded messages and the gaps between them."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from edge.client.backfill import Backfill, Since
from edge.client.gaps import Cursor, Gap, GapDetector
from edge.client.keys import ClientContext, Keys, default_keys
from edge.client.live import Live
from edge.client.ordering import Ordered
from edge.client.service import Consumer
from edge.clock import elapsed_ms, monotonic_ns
from edge.descriptors import raise_open_files_limit
from edge.errors import ConfigError
from edge.protocol import messages
from edge.protocol.messages import Message, StatusMessage

log = logging.getLogger("affect_edge")

Kind = Literal["frame", "event", "status"]
KINDS: tuple[Kind, ...] = ("frame", "event", "status")

# libzmq ends the process where it finds no free descriptor
_FILES_EACH = 6  # of a daemon: two sockets, a monitor of two, two connections
_FILES_ELSE = 48  # of threads, logs and databases


@dataclass(frozen=True, slots=True)
class Received:
    """A message as decoded and as received, with its gap.

    Attributes:
        message: the decoded message.
        part: the bytes on the wire: topic, a space, JSON (with fields this version may not know).
        gap: messages missing right before it; for a status, up to its ``last_seq``, or once those
            before the first message received of an epoch that the subscriber had waited for. Where
            several are, such as of two epochs, the first.
        late: its number is not above the highest known one of its stream: a repeat, or a
            straggler already reported missing. Always false for a status, and for what comes from
            a stream that is fetched.
        backfilled: it was fetched from the daemon's journal.
        more_gaps: further gaps right before it, after ``gap``.
    """

    message: Message
    part: bytes
    gap: Gap | None
    late: bool
    backfilled: bool = False
    more_gaps: tuple[Gap, ...] = ()

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """All gaps right before it."""
        return () if self.gap is None else (self.gap, *self.more_gaps)

    @property
    def body(self) -> bytes:
        """The JSON as received, without the topic."""
        return self.part.partition(b" ")[2]


class Subscriber:
    """Receives the messages of daemons, fetches those it missed, and reports what is lost.

    A context manager; sockets exist only inside ``with``. ZeroMQ connects and reconnects in the
    background, so a daemon that is not running yet is no error. But it never reconnects to a peer
    that broke the protocol, such as another program on that port. So if statuses, which come every
    second, are subscribed, ``silence_s`` without a message makes a new socket. Not thread-safe.

    Without ``services``, missing messages are only reported. Gaps are found only if frames and
    events are both subscribed, since they share their numbers, and only without ``conflate``, since
    a conflating socket skips messages on purpose.

    With ``services``, the frames and events of a stream come in order, each once, and what was
    missed is fetched from the daemon's journal. Live messages wait for those before them: as long
    as it takes while the daemon answers, ``hold_s`` while it does not. Then they are passed on, and
    the gap has the reason ``not_fetched``; the daemon may still store what is in it. A status comes
    after everything up to its ``last_seq``.

    A stream comes from one endpoint: the one that published it first, as long as it does, or, where
    there are as many services as endpoints, in the same order, the one whose service serves it. The
    messages of another endpoint that names the stream are skipped, and reported.

    Args:
        endpoints: addresses of PUB sockets, ``tcp://HOST:PORT`` or ``ipc://PATH``; at least one.
        kinds: which kinds to receive.
        device: receive only this device's messages; None: of all devices.
        conflate: keep only the newest message (for displays); not together with ``services``.
        high_water: how many messages may wait unread, per peer, before the newest are dropped;
            at 30 frames per second, 1000 are half a minute.
        cursors: where an earlier run stopped, so that the gap since then is fetched or reported.
        silence_s: seconds without any message before it reconnects.
        services: addresses of the daemons' service sockets, to fetch from; each reports which
            stream it serves, so their order does not matter.
        name: under which the daemons note what is acknowledged, such as ``log``: letters, digits,
            ``_``, ``.`` and ``-``. What a named consumer has not acknowledged is stored for longer.
            None: acknowledge nothing.
        since: where to begin with a daemon that no cursor is known of: ``oldest``: with everything
            that it stores; ``epoch``: with the first message of its present run; ``now``: with what
            it publishes from now on. With ``now`` the first message of the present run,
            ``epoch_started``, is still the first one received.
        hold_s: seconds that live messages wait for a service that does not answer.
        report: takes one line at a change that the user should know of, such as a daemon that is
            too old to fetch from; None: only that two daemons publish one stream is logged.
        keys: for daemons with keys; None: those of the command line. That a daemon refuses them is
            logged once.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        kinds: Sequence[Kind] = KINDS,
        device: str | None = None,
        conflate: bool = False,
        *,
        high_water: int = 1000,
        cursors: Iterable[Cursor] = (),
        silence_s: float = 10.0,
        services: Sequence[str] = (),
        name: str | None = None,
        since: Since = "oldest",
        hold_s: float = 30.0,
        report: Callable[[str], None] | None = None,
        keys: Keys | None = None,
    ) -> None:
        if services and conflate:
            raise ConfigError(
                "conflate skips messages and services fetch them; expected one of both"
            )
        for argument, given in (("endpoints", endpoints), ("services", services)):
            if isinstance(given, str):  # a sequence, too: of letters
                raise ConfigError(f"{argument}: expected a list, such as [{given!r}]")
        if since not in get_args(Since):
            raise ConfigError(f"since {since!r}: expected {', '.join(get_args(Since))}")
        self._endpoints = tuple(endpoints)
        self._device = device
        self._kinds = frozenset(kinds)
        topics = _topics(kinds, device)
        # what is fetched is of all kinds, and live messages join it by their numbers
        self._topics = _topics(KINDS, device) if services else topics
        self._conflate = conflate
        self._high_water = high_water
        self._gaps = GapDetector(cursors)
        self._committed = {c.stream: (c.epoch, c.seq) for c in self._gaps.cursors}
        self._finds_gaps = bool(services) or ({"frame", "event"} <= set(kinds) and not conflate)
        self._silence_s = silence_s if services or "status" in kinds else None
        self._services = tuple(services)
        self._consumer = Consumer(name)
        self._since: Since = since
        self._hold_s = hold_s
        self._report = report or (lambda _: None)
        self._warn = report or log.warning
        self._owed: dict[str, list[Gap]] = {}  # by stream: gaps that no message was returned with
        self._undecodable = 0  # of those fetched, and of earlier ``with`` blocks
        self._opened_ns = 0  # time since which messages are waited for
        self._keys = keys or default_keys()
        self._context: ClientContext | None = None
        self._live: Live | None = None
        self._backfill: Backfill | None = None

    def __enter__(self) -> Self:
        """Open the sockets and connect them.

        Raises:
            ConfigError: there is no endpoint, one is not a valid ZeroMQ address, or there are more
                than this process may open files for.
        """
        if not self._endpoints:
            raise ConfigError("no endpoint to subscribe to; expected at least one tcp://HOST:PORT")
        wanted = _FILES_EACH * len(self._endpoints) + _FILES_ELSE
        if 0 <= (limit := raise_open_files_limit(wanted)) < wanted:
            raise ConfigError(
                f"{len(self._endpoints)} daemons: this process may open {limit} files; expected"
                f" {wanted}: raise LimitNOFILE= of the service or ulimit -n, or use more processes"
            )
        self._context = ClientContext.of(self._keys)
        self._opened_ns = monotonic_ns()
        try:
            self._live = Live(
                self._context,
                self._endpoints,
                self._topics,
                conflate=self._conflate,
                high_water=self._high_water,
                silence_s=self._silence_s,
                report=self._warn,
            )
            if self._services:
                self._backfill = Backfill(
                    self._context,
                    self._services,
                    self._gaps,
                    consumer=self._consumer,
                    committed=self._committed,
                    since=self._since,
                    hold_s=self._hold_s,
                    held_max=max(self._high_water, 1000),
                    report=self._report,
                )
        except ConfigError:
            self._context.destroy(linger=0)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._backfill is not None:
            self._backfill.close()
        if self._live is not None:
            self._undecodable += self._live.undecodable
            self._live.close()
        if self._context is not None:
            self._context.term()  # a last acknowledgement may take 0.2 s to be sent
        self._context = self._live = self._backfill = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The addresses of the publishers."""
        return self._endpoints

    @property
    def device(self) -> str | None:
        """The only device whose messages are received; None: all."""
        return self._device

    @property
    def claims(self) -> Mapping[str, str]:
        """What is wrong with streams that a second endpoint publishes now, by stream."""
        return {} if self._live is None else self._live.claims

    def endpoint_of(self, stream: str) -> str | None:
        """Return the endpoint that publishes a stream; None: no live message of it has come."""
        return None if self._live is None else self._live.origins.endpoint_of(stream)

    @property
    def undecodable(self) -> int:
        """How many received parts were not messages of this schema; they are skipped."""
        return self._undecodable + (self._live.undecodable if self._live is not None else 0)

    @property
    def cursors(self) -> tuple[Cursor, ...]:
        """The last message of each stream that was returned, or reported missing."""
        return self._gaps.cursors

    @property
    def caught_up(self) -> bool:
        """Whether everything that the daemons stored has been returned.

        False while a service has not answered yet; true without services.
        """
        return self._backfill is None or self._backfill.caught_up

    @property
    def backlog(self) -> int | None:
        """How many messages are still to be returned; None if that is not known."""
        return self._backfill.backlog if self._backfill is not None else None

    @property
    def waiting_for(self) -> str:
        """Which services are waited for, and for how long, in words; empty if none is."""
        return self._backfill.waiting_for if self._backfill is not None else ""

    @property
    def unanswered_s(self) -> float:
        """Seconds for which no daemon has answered of those with more to fetch; else 0."""
        return self._backfill.unanswered_s if self._backfill is not None else 0.0

    @property
    def held(self) -> int:
        """How many messages were received, and are not returned yet: they wait for a service."""
        return self._backfill.held if self._backfill is not None else 0

    def acknowledge(self, cursors: Iterable[Cursor] | None = None) -> None:
        """Note that the caller keeps everything that was returned so far, or up to ``cursors``.

        ``receive`` acknowledges them to the daemons within about a second, if there is a ``name``.
        Until then the daemons store them for this consumer as long as they can.
        """
        kept = self._gaps.cursors if cursors is None else cursors
        self._committed.clear()  # in place: the backfill has it, too
        self._committed |= {each.stream: (each.epoch, each.seq) for each in kept}

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, or None after ``timeout_s`` without one.

        With 0 it only takes a message that is already waiting. Signal handlers run during the wait.

        Raises:
            RuntimeError: called outside of the ``with`` block.
            RequestRefused: a daemon refuses to let this subscriber fetch: another process uses its
                name, or its cursor is ahead of what the daemon has published.
        """
        if self._live is None:
            raise RuntimeError("Subscriber.receive outside of `with`")
        deadline_ns = monotonic_ns() + int(timeout_s * 1e9)
        while True:
            remaining_ms = max(0, (deadline_ns - monotonic_ns()) // 1_000_000)
            if self._backfill is None:
                received, is_over = self._receive_live(self._live, remaining_ms)
            else:
                received = self._receive_ordered(self._live, self._backfill, remaining_ms)
                is_over = not self._backfill.ready
            if received is not None:
                return received
            if is_over and monotonic_ns() >= deadline_ns:
                return None

    def _receive_live(self, live: Live, timeout_ms: int) -> tuple[Received | None, bool]:
        taken = live.take()
        if taken is None and live.wait((), timeout_ms):
            taken = live.take()
        live.reconnect_silent()
        if taken is None or taken.message is None:
            return None, True
        return self._checked(Ordered(taken.part, taken.message, is_served=False)), True

    def _receive_ordered(self, live: Live, backfill: Backfill, timeout_ms: int) -> Received | None:
        if not backfill.ready or backfill.is_due:
            backfill.turn(live, 0 if backfill.ready else timeout_ms)
        while backfill.ready:
            if (received := self._checked(backfill.ready.popleft())) is not None:
                return received
        return None

    def _checked(self, ordered: Ordered) -> Received | None:
        """Return the message with its gap; None if the caller does not want it."""
        message = ordered.message
        if message is None:
            try:
                message = messages.decode(ordered.part)
            except ValueError:
                self._undecodable += 1
                return None  # it shows as a gap
        gaps, late = self._gaps_before(message, ordered) if self._finds_gaps else ([], False)
        if late and ordered.is_served:
            return None  # passed on before it was known that its stream is served
        gaps = [*self._owed.pop(message.stream, ()), *gaps]
        is_wanted = message.kind in self._kinds and self._device in (None, message.device)
        if not is_wanted:
            if gaps:
                self._owed[message.stream] = gaps
            return None
        gap, more = (gaps[0], tuple(gaps[1:])) if gaps else (None, ())
        return Received(message, ordered.part, gap, late, ordered.backfilled, more)

    def _gaps_before(self, message: Message, ordered: Ordered) -> tuple[list[Gap], bool]:
        """Note the message; return the gaps before it, and whether it is late."""
        if isinstance(message, StatusMessage):
            gap = None if ordered.is_served else self._heartbeat(message)
            return [gap] if gap is not None else [], False
        is_first = self._gaps.cursor_of(message.stream) is None
        gap, late = self._gaps.message(message.stream, message.epoch, message.seq)
        if ordered.skip_to is not None:
            self._gaps.skip_to(Cursor(message.stream, *ordered.skip_to))
        if is_first and ordered.hole_reason and message.seq:
            gap = Gap(message.stream, message.epoch, 0, message.seq - 1)
        if gap is None:
            return list(ordered.gaps), late
        # the daemon's gap of this epoch explains the hole in the numbers
        explaining = [each for each in ordered.gaps if each.epoch == gap.epoch and each.missing]
        reason = explaining[0].reason if explaining else ordered.hole_reason
        others = [each for each in ordered.gaps if each not in explaining]
        return [*others, replace(gap, reason=reason)], late

    def _heartbeat(self, status: StatusMessage) -> Gap | None:
        age_s, waited_s = status.epoch_age_s, elapsed_ms(self._opened_ns) / 1000
        return self._gaps.heartbeat(
            status.stream,
            status.epoch,
            status.last_seq,
            began_while_waiting=age_s is not None and age_s < waited_s,
        )


def _topics(kinds: Sequence[Kind], device: str | None) -> tuple[bytes, ...]:
    """Return the topic prefixes to subscribe to.

    All kinds of all devices are one prefix: with several, messages sent between the first and the
    last subscription would be partly missing. A device's prefix includes the space after the topic,
    so that "edge-1" does not match "edge-10".
    """
    unknown = set(kinds) - set(KINDS)
    if unknown or not kinds:
        raise ConfigError(f"kinds {list(kinds)}: expected some of {', '.join(KINDS)}")
    if device is not None:
        return tuple(f"{messages.topic(kind, device)} ".encode() for kind in kinds)
    if set(kinds) == set(KINDS):
        return (f"{messages.SCHEMA}.".encode(),)
    return tuple(messages.topic(kind, "").encode() for kind in kinds)
