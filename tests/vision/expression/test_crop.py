"""The square crop around a face: position, size, and black outside the picture, for any box."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.expression.crop import square_crop
from edge.vision.resize import resize_linear
from edge.vision.values import Box

RANDOM = np.random.default_rng(11)
LUMA = RANDOM.integers(1, 256, (60, 80), np.uint8)


def test_square_inside_the_picture_is_cut_out() -> None:
    crop = square_crop(LUMA, Box(10, 20, 16, 16), (16, 16), 0)
    np.testing.assert_array_equal(crop, LUMA[20:36, 10:26])
    resized = resize_linear(LUMA[20:36, 10:26], (96, 96))
    np.testing.assert_array_equal(square_crop(LUMA, Box(10, 20, 16, 16), (96, 96), 0), resized)


def test_side_is_the_longer_side_plus_the_margin() -> None:
    crop = square_crop(LUMA, Box(30, 20, 10, 20), (30, 30), 0.5)
    np.testing.assert_array_equal(crop, LUMA[15:45, 20:50])


def test_pixels_outside_the_picture_are_black() -> None:
    crop = square_crop(LUMA, Box(-10, -10, 20, 20), (20, 20), 0)
    np.testing.assert_array_equal(crop[10:, 10:], LUMA[:10, :10])
    assert not crop[:10].any()
    assert not crop[:, :10].any()
    corner = square_crop(LUMA, Box(70, 50, 20, 20), (20, 20), 0)
    np.testing.assert_array_equal(corner[:10, :10], LUMA[50:, 70:])
    assert not corner[10:].any()


@pytest.mark.parametrize(
    "box", [Box(-100, 5, 50, 50), Box(5, 500, 9, 9), Box(80, 0, 10, 10), Box(1e12, -1e12, 5, 5)]
)
def test_crop_of_a_box_outside_the_picture_is_black(box: Box) -> None:
    assert not square_crop(LUMA, box, (24, 24), 0).any()


SIDE = st.floats(0, 1e6)
PLACE = st.floats(-1e6, 1e6)


@settings(max_examples=300)
@given(
    box=st.builds(Box, PLACE, PLACE, SIDE, SIDE),
    margin=st.floats(0, 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_box_gives_a_crop_of_the_requested_size(
    box: Box, margin: float, size: tuple[int, int]
) -> None:
    before = LUMA.copy()
    crop = square_crop(LUMA, box, size, margin)
    assert crop.shape == size[::-1]
    assert crop.dtype == np.uint8
    np.testing.assert_array_equal(LUMA, before)


@settings(max_examples=200)
@given(
    st.integers(-40, 100), st.integers(-40, 80), st.integers(1, 60), st.integers(-30, 30),
    st.integers(-30, 30),
)  # fmt: skip
def test_crop_equals_that_of_a_padded_picture(x: int, y: int, side: int, dx: int, dy: int) -> None:
    """Exactly so where the crop is not scaled."""
    around = 200
    padded = np.pad(LUMA, around)
    at_x, at_y = x + dx, y + dy
    crop = square_crop(LUMA, Box(at_x, at_y, side, side), (side, side), 0)
    top, left = at_y + around, at_x + around
    np.testing.assert_array_equal(crop, padded[top : top + side, left : left + side])


@settings(max_examples=100)
@given(st.floats(5, 55), st.floats(5, 35), st.floats(2, 20))
def test_crop_of_a_uniform_picture_is_uniform(x: float, y: float, side: float) -> None:
    flat = np.full((60, 80), 77, np.uint8)
    assert (square_crop(flat, Box(x, y, side, side), (33, 33), 0) == 77).all()


@pytest.mark.parametrize("shape", [(1, 1), (6000, 8000), (2, 90)])
def test_any_picture_can_be_cropped(shape: tuple[int, int]) -> None:
    luma = np.full(shape, 200, np.uint8)
    crop = square_crop(luma, Box(0, 0, shape[1], shape[0]), (96, 96), 0.05)
    assert crop.shape == (96, 96)
    assert crop.max() == 200
