"""Which frames are left out where the rate is limited."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.values import Frame
from edge.worker.skip import Skipper

LUMA = np.zeros((2, 2), np.uint8)


def frame(index: int, seconds: float) -> Frame:
    return Frame(LUMA, index, round(seconds * 1e9), "monotonic", 0)


def test_one_frame_of_so_many_is_kept_and_the_others_are_counted() -> None:
    skipper = Skipper(1.0)
    kept = []
    for index in range(90):
        skipper.divisor = {0: 1, 10: 4, 50: 1}.get(index, skipper.divisor)
        if skipper.keeps(frame(index, index / 30)):
            kept.append(index)
    assert kept == [*range(10), *range(13, 50, 4), *range(50, 90)]
    assert skipper.skipped == 90 - len(kept)


@given(
    rate_hz=st.floats(0.5, 60),
    divisor=st.sampled_from([1, 2, 4, 8]),
    jitter=st.floats(0, 0.2),
    rate_min_hz=st.sampled_from([0.5, 1.0, 5.0]),
)
def test_the_least_rate_is_kept_where_the_camera_delivers_it(
    rate_hz: float, divisor: int, jitter: float, rate_min_hz: float
) -> None:
    skipper = Skipper(rate_min_hz)
    skipper.divisor = divisor
    times = [(index + (jitter if index % 2 else 0)) / rate_hz for index in range(200)]
    kept = [at for index, at in enumerate(times) if skipper.keeps(frame(index, at))]
    longest = max(later - earlier for earlier, later in pairwise(kept))
    assert longest <= max(1 / rate_min_hz, (1 + jitter) / rate_hz) + 2 * jitter / rate_hz + 1e-6


def test_lost_frames_count_as_left_out() -> None:
    skipper = Skipper(1.0)
    skipper.divisor = 4
    assert [skipper.keeps(frame(index, index / 30)) for index in (0, 5, 6, 9)] == [
        True, True, False, True,
    ]  # fmt: skip
