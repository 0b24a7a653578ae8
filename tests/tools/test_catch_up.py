"""Progress of a consumer that fetches what it missed."""

import pytest

from edge.tools import catch_up
from edge.tools.catch_up import CatchUpNotice


class Source:
    """A subscriber as far as the notice asks it."""

    caught_up = False
    backlog = 1000
    waiting_for = ""


@pytest.fixture
def now(monkeypatch):
    """The time in seconds; a test sets its only element."""
    seconds = [100.0]
    monkeypatch.setattr(catch_up, "monotonic_ns", lambda: int(seconds[0] * 1e9))
    monkeypatch.setattr(catch_up, "elapsed_ms", lambda since: seconds[0] * 1e3 - since / 1e6)
    return seconds


def test_rate_and_rest_are_reported_every_five_seconds_and_the_end(now):
    source, lines = Source(), []
    notice = CatchUpNotice(source, lines.append)
    for now[0] in [100.0 + step / 100 for step in range(1, 1000)]:
        notice.turn(fetched=True)
    source.backlog = None
    notice.turn(fetched=True)
    source.caught_up = True
    now[0] += 1
    notice.turn(fetched=False)
    notice.turn(fetched=False)
    assert lines[0] == "catching up: 100 messages/s, 1000 left"
    assert lines[1] == "catching up: 100 messages/s, 1000 left"
    assert lines[-1] == "caught up: 1000 messages fetched in 11 s"
    assert len(lines) == 3


def test_a_few_messages_are_not_reported(now):
    source, lines = Source(), []
    notice = CatchUpNotice(source, lines.append)
    notice.turn(fetched=True)
    source.caught_up = True
    for now[0] in range(101, 300):
        notice.turn(fetched=False)
    assert lines == []


def test_what_is_waited_for_is_reported_at_once_and_anew(now):
    source, lines = Source(), []
    notice = CatchUpNotice(source, lines.append)
    for now[0] in range(101, 175):
        source.waiting_for = f"a reply for {now[0]} s"
        notice.turn(fetched=False)
    assert lines == ["waiting for a reply for 102 s", "waiting for a reply for 162 s"]
    source.waiting_for = ""
    for now[0] in range(175, 190):
        notice.turn(fetched=False)
    source.waiting_for = "another"
    for now[0] in range(190, 200):
        notice.turn(fetched=False)
    assert lines[2:] == ["waiting for another"]


def test_reminders_of_a_long_wait_become_rare(now):
    source, lines = Source(), []
    notice = CatchUpNotice(source, lines.append)
    source.waiting_for = "a reply"
    for now[0] in range(101, 101 + 48 * 3600, 2):
        notice.turn(fetched=False)
    assert 48 <= len(lines) <= 60
