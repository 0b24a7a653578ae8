"""What is reported when nothing is received, or no more."""

import pytest

from edge.tools import silence
from tests.support.wire import event, frame, status


@pytest.fixture
def now(monkeypatch):
    """The time in seconds; a test sets its only element."""
    seconds = [100.0]
    monkeypatch.setattr(silence, "monotonic_ns", lambda: int(seconds[0] * 1e9))
    monkeypatch.setattr(silence, "elapsed_ms", lambda since: seconds[0] * 1e3 - since / 1e6)
    return seconds


def test_nothing_at_all_is_reported_once_with_address_and_device(now):
    lines = []
    notice = silence.SilenceNotice(["tcp://a:1", "tcp://b:2"], lines.append, "kammer-1")
    for now[0] in (104.9, 105.0, 106.0, 200.0):
        notice.check()
    assert lines == [
        "nobody publishes at tcp://a:1, tcp://b:2 of device kammer-1 yet; waiting; is a daemon"
        " running there, and is that its publish.endpoint?"
    ]
    assert notice.silent_s == 100.0


def test_messages_that_wait_for_a_service_are_no_silence(now):
    notice = silence.SilenceNotice(["tcp://a:1"], pytest.fail)
    now[0] += 100
    notice.check(held=1)


def test_each_device_that_falls_silent_is_reported_and_its_return(now):
    lines = []
    notice = silence.SilenceNotice(["tcp://a:1"], lines.append)
    notice.note(status(0, device="one"))
    notice.note(frame(1, device="two"))
    now[0] += 2.5
    notice.note(status(1, device="two"))
    now[0] += 0.5
    notice.check()
    notice.check()
    silent = "nothing received for 3 s; has the daemon ended, or the connection been cut?"
    assert lines == [f"one: {silent}"]
    now[0] += 60
    notice.note(status(2, device="one"))
    assert lines[1:] == ["one: messages are received again"]
    notice.check()
    assert lines[2:] == [f"two: {silent}"]


def test_a_device_may_be_silent_after_its_end(now):
    notice = silence.SilenceNotice(["tcp://a:1"], pytest.fail)
    notice.note(status(0))
    notice.note(event(1, "epoch_ended"))
    notice.note(status(1))  # the last message of a daemon
    now[0] += 100
    notice.check()


def test_a_device_that_has_started_again_is_watched_again(now):
    lines = []
    notice = silence.SilenceNotice(["tcp://a:1"], lines.append)
    notice.note(event(1, "epoch_ended"))
    notice.note(status(1))
    notice.note(event(0, "epoch_started", epoch=2))
    now[0] += 100
    notice.check()
    assert len(lines) == 1
