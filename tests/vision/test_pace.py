"""When the frames of a file are due, and which waits are holes in its times."""

import pytest

from edge.vision.pace import Pace

SECOND_NS = 1_000_000_000


def jumps(times_s: list[float], expected_hz: float | None) -> dict[int, float]:
    """Return the jumps before the frames at these times, by number of the frame."""
    pace = Pace(expected_hz)
    found = {n: pace.jump_s(round(time_s * SECOND_NS)) for n, time_s in enumerate(times_s)}
    return {number: seconds for number, seconds in found.items() if seconds is not None}


@pytest.mark.parametrize(
    ("times_s", "expected_hz", "expected"),
    [
        ([0, 0.04, 0.08, 0.12], 25, {}),
        ([0, 0.04, 9.0, 9.04], 25, {}),
        ([0, 0.04, 3600.04, 3600.08], 25, {2: 3600}),
        ([0, 0.04, 3600.04, 3600.08], 0.01, {2: 3600}),  # a rate that counts the hole
        ([0, 3600.0, 3600.04], 25, {1: 3600}),
        ([0, 50, 100, 150], 0.02, {}),
        ([0, 60, 120, 180], None, {1: 60}),
        ([0, 60, 120, 3720, 3780], 1 / 60, {3: 3600}),
        ([0, 0.04, 100, 100.04, 200, 200.04], 25, {2: 99.96, 4: 99.96}),
    ],
    ids=[
        *("regular", "pause", "hole", "hole, slow rate", "first", "slow", "time-lapse"),
        *("hole in a time-lapse", "two holes"),
    ],
)
def test_a_jump_is_a_wait_far_longer_than_the_usual_one(
    times_s: list[float], expected_hz: float | None, expected: dict[int, float]
) -> None:
    assert jumps(times_s, expected_hz) == pytest.approx(expected)


def test_frames_are_due_at_their_own_times_but_not_after_a_hole() -> None:
    pace = Pace(25)
    due_ns = []
    for time_s in (7.0, 7.04, 7.5, 3607.5, 3607.54):
        sensor_ns = round(time_s * SECOND_NS)
        pace.jump_s(sensor_ns)
        due_ns.append(pace.due_ns(sensor_ns))
    after_s = [(each - due_ns[0]) / SECOND_NS for each in due_ns]
    assert after_s == pytest.approx([0, 0.04, 0.5, 0.5, 0.54])
