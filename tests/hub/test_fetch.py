"""``fetch`` over real sockets: what it returns, acknowledges and refuses, and its limits."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import LogFileError, RequestRefused
from edge.hub.fetch import OUTSTANDING_MAX, PENDING_MAX, Fetcher
from edge.hub.journal.batch import Batch, Position
from edge.hub.service import Service
from edge.protocol.requests import FETCH_BYTES_MAX, FETCH_MAX, AnyRequest, FetchRequest
from tests.support.fake_journal import FakeJournal
from tests.support.waiting import HANG_S

Reply = dict[str, Any]


class RunningFetch:
    """A service with a fetcher over a journal in memory, and its peers."""

    def __init__(self, folder: Path, rate_mb_s: float = 1000.0) -> None:
        self.journal = FakeJournal()
        self.fetcher = Fetcher(self.journal, rate_mb_s=rate_mb_s)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.service = Service(self.context, f"ipc://{folder}/s", self.fetcher)
        self.outcomes: Counter[str] = Counter()
        self.peers: list[zmq.Socket[bytes]] = []

    def peer(self, kind: int = zmq.DEALER) -> "zmq.Socket[bytes]":
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.service.endpoint)
        self.peers.append(socket)  # closed with the context
        return socket

    def turn(self, timeout_ms: int = 50) -> None:
        """Do what the hub's loop does in one turn."""
        poller = zmq.Poller()
        for each in self.service.inputs:
            poller.register(each, zmq.POLLIN)
        poller.poll(timeout_ms)
        self.service.serve(self._handle, lambda outcome: self.outcomes.update([outcome]))

    def receive(self, peer: "zmq.Socket[bytes]") -> bytes:
        """Return the next reply of ``peer``."""
        start_ns = time.monotonic_ns()
        while not peer.poll(0):
            self.turn()
            assert time.monotonic_ns() - start_ns < HANG_S * 1e9, "no reply"
        return peer.recv_multipart()[-1]

    def fetch(self, peer: "zmq.Socket[bytes]", **fields: Any) -> Reply:
        """Send a request and return the reply."""
        peer.send(request(**fields))
        reply: Reply = json.loads(self.receive(peer))
        return reply

    @staticmethod
    def _handle(request: AnyRequest, received_ns: int) -> dict[str, Any]:
        return {"kind": request.request}

    def close(self) -> None:
        self.service.close()
        self.context.destroy(linger=0)
        self.fetcher.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningFetch]:
    made = RunningFetch(tmp_path)
    yield made
    made.close()


def request(**fields: Any) -> bytes:
    return json.dumps({"request": "fetch", **fields}).encode()


def seqs(reply: Reply) -> list[int]:
    assert reply["ok"], reply
    return [message["seq"] for message in reply["messages"]]


def cursor(reply: Reply) -> dict[str, Any]:
    return {"stream": reply["stream"], **reply["next"]}


def test_a_new_consumer_gets_all_messages_in_order(running: RunningFetch) -> None:
    running.journal.append(1200)
    peer = running.peer()
    reply = running.fetch(peer)
    assert {key: reply[key] for key in ("stream", "epoch", "last_seq", "gap", "caught_up")} == {
        "stream": running.journal.stream, "epoch": 1, "last_seq": 1199, "gap": None,
        "caught_up": False,
    }  # fmt: skip
    assert reply["oldest"] == {"epoch": 1, "seq": 0}
    received = seqs(reply)
    while not reply["caught_up"]:
        reply = running.fetch(peer, **cursor(reply))
        received += seqs(reply)
    assert received == list(range(1200))
    assert seqs(running.fetch(peer, **cursor(reply))) == []


def test_each_message_is_on_a_line_of_its_own_as_published(running: RunningFetch) -> None:
    running.journal.append(3, size=200)
    peer = running.peer(zmq.REQ)
    peer.send(request(max=2))
    lines = running.receive(peer).split(b"\n")
    batch = running.journal._lines
    assert [line.rstrip(b",") for line in lines[1:-1]] == batch[:2]


def test_an_empty_journal_gives_no_message(running: RunningFetch) -> None:
    reply = running.fetch(running.peer())
    assert seqs(reply) == []
    assert (reply["oldest"], reply["last_seq"], reply["caught_up"]) == (None, -1, True)


def test_the_size_of_a_reply_is_limited(running: RunningFetch) -> None:
    running.journal.append(FETCH_MAX, size=4000)
    running.journal.append(size=FETCH_BYTES_MAX + 10)
    peer = running.peer()
    peer.send(request())
    part = running.receive(peer)
    assert FETCH_BYTES_MAX * 0.95 < len(part) <= FETCH_BYTES_MAX
    large = running.fetch(peer, stream=running.journal.stream, epoch=1, seq=FETCH_MAX - 1)
    assert seqs(large) == [FETCH_MAX]


def test_a_batch_has_one_epoch_and_the_next_one_follows(running: RunningFetch) -> None:
    running.journal.append(3)
    running.journal.begin_epoch()
    running.journal.append(2)
    peer = running.peer()
    first = running.fetch(peer)
    assert (seqs(first), first["epoch"], first["last_seq"]) == ([0, 1, 2], 2, 1)
    second = running.fetch(peer, **cursor(first))
    assert (seqs(second), second["next"]) == ([0, 1], {"epoch": 2, "seq": 1})


def test_the_cursor_is_the_acknowledgement(running: RunningFetch) -> None:
    running.journal.append(10)
    peer = running.peer()
    ours = running.journal.stream
    running.fetch(peer, stream=ours, epoch=1, seq=4)  # without a name
    running.fetch(peer, name="new")  # without a cursor
    running.fetch(peer, name="other", stream="another", epoch=1, seq=4)
    assert running.journal.acknowledged == {}
    reply = running.fetch(peer, name="log", stream=ours, epoch=1, seq=4, max=0)
    assert (seqs(reply), reply["next"], reply["caught_up"]) == ([], {"epoch": 1, "seq": 4}, False)
    assert running.journal.acknowledged == {"log": Position(1, 4)}
    for _ in range(3):  # it may be repeated
        assert seqs(running.fetch(peer, name="log", stream=ours, epoch=1, seq=7)) == [8, 9]
    assert running.journal.acknowledged == {"log": Position(1, 7)}


def test_another_stream_starts_at_the_first_message_of_the_oldest_epoch(
    running: RunningFetch,
) -> None:
    running.journal.append(10)
    running.journal.trim(4)
    peer = running.peer()
    first = running.fetch(peer, stream="another", epoch=7, seq=3)
    assert (seqs(first), first["gap"]) == ([0], None)
    assert first["stream"] == running.journal.stream
    rest = running.fetch(peer, **cursor(first))
    assert (seqs(rest), rest["gap"]["first_missing"]) == ([4, 5, 6, 7, 8, 9], 1)


def test_removed_messages_are_a_gap(running: RunningFetch) -> None:
    running.journal.append(10)
    running.journal.trim(4)
    reply = running.fetch(running.peer(), stream=running.journal.stream, epoch=1, seq=1)
    assert seqs(reply) == [4, 5, 6, 7, 8, 9]
    assert reply["gap"] == {
        "epoch": 1, "first_missing": 2, "last_missing": 3, "reason": "trimmed",
    }  # fmt: skip


@pytest.mark.parametrize(("epoch", "seq"), [(1, 10), (2, -1), (9, 0)])
def test_a_cursor_ahead_of_the_stream_is_refused(
    running: RunningFetch, epoch: int, seq: int
) -> None:
    running.journal.append(10)
    where = {"stream": running.journal.stream, "epoch": epoch, "seq": seq}
    reply = running.fetch(running.peer(), name="log", **where)
    assert reply["ok"] is False
    assert reply["code"] == "cursor_ahead"
    assert f"epoch {epoch}, seq {seq}" in reply["error"]
    assert running.journal.acknowledged == {}
    assert running.outcomes == {"refused": 1}


def test_an_epoch_without_messages_may_be_the_cursor(running: RunningFetch) -> None:
    running.journal.append(1)
    running.journal.begin_epoch()
    reply = running.fetch(running.peer(), stream=running.journal.stream, epoch=2, seq=-1)
    assert (seqs(reply), reply["caught_up"]) == ([], True)


def test_a_request_waits_for_the_next_message(running: RunningFetch) -> None:
    running.journal.append(1)
    peer = running.peer()
    peer.send(request(stream=running.journal.stream, epoch=1, seq=0, wait_s=1))
    other = running.peer()
    assert seqs(running.fetch(other)) == [0]  # the waiting one does not delay others
    assert not peer.poll(0)
    running.journal.append(2)
    assert seqs(json.loads(running.receive(peer))) == [1, 2]


def test_a_request_stops_waiting_after_its_time(running: RunningFetch) -> None:
    start_ns = time.monotonic_ns()
    assert seqs(running.fetch(running.peer(), wait_s=0.2)) == []
    assert time.monotonic_ns() - start_ns >= 0.2e9


def test_many_waiting_consumers_all_get_a_new_message(running: RunningFetch) -> None:
    peers = [running.peer() for _ in range(PENDING_MAX // 2)]
    ours = {"stream": running.journal.stream, "epoch": 1, "seq": -1, "wait_s": 1}
    for peer in peers:
        peer.send(request(**ours))
    while running.fetcher._outstanding.total() < len(peers):
        running.turn()
    running.journal.append(1)
    assert [seqs(json.loads(running.receive(peer))) for peer in peers] == [[0]] * len(peers)


def test_none_waits_for_a_message_while_many_requests_are_open() -> None:
    fetcher = Fetcher(FakeJournal(), rate_mb_s=1)
    now_ns = time.monotonic_ns()
    try:
        for number in range(PENDING_MAX // 2):
            fetcher.submit([b"%d" % number], FetchRequest(wait_s=1), now_ns)
        fetcher.submit([b"new"], FetchRequest(wait_s=1), now_ns)
        while not (replies := fetcher.take()):
            zmq.select([fetcher], [], [], 1)
        assert replies[0].envelope == [b"new"]
    finally:
        fetcher.close()


def test_requests_of_a_peer_beyond_the_limit_are_refused(running: RunningFetch) -> None:
    peer = running.peer()
    for _ in range(OUTSTANDING_MAX + 3):
        peer.send(request(wait_s=0.5))
    for _ in range(3):
        reply = json.loads(running.receive(peer))
        assert reply["ok"] is False
        assert reply["code"] == "busy"
        assert "without a reply" in reply["error"]
    assert seqs(running.fetch(running.peer())) == []  # others are not affected
    running.journal.append(1)
    for _ in range(OUTSTANDING_MAX):
        assert seqs(json.loads(running.receive(peer))) == [0]


def test_operators_have_their_rate_while_a_consumer_drains(running: RunningFetch) -> None:
    running.journal.append(60_000)
    peer, operator = running.peer(), running.peer()
    reply = running.fetch(peer)
    for number in range(100):  # more than an operator may ask in that time
        reply = running.fetch(peer, **cursor(reply))
        if number % 10 == 0:
            operator.send(b'{"request":"status"}')
            assert json.loads(running.receive(operator))["kind"] == "status"
    assert seqs(reply)[-1] == 101 * FETCH_MAX - 1


def test_the_word_fetch_in_a_mark_does_not_evade_the_rate_of_operators(
    running: RunningFetch,
) -> None:
    peer, errors = running.peer(), [""]
    while "requests a second" not in errors[-1]:
        peer.send(b'{"request":"mark","text":"x","fetch":"fetch"}')
        errors.append(json.loads(running.receive(peer))["error"])
    assert "unknown field" in errors[1]


def test_the_limit_of_bytes_delays_replies(tmp_path: Path) -> None:
    running = RunningFetch(tmp_path, rate_mb_s=2.0)
    try:
        running.journal.append(3000, size=1000)
        peer = running.peer()
        start_ns = time.monotonic_ns()
        reply = running.fetch(peer)
        while not reply["caught_up"]:
            reply = running.fetch(peer, **cursor(reply))
        # 3 MB at 2 MB/s; 0.5 MB may come at once, and the last reply is not waited for
        assert time.monotonic_ns() - start_ns > 0.9e9
    finally:
        running.close()


def test_a_peer_that_has_gone_costs_nothing(running: RunningFetch) -> None:
    running.journal.append(1)
    gone = running.peer()
    for _ in range(OUTSTANDING_MAX):
        gone.send(request(stream=running.journal.stream, epoch=1, seq=0, wait_s=0.3))
    while running.fetcher._outstanding.total() < OUTSTANDING_MAX:
        running.turn()
    gone.close()
    while running.fetcher._outstanding:
        running.turn()
    assert sum(running.outcomes.values()) == OUTSTANDING_MAX
    assert seqs(running.fetch(running.peer())) == [0]


def test_a_peer_that_reads_nothing_costs_a_few_replies(running: RunningFetch) -> None:
    running.journal.append(FETCH_MAX, size=1000)
    silent = running.context.socket(zmq.DEALER)
    running.peers.append(silent)
    silent.setsockopt(zmq.LINGER, 0)
    silent.setsockopt(zmq.RCVHWM, 1)
    silent.connect(running.service.endpoint)
    start_ns = time.monotonic_ns()
    while not running.outcomes["unheard"]:
        with contextlib.suppress(zmq.Again):
            silent.send(request(), zmq.NOBLOCK)
        running.turn(1)
        assert time.monotonic_ns() - start_ns < HANG_S * 1e9, running.outcomes
    assert running.outcomes["answered"] < 30
    assert len(seqs(running.fetch(running.peer()))) == FETCH_MAX


def test_a_second_process_takes_the_name_over(
    running: RunningFetch, caplog: pytest.LogCaptureFixture
) -> None:
    running.journal.append(5)
    first, second = running.peer(), running.peer()
    assert len(seqs(running.fetch(first, name="log", instance="aa"))) == 5
    assert len(seqs(running.fetch(second, name="log", instance="bb"))) == 5
    for _ in range(3):
        refused = running.fetch(first, name="log", instance="aa")
        assert refused["ok"] is False
        assert refused["code"] == "name_taken"
        assert "--name" in refused["error"]
        assert len(seqs(running.fetch(second, name="log", instance="bb"))) == 5
    assert len(seqs(running.fetch(first, name="log2", instance="aa"))) == 5
    assert [record.message for record in caplog.records if "'log'" in record.message] == [
        "another process fetches as 'log' from now on; the one before is refused: give each its"
        " own name (affect-edge log: --name)"
    ]


def test_a_journal_that_cannot_be_read_is_a_refusal(
    running: RunningFetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Batch:
        raise LogFileError("the journal cannot be read: Input/output error")

    running.journal.append(1)
    monkeypatch.setattr(running.journal, "read", fail)
    reply = running.fetch(running.peer())
    text = "the journal cannot be read: Input/output error"
    assert reply == {"ok": False, "code": "failed", "error": text}


def test_a_fault_in_the_thread_ends_the_main_loop(
    running: RunningFetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Batch:
        raise ZeroDivisionError

    running.journal.append(1)
    monkeypatch.setattr(running.journal, "read", fail)
    with pytest.raises(ZeroDivisionError):
        running.fetch(running.peer())


@settings(max_examples=30, deadline=None)
@given(
    epochs=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    trimmed=st.integers(0, 60),
    maximum=st.integers(1, 12),
)
def test_following_the_cursor_gives_every_stored_message_once(
    epochs: list[int], trimmed: int, maximum: int
) -> None:
    journal = FakeJournal()
    for number, count in enumerate(epochs):
        if number:
            journal.begin_epoch()
        journal.append(count)
    journal.trim(trimmed)
    stored = list(journal._positions)
    expected = sorted({*stored, *(Position(each.epoch, 0) for each in stored)})
    fetcher = Fetcher(journal, rate_mb_s=1000)
    try:
        received: list[Position] = []
        where: dict[str, Any] = {}
        for _ in range(len(expected) + 2):
            fetcher.submit([b"p"], FetchRequest(max=maximum, **where), time.monotonic_ns())
            while not (replies := fetcher.take()):
                zmq.select([fetcher], [], [], 1)
            reply = json.loads(replies[0].body)
            received += [Position(each["epoch"], each["seq"]) for each in reply["messages"]]
            where = cursor(reply)
        assert received == expected
        assert reply["caught_up"]
    finally:
        fetcher.close()


def test_a_closed_fetcher_answers_nothing_more() -> None:
    fetcher = Fetcher(FakeJournal(), rate_mb_s=1)
    fetcher.submit([b"p"], FetchRequest(wait_s=1), time.monotonic_ns())
    fetcher.close()  # does not wait for the request


def test_all_peers_together_are_limited() -> None:
    fetcher = Fetcher(FakeJournal(), rate_mb_s=1)
    try:
        for number in range(PENDING_MAX):
            peer = b"%d" % (number // 2)
            fetcher.submit([peer], FetchRequest(wait_s=1), time.monotonic_ns())
        with pytest.raises(RequestRefused, match="wait for replies"):
            fetcher.submit([b"new"], FetchRequest(wait_s=1), time.monotonic_ns())
    finally:
        fetcher.close()
