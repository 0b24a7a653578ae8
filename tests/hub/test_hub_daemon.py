"""The daemon's judgement where no test may touch the machine: steps of the wall clock."""

import pytest

from edge import clock
from edge.config import Config
from edge.hub.daemon import CLOCK_STEP_NS, Daemon
from edge.hub.journal import Journal
from edge.messages import EventMessage

HOUR_NS = 3_600_000_000_000


class Recorder:
    """Keeps what would be published."""

    def __init__(self) -> None:
        self.messages: list[EventMessage] = []

    def publish(self, message: EventMessage) -> None:
        self.messages.append(message)


@pytest.mark.parametrize(
    ("steps_ns", "told_ns"),
    [
        ([HOUR_NS], [HOUR_NS]),
        ([-HOUR_NS, 0], [-HOUR_NS]),
        ([HOUR_NS, -HOUR_NS], [HOUR_NS, -HOUR_NS]),
        ([500_000] * 200, []),  # slewing by NTP: half a millisecond a second
        ([CLOCK_STEP_NS], []),
        ([CLOCK_STEP_NS + 1], [CLOCK_STEP_NS + 1]),
    ],
)
def test_a_step_of_the_wall_clock_is_told_once(
    monkeypatch: pytest.MonkeyPatch, steps_ns: list[int], told_ns: list[int]
) -> None:
    offset_ns = 1_700_000_000_000_000_000
    monkeypatch.setattr(clock, "wall_minus_boottime_ns", lambda: offset_ns)
    daemon = Daemon(Config(), environment={})
    recorder = Recorder()
    daemon._publisher = recorder  # type: ignore[assignment]
    daemon._journal = Journal.open("")
    daemon._announced = True
    for step_ns in steps_ns:
        offset_ns += step_ns
        daemon._check_clock()
    assert [message.event for message in recorder.messages] == ["clock_step"] * len(told_ns)
    assert [message.detail["step_ns"] for message in recorder.messages] == told_ns
