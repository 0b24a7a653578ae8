"""What counts as a change of a face: less than noise does not, and whatever moves does."""

import numpy as np
import pytest

from edge.vision.expression.unchanged import FacePixels
from edge.vision.golden import golden_picture
from edge.vision.values import Box, Luma

PICTURE = golden_picture()[0]
FACE = Box(PICTURE.shape[1] / 4, PICTURE.shape[0] / 4, PICTURE.shape[1] / 2, PICTURE.shape[0] / 2)


def noisy(luma: Luma, levels: float, seed: int) -> Luma:
    noise = np.random.default_rng(seed).normal(0, levels, luma.shape)
    return np.clip(np.rint(luma + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("levels", [0.0, 1.0, 3.0])
def test_noise_of_the_sensor_is_no_change(levels: float) -> None:
    before = FacePixels.of(noisy(PICTURE, levels, 0), FACE)
    assert all(before.is_unchanged(noisy(PICTURE, levels, seed), FACE) for seed in range(1, 20))


def test_a_part_of_the_face_that_differs_is_one() -> None:
    before, changed = FacePixels.of(PICTURE, FACE), PICTURE.copy()
    x, y = int(FACE.x + FACE.width / 2), int(FACE.y + 0.7 * FACE.height)
    side = max(2, int(FACE.width / 20))
    changed[y : y + side, x : x + side] ^= 0x40
    assert not before.is_unchanged(changed, FACE)


def test_a_shift_of_the_picture_is_one() -> None:
    before, step = FacePixels.of(PICTURE, FACE), max(2, int(FACE.width / 40))
    assert not before.is_unchanged(np.roll(PICTURE, step, axis=1), FACE)


def test_a_box_that_trembles_is_none_and_one_that_moves_is() -> None:
    before = FacePixels.of(PICTURE, FACE)
    x, y, width, height = FACE.x, FACE.y, FACE.width, FACE.height
    assert before.is_unchanged(PICTURE, Box(x + 0.01 * width, y, 1.02 * width, height))
    for moved in (
        Box(x + 0.05 * width, y, width, height),
        Box(x, y - 0.05 * height, width, height),
        Box(x - 0.05 * width, y, 1.1 * width, height),
        Box(x, y - 0.05 * height, width, 1.1 * height),
    ):
        assert not before.is_unchanged(PICTURE, moved)


@pytest.mark.parametrize("at", [-500.0, 5000.0])
def test_a_face_outside_of_the_picture_is_always_read(at: float) -> None:
    outside = Box(at, at, 50.0, 50.0)
    assert not FacePixels.of(PICTURE, outside).is_unchanged(PICTURE, outside)


def test_another_size_of_the_picture_is_a_change() -> None:
    padded = np.pad(PICTURE, ((0, 10), (0, 0)))
    assert not FacePixels.of(PICTURE, FACE).is_unchanged(padded, FACE)
