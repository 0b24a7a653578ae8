"""The decoder compared with a simple one, cell by cell and pair by pair."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.detect import centerface
from edge.vision.detect.centerface import decode
from edge.vision.detect.suppression import CANDIDATES_MAX

SHARE = st.floats(0, 1, width=32)


def reference(
    heatmap: Any, scale: Any, offset: Any, landmarks: Any, *,
    threshold: float, nms_iou: float, ratio_x: float, ratio_y: float,
) -> list[tuple[float, ...]]:  # fmt: skip
    """Return (score, x, y, width, height, ten landmark coordinates) of each face, with loops."""
    cells = [
        (float(heatmap[row, column]), row, column)
        for row in range(heatmap.shape[0])
        for column in range(heatmap.shape[1])
        if heatmap[row, column] > threshold
    ]
    cells.sort(key=lambda cell: -cell[0])
    faces: list[tuple[float, ...]] = []
    for score, row, column in cells[:CANDIDATES_MAX]:
        height = math.exp(min(max(float(scale[0, row, column]), -3), 7)) * 4 * ratio_y
        width = math.exp(min(max(float(scale[1, row, column]), -3), 7)) * 4 * ratio_x
        right = min(max(float(offset[1, row, column]), -16), 16)
        down = min(max(float(offset[0, row, column]), -16), 16)
        x = (column + right + 0.5) * 4 * ratio_x - width / 2
        y = (row + down + 0.5) * 4 * ratio_y - height / 2
        points = []
        for point in range(5):
            shares = [min(max(float(landmarks[2 * point + i, row, column]), -8), 8) for i in (0, 1)]
            points.append(x + shares[1] * width)
            points.append(y + shares[0] * height)
        for other in faces:
            across = min(x + width, other[1] + other[3]) - max(x, other[1])
            down = min(y + height, other[2] + other[4]) - max(y, other[2])
            if across > 0 and down > 0:
                shared = across * down
                if shared / (width * height + other[3] * other[4] - shared) >= nms_iou:
                    break
        else:
            faces.append((score, x, y, width, height, *points))
    return faces


def maps_of(seed: int, rows: int, columns: int, spread: float) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "heatmap": random.random((rows, columns)).astype(np.float32),
        "scale": random.normal(1, spread, (2, rows, columns)).astype(np.float32),
        "offset": random.normal(0, spread / 2, (2, rows, columns)).astype(np.float32),
        "landmarks": random.normal(0.5, spread, (10, rows, columns)).astype(np.float32),
    }


def assert_agreement(maps: dict[str, Any], **options: float) -> None:
    found = decode(**maps, **options)
    expected = reference(**maps, **options)
    assert len(found) == len(expected)
    for face, known in zip(found, expected, strict=True):
        assert face.score == known[0]
        box = (face.box.x, face.box.y, face.box.width, face.box.height)
        np.testing.assert_allclose(box, known[1:5], rtol=1e-9, atol=1e-6)
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == np.float32
        np.testing.assert_allclose(face.landmarks.ravel(), known[5:], rtol=1e-5, atol=1e-3)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 14),
    columns=st.integers(1, 14),
    spread=st.sampled_from([0.1, 1.0, 5.0, 100.0]),
    threshold=SHARE,
    nms_iou=SHARE,
    ratio_x=st.floats(0.01, 40),
    ratio_y=st.floats(0.01, 40),
)
def test_it_agrees_with_the_reference(
    seed: int, rows: int, columns: int, spread: float, **options: float
) -> None:
    assert_agreement(maps_of(seed, rows, columns, spread), **options)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.3, 0.95), nms_iou=SHARE)
def test_few_cells_and_many_are_decoded_alike(seed: int, threshold: float, nms_iou: float) -> None:
    maps = maps_of(seed, 12, 12, 0.6)
    options = {"threshold": threshold, "nms_iou": nms_iou, "ratio_x": 4.0, "ratio_y": 3.75}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(centerface, "_FEW", 0)
        many = decode(**maps, **options)
        patch.setattr(centerface, "_FEW", 144)
        few = decode(**maps, **options)
    assert [each.score for each in few] == [each.score for each in many]
    for one, other in zip(few, many, strict=True):
        for name in ("x", "y", "width", "height"):
            assert getattr(one.box, name) == pytest.approx(getattr(other.box, name), rel=1e-12)
        np.testing.assert_allclose(one.landmarks, other.landmarks, rtol=1e-6)


@pytest.mark.parametrize("threshold", [0.9, 0.3])
def test_it_agrees_on_a_frame_of_noise(threshold: float) -> None:
    maps = maps_of(3, 48, 80, 0.5)
    assert_agreement(maps, threshold=threshold, nms_iou=0.3, ratio_x=6, ratio_y=5.625)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.01, 0.3))
def test_averaged_faces_are_means_over_cells_that_overlap(seed: int, spread: float) -> None:
    maps = maps_of(seed, 10, 10, spread)
    options = {"threshold": 0.6, "nms_iou": 0.2, "ratio_x": 3.0, "ratio_y": 4.0}
    best = decode(**maps, **options)
    averaged = decode(**maps, **options, averaged=True)
    assert [each.score for each in averaged] == [each.score for each in best]
    for one, other in zip(best, averaged, strict=True):
        assert one.box.iou(other.box) > 0.5


def test_a_mean_is_weighted_by_the_score() -> None:
    maps = maps_of(1, 4, 4, 0.0)
    maps["heatmap"][:] = 0
    maps["heatmap"][1, 1], maps["heatmap"][1, 2] = 0.9, 0.6
    maps["scale"][:], maps["offset"][:] = math.log(10), 0
    options = {"threshold": 0.5, "nms_iou": 0.3, "ratio_x": 1.0, "ratio_y": 1.0}
    (best,) = decode(**maps, **options)
    (mean,) = decode(**maps, **options, averaged=True)
    # neighbouring cells are four pixels apart
    assert mean.box.x == pytest.approx(best.box.x + 4 * 0.6 / 1.5, abs=1e-5)
    assert mean.landmarks[:, 0] == pytest.approx(best.landmarks[:, 0] + 1.6, abs=1e-4)
    assert (mean.box.y, mean.box.width) == pytest.approx((best.box.y, best.box.width))
    assert mean.score == best.score == np.float32(0.9)


def test_averaging_bounds_the_cells_of_a_frame_of_noise() -> None:
    maps = maps_of(3, 24, 24, 0.5)
    options = {"threshold": 0.1, "nms_iou": 0.3, "ratio_x": 1.0, "ratio_y": 1.0}
    averaged = decode(**maps, **options, averaged=True)
    assert 0 < len(averaged) <= 64
    assert averaged[0].score == decode(**maps, **options)[0].score


def test_equal_scores_keep_the_order_of_the_cells() -> None:
    maps = maps_of(5, 6, 6, 0.2)
    maps["heatmap"][:] = 0.75
    assert_agreement(maps, threshold=0.5, nms_iou=0.2, ratio_x=1, ratio_y=1)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), nms_iou=st.floats(0.05, 1))
def test_no_two_faces_overlap_by_more_than_the_limit(seed: int, nms_iou: float) -> None:
    found = decode(**maps_of(seed, 8, 8, 0.7), threshold=0.2, nms_iou=nms_iou, ratio_x=2, ratio_y=2)
    assert list(found) == sorted(found, key=lambda face: -face.score)
    for i, face in enumerate(found):
        for other in found[:i]:
            assert face.box.iou(other.box) < nms_iou + 1e-9


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    factor=st.sampled_from([0.25, 0.5, 2.0, 8.0]),
)
def test_boxes_scale_with_the_frame(seed: int, factor: float) -> None:
    maps = maps_of(seed, 6, 7, 0.6)
    one = decode(**maps, threshold=0.6, nms_iou=0.3, ratio_x=1, ratio_y=1)
    big = decode(**maps, threshold=0.6, nms_iou=0.3, ratio_x=factor, ratio_y=factor)
    assert len(one) == len(big)
    for face, large in zip(one, big, strict=True):
        assert large.box.width == pytest.approx(face.box.width * factor)
        assert large.box.x == pytest.approx(face.box.x * factor, abs=1e-9)
        np.testing.assert_allclose(large.landmarks, face.landmarks * factor, rtol=1e-5, atol=1e-4)


@settings(max_examples=100)
@given(value=st.floats(allow_nan=False, width=32))
def test_extreme_maps_give_finite_faces(value: float) -> None:
    maps = maps_of(1, 3, 3, 1)
    for name in ("scale", "offset", "landmarks"):
        maps[name][:] = value  # infinite ones too
    for face in decode(**maps, threshold=0.1, nms_iou=0.3, ratio_x=30, ratio_y=30):
        assert 0 < face.box.width < 200_000
        assert np.isfinite([face.box.x, face.box.y]).all()
        assert np.isfinite(face.landmarks).all()


def test_one_face_computed_by_hand() -> None:
    """One face, 40 high and 20 wide, centred at (30, 22) in a picture scaled by (2, 3)."""
    maps: dict[str, Any] = {
        "heatmap": np.zeros((10, 10), np.float32),
        "scale": np.zeros((2, 10, 10), np.float32),
        "offset": np.zeros((2, 10, 10), np.float32),
        "landmarks": np.zeros((10, 10, 10), np.float32),
    }
    maps["heatmap"][5, 7] = 0.9
    maps["scale"][:, 5, 7] = np.log(10), np.log(5)
    maps["landmarks"][:2, 5, 7] = 0.25, 0.5  # first point: a quarter down, half across
    (face,) = decode(**maps, threshold=0.5, nms_iou=0.3, ratio_x=2, ratio_y=3)
    box = (face.box.x, face.box.y, face.box.width, face.box.height)
    assert box == pytest.approx((30 * 2 - 20, 22 * 3 - 60, 40, 120), rel=1e-6)
    assert face.landmarks[0] == pytest.approx((60, 6 + 30), rel=1e-5)


def test_threshold_is_exclusive_and_there_may_be_no_face() -> None:
    maps = maps_of(1, 4, 4, 1)
    maps["heatmap"][:] = 0.5
    assert decode(**maps, threshold=0.5, nms_iou=0.3, ratio_x=1, ratio_y=1) == ()
