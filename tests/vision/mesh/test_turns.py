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
