"""A forwarder whose messages come from a made-up journal, in this process or one of its own."""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from edge.client import Cursor, Gap, Received
from edge.protocol import messages
from edge.tools.forward import Forwarder
from edge.tools.forward.broker import Broker, BrokerAddress
from edge.tools.forward.state import ForwardState
from tests.support.wire import event, face, frame

STREAM = "3f2b7f3a-1c1e-4c53-a5a4-4a7b5a4f6c11"


class JournalFeed:
    """Frames 1 to ``count - 1`` of one epoch after its first event, from the cursors on.

    Attributes:
        acknowledged: the cursors that the forwarder acknowledged.
    """

    def __init__(self, count: int, cursors: Iterable[Cursor], gap: Gap | None = None) -> None:
        self._next = max((cursor.seq for cursor in cursors), default=-1) + 1
        self._count = count
        self._gap = gap
        self.acknowledged: list[Cursor] = []

    def receive(self, timeout_s: float) -> Received | None:
        """Return the next message, or None after a moment."""
        seq = self._next
        if seq >= self._count:
            time.sleep(min(timeout_s, 0.01))
            return None
        gap = self._gap if self._gap and self._gap.first_missing == seq else None
        if gap is not None:
            seq = gap.last_missing + 1
        self._next = seq + 1
        message = frame(seq, face(), stream=STREAM) if seq else event(0, stream=STREAM)
        return Received(message, messages.encode(message), gap, late=False)

    def acknowledge(self, cursors: Iterable[Cursor]) -> None:
        """Keep the cursors."""
        self.acknowledged += cursors


def forward(
    port: int,
    state: Path,
    count: int,
    *,
    stop: Callable[[Forwarder], bool],
    report: Callable[[str], None] = print,
    gap: Gap | None = None,
    address: str = "",
    password: str | None = None,
    watches_drops: bool = True,
) -> Forwarder:
    """Forward ``count`` messages to the broker on ``port`` until ``stop`` returns true."""
    to = BrokerAddress.parse(address or f"mqtt://127.0.0.1:{port}")
    with ForwardState(state, to.shown) as kept:
        forwarder = Forwarder(
            JournalFeed(count, kept.cursors(), gap),
            lambda: Broker(to, password, None),
            kept,
            prefix=to.prefix,
            report=report,
            watches_drops=watches_drops,
        )
        forwarder.run(lambda: stop(forwarder))
    return forwarder


if __name__ == "__main__":
    forward(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), stop=lambda _: False)
