"""Daemons that send what no daemon should: the page goes on, for them and for all others."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge.client.ask import ask
from edge.dashboard.directory import ServiceThread
from edge.dashboard.state import State
from edge.errors import ServiceUnavailable
from edge.protocol.requests import StatusRequest
from tests.support.page_messages import STREAM, event, frame, status
from tests.support.waiting import wait_until

NAN, INFINITE = float("nan"), float("inf")


@contextmanager
def service(folder: Path, replies: Callable[[], bytes], name: str = "service") -> Iterator[str]:
    """A service socket with the given replies to all requests."""
    endpoint = f"ipc://{folder}/{name}"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.bind(endpoint)
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            if socket.poll(20):
                socket.recv()
                socket.send(replies())

    thread = threading.Thread(target=serve)
    thread.start()
    yield endpoint
    is_over.set()
    thread.join()
    context.destroy(linger=0)


def reply(**changed: Any) -> bytes:
    status_json = status().model_dump(mode="json", by_alias=True)
    whole = {"ok": True, "status": status_json, "seats": {}, "participants": [], **changed}
    return json.dumps(whole).encode()


def shown(state: State) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(state.update(0)[1])
    return body


@pytest.mark.parametrize(
    "part",
    [
        b'{"ok": true, "x": NaN}',
        b'{"ok": true, "x": [-Infinity]}',
        b'{"ok": true, "x": 1e999}',
        b'{"ok": true, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_reply_that_is_no_json_is_refused(tmp_path: Path, part: bytes) -> None:
    with service(tmp_path, lambda: part) as endpoint, pytest.raises(ServiceUnavailable):
        ask(endpoint, StatusRequest(), 5.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"participants": [{"participant": "P1", "x": NAN}]},
        {"participants": [{"participant": "P1", "since_unix_ns": INFINITE}]},
        {"participants": [{"participant": "P1", "since_unix_ns": 10**30}]},
        {"participants": [[1]]},
        {"participants": {"a": 1}},
        {"seats": [1]},
        {"seats": {"a": {}}},
        {"status": [1]},
        {"status": {"device": "edge", "stream": STREAM}},
    ],
)
def test_after_a_wrong_reply_the_page_goes_on(
    tmp_path: Path, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.dashboard.directory._AGAIN_S", 0.05)
    replies = [reply(**wrong)]
    with service(tmp_path, lambda: replies[0]) as endpoint:
        state = State([endpoint])
        state.apply(status("other", "other"), backfilled=False)
        thread = ServiceThread(endpoint, state, 0)
        thread.start()
        wait_until(lambda: shown(state)["unknown"].get(endpoint))
        assert {each["device"] for each in shown(state)["chambers"].values()} == {"other"}
        replies[0] = reply(participants=[{"participant": "P07", "new": 1}])
        wait_until(lambda: len(shown(state)["chambers"]) == 2)
        thread.stop()
    people = [each["participants"] for each in shown(state)["chambers"].values()]
    assert [each["participant"] for found in people for each in found] == ["P07"]
    assert "new" not in people[1][0]


@pytest.mark.parametrize("error", [OverflowError, AttributeError, RecursionError])
def test_no_error_ends_the_thread_that_asks(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.dashboard.directory._AGAIN_S", 0.05)

    class Failing(State):
        calls = 0

        def answered(self, service: str, device: str, reply: Any) -> None:
            self.calls += 1
            if self.calls == 1:
                raise error("wrong")
            super().answered(service, device, reply)

    with service(tmp_path, reply) as endpoint:
        state = Failing([endpoint])
        thread = ServiceThread(endpoint, state, 0)
        thread.start()
        wait_until(lambda: shown(state)["unknown"] == {})
        thread.stop()


def test_the_past_is_checked_as_live_messages_are() -> None:
    state = State()
    state.apply(status(), backfilled=False)
    good = frame(30, 1, participant="P07").model_dump(mode="json", by_alias=True)
    mark = event(1, "mark", text="x").model_dump(mode="json", by_alias=True)
    wrong: list[Any] = [1, "x", [1], {}, {**good, "stream": "another"}]
    wrong += [{**good, "time": {**good["time"], "unix_ns": t}} for t in (INFINITE, 1e300, 10**30)]
    wrong += [{**mark, "detail": {"text": NAN}}, {**mark, "detail": 1}]
    face = json.loads(json.dumps(good["faces"][0]))
    face["affect"]["smoothed"]["valence"] = NAN
    wrong.append({**good, "faces": [face]})
    state.apply_past(STREAM, [*wrong, good, mark], 1.0)
    points = state.history("c1", "p:P07")
    assert points is not None
    assert len(points) == 1
    assert [each["detail"] for each in shown(state)["events"]] == [{"text": "x"}]


def test_a_daemon_that_cannot_be_shown_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    state = State()
    state.apply(frame(1, 1), backfilled=False)
    state.apply(status(), backfilled=False)
    version = state.update(0)[0]
    lie = frame(1, 1, stream="lie", device="liar")
    timing = lie.timing_ms.model_copy(update={"total": 1.7e308})  # the mean of two is infinite
    for _ in range(2):
        state.apply(lie.model_copy(update={"timing_ms": timing}), backfilled=False)
    state.apply(status("lie", "liar"), backfilled=False)
    for since in (0, version, version + 1):
        body = json.loads(state.update(since)[1])
        assert "liar" not in {each["device"] for each in body.get("chambers", {}).values()}
    assert "cannot be shown" in shown(state)["unknown"]["liar (lie)"]
    assert len([each for each in caplog.messages if "liar" in each]) == 1
    for seq in range(400):
        state.apply(frame(seq, 1, stream="lie", device="liar"), backfilled=False)
    body = shown(state)
    assert {each["device"] for each in body["chambers"].values()} == {"edge", "liar"}
    assert body["unknown"] == {}


def test_a_second_service_does_not_take_over_the_buttons_of_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.dashboard.directory._AGAIN_S", 0.05)
    with service(tmp_path, reply) as good, service(tmp_path, reply, "second") as second:
        state = State([good, second])
        state.apply(status(), backfilled=False)
        threads = [ServiceThread(each, state, 0) for each in (good, second)]
        threads[0].start()
        wait_until(lambda: state.service_of("c1") == good)
        threads[1].start()
        wait_until(lambda: shown(state)["unknown"].get(second))
        assert shown(state)["unknown"] == {
            second: f"names the stream of {good}, which answers, too: its replies are not used;"
            " expected each daemon once in --service"
        }
        assert state.service_of("c1") == good
        state.no_answer(good, "does not answer")  # then it may have moved to another address
        wait_until(lambda: state.service_of("c1") == second)
        for thread in threads:
            thread.stop()
    assert list(shown(state)["chambers"]) == ["c1"]
