"""Messages on their way to a broker, in order, until it is certain that they have arrived."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from edge.client import Cursor


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish.

    Attributes:
        topic: of MQTT.
        payload: JSON.
        identity: of the message; the cursor once the message has arrived.
    """

    topic: str
    payload: bytes
    identity: Cursor


class Outbox:
    """A queue of messages: kept from ``add`` until they are settled. Not thread-safe.

    A message is *acknowledged* by its PUBACK. It is *settled* once it is acknowledged and so are
    all before it; where the broker's drops are watched, only at the second ``checkpoint`` after
    that. ``rewind`` makes all that are not settled unsent again: the broker may get some of them
    twice, never none.

    Args:
        in_flight: number of messages that may be sent and not acknowledged.
        capacity: number of messages to keep.

    Attributes:
        in_flight: as above.
        window: number of messages that may be sent and not settled; a drop halves it, and each
            checkpoint without a drop doubles it, up to ``capacity``.
        settles_at_checkpoints: whether acknowledged messages wait for checkpoints.
    """

    def __init__(self, *, in_flight: int, capacity: int) -> None:
        self.in_flight = in_flight
        self._capacity = self.window = capacity
        self._kept: deque[Outgoing] = deque()
        self._first = 0  # number of the first message in ``_kept``; they are numbered by ``add``
        self._next = 0  # number of the next message to send
        self._sent: dict[int, int] = {}  # packet identifier -> number, while not acknowledged
        self._acknowledged: set[int] = set()  # numbers at or above ``_acknowledged_to``
        self._acknowledged_to = 0  # all below are acknowledged
        self._mark = 0  # ``_acknowledged_to`` at the last checkpoint
        self._settled: dict[str, Cursor] = {}
        self.settles_at_checkpoints = False

    def __len__(self) -> int:
        """Number of messages that are not settled."""
        return len(self._kept)

    @property
    def is_full(self) -> bool:
        """Whether it holds as many messages as it may."""
        return len(self._kept) >= self._capacity

    @property
    def unacknowledged(self) -> int:
        """Number of messages that are sent and not acknowledged."""
        return len(self._sent)

    @property
    def is_acknowledged(self) -> bool:
        """Whether every message is sent and acknowledged."""
        return self._acknowledged_to == self._first + len(self._kept)

    def add(self, messages: Iterable[Outgoing]) -> None:
        """Append messages."""
        self._kept.extend(messages)

    def next(self) -> Outgoing | None:
        """Return the next message to send; None if there is none, or too many are in flight."""
        at = self._next - self._first
        if at >= min(len(self._kept), self.window) or len(self._sent) >= self.in_flight:
            return None
        return self._kept[at]

    def sent(self, packet: int) -> None:
        """Note that ``next`` was sent with this packet identifier."""
        self._sent[packet] = self._next
        self._next += 1

    def acknowledge(self, packet: int) -> None:
        """Note the PUBACK of a packet; unknown ones are ignored."""
        number = self._sent.pop(packet, None)
        if number is None:
            return
        self._acknowledged.add(number)
        while self._acknowledged_to in self._acknowledged:
            self._acknowledged.remove(self._acknowledged_to)
            self._acknowledged_to += 1
        if not self.settles_at_checkpoints:
            self._settle(self._acknowledged_to)

    def checkpoint(self) -> None:
        """The broker has dropped nothing up to now: settle what was acknowledged at the last one.

        Drops are reported after the moment that they are counted, hence not what is acknowledged
        now.
        """
        self.window = min(2 * self.window, self._capacity)
        self._settle(self._mark)
        self._mark = self._acknowledged_to

    def shrink(self) -> None:
        """The broker dropped messages: send half as many until the next checkpoint."""
        self.window = max(1, (self._next - self._first) // 2)

    def rewind(self) -> int:
        """Make every message that is not settled unsent again; return how many had been sent."""
        sent = self._next - self._first
        self._next = self._acknowledged_to = self._mark = self._first
        self._sent.clear()
        self._acknowledged.clear()
        return sent

    def take_settled(self) -> list[Cursor]:
        """Return the last settled message of each stream, since the last call."""
        settled = list(self._settled.values())
        self._settled.clear()
        return settled

    def _settle(self, number: int) -> None:
        """Let go of the messages below ``number``."""
        while self._first < number:
            identity = self._kept.popleft().identity
            self._settled[identity.stream] = identity
            self._first += 1
