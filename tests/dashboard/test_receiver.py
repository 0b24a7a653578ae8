"""The receiver, with real sockets: a message that cannot be shown harms no other."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge.dashboard.receiver import Receiver
from edge.dashboard.state import State
from edge.protocol.messages import FrameMessage, encode
from tests.support.fetch_server import FakeDaemon
from tests.support.page_messages import STREAM, event, frame, status
from tests.support.waiting import wait_until
from tests.support.wire import Publisher


class Daemons:
    """A publisher, and the receiver of its messages."""

    def __init__(self, folder: Path, state: State) -> None:
        endpoint = f"ipc://{folder}/live"
        self.state = state
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.PUB)
        self.socket.bind(endpoint)
        self.receiver = Receiver([endpoint], [], state, lambda: None)
        self.receiver.start()
        self._seq = 0

    def wait(self, stream: str) -> None:
        """Publish frames of a stream until one of them is shown."""

        def is_shown() -> bool:
            self._seq += 1
            self.socket.send(encode(frame(self._seq, 1, stream=stream)))
            return any(each["stream"] == stream for each in self.chambers.values())

        wait_until(is_shown)

    @property
    def chambers(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.state.update(0)[1])
        chambers: dict[str, Any] = body.get("chambers", {})
        return chambers

    def close(self) -> None:
        self.receiver.stop()
        self._context.destroy(linger=0)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    running = Daemons(tmp_path, State())
    yield running
    running.close()


def test_a_time_that_is_none_harms_no_other_daemon(
    daemons: Daemons, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    daemons.wait("one")
    for seq in (7000, 7001):
        message = frame(seq, 1, stream="lie")
        time = message.time.model_copy(update={"unix_ns": 10**30})
        daemons.socket.send(encode(message.model_copy(update={"time": time})))
    daemons.wait("two")
    assert daemons.receiver.error is None
    assert {each["stream"] for each in daemons.chambers.values()} == {"one", "two"}
    lines = [each for each in caplog.messages if "time.unix_ns" in each]
    assert len(lines) == 1
    assert "lie" in lines[0]


def test_a_message_that_fails_is_skipped(tmp_path: Path) -> None:
    class Failing(State):
        def _frame(self, chamber: Any, message: FrameMessage, now_ms: int, **how: Any) -> None:
            if message.stream == "lie":
                raise OverflowError
            super()._frame(chamber, message, now_ms, **how)

    daemons = Daemons(tmp_path, Failing())
    try:
        daemons.wait("one")
        daemons.socket.send(encode(frame(1, 1, stream="lie")))
        daemons.socket.send(encode(event(2, "mark", stream="lie", text="x")))
        daemons.wait("two")
        assert daemons.receiver.error is None
    finally:
        daemons.close()


def test_a_daemon_that_names_the_stream_of_another_shows_nothing_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    true, lying = f"ipc://{tmp_path}/true", f"ipc://{tmp_path}/lying"
    state = State()
    with Publisher(true) as publisher, Publisher(lying) as liar:
        receiver = Receiver([true, lying], [], state, lambda: None)
        receiver.start()
        try:
            publisher.wait_for_subscriptions()
            liar.wait_for_subscriptions()
            publisher.send(frame(1, 1))
            wait_until(lambda: state.history("c1", "t:1.1"))
            liar.send(frame(2, 1, 2, 3), status(), frame(1, 1, stream="its own"))
            wait_until(lambda: conflicts(state).get(STREAM, "").startswith(lying))
            publisher.send(frame(2, 1))
            # its own stream has the same name of a device: both say so
            wait_until(lambda: "2 daemons have this name" in conflicts(state).get("its own", ""))
            body = json.loads(state.update(0)[1])
            assert list(body["cards"]["c1"]) == ["t:1.1"]
            assert "status" not in body["chambers"]["c1"]
            assert lying in conflicts(state)["its own"]
        finally:
            receiver.stop()
    assert len([each for each in caplog.messages if "publishes the stream of" in each]) == 1


def conflicts(state: State) -> dict[str, str]:
    """Return what the page says of each stream that may be mistaken."""
    chambers = json.loads(state.update(0)[1])["chambers"].values()
    return {each["stream"]: each["conflict"] for each in chambers}


def test_the_same_error_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.dashboard.receiver._AGAIN_S", 0.01)
    live, service = f"ipc://{tmp_path}/live", f"ipc://{tmp_path}/service"
    with FakeDaemon(live, service) as daemon:
        daemon.refusal = "the cursor is ahead of the stream: received 1, 7"
        receiver = Receiver([live], [service], State(), lambda: None)
        receiver.start()
        wait_until(lambda: len(daemon.requests) >= 5)
        receiver.stop()
    assert receiver.error is None
    assert len([each for each in caplog.messages if "the page goes on with" in each]) == 1
