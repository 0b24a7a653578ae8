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
from tests.support.page_messages import event, frame
from tests.support.waiting import wait_until


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
