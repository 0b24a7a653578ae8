"""What every detector promises (``edge.vision.detect.Detector``): run over all of them.

A new detector is one more entry of ``DETECTORS``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.clock import Stopwatch
from edge.config import DetectorConfig
from edge.errors import InferenceError, ModelError
from edge.vision import detect
from edge.vision.detect import Detector, open_detector
from edge.vision.golden import detection_findings, golden_frame, golden_picture
from edge.vision.inference import Network, find_model, load_manifest
from edge.vision.resize import resize_linear
from edge.vision.values import Box, Detection, Frame, Luma
from tests.support.model_folders import changed_copy, known_decoders


@dataclass(frozen=True)
class Case:
    """One detector.

    Attributes:
        decoder: the name of its decoder in manifests.
        model: a bundled model of that decoder that finds the golden face.
        artifact: one of its files; ``auto`` would choose another one from machine to machine.
    """

    decoder: str
    model: str
    artifact: str

    def open(self, model: Path | None = None, **options: Any) -> Detector:
        name = self.model if model is None else str(model)
        return open_detector(DetectorConfig(model=name, artifact=self.artifact, **options))


DETECTORS = (
    Case("centerface", "centerface-320x192", "centerface.onnx"),
    Case("centerface", "centerface-640x384", "centerface.int8.onnx"),
)

THRESHOLD, NMS_IOU = 0.3, 0.4


@pytest.fixture(scope="module", params=DETECTORS, ids=lambda case: case.model)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="module")
def detector(case: Case) -> Detector:
    return case.open(threshold=THRESHOLD, nms_iou=NMS_IOU)


def frame_of(luma: Luma, small: Luma | None = None) -> Frame:
    """Return a frame whose pictures raise an error when they are written to."""
    for picture in (luma, small):
        if picture is not None:
            picture.flags.writeable = False
    return Frame(luma, index=0, sensor_ns=0, clock="media", captured_ns=0, small=small)


def found(detector: Detector, luma: Luma, small: Luma | None = None) -> tuple[Detection, ...]:
    return detector.detect(frame_of(luma, small), Stopwatch())


def several_faces() -> Luma:
    """Return a picture with four faces of four sizes."""
    face, _ = golden_picture()
    picture = np.zeros((480, 800), np.uint8)
    for x, y, scale in ((0, 0, 1.0), (400, 0, 0.8), (0, 240, 0.7), (400, 240, 0.9)):
        small = resize_linear(face, (round(400 * scale), round(240 * scale)))
        picture[y : y + small.shape[0], x : x + small.shape[1]] = small
    return picture


def assert_same(one: tuple[Detection, ...], other: tuple[Detection, ...]) -> None:
    assert [(face.box, face.score) for face in one] == [(face.box, face.score) for face in other]
    for face, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(face.landmarks, same.landmarks)


def test_every_detector_is_in_the_list() -> None:
    assert {case.decoder for case in DETECTORS} == known_decoders(detect)
    for case in DETECTORS:
        assert load_manifest(find_model(case.model)).decoder == case.decoder


def test_it_names_its_artifact_and_its_input(detector: Detector, case: Case) -> None:
    assert (detector.info.name, detector.info.artifact) == (case.model, case.artifact)
    assert detector.input_size == (detector.info.width, detector.info.height)


def test_it_gives_the_golden_answer(detector: Detector) -> None:
    assert detector.golden is not None
    assert detection_findings(detector) == []


def test_landmarks_lie_in_the_face_in_their_order(detector: Detector) -> None:
    (face,) = found(detector, golden_picture()[0])
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    for x, y in face.landmarks:
        assert face.box.x < x < face.box.x + face.box.width
        assert face.box.y < y < face.box.y + face.box.height


def test_faces_come_by_score_and_do_not_overlap(detector: Detector) -> None:
    faces = found(detector, several_faces())
    assert len(faces) >= 3
    scores = [face.score for face in faces]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > THRESHOLD
    for i, face in enumerate(faces):
        for other in faces[:i]:
            assert face.box.iou(other.box) < NMS_IOU


def test_a_higher_threshold_keeps_the_higher_scores(detector: Detector, case: Case) -> None:
    faces = found(detector, several_faces())
    middle = sorted(face.score for face in faces)[1]
    strict = case.open(threshold=middle, nms_iou=NMS_IOU)
    kept = tuple(face for face in faces if face.score > middle)
    assert 0 < len(kept) < len(faces)
    assert_same(found(strict, several_faces()), kept)


def test_boxes_are_in_pixels_of_the_full_frame(detector: Detector) -> None:
    luma, _ = golden_picture()
    (face,) = found(detector, luma)
    (large,) = found(detector, resize_linear(luma, (1600, 960)))
    sides = (face.box.x, face.box.y, face.box.width, face.box.height)
    assert large.box.iou(Box(*(4 * side for side in sides))) > 0.9
    assert np.abs(large.landmarks - 4 * face.landmarks).max() < 0.1 * large.box.height


def test_the_cameras_small_picture_is_used_if_its_size_fits(detector: Detector) -> None:
    luma, _ = golden_picture()
    width, height = detector.input_size
    small, black = resize_linear(luma, (width, height)), np.zeros_like(luma)
    assert_same(found(detector, black, small), found(detector, luma))
    assert found(detector, black, small[:, : width - 20]) == ()


def test_laps_are_booked(detector: Detector) -> None:
    stopwatch = Stopwatch()
    detector.detect(golden_frame(golden_picture()[0]), stopwatch)
    assert list(stopwatch.stage_ms) == ["resize", "detect", "decode_boxes"]


def test_a_frame_without_a_face_books_the_same_laps(detector: Detector) -> None:
    stopwatch = Stopwatch()
    assert detector.detect(frame_of(np.zeros((90, 160), np.uint8)), stopwatch) == ()
    assert list(stopwatch.stage_ms) == ["resize", "detect", "decode_boxes"]


def test_it_keeps_nothing_from_one_frame_to_the_next(detector: Detector) -> None:
    luma, _ = golden_picture()
    first = found(detector, luma)
    found(detector, several_faces())
    assert found(detector, np.zeros((90, 2000), np.uint8)) == ()
    assert_same(found(detector, luma), first)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (6000, 8000), (33, 77)])
@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_any_frame_gives_finite_faces_or_none(
    detector: Detector, shape: tuple[int, int], kind: str
) -> None:
    luma = np.full(shape, 255 if kind == "white" else 0, np.uint8)
    if kind == "noise":
        luma = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for face in found(detector, luma):
        assert face.landmarks.shape == (5, 2)
        assert face.landmarks.dtype == np.float32
        assert np.isfinite(face.landmarks).all()
        assert np.isfinite([face.box.x, face.box.y, face.box.width, face.box.height]).all()
        assert face.box.width > 0
        assert face.box.height > 0
        assert THRESHOLD < face.score <= 1


def test_a_network_that_fails_is_an_inference_error(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("network: output is not finite")

    monkeypatch.setattr(Network, "run", fails)
    with pytest.raises(InferenceError, match="not finite"):
        found(detector, golden_picture()[0])


def test_a_network_that_fails_on_its_first_picture_is_not_opened(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Network, batch: Luma) -> dict[str, Any]:
        raise InferenceError("network: output is not finite")

    monkeypatch.setattr(Network, "run", fails)
    with pytest.raises(ModelError, match="model network: output is not finite"):
        case.open()


def test_each_missing_output_is_named(case: Case, tmp_path: Path) -> None:
    folder = find_model(case.model)
    for role in load_manifest(folder).outputs:
        copy = changed_copy(folder, tmp_path / role, lambda data, r=role: data["outputs"].pop(r))
        with pytest.raises(ModelError) as caught:
            case.open(copy)
        assert f"decoder {case.decoder!r} also needs {role};" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_decoder_unknown_here_is_refused_only_when_it_is_opened(
    case: Case, tmp_path: Path
) -> None:
    def change(data: dict[str, Any]) -> None:
        first = next(iter(data["outputs"].values()))
        data.update(decoder="other", outputs={"something": first})

    copy = changed_copy(find_model(case.model), tmp_path / "other", change)
    assert load_manifest(copy).decoder == "other"
    with pytest.raises(ModelError, match="decoder 'other' is unknown; expected") as caught:
        case.open(copy)
    assert "\n" not in str(caught.value)
    assert all(known in str(caught.value) for known in known_decoders(detect))


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(ModelError, match="made for facial-expression, configured for"):
        open_detector(DetectorConfig(model="expression-nir"))


def test_nothing_is_printed(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    found(case.open(), golden_picture()[0])
    assert capfd.readouterr() == ("", "")
