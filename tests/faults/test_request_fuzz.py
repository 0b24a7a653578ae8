"""Random requests of many peers, some of which never read a reply; the daemon serves the others."""

import contextlib
import os
import random
import time
from pathlib import Path

import pytest

from tests.faults.test_floods import Victim, running
from tests.support.raw_peer import connect, frame, shake_hands

REQUESTS = int(os.environ.get("AFFECT_EDGE_REQUESTS", "1000000"))
PEERS = 32
WORDS = (
    *("request", "mark", "fetch", "time", "status", "schema", "session", "participant", "baseline"),
    *("erase", "action", "begin", "end", "list", "assign", "release", "start", "stop", "name"),
    *("text", "note", "track", "seat", "stream", "epoch", "seq", "max", "wait_s", "instance"),
)


def value(dice: random.Random, depth: int = 0) -> str:
    """Return any JSON value, or something like one."""
    if dice.random() < 0.1 and depth < 6:
        return f"[{','.join(value(dice, depth + 1) for _ in range(dice.randrange(4)))}]"
    return dice.choice(
        [
            *(f'"{dice.choice(WORDS)}"', '"P07"', '""', '"\\u0000"', '"\\ud800"', "null", "true"),
            *(str(dice.randrange(-2, 500)), "1e999", "-0", "NaN", "9" * 400, "0.5", '"x'),
            *("[" * 2000, '"' + "y" * 400 + '"', "{}"),
        ]
    )


def request(dice: random.Random) -> bytes:
    """Return random bytes, or something like a request, of up to 4 KiB or a little more."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(4200))
    kind = dice.choice(WORDS)
    fields = [f'"request":"{kind}"']
    for _ in range(dice.randrange(6)):
        fields.append(f'"{dice.choice(WORDS)}":{value(dice)}')
    return ("{" + ",".join(fields) + "}").encode()


class Peer:
    """A connection that sends requests; not a socket of libzmq, which aborts when it is cut.

    Attributes:
        reads: whether it reads its replies.
        received: bytes of replies so far.
    """

    def __init__(self, endpoint: str, identity: bytes, *, reads: bool) -> None:
        self.reads = reads
        self.received = 0
        self._unsent = b""
        self._connection = connect(endpoint)
        try:
            shake_hands(self._connection, "DEALER", identity)
        except OSError:
            self.close()
            raise
        self._connection.setblocking(False)

    def send(self, parts: list[bytes]) -> bool:
        """Send a message, of which a part may have to wait; return whether there was room.

        Raises:
            OSError: the daemon has closed the connection.
        """
        if not self._unsent:
            last = len(parts) - 1
            self._unsent = b"".join(frame(part, more=n < last) for n, part in enumerate(parts))
            taken = True
        else:
            taken = False
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self._connection.send(self._unsent) :]
        return taken

    def read(self) -> None:
        """Read the replies that have come.

        Raises:
            OSError: the daemon has closed the connection.
        """
        with contextlib.suppress(BlockingIOError):
            while data := self._connection.recv(1 << 16):
                self.received += len(data)
            raise ConnectionResetError

    def close(self) -> None:
        self._connection.close()


class Peers:
    """Peers that send requests, half of which read their replies; each is replaced after a while.

    Attributes:
        sent: requests so far.
        received: bytes of replies so far.
        replaced: connections that were closed, by the daemon or by the peer.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._dice = random.Random(5)
        self._peers: list[Peer | None] = [None] * PEERS
        self.sent = self.received = self.replaced = 0

    def send(self) -> None:
        """Let every peer send some requests."""
        for number in range(PEERS):
            try:
                self._use(self._peers[number] or self._open(number))
                if self._dice.random() < 0.02:
                    self._drop(number)
            except OSError:  # the daemon has closed it, or does not accept another one
                self._drop(number)

    def _open(self, number: int) -> Peer:
        is_named = self._dice.random() < 0.5  # some with the identity of another one
        identity = b"peer-%d" % self._dice.randrange(4 * PEERS) if is_named else b""
        peer = self._peers[number] = Peer(self._endpoint, identity, reads=number % 2 == 1)
        return peer

    def _drop(self, number: int) -> None:
        peer, self._peers[number] = self._peers[number], None
        if peer is not None:
            self.replaced += 1
            self.received += peer.received
            peer.close()

    def _use(self, peer: Peer) -> None:
        for _ in range(20):
            parts = [request(self._dice) for _ in range(self._dice.choice([1, 1, 1, 2, 5]))]
            if not peer.send(parts):
                break
            self.sent += 1
        if peer.reads:
            peer.read()

    def close(self) -> None:
        for peer in self._peers:
            if peer is not None:
                peer.close()


@pytest.mark.stage
@pytest.mark.timeout(1800)
def test_random_requests(tmp_path: Path) -> None:
    with running(tmp_path, "ipc", 1800) as victim:
        peers = Peers(victim.daemon.service)
        while peers.sent < REQUESTS:
            peers.send()
            victim.watch(0.001)
        peers.close()
        median_ms, p99_ms = victim.latency_ms()
        victim.check()
        assert "Traceback" not in victim.daemon.stderr
        print(
            f"\n{peers.sent} random requests, {peers.replaced} peers replaced,"
            f" {peers.received / 1e6:.1f} MB of replies read, memory +{victim.growth_mb:.0f} MB;"
            f" live {median_ms:.1f} ms, p99 {p99_ms:.1f} ms"
        )


@pytest.mark.stage
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_peers_that_never_read_replies(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, transport, 120) as victim, contextlib.ExitStack() as held:
        victim.watch(10)  # so that there is something to fetch
        fetch = frame(b"", more=True) + frame(b'{"request":"fetch"}', more=False)
        peers = []
        for _ in range(200):
            with contextlib.suppress(OSError):
                peer = held.enter_context(connect(victim.daemon.service))
                shake_hands(peer, "DEALER")
                peer.setblocking(False)
                peers.append(peer)
        started = time.monotonic()
        while time.monotonic() - started < 15:
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.send(fetch)
            victim.watch(0.2)
        report(victim, f"{transport}: {len(peers)} peers that never read")


def report(victim: Victim, what: str) -> None:
    cuts = victim.cuts()
    victim.check()
    median_ms, p99_ms = victim.latency_ms()
    print(
        f"\n{what}, {cuts:.0f} cut, memory +{victim.growth_mb:.0f} MB; live {median_ms:.1f} ms,"
        f" p99 {p99_ms:.1f} ms"
    )
