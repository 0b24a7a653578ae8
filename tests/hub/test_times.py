"""One axis for the frames and events of a run, with a simulated clock."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import clock
from edge.hub.times import MessageTimes
from edge.link import FrameReport
from tests.support.synthetic_worker import frame_report

RECORDED_NS = 1_793_698_200_000_000_000
NOW_NS = 1_800_000_000_000_000_000


def report(sensor_ns: int, name: str = "media") -> FrameReport:
    made = frame_report(0, [], sensor_ns=sensor_ns, captured_ns=0, is_live=False)
    return replace(made, clock=name)  # type: ignore[arg-type]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list whose one number is the time since the start, ns."""
    now = [0]
    monkeypatch.setattr(clock, "monotonic_ns", lambda: 5_000 + now[0])
    monkeypatch.setattr(clock, "wall_ns", lambda: NOW_NS + now[0])
    return now


@pytest.mark.parametrize("paced", [True, False])
def test_a_files_frames_and_events_lie_where_they_were_recorded(at: list[int], paced: bool) -> None:
    times = MessageTimes(RECORDED_NS, paced=paced)
    assert times.of_event().unix_ns == NOW_NS, "nothing of the file has been read yet"
    first = times.of_frame(report(40), clock.monotonic_ns())
    assert first["unix_ns"] == RECORDED_NS
    at[0] = 7
    event = times.of_event()
    assert event.unix_ns == RECORDED_NS + (7 if paced else 0)
    assert event.media_ns == 40
    assert times.now().unix_ns == NOW_NS + 7, "requests and status have the present"
    assert times.of_frame(report(90), clock.monotonic_ns())["unix_ns"] == RECORDED_NS + 50


def test_the_configured_time_wins_over_the_containers(at: list[int]) -> None:
    times = MessageTimes(RECORDED_NS, paced=False)
    times.note_recording(RECORDED_NS + 99)
    assert times.of_frame(report(0), 0)["unix_ns"] == RECORDED_NS
    times = MessageTimes(None, paced=False)
    times.note_recording(RECORDED_NS + 99)
    assert times.of_frame(report(0), 0)["unix_ns"] == RECORDED_NS + 99
    times = MessageTimes(None, paced=False)
    times.note_recording(None)
    assert times.of_frame(report(0), 0)["unix_ns"] == NOW_NS


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=20, unique=True).map(sorted))
def test_messages_of_a_file_read_fast_are_in_the_order_of_their_wall_times(
    sensor_times_ns: list[int],
) -> None:
    times = MessageTimes(RECORDED_NS, paced=False)
    unix_ns = []
    for sensor_ns in sensor_times_ns:
        unix_ns.append(times.of_frame(report(sensor_ns), clock.monotonic_ns())["unix_ns"])
        unix_ns.append(times.of_event().unix_ns)
    assert unix_ns == sorted(unix_ns)
    assert unix_ns[-1] - unix_ns[0] == sensor_times_ns[-1] - sensor_times_ns[0]


def test_a_cameras_events_have_the_wall_clock(at: list[int]) -> None:
    times = MessageTimes(None, paced=True)
    frame = times.of_frame(report(5_000, "monotonic"), clock.monotonic_ns())
    at[0] = 9
    event = times.of_event()
    assert (frame["unix_ns"], event.unix_ns, event.media_ns) == (NOW_NS, NOW_NS + 9, None)
