"""When ``--until-end`` has seen the end of all devices, and two daemons with one name."""

import pytest

from edge.client.subscriber import Received
from edge.protocol import messages
from edge.tools import device_runs
from edge.tools.device_runs import DeviceRuns
from tests.support.logs import received
from tests.support.wire import event, frame, status


def noted(*sent, reports=None):
    runs = DeviceRuns((reports if reports is not None else []).append)
    for each in sent:
        runs.note(each if isinstance(each, Received) else received(each))
    return runs


END = event(9, "epoch_ended", {})


def test_the_newest_run_of_every_device_must_have_ended():
    assert not noted().ended
    assert not noted(frame(1)).ended
    assert noted(frame(1), END, status(9)).ended
    assert not noted(frame(1), END, frame(0, epoch=2)).ended
    assert not noted(END, frame(1, device="other", stream="t")).ended


def test_the_end_of_one_daemon_is_not_that_of_another_with_its_name():
    """The logger ended with the first of two daemons, and nothing of the rest was logged."""
    assert not noted(frame(1, stream="t"), frame(2), END).ended
    assert not noted(status(1, stream="t"), END).ended
    assert noted(frame(1, stream="t"), event(2, "epoch_ended", {}, stream="t"), END).ended


def test_a_killed_run_of_another_stream_is_not_waited_for(monkeypatch):
    runs = noted(frame(1, stream="killed"), frame(2), END)
    assert not runs.ended
    monkeypatch.setattr(device_runs, "_SILENT_MS", 0.0)
    assert runs.ended


def test_two_daemons_with_one_name_are_reported_once():
    reports = []
    noted(*(frame(n, stream="st"[n % 2]) for n in range(50)), reports=reports)
    assert len(reports) == 1
    assert "edge: two daemons publish with this name (streams" in reports[0]


@pytest.mark.parametrize("backfilled", [False, True])
def test_a_restart_is_no_second_daemon(backfilled):
    """The end of the run before may be received after the begin of the next."""
    reports = []
    sent = [
        Received(each, messages.encode(each), None, False, backfilled)
        for stream in ("a", "b", "a", "b", "c")
        for each in (frame(1, stream=stream), frame(2, stream=stream))
    ]
    noted(*sent, reports=reports)
    assert not reports


def test_many_runs_are_not_all_kept():
    runs = noted(*(frame(1, stream=str(number)) for number in range(1000)))
    assert len(runs._devices["edge"].runs) <= 16
