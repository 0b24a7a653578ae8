"""The guard over real sockets: it cuts who sends too much, and nobody else."""

import contextlib
import os
import socket as sockets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from edge.hub import guard as guard_module
from edge.hub import io_threads
from edge.hub.guard import Guard
from edge.hub.sockets import bind
from tests.support.raw_peer import GREETING, Flood, connect, frame, shake_hands
from tests.support.waiting import HANG_S


class Guarded:
    """A publishing and a serving socket with their guard."""

    def __init__(self, publish: str, service: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.cuts: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[str] = Counter()
        self.guard = Guard(self.context, self)
        self.publish = self.context.socket(zmq.XPUB)
        self.guard.watch("publish", self.publish)
        self.service = self.context.socket(zmq.ROUTER)
        self.guard.watch("service", self.service)
        self.endpoints = {
            "SUB": bind(self.publish, publish, key="a", high_water=10),
            "DEALER": bind(self.service, service, key="b", high_water=10),
        }

    def connection_cut(self, socket: str, reason: str) -> None:
        self.cuts[socket, reason] += 1

    def peer_rejected(self, why: str) -> None:
        self.rejected[why] += 1

    def wait_for(self, condition: Callable[[], bool]) -> None:
        start_ns = time.monotonic_ns()
        while not condition():
            for socket in (self.publish, self.service):
                while socket.poll(1):
                    socket.recv()
            assert time.monotonic_ns() - start_ns < HANG_S * 1e9, self.cuts

    def subscriber(self) -> "zmq.Socket[bytes]":
        socket = self.context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe(b"")
        socket.connect(self.endpoints["SUB"])
        assert self.publish.poll(round(HANG_S * 1e3))
        assert self.publish.recv() == b"\x01"
        return socket

    def close(self) -> None:
        self.guard.close()
        self.publish.close()
        self.service.close()
        self.context.term()


@pytest.fixture(params=["tcp", "ipc"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guarded]:
    if request.param == "tcp":
        made = Guarded("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    else:
        made = Guarded(f"ipc://{tmp_path}/p", f"ipc://{tmp_path}/s")
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["SUB", "DEALER"])
def test_an_endless_message_is_cut_and_others_stay(
    guarded: Guarded,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(guard_module, "_LOG_S", 10 * HANG_S)
    with guarded.subscriber() as subscriber:
        part = frame(b"x" * 4000, more=True)
        with Flood(guarded.endpoints[kind], kind, part) as flood:
            guarded.wait_for(lambda: flood.connections > 3)
        name = "publish" if kind == "SUB" else "service"
        assert {socket for socket, _ in guarded.cuts} == {name}
        guarded.publish.send(b"still here")
        assert subscriber.poll(round(HANG_S * 1e3))
        assert subscriber.recv() == b"still here"
    lines = [record.message for record in caplog.records if "were cut" in record.message]
    assert len(lines) == 1
    assert f"to the {name} socket" in lines[0]
    assert ("127.0.0.1" in lines[0]) or (f"process {os.getpid()}" in lines[0])


@pytest.fixture
def others() -> frozenset[int]:
    """The threads of contexts that earlier tests in this process have left."""
    return frozenset(io_threads._threads())


def test_zeromq_runs_on_the_processor_of_the_guard(
    others: frozenset[int], guarded: Guarded
) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is only one processor")
    guard = guarded.guard._thread.native_id
    assert guard is not None

    def processors() -> list[frozenset[int]]:
        found = [frozenset(os.sched_getaffinity(guard))]
        for number in io_threads._threads():
            if number in others:
                continue
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                found.append(frozenset(os.sched_getaffinity(number)))
        return found

    def is_shared() -> bool:
        return len(processors()[0]) == 1 and len(set(processors())) == 1

    guarded.wait_for(is_shared)
    assert len(processors()) > 1
    assert len(os.sched_getaffinity(os.getpid())) > 1  # and with it the worker, which starts there


def test_a_thread_that_has_ended_keeps_no_other_from_its_processor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    pinned: list[int] = []

    def pin(thread: int, _to: set[int]) -> None:
        os.sched_getaffinity(thread)  # raises as the real call does
        pinned.append(thread)

    monkeypatch.setattr(io_threads, "_threads", lambda: [ended.pid, 0])
    monkeypatch.setattr(os, "sched_setaffinity", pin)
    assert io_threads.share_processor()
    assert pinned == [0, 0]
    assert not caplog.records


def test_a_thread_that_is_named_late_runs_on_the_processor_of_the_guard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def share() -> bool:
        calls.append(None)
        return True

    monkeypatch.setattr(guard_module, "share_processor", share)
    guarded = Guarded(f"ipc://{tmp_path}/p", f"ipc://{tmp_path}/s")
    guarded.wait_for(lambda: len(calls) > 3)
    guarded.close()


def test_memory_of_a_cut_message_is_freed(guarded: Guarded) -> None:
    before_mb = guarded.guard._memory.used_mb()
    with Flood(guarded.endpoints["DEALER"], "DEALER", frame(b"x" * 100, more=True)) as flood:
        guarded.wait_for(lambda: flood.sent > 20e6)
    guarded.wait_for(lambda: not guarded.guard._memory.is_growing)
    assert guarded.guard._memory.used_mb() - before_mb < 24


def test_connections_beyond_the_limit_are_cut(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "CONNECTIONS_MAX", 20)
    peers = [connect(guarded.endpoints["SUB"]) for _ in range(50)]
    try:
        guarded.wait_for(lambda: guarded.cuts == {("publish", "count"): 30})
        for peer in peers[30:]:  # the newest ones stay
            shake_hands(peer, "SUB")
    finally:
        for peer in peers:
            peer.close()
    guarded.wait_for(lambda: not guarded.guard._connections)


def test_the_traffic_of_a_fast_consumer_is_allowed(guarded: Guarded) -> None:
    with guarded.context.socket(zmq.DEALER) as peer:
        peer.setsockopt(zmq.LINGER, 0)
        peer.connect(guarded.endpoints["DEALER"])
        for _ in range(2000):
            peer.send(b"x" * 200)
            assert guarded.service.poll(round(HANG_S * 1e3))
            guarded.service.recv_multipart()
    assert guarded.cuts == {}


def test_a_guard_ends_with_its_sockets_in_any_order() -> None:
    guarded = Guarded("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    with connect(guarded.endpoints["SUB"]) as peer:
        shake_hands(peer, "SUB")
        guarded.publish.close()
        guarded.close()
    assert not any(each.name == "guard" for each in threading.enumerate())


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "incomplete"),
        (GREETING.replace(b"NULL\0", b"PLAIN"), "mechanism"),
        (GREETING.replace(b"NULL\0", b"CURVE"), "mechanism"),
        (GREETING, "incomplete"),
        (GREETING + b"\x04\x06\x05READ!", "garbage"),
    ],
)
def test_failed_handshakes_are_counted(guarded: Guarded, sent: bytes, reason: str) -> None:
    for endpoint in guarded.endpoints.values():
        with connect(endpoint) as peer:
            peer.sendall(sent)
            peer.shutdown(sockets.SHUT_WR)
        guarded.wait_for(lambda: guarded.rejected)
        assert guarded.rejected == {reason: 1}
        guarded.rejected.clear()
