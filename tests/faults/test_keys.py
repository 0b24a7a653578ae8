"""Ten thousand connections without an allowed key, while an allowed client is served."""

import contextlib
import multiprocessing
import multiprocessing.queues
import os
import random
import socket
import time
from pathlib import Path

import pytest
import zmq

from edge.board import rss_mb
from tests.support.keyed_hub import KeyedHub
from tests.support.keys import KINDS, KeyFolder, bad_client

CONNECTIONS = int(os.environ.get("AFFECT_EDGE_CONNECTIONS", "10000"))
TOGETHER = 60  # connections of one kind at a time
RSS_GROWTH_MAX_MB = 32
FDS_MAX = 1024

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


def attack(
    keys: KeyFolder, live: str, service: str, results: "multiprocessing.queues.Queue[object]"
) -> None:
    """Make connections of every kind in turn; put (kind, connections, served ones)."""
    keys.keys("unknown")
    noise = random.Random(7)
    counts = dict.fromkeys([*KINDS, "bytes"], 0)
    done = served = 0
    while done < CONNECTIONS:
        for kind in counts:
            if kind == "bytes":
                served += send_bytes(noise, live, service)
            else:
                served += connect(keys, kind, live, service)
            counts[kind] += TOGETHER
            done += TOGETHER
    results.put((counts, served))


def connect(keys: KeyFolder, kind: str, live: str, service: str) -> int:
    """Return how many of the clients received anything before their handshakes failed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4 * TOGETHER)
    clients, waiting = [], zmq.Poller()
    for number in range(TOGETHER):
        kind_of_socket = zmq.SUB if number % 2 else zmq.DEALER
        client = bad_client(context, kind, kind_of_socket, keys)
        client.setsockopt(zmq.RECONNECT_IVL, -1)
        monitor = client.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
        waiting.register(monitor, zmq.POLLIN)
        client.connect(live if number % 2 else service)
        if not number % 2:
            with contextlib.suppress(zmq.Again):  # the handshake has failed already
                client.send(b'{"request":"time"}', zmq.NOBLOCK)
        clients.append((client, monitor))
    deadline = time.monotonic() + 30
    while waiting.sockets and time.monotonic() < deadline:
        for monitor, _ in waiting.poll(100):
            waiting.unregister(monitor)
    assert not waiting.sockets, f"{len(waiting.sockets)} connections of {kind} stay open"
    served = sum(bool(client.poll(0)) for client, _ in clients)
    context.destroy(linger=0)
    return served


def send_bytes(noise: random.Random, live: str, service: str) -> int:
    """Send random bytes, some after a valid greeting; return how many got more than a handshake."""
    served = 0
    connections = []
    for number in range(TOGETHER):
        host, port = (live if number % 2 else service).removeprefix("tcp://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=10)
        content = noise.randbytes(noise.randrange(1, 600))
        with contextlib.suppress(OSError):
            connection.sendall(GREETING + content if number % 3 else content)
            connection.shutdown(socket.SHUT_WR)
        connections.append(connection)
    for connection in connections:
        received = b""
        with contextlib.suppress(OSError):
            while part := connection.recv(4096):
                received += part
        connection.close()
        served += b"affect.v1" in received or b'"ok"' in received
    return served


@pytest.mark.stage
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("handler", ["open", "closed"])
def test_nobody_without_an_allowed_key_is_served(tmp_path: Path, handler: str) -> None:
    with contextlib.closing(KeyedHub(tmp_path)) as hub:
        watch_attack(hub, handler)


def watch_attack(hub: KeyedHub, handler: str) -> None:
    allowed = hub.subscriber("logger")
    if handler == "closed":
        hub.security.close()
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    attacker = spawn.Process(
        target=attack,
        args=(hub.keys, hub.publisher.endpoint, hub.service.endpoint, results),
    )
    before_mb, most_mb, most_fds, received, turns = rss_mb(), 0.0, 0, 0, 0
    started = time.monotonic()
    attacker.start()
    while attacker.is_alive() and results.empty():
        hub.turn()
        hub.publisher.offer(b"affect.v1.frame.edge {}")
        turns += 1
        most_mb, most_fds = max(most_mb, rss_mb()), max(most_fds, fds())
        with contextlib.suppress(zmq.Again):
            while True:
                allowed.recv(zmq.NOBLOCK)
                received += 1
        hub.publisher.socket.poll(2)
    counts, served = results.get(timeout=10)
    attacker.join(30)
    print(
        f"\nhandler {handler}: {sum(counts.values())} connections ({counts}) in"
        f" {time.monotonic() - started:.0f} s, {served} served; the allowed client received"
        f" {received} of {turns} messages; memory {before_mb:.0f} to {most_mb:.0f} MB, at most"
        f" {most_fds} descriptors; refused by key: {dict(hub.rejected)}"
    )
    assert sum(counts.values()) >= CONNECTIONS
    assert served == 0
    assert hub.requests == 0
    assert most_mb - before_mb < RSS_GROWTH_MAX_MB
    assert most_fds < FDS_MAX
    assert received > 0.95 * turns  # the newest may still be on their way
    if handler == "open":
        assert hub.rejected["unknown_key"] == counts["unknown"]


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))
