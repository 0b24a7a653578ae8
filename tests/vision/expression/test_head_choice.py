"""When a face's expression is predicted with the coefficients of its mesh."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.expression.head_choice import HOLD_NS, KEEP_NS, HeadChoice

COEFFICIENTS = np.linspace(0, 1, 52, dtype=np.float32)
SECOND_NS = 1_000_000_000
FRAME_NS = SECOND_NS // 25


class Face:
    """One face, read in each frame."""

    def __init__(self) -> None:
        self._choice = HeadChoice()

    def read(self, sensor_ns: int, *, measured: bool) -> bool:
        """Return whether the coefficients are used in the frame at ``sensor_ns``."""
        self._choice.begin([7], sensor_ns)
        if measured:
            self._choice.note(7, COEFFICIENTS + sensor_ns, sensor_ns)
        used = self._choice.coefficients(7, sensor_ns)
        if used is not None and measured:  # the newest ones
            np.testing.assert_array_equal(used, COEFFICIENTS + sensor_ns)
        return used is not None


def test_a_face_whose_first_reading_has_a_mesh_uses_it_at_once() -> None:
    assert Face().read(5 * SECOND_NS, measured=True)
    assert not Face().read(5 * SECOND_NS, measured=False)


def test_a_face_that_began_without_a_mesh_waits_and_one_that_lost_it_goes_back() -> None:
    face = Face()
    assert not face.read(0, measured=False)
    used = [
        face.read(time_ns, measured=True) for time_ns in range(FRAME_NS, 5 * SECOND_NS, FRAME_NS)
    ]
    assert used.index(True) == HOLD_NS // FRAME_NS
    assert all(used[used.index(True) :])
    last_ns = 5 * SECOND_NS - FRAME_NS
    lost = [
        face.read(last_ns + age_ns, measured=False) for age_ns in (FRAME_NS, KEEP_NS, KEEP_NS + 1)
    ]
    assert lost == [True, True, False]
    # one measurement is not enough to come back
    again_ns = last_ns + KEEP_NS + FRAME_NS
    assert not face.read(again_ns, measured=True)
    assert not face.read(again_ns + FRAME_NS, measured=True)


@given(st.lists(st.tuples(st.integers(FRAME_NS, 3 * SECOND_NS), st.booleans()), max_size=60))
def test_a_face_does_not_take_the_mesh_up_again_within_three_seconds(
    frames: list[tuple[int, bool]],
) -> None:
    face, now_ns, lost_ns, before = Face(), 0, None, None
    for step_ns, measured in frames:
        now_ns += step_ns
        used = face.read(now_ns, measured=measured)
        if before and not used:
            lost_ns = now_ns
        if before is False and used and lost_ns is not None:
            assert now_ns - lost_ns >= HOLD_NS - KEEP_NS
        before = used


def test_a_clock_that_starts_again_forgets_what_was_measured() -> None:
    face = Face()
    assert face.read(100 * SECOND_NS, measured=True)
    assert not face.read(SECOND_NS, measured=False)


def test_tracks_that_are_gone_are_forgotten() -> None:
    choice = HeadChoice()
    for second in range(200):
        choice.begin([second], second * SECOND_NS)
        choice.note(second, COEFFICIENTS, second * SECOND_NS)
        choice.coefficients(second, second * SECOND_NS)
    assert len(choice._faces) <= 62
