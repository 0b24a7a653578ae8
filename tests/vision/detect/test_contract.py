"""The contract of detectors (``edge.vision.detect.Detector``), run over all of them.

What they share with other networks: ``tests/vision/test_network_contract.py``.
"""

from pathlib import Path

import numpy as np
import pytest

from edge.clock import Stopwatch
from edge.vision.detect import Detector
from edge.vision.golden import detection_findings, golden_frame, golden_picture
from edge.vision.resize import resize_linear
from edge.vision.values import Box, Detection, Luma
from tests.support.frames import frame_of
from tests.support.networks import DETECTORS, DetectorCase

THRESHOLD, NMS_IOU = 0.3, 0.4


pytestmark = pytest.mark.parametrize("case", DETECTORS, ids=lambda case: case.name, scope="module")


@pytest.fixture(scope="module")
def detector(case: DetectorCase, folder: Path) -> Detector:
    return case.open(folder, threshold=THRESHOLD, nms_iou=NMS_IOU)


def detect(detector: Detector, luma: Luma, small: Luma | None = None) -> tuple[Detection, ...]:
    return detector.detect(frame_of(luma, small), Stopwatch())


def several_faces() -> Luma:
    """Return a picture with the golden face four times, in four sizes: a detector finds three."""
    face, _ = golden_picture()
    picture = np.zeros((480, 800), np.uint8)
    for x, y, scale in ((0, 0, 1.0), (400, 0, 0.8), (0, 240, 0.7), (400, 240, 0.9)):
        small = resize_linear(face, (round(400 * scale), round(240 * scale)))
        picture[y : y + small.shape[0], x : x + small.shape[1]] = small
    return picture


def assert_same(one: tuple[Detection, ...], other: tuple[Detection, ...]) -> None:
    assert [(face.box, face.score) for face in one] == [(face.box, face.score) for face in other]
    for face, same in zip(one, other, strict=True):
        assert (face.landmarks is None) is (same.landmarks is None)
        if face.landmarks is not None and same.landmarks is not None:
            np.testing.assert_array_equal(face.landmarks, same.landmarks)


def test_input_size_is_that_of_the_network(detector: Detector) -> None:
    assert detector.input_size == (detector.info.width, detector.info.height)


def test_golden_answer_is_given(detector: Detector) -> None:
    assert detection_findings(detector) == []


def test_landmarks_are_inside_the_box_in_the_documented_order(
    detector: Detector, case: DetectorCase
) -> None:
    (face,) = detect(detector, golden_picture()[0])
    assert (face.landmarks is not None) is case.has_landmarks
    if face.landmarks is None:
        return
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    for x, y in face.landmarks:
        assert face.box.x < x < face.box.x + face.box.width
        assert face.box.y < y < face.box.y + face.box.height


def test_faces_are_sorted_by_score_and_do_not_overlap(detector: Detector) -> None:
    faces = detect(detector, several_faces())
    assert len(faces) >= 3, f"found {len(faces)} of the 4 faces in several_faces()"
    scores = [face.score for face in faces]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > THRESHOLD
    for i, face in enumerate(faces):
        for other in faces[:i]:
            assert face.box.iou(other.box) < NMS_IOU


def test_a_higher_threshold_keeps_only_higher_scores(
    detector: Detector, case: DetectorCase, folder: Path
) -> None:
    faces = detect(detector, several_faces())
    assert len(faces) > 1, f"found {len(faces)} of the 4 faces in several_faces()"
    middle = sorted(face.score for face in faces)[1]
    strict = case.open(folder, threshold=middle, nms_iou=NMS_IOU)
    kept = tuple(face for face in faces if face.score > middle)
    assert 0 < len(kept) < len(faces)
    assert_same(detect(strict, several_faces()), kept)


def test_boxes_are_in_pixels_of_the_full_frame(detector: Detector) -> None:
    luma, _ = golden_picture()
    (face,) = detect(detector, luma)
    (large,) = detect(detector, resize_linear(luma, (1600, 960)))
    sides = (face.box.x, face.box.y, face.box.width, face.box.height)
    assert large.box.iou(Box(*(4 * side for side in sides))) > 0.9
    if face.landmarks is not None:
        assert large.landmarks is not None
        assert np.abs(large.landmarks - 4 * face.landmarks).max() < 0.1 * large.box.height


def test_small_picture_of_the_camera_is_used_if_its_size_fits(detector: Detector) -> None:
    luma, _ = golden_picture()
    width, height = detector.input_size
    small, black = resize_linear(luma, (width, height)), np.zeros_like(luma)
    assert_same(detect(detector, black, small), detect(detector, luma))
    assert detect(detector, black, small[:, : width - 20]) == ()


def test_laps_are_recorded(detector: Detector) -> None:
    stopwatch = Stopwatch()
    detector.detect(golden_frame(golden_picture()[0]), stopwatch)
    assert list(stopwatch.stage_ms) == ["resize", "detect", "decode_boxes"]


def test_laps_are_the_same_without_a_face(detector: Detector) -> None:
    stopwatch = Stopwatch()
    assert detector.detect(frame_of(np.zeros((90, 160), np.uint8)), stopwatch) == ()
    assert list(stopwatch.stage_ms) == ["resize", "detect", "decode_boxes"]


def test_frames_do_not_affect_each_other(detector: Detector) -> None:
    luma, _ = golden_picture()
    first = detect(detector, luma)
    detect(detector, several_faces())
    assert detect(detector, np.zeros((90, 2000), np.uint8)) == ()
    assert_same(detect(detector, luma), first)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (6000, 8000), (33, 77)])
@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_any_frame_gives_finite_faces_or_none(
    detector: Detector, shape: tuple[int, int], kind: str
) -> None:
    luma = np.full(shape, 255 if kind == "white" else 0, np.uint8)
    if kind == "noise":
        luma = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for face in detect(detector, luma):
        if face.landmarks is not None:
            assert face.landmarks.shape == (5, 2)
            assert face.landmarks.dtype == np.float32
            assert np.isfinite(face.landmarks).all()
        assert np.isfinite([face.box.x, face.box.y, face.box.width, face.box.height]).all()
        assert face.box.width > 0
        assert face.box.height > 0
        assert THRESHOLD < face.score <= 1
