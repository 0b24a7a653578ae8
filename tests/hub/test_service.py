"""The service socket against peers of every kind: real sockets, one thread, no daemon."""

import contextlib
import json
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
from edge.hub.service import PEERS_MAX, Service
from edge.hub.sockets import PART_BYTES_MAX
from edge.protocol import requests
from edge.protocol.requests import AnyRequest, MarkRequest, decode_request

words = (
    st.text(max_size=8)
    | st.just("a\nb")
    | st.sampled_from(["assign", "release", "start", "stop", "P07", "4"])
)
requests_of_a_kind = st.fixed_dictionaries(
    {"request": st.sampled_from(["mark", "participant", "baseline", "time", "fetch"]) | words},
    optional={
        "action": words, "participant": words, "text": words,
        "track": st.integers() | st.floats() | words, "a\nb": words,
    },
).map(lambda each: json.dumps(each).encode())  # fmt: skip


class Served:
    """A service, what it was asked, and the outcomes it counted."""

    def __init__(self, folder: Path) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.service = Service(self.context, f"ipc://{folder}/s")
        self.asked: list[AnyRequest] = []
        self.outcomes: Counter[str] = Counter()
        self.peers: list[zmq.Socket[bytes]] = []

    def peer(self, kind: int = zmq.REQ) -> "zmq.Socket[bytes]":
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.service.endpoint)
        self.peers.append(socket)  # closed with the context
        return socket

    def answer(self, request: AnyRequest, received_ns: int) -> dict[str, Any]:
        assert clock.elapsed_ms(received_ns) >= 0
        self.asked.append(request)
        if isinstance(request, MarkRequest) and request.text == "no":
            raise RequestRefused("not now")
        return {"count": len(self.asked)}

    def serve(self, timeout_ms: int = 2000) -> None:
        """Serve what comes within ``timeout_ms``."""
        if self.service.socket.poll(timeout_ms):
            self.service.serve(self.answer, lambda outcome: self.outcomes.update([outcome]))

    def reply(self, peer: "zmq.Socket[bytes]", *parts: bytes) -> dict[str, Any]:
        """Send ``parts`` and return what comes back."""
        peer.send_multipart(parts)
        begun_ns = time.monotonic_ns()
        while not peer.poll(0):
            self.serve(100)
            assert time.monotonic_ns() - begun_ns < 10e9, "no reply"
        reply: dict[str, Any] = json.loads(peer.recv_multipart()[-1])
        return reply


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.service.close()
    made.context.destroy(linger=0)


def mark(text: str) -> bytes:
    return json.dumps({"request": "mark", "text": text}).encode()


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER])
def test_a_request_has_one_reply(served: Served, kind: int) -> None:
    peer = served.peer(kind)
    assert served.reply(peer, mark("pressure 2.8 bar")) == {"ok": True, "count": 1}
    assert served.reply(peer, b'{"request":"time"}') == {"ok": True, "count": 2}
    assert served.reply(peer, mark("no")) == {"ok": False, "error": "not now"}
    assert served.outcomes == {"answered": 2, "refused": 1}


def test_replies_go_to_who_asked(served: Served) -> None:
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
        (b"{}", ("request", "unable to extract tag")),
        (b'{"request":"fetch"}', ("request", "fetch", "mark")),
        (b'{"request":"mark"}', ("text", "required")),
        (b'{"request":"mark","text":""}', ("text",)),
        (b'{"request":"mark","text":"a\\nb"}', ("text", "one line")),
        (b'{"request":"mark","text":"a","at":1}', ("at", "unknown field")),
        (b'{"request":"mark","text":1}', ("text", "string", "1")),
        (b'{"request":"participant","track":1,"participant":"P"}', ("request",)),
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
        (b'{"request":"participant","action":"a\\nb\\u001b[31m"}', ("request",)),
        (b'{"request":"time","a\\nb":1}', ("a?b", "unknown field")),
        (b'{"request":"time","' + b"k" * 3900 + b'":1}', ("kkk",)),
        (b'{"request":"' + b"k" * 3900 + b'"}', ("kkk",)),
        (
            b'{"request":"participant","action":"assign","track":' + b"9" * 3000 + b"}",
            ("track",),
        ),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(
    served: Served, part: bytes, words: tuple[str, ...]
) -> None:
    reply = served.reply(served.peer(), part)
    assert reply["ok"] is False
    assert "\n" not in reply["error"]
    assert reply["error"].isprintable()
    assert len(reply["error"]) <= 300
    assert all(word.lower() in reply["error"].lower() for word in words), reply["error"]
    assert served.asked == []


@pytest.mark.parametrize("parts", [(b"a", b"b"), (b"", b"", b"{}"), (b"a", b"b", b"c", b"d")])
def test_requests_of_several_parts_are_refused(served: Served, parts: tuple[bytes, ...]) -> None:
    reply = served.reply(served.peer(zmq.DEALER), *parts)
    assert reply == {"ok": False, "error": "expected one request, of one part"}


def test_an_announced_giant_ends_the_connection_not_the_service(served: Served) -> None:
    giant = served.peer(zmq.DEALER)
    giant.send(b" " * (PART_BYTES_MAX + 1))
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True
    assert not giant.poll(0)
    assert served.outcomes == {"answered": 1}


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The service's clock, stopped at its one entry, ns."""
    now = [0]
    monkeypatch.setattr("edge.hub.service.clock.monotonic_ns", lambda: now[0])
    monkeypatch.setattr("edge.hub.service.clock.elapsed_ms", lambda since: (now[0] - since) / 1e6)
    return now


def test_who_asks_without_end_is_slowed_and_others_are_not(
    stopped: list[int], served: Served
) -> None:
    greedy = served.peer(zmq.DEALER)

    def oks(count: int) -> int:
        return sum(served.reply(greedy, b'{"request":"time"}')["ok"] for _ in range(count))

    assert oks(60) == 40
    assert served.reply(greedy, b'{"request":"time"}')["error"] == "more than 20 requests a second"
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True
    stopped[0] = 500_000_000
    assert oks(60) == 10
    stopped[0] = 3_600_000_000_000
    assert oks(60) == 40


def test_who_connects_anew_for_each_request_is_slowed_with_all_the_others(
    stopped: list[int], served: Served
) -> None:
    def oks(count: int) -> int:
        return sum(served.reply(served.peer(), b'{"request":"time"}')["ok"] for _ in range(count))

    assert oks(PEERS_MAX + 20) == 200
    assert "of all together" in served.reply(served.peer(), b'{"request":"time"}')["error"]
    stopped[0] = 100_000_000
    assert oks(20) == 10
    assert len(served.service._buckets) == PEERS_MAX


def test_a_turn_is_short_however_many_ask(served: Served) -> None:
    peers = [served.peer() for _ in range(5)]
    for peer in peers:
        peer.send(b'{"request":"time"}')

    def slow(request: AnyRequest, received_ns: int) -> dict[str, Any]:
        while clock.elapsed_ms(received_ns) < 6:
            pass
        return served.answer(request, received_ns)

    for count in range(1, len(peers) + 1):
        assert served.service.socket.poll(2000)
        served.service.serve(slow, lambda _outcome: None)
        assert len(served.asked) == count


def test_a_peer_that_is_gone_costs_nothing(served: Served) -> None:
    leaver = served.peer(zmq.DEALER)
    leaver.send(b'{"request":"time"}')
    assert served.service.socket.poll(2000)
    leaver.close()
    while not served.outcomes:
        served.serve()
    # whether the reply was still taken is the socket's affair
    assert sum(served.outcomes.values()) == 1
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True


def test_a_peer_that_reads_nothing_is_not_waited_for(served: Served) -> None:
    deaf = served.context.socket(zmq.DEALER)
    served.peers.append(deaf)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.connect(served.service.endpoint)
    begun_ns = time.monotonic_ns()
    while not served.outcomes["unheard"]:  # the system's buffers hold thousands of replies
        with contextlib.suppress(zmq.Again):
            deaf.send(b'{"request":"time"}', zmq.NOBLOCK)
        served.serve(0)
        assert time.monotonic_ns() - begun_ns < 60e9, served.outcomes
    assert served.reply(served.peer(), b'{"request":"time"}')["ok"] is True


def test_an_endpoint_in_use_is_told(served: Served) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    first = Service(context, "tcp://127.0.0.1:*")
    try:
        with pytest.raises(ConfigError, match=r"publish\.service_endpoint .*in use"):
            Service(context, first.endpoint)
    finally:
        first.close()
        context.term()


@given(st.binary(max_size=200) | requests_of_a_kind)
def test_whatever_comes_is_a_request_or_one_line(part: bytes) -> None:
    request, line = None, ""
    try:
        request = decode_request(part)
    except ValueError as error:
        line = str(error)
    assert (request is None) == bool(line)
    assert line.isprintable()
    if request is not None:
        assert decode_request(request.model_dump_json().encode()) == request


def test_every_request_of_the_docstring_is_one() -> None:
    lines = [line.strip() for line in (requests.__doc__ or "").splitlines()]
    examples = [line for line in lines if line.startswith("{")]
    assert len(examples) == 8
    for example in examples:
        assert decode_request(example.encode()).request == json.loads(example)["request"]
