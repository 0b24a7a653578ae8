"""The upright square around a face: which pixels it shows, and where its points lie."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.vision.mesh.square import Square, cut_out, square_of
from edge.vision.resize import halved
from edge.vision.values import Box, Detection

UPRIGHT = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)


BOX = Box(0, 0, 100, 120)


def face(landmarks: NDArray[np.float32] = UPRIGHT, box: Box = BOX) -> Detection:
    return Detection(box, landmarks.astype(np.float32), 0.9)


def test_a_face_without_landmarks_has_the_square_of_an_upright_one() -> None:
    assert square_of(Detection(BOX, None, 0.9)) == square_of(face())


def test_an_aligned_square_of_its_own_size_is_the_picture_itself() -> None:
    luma = np.random.default_rng(1).integers(0, 256, (90, 120), np.uint8)
    cut = cut_out(luma, Square(52.0, 40.0, 64.0, 0.0), 64)
    np.testing.assert_array_equal(cut, luma[8:72, 20:84])


def test_a_quarter_turn_is_exact() -> None:
    luma = np.random.default_rng(2).integers(0, 256, (64, 64), np.uint8)
    cut = cut_out(luma, Square(32.0, 32.0, 64.0, math.pi / 2), 64)
    np.testing.assert_array_equal(cut, np.rot90(luma))


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
@pytest.mark.parametrize("side", [50.0, 130.0, 700.0])
def test_points_of_the_cut_out_lie_where_the_frame_shows_them(angle: float, side: float) -> None:
    luma = np.zeros((900, 1200), np.uint8)
    square = Square(600.5, 450.0, side, angle)
    wanted = np.array([[40.0, 90.0, 0.0]], np.float32)
    (x, y, _), *_ = square.to_frame(wanted, 128).tolist()
    size = max(1.0, side / 128)
    rows, columns = np.mgrid[0:900, 0:1200] + 0.5
    luma[np.hypot(columns - x, rows - y) < 4 * size] = 255
    cut = cut_out(luma, square, 128).astype(float)
    rows, columns = np.mgrid[0:128, 0:128] + 0.5
    found = (columns * cut).sum() / cut.sum(), (rows * cut).sum() / cut.sum()
    assert found == pytest.approx((40.0, 90.0), abs=0.3)


def test_outside_the_frame_it_is_black() -> None:
    luma = np.full((40, 40), 200, np.uint8)
    assert not cut_out(luma, Square(-500.0, 20.0, 100.0, 0.2), 32).any()
    assert not cut_out(luma, Square(20.0, 1e5, 5000.0, 0.2), 32).any()
    partly = cut_out(luma, Square(0.0, 20.0, 40.0, 0.0), 32)
    assert not partly[:, :15].any()
    assert (partly[:, 17:] == 200).all()


def test_a_large_square_does_not_alias() -> None:
    fine = np.indices((800, 800)).sum(axis=0) % 2 * 255  # a chess board of single pixels
    cut = cut_out(fine.astype(np.uint8), Square(400.0, 400.0, 512.0, 0.1), 256)
    assert (abs(cut.astype(int) - 128) <= 1).all()


def test_halving_takes_the_mean_of_two_by_two_pixels() -> None:
    picture = np.array([[0, 1, 9], [2, 3, 9], [9, 9, 9]], np.uint8)
    np.testing.assert_array_equal(halved(picture), [[2]])
    np.testing.assert_array_equal(halved(np.full((4, 6), 255, np.uint8)), np.full((2, 3), 255))


def test_the_eyes_are_level_in_the_square() -> None:
    turn = math.radians(25)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    turned = (UPRIGHT - 50) @ matrix.T + 50
    square = square_of(face(turned))
    assert square is not None
    assert square.angle == pytest.approx(turn, abs=1e-5)
    assert square.side == pytest.approx(1.41 * 120)


@pytest.mark.parametrize(
    "wrong",
    [
        face(box=Box(0, 0, 0, 0)),
        face(box=Box(math.nan, 0, 10, 10)),
        face(box=Box(1e30, 0, 10, 10)),
        face(UPRIGHT * np.inf),
    ],
)
def test_what_encloses_nothing_has_no_square(wrong: Detection) -> None:
    assert square_of(wrong) is None
