"""Random requests of many peers, some of which never read a reply; the daemon serves the others."""

import contextlib
import os
import random
import time
from pathlib import Path

import pytest
import zmq

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


class Peers:
    """Peers that send requests and read some replies; each is replaced after a while."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dice = random.Random(5)
        self._peers = [self._new() for _ in range(PEERS)]
        self.sent = self.received = self.identities = 0

    def _new(self) -> "zmq.Socket[bytes]":
        peer = self._context.socket(zmq.DEALER)
        peer.linger = 0
        peer.sndhwm = 50
        if self._dice.random() < 0.5:  # the identity of another peer is refused
            peer.routing_id = b"peer-%d" % self._dice.randrange(4 * PEERS)
        peer.connect(self._endpoint)
        return peer

    def send(self) -> None:
        """Let every peer send some requests."""
        for number, peer in enumerate(self._peers):
            with contextlib.suppress(zmq.Again):
                for _ in range(20):
                    parts = [request(self._dice) for _ in range(self._dice.choice([1, 1, 1, 2, 5]))]
                    peer.send_multipart(parts, zmq.NOBLOCK)
                    self.sent += 1
            if number % 2:
                with contextlib.suppress(zmq.Again):
                    while True:
                        peer.recv(zmq.NOBLOCK)
                        self.received += 1
            if self._dice.random() < 0.02:
                peer.close()
                self._peers[number] = self._new()
                self.identities += 1

    def close(self) -> None:
        self._context.destroy(linger=0)


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
            f"\n{peers.sent} random requests, {peers.identities} peers replaced,"
            f" {peers.received} replies read, memory +{victim.growth_mb:.0f} MB;"
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
