"""Resizing gives the same pixels on every processor and with every supported OpenCV."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.vision import resize
from edge.vision.golden import golden_picture
from edge.vision.resize import area_levels, area_means, resize_area, resize_linear
from edge.vision.values import Floats, Luma

SIDE = st.integers(1, 24)
PICTURES = arrays.arrays(np.uint8, st.tuples(SIDE, SIDE))


def linear_reference(picture: Luma, size: tuple[int, int]) -> Floats:
    """Interpolate in double precision, from the definition: pixel centres at halves."""
    for axis, length in ((1, size[0]), (0, size[1])):
        known = picture.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * known / length - 0.5, 0, known - 1)
        low = np.floor(at).astype(int)
        share = np.expand_dims(at - low, 1 - axis)
        high = np.minimum(low + 1, known - 1)
        picture = picture.take(low, axis) * (1 - share) + picture.take(high, axis) * share
    return picture


def area_reference(picture: Luma, size: tuple[int, int]) -> Floats:
    """Average integers: each pixel is split into as many parts as the result has pixels."""
    width, height = size
    parts = picture.astype(np.int64).repeat(height, axis=0).repeat(width, axis=1)
    rows, columns = picture.shape
    sums = parts.reshape(height, rows, width, columns).sum(axis=(1, 3))
    return sums / (rows * columns)


@given(PICTURES, SIDE, SIDE)
def test_linear_resize_is_close_to_its_definition(picture: Luma, width: int, height: int) -> None:
    """Weights are rounded to 1/256: half a level of error along each axis, and half by rounding."""
    made = resize_linear(picture, (width, height))
    assert made.dtype == np.uint8
    assert np.abs(made - linear_reference(picture, (width, height))).max() < 1.6


@given(PICTURES, SIDE, SIDE)
def test_area_resize_is_the_mean_of_the_covered_pixels(
    picture: Luma, width: int, height: int
) -> None:
    expected = area_reference(picture, (width, height))
    np.testing.assert_array_equal(resize_area(picture, (width, height)), np.rint(expected))
    np.testing.assert_array_equal(area_means(picture, (width, height)), expected.astype(np.float32))


@given(PICTURES, st.integers(0, 5), st.integers(1, 12), st.integers(1, 12))
def test_area_without_its_border_is_the_middle_of_the_whole(
    picture: Luma, border: int, width: int, height: int
) -> None:
    size = (width + 2 * border, height + 2 * border)
    whole = area_levels(picture, size)
    middle = whole[border : border + height, border : border + width]
    np.testing.assert_array_equal(area_levels(picture, size, border), middle)


def test_tables_of_integers_and_of_doubles_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = golden_picture()
    of_integers = area_means(picture, (32, 40))
    monkeypatch.setattr(resize, "_INT32_MAX", 0)
    np.testing.assert_array_equal(area_means(picture, (32, 40)), of_integers)


def test_view_that_is_not_contiguous_is_resized_like_its_copy() -> None:
    picture, _ = golden_picture()
    view = picture[3:200:2, 5:311:3]
    for resized in (resize_linear, resize_area):
        np.testing.assert_array_equal(resized(view, (32, 40)), resized(view.copy(), (32, 40)))


def test_picture_of_the_requested_size_is_not_copied() -> None:
    picture, _ = golden_picture()
    size = (picture.shape[1], picture.shape[0])
    assert resize_linear(picture, size) is picture
    assert resize_area(picture, size) is picture


def test_sizes_beyond_exact_doubles_are_refused() -> None:
    with pytest.raises(ValueError, match="more than a double holds exactly"):
        area_means(np.zeros((4096, 4096), np.uint8), (4096, 4096))


KNOWN = {
    "linear 320x192": "ca5b92e94336f08102794154ef3cfb03ac635d31c52429df816ed6a8e9b2e9e9",
    "linear 640x384": "37256b22d83ca065ed5529873f7a9b1155299df0b4a05412e1ac0a5a6a63f014",
    "linear 48x48": "669f0ace69b6e8b255cef16fb99b40a725208300580c57d5349dbc0090aa650d",
    "linear 64x64": "27604016a03c1a6589e981f875e0f22adbcfe87ad9df07747d1013ed208d5194",
    "area 32x32": "77b9a39a881d5e1b935b1a8cbd63e7b8d88eb7d960f2f8dddf491b9dc77e2767",
    "area 48x48": "ceefee81e8db00ccd8e611e62cb50aa8ebf934e6c276681a3d63e97e69c11a72",
    "area 128x128": "dc5c8def68df2642cb6bb37ddbfc283c40353e77f884f304c4a4dc229b1331b6",
}
"""Case -> sha256 of the resized pixels of a frame with noise and the golden face."""


@pytest.mark.parametrize("case", KNOWN)
def test_pixels_have_the_known_hash(case: str) -> None:
    """On any processor: a difference of one grey level in one pixel is detected."""
    frame = np.random.default_rng(20261127).integers(0, 256, (720, 1280), np.uint8)
    face, _ = golden_picture()
    frame[100:340, 200:600] = face
    name, _, size_text = case.partition(" ")
    width, _, height = size_text.partition("x")
    made = {"linear": resize_linear, "area": resize_area}[name](frame, (int(width), int(height)))
    assert hashlib.sha256(made.tobytes()).hexdigest() == KNOWN[case]


@pytest.mark.parametrize("call", ["cv2.resize(a, (1, 1))", "cv2.dnn.blobFromImage(a)"])
@pytest.mark.parametrize("folder", ["edge", "exporters", "benchmarks", "scripts"])
def test_linter_refuses_other_resize_functions(call: str, folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", f"{folder}/new.py", "-"],
        input=f'"""New."""\n\nimport cv2\n\na = None\nb = {call}\n',
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert "TID251" in done.stdout
