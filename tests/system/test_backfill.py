"""A subscriber and a real daemon, whichever was there first: it receives the whole record."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.client import Cursor, Received, Subscriber
from edge.errors import RequestRefused
from tests.support.daemons import RunningDaemon
from tests.support.waiting import HANG_S


def daemon(folder: Path) -> RunningDaemon:
    journal = ("--set", f'journal.path="{folder}/journal"')
    return RunningDaemon(folder, "--source", "demo", "--set", "source.repeat=0", *journal)


def positions(received: list[Received]) -> list[tuple[int, int]]:
    return [
        (each.message.epoch, each.message.seq) for each in received if each.message.kind != "status"
    ]


def receive_until(subscriber: Subscriber, frames: int, event: str = "") -> list[Received]:
    """Receive that many frames, and then up to an event."""
    received: list[Received] = []
    while frames > 0 or (event and (not received or _event(received[-1]) != event)):
        each = subscriber.receive(HANG_S)
        assert each is not None, subscriber.waiting_for
        frames -= each.message.kind == "frame"
        received.append(each)
    return received


def _event(received: Received) -> str:
    return getattr(received.message, "event", "")


def subscribe(folder: Path, cursors: Sequence[Cursor] = ()) -> Subscriber:
    live, service = f"ipc://{folder}/live", f"ipc://{folder}/service"
    return Subscriber([live], services=[service], cursors=cursors)


@pytest.mark.parametrize("is_first", ["daemon", "subscriber"])
def test_the_record_is_complete_whoever_was_first(tmp_path: Path, is_first: str) -> None:
    subscriber = subscribe(tmp_path)
    if is_first == "subscriber":
        with subscriber:
            assert subscriber.receive(0.1) is None
            with daemon(tmp_path) as running:
                received = receive_until(subscriber, 20)
                running.process.terminate()
                received += receive_until(subscriber, 0, "epoch_ended")
    else:
        with daemon(tmp_path) as running:
            for _ in range(10):
                running.wait_for_frame()
            with subscriber:
                received = receive_until(subscriber, 20)
                running.process.terminate()
                received += receive_until(subscriber, 0, "epoch_ended")
    assert received[0].message.kind == "event"
    assert received[0].message.event == "epoch_started"
    count = received[-1].message.detail["messages"]
    assert positions(received) == [(1, seq) for seq in range(count)]
    assert not any(each.gap for each in received)


def test_a_daemon_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    received: list[Received] = []
    with subscribe(tmp_path) as subscriber:
        for _ in range(2):
            with daemon(tmp_path) as running:
                received += receive_until(subscriber, 20)
                os.kill(running.process.pid, signal.SIGKILL)
        with daemon(tmp_path):
            received += receive_until(subscriber, 20)
    numbers = positions(received)
    assert numbers == sorted(set(numbers))
    for epoch in (1, 2, 3):
        seqs = [seq for each, seq in numbers if each == epoch]
        assert seqs == list(range(len(seqs)))
    assert not any(each.gap for each in received)


def test_a_name_belongs_to_one_process_and_a_cursor_to_one_record(tmp_path: Path) -> None:
    live, service = [f"ipc://{tmp_path}/live"], [f"ipc://{tmp_path}/service"]
    with daemon(tmp_path), Subscriber(live, services=service, name="mine") as older:
        (first,) = receive_until(older, 1)[:1]
        older.acknowledge()
        receive_until(older, 5)
        cursor = Cursor(first.message.stream, 99, 0)
        with (
            subscribe(tmp_path, cursors=[cursor]) as ahead,
            pytest.raises(RequestRefused, match="ahead of the stream"),
        ):
            receive_until(ahead, 100)
        with Subscriber(live, services=service, name="mine", cursors=older.cursors) as newer:
            receive_until(newer, 1)
            older.acknowledge()
            with pytest.raises(RequestRefused, match="another process fetches as 'mine'"):
                receive_until(older, 1000)
