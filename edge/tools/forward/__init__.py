"""``affect-edge forward``: publish frames and events to an MQTT 5 broker, without gaps.

A message is done when the broker has acknowledged it (QoS 1). Only then does the cursor move, in a
small file, and after that it is acknowledged to the daemon. So after any kill some messages arrive
twice, and none is missing: each carries stream, epoch and seq, which identify repeats.

Mosquitto acknowledges a message and drops it where a subscriber's queue is full. It reports the
number of drops every ``sys_interval`` seconds. Where it does, a message is done only after two
reports without a drop. After a drop, everything since then is published again: later, and fewer
messages at a time. The same covers a killed mosquitto, which stores what it has acknowledged only
every ``autosave_interval`` seconds.
"""

import json
import select
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from edge.client import Cursor, Gap, Received, Subscriber
from edge.clock import monotonic_ns
from edge.descriptors import write_error_line
from edge.errors import BrokerUnavailable, ConfigError
from edge.protocol.messages import EventMessage, FrameMessage
from edge.tools.catch_up import CatchUpNotice
from edge.tools.forward.broker import Broker, BrokerAddress, read_password, tls_context
from edge.tools.forward.outbox import Outbox, Outgoing
from edge.tools.forward.state import ForwardState
from edge.tools.silence import SilenceNotice

CAPACITY: Final = 20_000
"""Messages that are kept until they are done, about 25 MB."""

_RETRY_FIRST_S: Final = 0.25
_RETRY_MAX_S: Final = 30.0
_STORE_NS: Final = 500_000_000
_STOP_NS: Final = 2_000_000_000
_TAKEN_MAX: Final = 200  # messages between two looks at the broker


class Feed(Protocol):
    """The part of ``Subscriber`` that the forwarder needs."""

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message."""

    def acknowledge(self, cursors: Iterable[Cursor]) -> None:
        """Tell the daemons that everything up to these cursors is stored."""


class Forwarder:
    """Moves messages from daemons to a broker. Not thread-safe.

    Args:
        feed: gives the messages after the cursors of ``state``.
        connect: connects to the broker.
        state: where the cursors are kept.
        prefix: begins every topic; empty, or with a slash at its end.
        report: takes a line at each change.
        watches_drops: publish again what the broker may have dropped.

    Attributes:
        published: messages that are done.
        repeated: messages published again.
    """

    def __init__(
        self,
        feed: Feed,
        connect: Callable[[], Broker],
        state: ForwardState,
        *,
        prefix: str,
        report: Callable[[str], None],
        watches_drops: bool = True,
    ) -> None:
        self._feed = feed
        self._connect = connect
        self._state = state
        self._prefix = prefix
        self._report = report
        self._watches_drops = watches_drops
        self._outbox = Outbox(in_flight=0, capacity=CAPACITY)
        self._broker: Broker | None = None
        self._settled: dict[str, Cursor] = {}  # since the last ``_store``
        self._stored = {cursor.stream: cursor for cursor in state.cursors()}
        self._store_ns = 0
        self._retry_ns = 0
        self._retry_s = _RETRY_FIRST_S
        self._is_away = self._has_connected = False
        self.published = self.repeated = 0

    def run(self, stop: Callable[[], bool]) -> None:
        """Forward until ``stop`` returns true; then wait 2 seconds at most for acknowledgements.

        Raises:
            ConfigError: the broker refuses this user or topic.
            LogFileError: the cursors cannot be stored.
        """
        try:
            while not stop():
                self._take(0.0 if self._outbox.unacknowledged or self._outbox.is_full else 0.1)
                self._exchange()
            deadline_ns = monotonic_ns() + _STOP_NS
            while not self._outbox.is_acknowledged and monotonic_ns() < deadline_ns:
                self._exchange()
        finally:
            if self._broker is not None:
                self._broker.close()
            self._store()

    def _take(self, timeout_s: float) -> None:
        """Move messages that wait in the feed to the outbox."""
        for _ in range(_TAKEN_MAX):
            if self._outbox.is_full:
                return
            received = self._feed.receive(timeout_s)
            if received is None:
                return
            timeout_s = 0.0
            if not received.late:
                self._outbox.add(self._messages(received))

    def _messages(self, received: Received) -> Iterator[Outgoing]:
        message = received.message
        base = f"{self._prefix}affect/v1/{_level(message.device)}"
        for gap in received.gaps:
            last = gap.first_missing - 1 if gap.last_missing is None else gap.last_missing
            identity = Cursor(gap.stream, gap.epoch, last)
            yield Outgoing(f"{base}/gap", _gap_payload(message.device, gap), identity)
        if isinstance(message, FrameMessage | EventMessage):
            identity = Cursor(message.stream, message.epoch, message.seq)
            yield Outgoing(f"{base}/{message.kind}", received.body, identity)

    def _exchange(self) -> None:
        """Publish what may be sent, and note what the broker answers."""
        if self._broker is None and not self._connected():
            return
        broker = self._broker
        assert broker is not None
        try:
            while (message := self._outbox.next()) is not None:
                self._outbox.sent(broker.publish(message))
            before = len(self._outbox)
            answers = broker.turn(0.02 if self._outbox.unacknowledged else 0.0)
        except BrokerUnavailable as error:
            self._lose(str(error))
            return
        self._outbox.settles_at_checkpoints = self._watches_drops and answers.reports_drops
        for packet in answers.acknowledged:
            self._outbox.acknowledge(packet)
        if answers.refused:
            self._lose(f"the broker refuses messages: {answers.refused}")
        elif answers.dropped and self._watches_drops:
            self._outbox.shrink()
            self._lose(
                f"the broker dropped {answers.dropped} messages: a subscriber's queue is full"
            )
        elif answers.intervals:
            self._outbox.checkpoint()
        settled = before - len(self._outbox)
        if settled > 0:
            self.published += settled
            self._retry_s = _RETRY_FIRST_S
        self._settled |= {cursor.stream: cursor for cursor in self._outbox.take_settled()}
        if monotonic_ns() >= self._store_ns:
            self._store()

    def _connected(self) -> bool:
        """Connect if a try is due; return whether the broker is connected."""
        left_s = (self._retry_ns - monotonic_ns()) / 1e9
        if left_s > 0:
            if self._outbox.is_full:
                select.select([], [], [], min(left_s, 0.1))
            return False
        try:
            self._broker = self._connect()
        except BrokerUnavailable as error:
            self._lose(str(error))
            return False
        self._outbox.in_flight = self._broker.in_flight
        if self._is_away:
            self._report(f"connected again; {len(self._outbox)} messages wait")
        elif not self._has_connected:
            self._report("connected to the broker")
        self._is_away, self._has_connected = False, True
        return True

    def _lose(self, reason: str) -> None:
        """Leave the broker, report it once, and delay the next connection."""
        if self._broker is not None:
            self._broker.close()
        self._broker = None
        self.repeated += self._outbox.rewind()
        if not self._is_away:
            self._is_away = True
            self._report(f"{reason}; waiting, {len(self._outbox)} messages are kept")
        self._retry_ns = monotonic_ns() + int(self._retry_s * 1e9)
        self._retry_s = min(2 * self._retry_s, _RETRY_MAX_S)

    def _store(self) -> None:
        """Store the cursors of what is done; then the daemons may forget it."""
        self._store_ns = monotonic_ns() + _STORE_NS
        if self._settled:
            self._state.store(self._settled.values())
            self._stored |= self._settled
            self._settled.clear()
            self._feed.acknowledge(self._stored.values())


def _level(device: str) -> str:
    """Return a device's name as one level of a topic."""
    return "".join("_" if each in "/+#\0" else each for each in device)


def _gap_payload(device: str, gap: Gap) -> bytes:
    return json.dumps(gap.record(device), ensure_ascii=False, separators=(",", ":")).encode()


def run_forward(
    endpoints: Sequence[str],
    services: Sequence[str],
    to: str,
    state: Path,
    *,
    stop: Callable[[], bool],
    name: str = "forward",
    device: str | None = None,
    ca: Path | None = None,
    password_file: Path | None = None,
    watches_drops: bool = True,
    report: Callable[[str], None] = write_error_line,
) -> None:
    """Forward what the daemons at ``endpoints`` publish, until ``stop`` returns true.

    Args:
        endpoints: PUB addresses.
        services: service addresses of the same daemons, to fetch what was missed; at least one.
        to: address of the broker; see ``BrokerAddress``.
        state: file of the cursors.
        stop: called several times a second.
        name: of this consumer; begins each line of ``report``.
        device: only this device's messages.
        ca: file with the broker's certificate authority; None: those of the system.
        password_file: file with the password; None: from the environment.
        watches_drops: publish again what the broker may have dropped.
        report: takes a line at each change.

    Raises:
        ConfigError: an address, file or password is wrong (exit 78).
        RequestRefused: a daemon refuses to let this consumer fetch (exit 78).
        LogFileError: the cursors cannot be stored (exit 1).
    """
    address = BrokerAddress.parse(to)
    if not services:
        raise ConfigError("forward: expected --service, where the daemon answers requests")
    password = read_password(password_file)
    tls = tls_context(ca) if address.uses_tls else None

    def report_as(line: str) -> None:
        report(f"{name}: {line}")

    with (
        ForwardState(state, address.shown) as kept,
        Subscriber(
            endpoints,
            device=device,
            high_water=CAPACITY,
            cursors=kept.cursors(),
            services=services,
            name=name,
            report=report_as,
        ) as live,
    ):
        forwarder = Forwarder(
            _WatchedFeed(live, endpoints, report_as, device),
            lambda: Broker(address, password, tls),
            kept,
            prefix=address.prefix,
            report=report_as,
            watches_drops=watches_drops,
        )
        forwarder.run(stop)
    report_as(f"{forwarder.published} messages published, {forwarder.repeated} of them again")


class _WatchedFeed:
    """A subscriber that reports when nothing is received, and how a backlog shrinks."""

    def __init__(
        self,
        live: Subscriber,
        endpoints: Sequence[str],
        report: Callable[[str], None],
        device: str | None,
    ) -> None:
        self._live = live
        self._silence = SilenceNotice(endpoints, report, device)
        self._catch_up = CatchUpNotice(live, report)

    def receive(self, timeout_s: float) -> Received | None:
        received = self._live.receive(timeout_s)
        self._silence.turn()
        self._catch_up.turn(fetched=received is not None and received.backfilled)
        if received is not None:
            self._silence.note(received.message)
        else:
            self._silence.check(held=self._live.held)
        return received

    def acknowledge(self, cursors: Iterable[Cursor]) -> None:
        self._live.acknowledge(cursors)
