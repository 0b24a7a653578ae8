"""What counts as a change of the picture, and what does not."""

import numpy as np
import pytest

from edge.vision.regions.change import ChangeWatch
from edge.vision.values import Box, Luma

SIZES = [(720, 1280), (192, 320), (1280, 720), (40, 30)]


def picture(shape: tuple[int, int], noise: float = 0.0, seed: int = 0) -> Luma:
    rows = np.linspace(60, 160, shape[0])[:, None] + np.zeros(shape)
    noisy = rows + np.random.default_rng(seed).normal(0, noise, shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def with_square(luma: Luma, x: float, y: float, share: float = 0.12) -> Luma:
    """Return ``luma`` with a bright square, centre in shares of the picture."""
    height, width = luma.shape
    side = max(1, round(share * max(luma.shape)))
    left, top = round(x * width - side / 2), round(y * height - side / 2)
    changed = luma.copy()
    changed[max(top, 0) : top + side, max(left, 0) : left + side] = 255
    return changed


def watch(luma: Luma) -> ChangeWatch:
    change = ChangeWatch()
    change.note_look(luma)
    return change


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("noise", [0.0, 2.0, 8.0, 20.0])
def test_noise_is_no_change(shape: tuple[int, int], noise: float) -> None:
    change = watch(picture(shape, noise, 1))
    assert not any(change.has_changed(picture(shape, noise, seed)) for seed in range(2, 12))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("noise", [0.0, 2.0, 8.0])
def test_something_of_the_size_of_a_face_is_one(shape: tuple[int, int], noise: float) -> None:
    change = watch(picture(shape, noise, 1))
    assert change.has_changed(with_square(picture(shape, noise, 2), 0.5, 0.4))


def test_another_exposure_is_none() -> None:
    luma = picture((720, 1280), 2.0)
    brighter = np.clip(luma.astype(int) + 25, 0, 255).astype(np.uint8)
    assert not watch(luma).has_changed(brighter)


def test_another_size_is_one_and_so_is_the_first_picture() -> None:
    assert watch(picture((192, 320))).has_changed(picture((192, 330)))
    assert ChangeWatch().has_changed(picture((192, 320)))


def test_what_a_known_person_does_is_none() -> None:
    luma = picture((720, 1280), 2.0)
    change, face = watch(luma), Box(560, 200, 160, 200)
    body = with_square(luma, 0.5, 0.7, 0.2)
    assert change.has_changed(body)
    assert not change.has_changed(body, [face])
    assert change.has_changed(with_square(body, 0.9, 0.5), [face])


@pytest.mark.parametrize("face", [Box(-500, -500, 100, 100), Box(5000, 5000, 10, 10)])
def test_a_face_outside_of_the_picture_hides_nothing(face: Box) -> None:
    luma = picture((720, 1280))
    assert watch(luma).has_changed(with_square(luma, 0.5, 0.5), [face])
