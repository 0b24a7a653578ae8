"""Quality: properties for any box, the reason for each kind of damage, usable real faces."""

import math
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path
from statistics import pvariance

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import Stopwatch
from edge.config import DetectorConfig, QualityConfig
from edge.vision.detect import open_detector
from edge.vision.golden import golden_picture
from edge.vision.quality import DETAIL_PX, NOSE_DEPTH, REASONS, assess, yaw
from edge.vision.resize import resize_area
from edge.vision.sources.images import read_grey
from edge.vision.values import Box, Detection, Floats, Frame, Luma, Quality

LIMITS = QualityConfig()
FRONTAL = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
anything = st.floats(width=32)


def frame(luma: Luma) -> Frame:
    return Frame(luma, index=0, sensor_ns=0, clock="media", captured_ns=0)


@pytest.fixture(scope="module")
def face() -> tuple[Luma, Detection]:
    """The golden picture and the face in it."""
    picture, _ = golden_picture()
    found = open_detector(DetectorConfig()).detect(frame(picture), Stopwatch())
    return picture, found[0]


@given(st.builds(Box, *[anything] * 4), st.integers(1, 40), st.integers(1, 40), st.data())
def test_any_box_and_any_landmarks_give_finite_figures(
    box: Box, rows: int, columns: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    luma = rng.integers(0, 256, (rows, columns), np.uint8)
    landmarks = np.array(data.draw(st.lists(anything, min_size=10, max_size=10)), np.float32)
    with np.errstate(all="ignore"):
        quality = assess(luma, box, landmarks.reshape(5, 2), LIMITS)
    assert quality.usable == (not quality.reasons)
    assert set(quality.reasons) <= set(REASONS)
    figures = (quality.sharpness, quality.brightness, quality.saturated, quality.yaw_deg)
    assert all(map(math.isfinite, figures))
    assert 0 <= quality.brightness <= 1
    assert 0 <= quality.saturated <= 1
    assert -90 <= quality.yaw_deg <= 90
    assert math.isfinite(quality.size_px)


@given(st.floats(-80, 80), st.floats(10, 500), st.floats(-0.5, 0.5))
def test_yaw_is_that_of_the_rotated_landmarks(
    degrees: float, distance_px: float, roll: float
) -> None:
    turn = math.radians(degrees)
    flat = np.array([[-0.5, 0], [0.5, 0], [0, 0.5]]) * math.cos(turn)
    flat[2, 0] += NOSE_DEPTH * math.sin(turn)
    rotation = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    points = np.zeros((5, 2), np.float32)
    points[:3] = flat @ rotation * distance_px + 300
    assert yaw(points) == pytest.approx(degrees, abs=1.0)


def test_yaw_of_a_mirrored_face_has_the_opposite_sign() -> None:
    turned = FRONTAL + np.array([[0, 0], [0, 0], [8, 0], [0, 0], [0, 0]], np.float32)
    mirrored = turned.copy()
    mirrored[:, 0] = 100 - turned[:, 0]
    assert yaw(turned) > 0
    assert yaw(mirrored[[1, 0, 2, 4, 3]]) == pytest.approx(-yaw(turned))


def test_sharpness_does_not_depend_on_brightness_and_contrast(face: tuple[Luma, Detection]) -> None:
    picture, found = face
    plain = assess(picture, found.box, found.landmarks, LIMITS)
    dim = cv2.convertScaleAbs(picture, alpha=0.5, beta=20)
    changed = assess(dim, found.box, found.landmarks, LIMITS)
    assert changed.sharpness == pytest.approx(plain.sharpness, rel=0.1)
    assert changed.brightness < plain.brightness


def test_sharpness_is_the_ratio_of_exact_variances(face: tuple[Luma, Detection]) -> None:
    """Sums of float32 depended on their order, and so on the processor."""
    picture, found = face
    box = found.box
    left, top = round(box.x), round(box.y)
    part = picture[top : round(box.y + box.height), left : round(box.x + box.width)]
    assert max(part.shape) < 256  # not subsampled
    levels = resize_area(part, (DETAIL_PX, DETAIL_PX)).astype(int).tolist()
    inside = range(DETAIL_PX // 8 + 1, DETAIL_PX - DETAIL_PX // 8 - 1)
    greys = [Fraction(levels[y][x]) for y in inside for x in inside]
    edges = [
        levels[y - 1][x] + levels[y + 1][x] + levels[y][x - 1] + levels[y][x + 1] - 4 * levels[y][x]
        for y in inside
        for x in inside
    ]
    ratio = pvariance(map(Fraction, edges)) / pvariance(greys) / 20
    assert assess(picture, box, found.landmarks, LIMITS).sharpness == pytest.approx(
        float(ratio), rel=1e-14
    )


def scaled(picture: Luma, found: Detection, scale: float) -> tuple[Luma, Detection]:
    """Return picture and face at another scale."""
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    box = Box(*(scale * value for value in astuple(found.box)))
    return small, Detection(box, found.landmarks * np.float32(scale), found.score)


def damaged(picture: Luma, found: Detection, damage: str) -> tuple[Luma, Box, Floats]:
    """Return the picture, box and landmarks with one kind of damage."""
    box, landmarks = found.box, found.landmarks
    height = box.height
    match damage:
        case "blurred":
            picture = cv2.GaussianBlur(picture, (0, 0), 0.04 * height)
        case "blurred and noisy":  # out of focus: the lens blurs, the sensor adds its noise
            noise = np.random.default_rng(1).normal(0, 3, picture.shape)
            picture = cv2.GaussianBlur(picture, (0, 0), 0.04 * height)
            picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
        case "too_dark":
            picture = (picture * 0.08).astype(np.uint8)
        case "too_bright":
            picture = cv2.convertScaleAbs(picture, alpha=0.04, beta=244)
        case "saturated":
            picture = picture.copy()
            centre = (round(box.x + box.width / 2), round(box.y + height / 2))
            cv2.circle(picture, centre, round(0.36 * height), 255, -1)
        case "turned_away":
            landmarks = landmarks.copy()
            landmarks[2, 0] = landmarks[1, 0] + 0.4 * (landmarks[1, 0] - landmarks[0, 0])
        case "too_small":
            picture, found = scaled(picture, found, 16 / max(box.width, height))
            box, landmarks = found.box, found.landmarks
        case "outside_frame":
            picture = picture[:, round(box.x + 0.55 * box.width) :]
            box = Box(-0.55 * box.width, box.y, box.width, height)
    return picture, box, landmarks


DAMAGES = {reason: reason for reason in REASONS if reason != "inference_failed"}
DAMAGES["blurred and noisy"] = "blurred"


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_gives_its_reason(face: tuple[Luma, Detection], damage: str) -> None:
    assert assess(face[0], face[1].box, face[1].landmarks, LIMITS).usable
    quality = assess(*damaged(*face, damage), LIMITS)
    assert DAMAGES[damage] in quality.reasons


@pytest.mark.parametrize("size_px", [32, 64, 128])
@pytest.mark.parametrize("noise", [0, 3])
def test_small_face_is_as_usable_as_a_large_one(
    face: tuple[Luma, Detection], size_px: int, noise: int
) -> None:
    small, found = scaled(*face, size_px / face[1].box.height)
    noisy = small + np.random.default_rng(1).normal(0, noise, small.shape)
    noisy = np.clip(noisy, 0, 255).astype(np.uint8)
    assert assess(noisy, found.box, found.landmarks, LIMITS).reasons == ()


@pytest.mark.nir
def test_real_infrared_faces_are_usable_unless_damaged(nir_faces: Path) -> None:
    detector = open_detector(DetectorConfig())
    refused = dict.fromkeys(DAMAGES, 0)
    plain: list[Quality] = []
    for path in sorted((nir_faces / "images").iterdir()):
        picture = read_grey(path)
        found = detector.detect(frame(picture), Stopwatch())[0]
        plain.append(assess(picture, found.box, found.landmarks, LIMITS))
        picture, found = scaled(picture, found, 200 / found.box.height)  # a blur costs less
        for damage, reason in DAMAGES.items():
            quality = assess(*damaged(picture, found, damage), LIMITS)
            refused[damage] += reason in quality.reasons
    assert [quality.reasons for quality in plain if not quality.usable] == []
    assert {name: count for name, count in refused.items() if count < 0.95 * len(plain)} == {}


def test_without_landmarks_the_yaw_is_unknown_and_the_face_is_used() -> None:
    luma = np.random.default_rng(2).integers(40, 200, (200, 200), np.uint8)
    found = assess(luma, Box(20, 20, 120, 120), None, QualityConfig(sharpness_min=0.0))
    assert found.yaw_deg is None
    assert found.usable, found.reasons
