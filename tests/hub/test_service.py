"""The service socket with peers of several kinds: real sockets, one thread, no daemon."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from edge import clock
from edge.errors import ConfigError, RequestRefused
from edge.hub import guard
from edge.hub.guard import Guard
from edge.hub.memory_watch import MemoryWatch
from edge.hub.service import PEERS_MAX, STUCK_MAX, Service
from edge.hub.sockets import PART_BYTES_MAX
from edge.protocol import requests
from edge.protocol.requests import AnyRequest, MarkRequest, decode_request
from tests.support.raw_peer import connect, frame, shake_hands
from tests.support.waiting import HANG_S

ROOT = Path(__file__).resolve().parents[2]

words = (
    st.text(max_size=8)
    | st.just("a\nb")
    | st.sampled_from(["assign", "release", "start", "stop", "P07", "4"])
)
request_like_bytes = st.fixed_dictionaries(
    {"request": st.sampled_from(["mark", "participant", "baseline", "time", "fetch"]) | words},
    optional={
        "action": words, "participant": words, "text": words,
        "track": st.integers() | st.floats() | words, "a\nb": words,
    },
).map(lambda each: json.dumps(each).encode())  # fmt: skip


class Counters:
    """What the guard counts."""

    def connection_cut(self, _socket: str, _reason: str) -> None: ...

    def peer_rejected(self, _why: str) -> None: ...


class RunningService:
    """A service with the requests and outcomes so far, and its peers."""

    def __init__(self, folder: Path, *, is_guarded: bool = False) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.guard = Guard(self.context, Counters()) if is_guarded else None
        self.service = Service(self.context, f"ipc://{folder}/s", guard=self.guard)
        self.requests: list[AnyRequest] = []
        self.outcomes: Counter[str] = Counter()
        self.peers: list[zmq.Socket[bytes]] = []

    def peer(self, kind: int = zmq.REQ) -> "zmq.Socket[bytes]":
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.service.endpoint)
        self.peers.append(socket)  # closed with the context
        return socket

    def handle(self, request: AnyRequest, received_ns: int) -> dict[str, Any]:
        assert clock.elapsed_ms(received_ns) >= 0
        self.requests.append(request)
        if isinstance(request, MarkRequest) and request.text == "no":
            raise RequestRefused("not now")
        return {"count": len(self.requests)}

    def serve(self, timeout_ms: int = 2000) -> None:
        """Wait up to ``timeout_ms`` for requests and serve them."""
        if self.service.socket.poll(timeout_ms):
            self.service.serve(self.handle, lambda outcome: self.outcomes.update([outcome]))

    def reply(self, peer: "zmq.Socket[bytes]", *parts: bytes) -> dict[str, Any]:
        """Send ``parts`` and return the reply."""
        peer.send_multipart(parts)
        start_ns = time.monotonic_ns()
        while not peer.poll(1):
            self.serve(0)
            assert time.monotonic_ns() - start_ns < 60e9, "no reply"
        reply: dict[str, Any] = json.loads(peer.recv_multipart()[-1])
        return reply

    def close(self) -> None:
        self.service.close()
        if self.guard is not None:
            self.guard.close()
        self.context.destroy(linger=0)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningService]:
    made = RunningService(tmp_path)
    yield made
    made.close()


def mark(text: str) -> bytes:
    return json.dumps({"request": "mark", "text": text}).encode()


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER])
def test_each_request_gets_one_reply(served: RunningService, kind: int) -> None:
    peer = served.peer(kind)
    assert served.reply(peer, mark("pressure 2.8 bar")) == {"ok": True, "count": 1}
    assert served.reply(peer, b'{"request":"time"}') == {"ok": True, "count": 2}
    assert served.reply(peer, mark("no")) == {
        "ok": False,
        "code": "not_possible",
        "error": "not now",
    }
    assert served.outcomes == {"answered": 2, "refused": 1}


def test_each_reply_goes_to_its_peer(served: RunningService) -> None:
    peers = [served.peer() for _ in range(5)]
    for peer in peers:
        peer.send(b'{"request":"time"}')
    while sum(served.outcomes.values()) < len(peers):
        served.serve()
    counts = [json.loads(peer.recv())["count"] for peer in peers]
    assert sorted(counts) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (b"", ("request",)),
        (b"\xff\xfe", ("request",)),
        (b"mark", ("request",)),
        (b"[]", ("request",)),
        (b"{}", ("request: expected one of mark, participant", "schema")),
        (b'{"request":"participant"}', ("action: expected one of assign, release",)),
        (b'{"request":"status","a":1}', ("a: unknown field; expected request",)),
        (
            b'{"request":"baseline","action":"begin","participant":"P"}',
            ("action: expected one of start, stop (received 'begin')",),
        ),
        (b'{"request":"repeat"}', ("request", "repeat", "mark")),
        (b'{"request":"mark"}', ("text", "required")),
        (b'{"request":"mark","text":""}', ("text",)),
        (b'{"request":"mark","text":"a\\nb"}', ("text", "one line")),
        (b'{"request":"mark","text":"a","at":1}', ("at", "unknown field")),
        (b'{"request":"mark","text":1}', ("text", "string", "1")),
        (b'{"request":"participant","track":1,"participant":"P"}', ("action", "assign")),
        (b'{"request":"participant","action":"assign","participant":"P"}', ("track",)),
        (
            b'{"request":"participant","action":"assign","track":1.5,"participant":"P"}',
            ("track", "1.5"),
        ),
        (
            b'{"request":"participant","action":"release","participant":"Jane Doe"}',
            ("participant", "letters", "Jane Doe"),
        ),
        (b'{"request":"baseline","action":"pause","participant":"P"}', ("action", "pause")),
        (b'{"request":"time","x":NaN}', ("x",)),
        (b"[" * 4000, ("request",)),
        (b'{"request":"a\\nb"}', ("request",)),
        (b'{"request":"participant","action":"a\\nb\\u001b[31m"}', ("action", "release")),
        (b'{"request":"time","a\\nb":1}', ("a?b", "unknown field")),
        (b'{"request":"time","' + b"k" * 3900 + b'":1}', ("kkk",)),
        (b'{"request":"' + b"k" * 3900 + b'"}', ("kkk",)),
        (
            b'{"request":"participant","action":"assign","track":' + b"9" * 3000 + b"}",
            ("track",),
        ),
    ],
)
def test_a_malformed_request_is_refused_in_one_line(
    served: RunningService, part: bytes, words: tuple[str, ...]
) -> None:
    reply = served.reply(served.peer(), part)
    assert reply["ok"] is False
    assert "\n" not in reply["error"]
    assert reply["error"].isprintable()
    assert len(reply["error"]) <= 300
    assert all(word.lower() in reply["error"].lower() for word in words), reply["error"]
    assert served.requests == []


@pytest.mark.parametrize("parts", [(b"a", b"b"), (b"", b"", b"{}"), (b"a", b"b", b"c", b"d")])
def test_requests_of_several_parts_are_refused(
    served: RunningService, parts: tuple[bytes, ...]
) -> None:
    reply = served.reply(served.peer(zmq.DEALER), *parts)
    assert reply == {
        "ok": False,
        "code": "bad_request",
        "error": "expected one request, of one part",
    }


def test_a_message_over_the_size_limit_closes_only_its_connection(served: RunningService) -> None:
    sender = served.peer(zmq.DEALER)
    sender.send(b" " * (PART_BYTES_MAX + 1))
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True
    assert not sender.poll(0)
    assert served.outcomes == {"answered": 1}


@pytest.fixture
def clock_ns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The service's clock, which stands still: a list with the time as its only entry, ns."""
    now = [0]
    monkeypatch.setattr("edge.hub.service.clock.monotonic_ns", lambda: now[0])
    monkeypatch.setattr("edge.hub.service.clock.elapsed_ms", lambda since: (now[0] - since) / 1e6)
    return now


def test_the_rate_limit_of_one_peer_does_not_affect_others(
    clock_ns: list[int], served: RunningService
) -> None:
    greedy = served.peer(zmq.DEALER)

    def accepted(count: int) -> int:
        return sum(served.reply(greedy, b'{"request":"time"}')["ok"] for _ in range(count))

    assert accepted(60) == 40
    refused = served.reply(greedy, b'{"request":"time"}')
    assert (refused["code"], refused["error"]) == ("busy", "more than 20 requests a second")
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True
    clock_ns[0] = 500_000_000
    assert accepted(60) == 10
    clock_ns[0] = 3_600_000_000_000
    assert accepted(60) == 40


def test_reconnecting_for_each_request_meets_the_total_rate_limit(
    clock_ns: list[int], served: RunningService
) -> None:
    def accepted(count: int) -> int:
        return sum(served.reply(served.peer(), b'{"request":"time"}')["ok"] for _ in range(count))

    assert accepted(PEERS_MAX + 20) == 200
    assert "of all together" in served.reply(served.peer(), b'{"request":"time"}')["error"]
    clock_ns[0] = 100_000_000
    assert accepted(20) == 10
    assert len(served.service._buckets) == PEERS_MAX


def test_a_turn_is_short_however_many_peers_ask(served: RunningService) -> None:
    peers = [served.peer() for _ in range(5)]
    for peer in peers:
        peer.send(b'{"request":"time"}')

    def slow(request: AnyRequest, received_ns: int) -> dict[str, Any]:
        while clock.elapsed_ms(received_ns) < 6:
            pass
        return served.handle(request, received_ns)

    for count in range(1, len(peers) + 1):
        assert served.service.socket.poll(round(HANG_S * 1e3))
        served.service.serve(slow, lambda _outcome: None)
        assert len(served.requests) == count


def test_a_closed_peer_does_not_disturb_the_service(served: RunningService) -> None:
    closed = served.peer(zmq.DEALER)
    closed.send(b'{"request":"time"}')
    assert served.service.socket.poll(round(HANG_S * 1e3))
    closed.close()
    while not served.outcomes:
        served.serve()
    # the outcome depends on when the socket notices the close
    assert sum(served.outcomes.values()) == 1
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True


def test_the_service_does_not_wait_for_a_peer_that_reads_nothing(served: RunningService) -> None:
    sender = served.context.socket(zmq.DEALER)
    served.peers.append(sender)
    sender.setsockopt(zmq.RCVHWM, 1)
    sender.connect(served.service.endpoint)
    start_ns = time.monotonic_ns()
    while not served.outcomes["unheard"]:  # the system's buffers hold thousands of replies
        with contextlib.suppress(zmq.Again):
            sender.send(b'{"request":"time"}', zmq.NOBLOCK)
        served.serve(0)
        assert time.monotonic_ns() - start_ns < 60e9, served.outcomes
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True


def test_an_endpoint_in_use_is_a_configuration_error(served: RunningService) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    first = Service(context, "tcp://127.0.0.1:*")
    try:
        with pytest.raises(ConfigError, match=r"publish\.service_endpoint .*in use"):
            Service(context, first.endpoint)
    finally:
        first.close()
        context.term()


@given(st.binary(max_size=200) | request_like_bytes)
def test_any_bytes_are_a_request_or_a_one_line_error(part: bytes) -> None:
    request, line = None, ""
    try:
        request = decode_request(part)
    except RequestRefused as error:
        line = str(error)
    assert (request is None) == bool(line)
    assert line.isprintable()
    if request is not None:
        assert decode_request(request.model_dump_json().encode()) == request


def test_every_example_in_the_docstring_is_a_request() -> None:
    lines = [line.strip() for line in (requests.__doc__ or "").splitlines()]
    examples = [line for line in lines if line.startswith("{")]
    assert len(examples) == 14
    for example in examples:
        assert decode_request(example.encode()).request == json.loads(example)["request"]


FLOODED = """
import sys, time, zmq
from edge.hub.service import Service
from tests.support.raw_peer import connect, frame, shake_hands
service = Service(zmq.Context(), sys.argv[1])
with connect(service.endpoint) as peer:
    shake_hands(peer, "DEALER")
    request = frame(b"", more=True) + frame(b'{"request":"time"}', more=False)
    peer.sendall(request * 150)
    time.sleep(0.3)
time.sleep(2.5)  # ZeroMQ would send its next heartbeat
while service.socket.poll(200):
    service.serve(lambda *_: {}, lambda _outcome: None)
"""


def test_a_peer_that_goes_while_its_requests_wait_ends_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FLOODED, f"ipc://{tmp_path}/s"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_peers_with_the_identity_of_another_cost_neither_memory_nor_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ZeroMQ keeps their connections and messages for ever, until the socket is closed."""
    monkeypatch.setattr(guard, "STUCK_S", 0.1)
    monkeypatch.setattr(guard, "_LEFT_PERIOD_S", 0.1)
    served = RunningService(tmp_path, is_guarded=True)
    endpoint = served.service.endpoint
    with contextlib.closing(MemoryWatch()) as memory, connect(endpoint) as first:
        shake_hands(first, "DEALER", b"logger")
        before_mb, opened = memory.used_mb(), len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            with contextlib.suppress(OSError), connect(endpoint) as peer:
                shake_hands(peer, "DEALER", b"logger")
                peer.settimeout(0.05)
                peer.sendall(frame(bytes(PART_BYTES_MAX), more=False) * 100)  # until it is full
        deadline = time.monotonic() + HANG_S
        while (memory.used_mb() - before_mb > 3  # 0.2 MB of each would stay
               or len(os.listdir("/proc/self/fd")) > opened + STUCK_MAX + 8):  # fmt: skip
            assert time.monotonic() < deadline, caplog.messages
            served.serve(20)
    assert any("stayed without a peer" in line for line in caplog.messages)
    assert served.service.endpoint == endpoint
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"]
    served.close()
