"""Forwarding to a real broker: whatever is killed, nothing is missing at a subscriber."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.client import Gap
from edge.errors import ConfigError
from edge.tools.forward import Forwarder
from tests.support.daemons import ROOT
from tests.support.forwarder import STREAM, forward
from tests.support.mosquitto import PersistentSubscriber, running_broker
from tests.support.mqtt_script import ScriptedBroker
from tests.support.waiting import HANG_S

UNLIMITED = "max_queued_messages 0"


def identities(count: int) -> set[tuple[str, int, int]]:
    return {(STREAM, 1, seq) for seq in range(count)}


def until(done: Callable[[], bool], turn: Callable[[], None] = lambda: None) -> None:
    """Call ``turn`` until ``done`` returns true; fail after a minute."""
    deadline = time.monotonic() + HANG_S
    while not done():
        assert time.monotonic() < deadline
        turn()


def test_frames_events_and_gaps_arrive_with_their_identity(tmp_path: Path) -> None:
    gap = Gap(STREAM, 1, 2, 6)
    with running_broker(UNLIMITED) as broker:
        archive = PersistentSubscriber(broker.port, "lab/affect/v1/+/+")
        archive.connect()
        forwarder = forward(
            broker.port,
            tmp_path / "state",
            10,
            stop=lambda forwarder: forwarder.published >= 6,
            gap=gap,
            address=f"mqtt://127.0.0.1:{broker.port}/lab",
        )
        until(lambda: len(archive.topics) >= 6, lambda: archive.turn(0.1))
    base = "lab/affect/v1/edge"
    assert archive.topics == [
        f"{base}/{kind}" for kind in ("event", "frame", "gap", *["frame"] * 3)
    ]
    assert [seq for _, _, seq in archive.identities] == [0, 1, 6, 7, 8, 9]
    assert json.loads(archive.payloads[1])["seq"] == 1
    assert json.loads(archive.payloads[2])["first_missing"] == 2
    assert forwarder.repeated == 0


def test_a_killed_broker_is_waited_for_and_nothing_is_missing(tmp_path: Path) -> None:
    """The broker stores its messages once a second only, and has acknowledged them before."""
    count, reports = 600, list[str]()
    with running_broker(UNLIMITED) as broker:
        archive = PersistentSubscriber(broker.port)
        archive.connect()
        archive.disconnect()
        broker.wait_until_stored()  # the subscription, which is older in real life
        kills = iter([50, 300])
        due = [next(kills)]

        def stop(forwarder: Forwarder) -> bool:
            if due and forwarder._outbox._acknowledged_to >= due[0]:
                broker.kill()
                broker.start()
                due[:] = list(kills)[:1]
            return forwarder.published >= count

        forwarder = forward(
            broker.port, tmp_path / "state", count, stop=stop, report=reports.append
        )
        until(lambda: set(archive.identities) == identities(count), lambda: archive.turn(0.1))
    assert forwarder.repeated > 0
    assert len([line for line in reports if "waiting" in line]) == 2
    assert len([line for line in reports if "connected again" in line]) == 2


def test_what_the_broker_drops_at_its_queue_limit_is_published_again(tmp_path: Path) -> None:
    count, limit, reports, windows = 200, 50, list[str](), list[int]()
    with running_broker(f"max_queued_messages {limit}") as broker:
        archive = PersistentSubscriber(broker.port)
        archive.connect()
        archive.disconnect()

        def stop(forwarder: Forwarder) -> bool:
            if len(reports) > 1:  # the limit is reached: the subscriber comes back
                windows.append(forwarder._outbox.window)
                archive.turn()
            return forwarder.published >= count

        forwarder = forward(
            broker.port, tmp_path / "state", count, stop=stop, report=reports.append
        )
        until(lambda: set(archive.identities) == identities(count), lambda: archive.turn(0.1))
    assert f"the broker dropped {count - limit} messages" in reports[1]
    assert forwarder.repeated >= count - limit
    assert windows[0] == count // 2, "half as many at once as were dropped from"


def test_a_killed_forwarder_goes_on_behind_what_the_broker_has(tmp_path: Path) -> None:
    count, state = 3000, tmp_path / "state"
    with running_broker(UNLIMITED) as broker:
        archive = PersistentSubscriber(broker.port)
        archive.connect()
        numbers = random.Random(5)
        for _ in range(4):
            wanted = len(archive.identities) + numbers.randrange(50, 600)
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forwarder", str(broker.port), state, "3000"],
                cwd=ROOT,
            )
            while len(archive.identities) < wanted:
                archive.turn(0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()

        def stop(_forwarder: Forwarder) -> bool:
            archive.turn()
            return set(archive.identities) == identities(count)

        forward(broker.port, state, count, stop=stop)
    assert set(archive.identities) == identities(count)


def test_a_broker_whose_quota_is_exceeded_gets_the_message_again(tmp_path: Path) -> None:
    reports: list[str] = []
    with ScriptedBroker(refuse={3: 0x97}) as broker:
        forward(
            broker.port,
            tmp_path / "state",
            6,
            stop=lambda forwarder: forwarder.published >= 6,
            report=reports.append,
        )
    assert [seq for seq, accepted in broker.received if accepted][-3:] == [3, 4, 5]
    assert {seq for seq, accepted in broker.received if accepted} == set(range(6))
    assert "the broker refuses messages: Quota exceeded" in reports[1]


def test_a_topic_that_is_not_allowed_ends_the_forwarder(tmp_path: Path) -> None:
    with (
        ScriptedBroker(refuse={3: 0x87}) as broker,
        pytest.raises(ConfigError, match="Not authorized; check the user"),
    ):
        forward(broker.port, tmp_path / "state", 6, stop=lambda _: False)


@pytest.mark.parametrize(
    ("code", "expected"), [(0x84, "expected a broker of MQTT 5"), (0x86, "check the user")]
)
def test_a_broker_that_refuses_the_connection_for_good_ends_the_forwarder(
    tmp_path: Path, code: int, expected: str
) -> None:
    with ScriptedBroker(connack=code) as broker, pytest.raises(ConfigError, match=expected):
        forward(broker.port, tmp_path / "state", 6, stop=lambda _: False)
