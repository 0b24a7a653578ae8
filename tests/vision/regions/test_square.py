"""Squares: sizes in steps, places that hold still, exact pictures."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import Stopwatch
from edge.vision.regions.finder import detect_in
from edge.vision.regions.square import SHARE, Square, cut_out, square_around, touches_border
from edge.vision.values import Box
from tests.support.rectangles import RectangleDetector, box, frame_at

LUMA = np.random.default_rng(5).integers(0, 256, (90, 160), np.uint8)

sizes = st.floats(12.0, 2000.0)
noise = st.lists(st.tuples(*[st.floats(-0.02, 0.02)] * 3), min_size=1, max_size=20)


@given(sizes, noise)
def test_a_still_face_keeps_a_still_square(size: float, moves: list[tuple[float, ...]]) -> None:
    first = square_around(box(300.0, 200.0, size))
    # filtered boxes of a still face differ by a few percent
    held = square_around(box(300.0, 200.0, size), first)
    for x, y, growth in moves:
        face = box(300.0 + x * size, 200.0 + y * size, size * (1 + growth))
        held = square_around(face, held)
        assert held == first


@given(sizes)
def test_sizes_are_steps_near_the_wanted_one(size: float) -> None:
    side = square_around(box(300.0, 200.0, size)).side
    assert side == pytest.approx(max(SHARE * size, 16), rel=0.08)
    assert side in {round(16 * 1.1**step) for step in range(80)}


def test_a_slow_zoom_changes_the_size_seldom_and_never_back() -> None:
    square, sides = None, []
    for size in np.geomspace(60.0, 120.0, 200):
        square = square_around(box(300.0, 200.0, float(size)), square)
        sides.append(square.side)
        assert square.side == pytest.approx(SHARE * size, rel=0.09)
    changes = [after - before for before, after in itertools.pairwise(sides)]
    assert all(change >= 0 for change in changes)
    assert 5 <= sum(change > 0 for change in changes) <= 9


def test_the_square_follows_a_face_that_leaves_its_middle() -> None:
    first = square_around(box(300.0, 200.0, 60.0))
    assert square_around(box(303.0, 200.0, 60.0), first) == first
    moved = square_around(box(320.0, 200.0, 60.0), first)
    assert (moved.left, moved.top, moved.side) == (first.left + 20, first.top, first.side)


@given(st.integers(-120, 200), st.integers(-120, 120), st.integers(1, 140))
def test_the_picture_of_a_square_is_exact_and_black_outside(left: int, top: int, side: int) -> None:
    picture = cut_out(LUMA, Square(left, top, side))
    padded = np.zeros((90 + 400, 160 + 400), np.uint8)
    padded[200:290, 200:360] = LUMA
    assert np.array_equal(picture, padded[200 + top :, 200 + left :][:side, :side])
    assert picture.flags.c_contiguous  # resizing it reads memory in order


@given(
    st.integers(-60, 600), st.integers(-60, 350), st.integers(20, 300), st.integers(-90, 90)
)  # fmt: skip
def test_coordinates_are_mapped_back_exactly(left: int, top: int, side: int, shift: int) -> None:
    detector = RectangleDetector((96, 96))
    inside = Box(max(left, 0) + side // 4, max(top, 0) + side // 4, side // 3 + 1, side // 3 + 1)
    frame = frame_at(0.0, {200: inside})
    whole = detector.detect(frame, Stopwatch())
    found = detect_in(detector, frame, Square(left + shift // 9, top, 2 * side), Stopwatch())
    if whole and not touches_border(whole[0].box, Square(left + shift // 9, top, 2 * side)):
        assert [each.box for each in found] == [whole[0].box]
        assert np.array_equal(found[0].landmarks, whole[0].landmarks)
        assert found[0].found == "region"


@pytest.mark.parametrize(("x", "touches"), [(20.0, False), (0.5, True), (-5.0, True), (49.0, True)])
def test_a_box_at_the_border_touches_it(x: float, touches: bool) -> None:
    assert touches_border(Box(x, 30.0, 50.0, 40.0), Square(0, 0, 100)) == touches
