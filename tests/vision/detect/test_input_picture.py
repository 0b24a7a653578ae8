"""The input picture of a detector: the camera's small picture if its size fits."""

import numpy as np

from edge.vision.detect.input_picture import input_picture
from edge.vision.resize import resize_linear
from edge.vision.values import Frame, Luma

FULL = np.random.default_rng(1).integers(0, 256, (60, 100), np.uint8)


def frame_of(small: Luma | None) -> Frame:
    return Frame(FULL, index=0, sensor_ns=0, clock="media", captured_ns=0, small=small)


def test_small_picture_of_the_camera_is_used_if_its_size_fits() -> None:
    small = np.zeros((12, 20), np.uint8)
    assert input_picture(frame_of(small), (20, 12)).picture is small


def test_otherwise_the_full_picture_is_stretched_to_the_size() -> None:
    for small in (None, np.zeros((12, 20), np.uint8), np.zeros((16, 20), np.uint8)):
        picture, ratio_x, ratio_y = input_picture(frame_of(small), (16, 20))
        assert (ratio_x, ratio_y) == (100 / 16, 60 / 20)
        np.testing.assert_array_equal(picture, resize_linear(FULL, (16, 20)))


def test_frame_of_that_size_is_not_copied() -> None:
    assert input_picture(frame_of(None), (100, 60)).picture is FULL


def test_narrow_picture_is_padded_at_its_right() -> None:
    narrow = Frame(FULL[:, :20].copy(), index=0, sensor_ns=0, clock="media", captured_ns=0)
    picture, ratio_x, ratio_y = input_picture(narrow, (20, 12))
    assert (ratio_x, ratio_y) == (5, 5)
    np.testing.assert_array_equal(picture[:, :4], resize_linear(narrow.luma, (4, 12)))
    assert picture.shape == (12, 20)
    assert picture.flags.c_contiguous
    assert not picture[:, 4:].any()
