"""Which faces the mesh measures in a frame."""

import pytest

from edge.config import MeshConfig
from edge.vision.mesh.turns import MeshTurns

FRAME_NS = 40_000_000  # 25 frames a second


def measured(config: MeshConfig, faces: int, frames: int, took_ms: float = 1.0) -> list[list[int]]:
    """Return the tracks that are measured in each frame."""
    turns, result = MeshTurns(config), []
    for index in range(frames):
        due = turns.begin(range(1, faces + 1), index * FRAME_NS)
        for track in due:
            turns.note(track, took_ms)
        result.append(due)
    return result


def test_the_stalest_face_comes_first() -> None:
    found = measured(MeshConfig(faces_per_frame=2), 5, 5)
    assert found == [[1, 2], [3, 4], [5, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("rate_hz", [1.0, 5.0, 10.0, 12.5])
def test_a_rate_is_met_for_each_face(rate_hz: float) -> None:
    found = measured(MeshConfig(rate_hz=rate_hz), 3, 250)
    for track in (1, 2, 3):
        assert sum(track in each for each in found) == pytest.approx(10 * rate_hz, abs=1)


@pytest.mark.parametrize(("every", "count"), [(1, 100), (4, 25), (0, 0)])
def test_the_hub_may_leave_frames_out(every: int, count: int) -> None:
    turns = MeshTurns(MeshConfig())
    turns.every = every
    assert sum(bool(turns.begin([1], index * FRAME_NS)) for index in range(100)) == count


def test_a_new_face_does_not_wait_for_the_rate() -> None:
    turns = MeshTurns(MeshConfig(rate_hz=0.1))
    assert turns.begin([1], 0) == [1]
    turns.note(1, 1.0)
    assert turns.begin([1, 2], FRAME_NS) == [2]


def test_a_clock_that_starts_again_is_no_reason_to_wait() -> None:
    turns = MeshTurns(MeshConfig(rate_hz=1.0))
    turns.begin([1], 10**12)
    turns.note(1, 1.0)
    assert turns.begin([1], 0) == [1]


def test_faces_that_are_gone_are_forgotten() -> None:
    turns = MeshTurns(MeshConfig())
    for track in range(1000):
        turns.begin([track], track * FRAME_NS)
        turns.note(track, 1.0)
    assert len(turns._measured) == 1


def test_time_is_left_only_if_all_stages_and_the_mesh_fit_before_the_next_frame() -> None:
    turns = MeshTurns(MeshConfig())
    turns.begin([1], 0)
    assert not turns.has_time(0.0)  # the rate is not known
    turns.begin([1], FRAME_NS)
    assert turns.has_time(1.0)
    turns.note(1, 10.0)
    assert turns.has_time(25.0)
    assert not turns.has_time(27.0)


def test_lost_frames_do_not_leave_more_time() -> None:
    turns = MeshTurns(MeshConfig())
    for index in (0, 1, 2, 5, 8, 11):
        turns.begin([1], index * FRAME_NS)
        turns.note(1, 30.0)
    assert turns.has_time(5.0)
    assert not turns.has_time(10.0)  # three periods would leave time


def measured_s(took_ms: list[float], seconds: int) -> list[float]:
    """Return when one face was measured, where frames can be lost; the last duration repeats."""
    turns, found = MeshTurns(MeshConfig()), []
    for index in range(25 * seconds):
        turns.begin([1], index * FRAME_NS)
        if turns.has_time(5.0):
            turns.note(1, took_ms[min(len(found), len(took_ms) - 1)])
            found.append(index * FRAME_NS / 1e9)
    return found


def test_one_slow_measurement_at_the_start_does_not_turn_the_mesh_off() -> None:
    found = measured_s([75.0, 5.0], 20)
    assert found[1] - found[0] <= 5
    assert len(found) > 25 * 14  # from then on in every frame


def test_a_slow_measurement_among_fast_ones_changes_nothing() -> None:
    assert len(measured_s([5.0] * 50 + [200.0] + [5.0], 20)) == 25 * 20 - 1


def test_a_board_that_is_too_slow_is_tried_ever_more_rarely() -> None:
    found = measured_s([75.0], 600)
    assert len(found) < 20
    assert found[-1] - found[-2] == pytest.approx(60, abs=1)


def test_no_retry_costs_a_frame_that_has_no_time_at_all() -> None:
    turns = MeshTurns(MeshConfig())
    for index in range(25 * 100):
        turns.begin([1], index * FRAME_NS)
        assert not turns.has_time(39.0)
