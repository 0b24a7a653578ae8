"""Agreement figures, splitting of pictures, and ``benchmarks parity``."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cli import main as benchmark
from benchmarks.evaluation.detection_agreement import detection_agreement
from benchmarks.evaluation.expression_agreement import expression_agreement, kappa
from benchmarks.evaluation.pictures import (
    face_crops,
    faces_in,
    float_network,
    shrunk_face,
    split_pictures,
)
from benchmarks.evaluation.translation_agreement import psnr_db, ssim
from edge.errors import ModelError
from edge.vision.detect import detector_for
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model, open_network
from edge.vision.inference.manifest import Limit
from edge.vision.resize import resize_linear
from edge.vision.values import Box
from exporters.artifacts.calibration import detector_pictures
from exporters.artifacts.parity import check_against_limits
from tests.support.command_errors import refusal

RANDOM = np.random.default_rng(17)
MODEL = "centerface-320x192"


def network(artifact: str = "centerface.onnx") -> Any:
    return open_network(MODEL, task="face-detection", artifact=artifact)


def pictures(count: int = 3) -> list[Any]:
    """Return pictures of the golden face, shifted and darkened."""
    face, _ = golden_picture()
    made = []
    for _ in range(count):
        moved = np.roll(face, int(RANDOM.integers(-20, 20)), axis=1)
        made.append((moved * RANDOM.uniform(0.7, 1.0)).astype(np.uint8))
    return made


def test_float_artifacts_agree_and_int8_nearly_agrees() -> None:
    reference, inputs = network(), pictures()
    same = detection_agreement(reference, network("centerface.tflite"), inputs)
    assert same["iou_mean"] == pytest.approx(1, abs=1e-3)
    assert same["recall"] == same["recall_32px"] == same["recall_25px"] == 1
    assert same["extra_faces"] == 0
    assert same["landmark_error"] < 1e-3
    near = detection_agreement(reference, network("centerface.int8.tflite"), inputs)
    assert 0.9 < near["iou_mean"] < same["iou_mean"]
    assert near["iou_p05"] <= near["iou_mean"]
    assert near["reference_recall_32px"] == same["reference_recall_32px"]


def test_a_candidate_that_finds_nothing_has_no_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, without_faces = network(), network()
    run = without_faces.run

    def nothing(batch: Any) -> Any:
        maps = run(batch)
        return {**maps, "heatmap": np.zeros_like(maps["heatmap"])}

    monkeypatch.setattr(without_faces, "run", nothing)
    figures = detection_agreement(reference, without_faces, pictures(2))
    assert figures["iou_mean"] == figures["recall"] == figures["recall_32px"] == 0
    assert figures["landmark_error"] == 1
    limits = {"iou_mean": Limit(at_least=0.97)}
    assert not check_against_limits(figures, limits, 2).passed
    with pytest.raises(ModelError, match="no face in 2 pictures"):
        detection_agreement(without_faces, reference, pictures(2))


def test_a_limit_without_a_figure_is_refused() -> None:
    with pytest.raises(ModelError, match="3 pictures do not give recall_25px"):
        check_against_limits({"iou_mean": 1.0}, {"recall_25px": Limit(at_least=0.9)}, 3)
    assert check_against_limits({"a": 1.23456789}, {"a": Limit(at_most=2)}, 3).metrics == {
        "a": 1.235
    }


def test_an_expression_network_agrees_with_itself() -> None:
    fer = float_network("expression-nir", "facial-expression")
    crops = [RANDOM.integers(0, 256, (48, 48), np.uint8) for _ in range(4)]
    figures = expression_agreement(fer, fer, crops)
    assert figures["concordance"] == figures["kappa"] == 1
    assert figures["valence_ccc"] == pytest.approx(1)
    assert figures["probability_max_difference"] == figures["affect_max_difference"] == 0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0, 1, 0, 1], [0, 1, 0, 1], 1.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([0, 1], [1, 0], -1.0),
        ([2, 2, 2], [2, 2, 2], 1.0),
        # after Cohen's example: 20 + 15 of 50 agree, chance .5
        ([0] * 25 + [1] * 25, [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15, 0.4),
    ],
)
def test_kappa(one: list[int], other: list[int], expected: float) -> None:
    assert kappa(np.array(one), np.array(other)) == pytest.approx(expected)


def test_psnr_and_ssim_of_known_pictures() -> None:
    picture = RANDOM.uniform(0, 255, (32, 32)).astype(np.float32)
    assert psnr_db(picture, picture, 255) == 120
    assert psnr_db(picture, picture + 25.5, 255) == pytest.approx(20, abs=1e-3)
    assert ssim(picture, picture, 255) == pytest.approx(1)
    assert ssim(picture, 255 - picture, 255) < 0
    noisy = picture + RANDOM.normal(0, 40, picture.shape).astype(np.float32)
    assert 0 < ssim(picture, noisy, 255) < 0.95


@settings(max_examples=50)
@given(st.integers(18, 60), st.integers(0, 1000))
def test_a_shrunk_face_has_the_given_height_and_the_returned_box(height: int, seed: int) -> None:
    picture = np.full((96, 160), 10, np.uint8)
    picture[20:90, 60:110] = 250
    made = shrunk_face(picture, Box(60, 20, 50, 70), height, seed)
    assert made is not None
    canvas, place = made
    assert canvas.shape == picture.shape
    assert abs(place.height - height) <= 0.5 * 70 / 60 + 1e-6
    inside = canvas[round(place.y) + 1 : round(place.y + place.height) - 1,
                    round(place.x) + 1 : round(place.x + place.width) - 1]  # fmt: skip
    assert inside.min() > 200
    again = shrunk_face(picture, Box(60, 20, 50, 70), height, seed)
    assert again is not None
    np.testing.assert_array_equal(canvas, again[0])


def test_a_smaller_face_is_not_shrunk() -> None:
    assert shrunk_face(np.zeros((96, 160), np.uint8), Box(0, 0, 20, 20), 32, 0) is None


def test_calibration_pictures_of_detectors_include_small_faces() -> None:
    detector = detector_for(network(), threshold=0.5, nms_iou=0.3)
    inputs = pictures(4)
    made = list(detector_pictures([*inputs, np.zeros((50, 60), np.uint8)], detector))
    assert len(made) == 9  # the black picture has no face to shrink
    assert {each.shape for each in made} == {(192, 320)}
    np.testing.assert_array_equal(made[0], resize_linear(inputs[0], (320, 192)))
    heights = [faces_in(detector, each)[0].box.height for each in made[4:8:2]]
    assert all(height > 60 for height in heights)


def test_faces_are_cropped_and_pictures_without_a_face_are_kept_whole() -> None:
    detector = detector_for(network(), threshold=0.5, nms_iou=0.3)
    face, _ = golden_picture()
    flat = np.full((48, 48), 77, np.uint8)
    one, other = face_crops([face, flat], detector, (96, 96), 0.1)
    assert one.shape == other.shape == (96, 96)
    assert one.std() > 20
    assert (other == 77).all()


def folder_of(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        values = np.random.default_rng(number).integers(0, 256, (20, 30), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), values)
    return folder


def test_pictures_are_split_by_content_alone(tmp_path: Path) -> None:
    one = split_pictures(folder_of(tmp_path / "a", 60))
    assert 10 < len(one.calibrate) < 40
    assert len(one.calibrate) + len(one.evaluate) == 60
    assert one.record.count == len(one.calibrate)
    other = tmp_path / "b"
    other.mkdir()
    for number, path in enumerate(sorted((tmp_path / "a").iterdir(), reverse=True)):
        shutil.copy(path, other / f"renamed-{number}.png")
        shutil.copy(path, other / f"twice-{number}.png")
    (other / "notes.txt").write_text("no picture")
    (other / ".hidden.png").write_bytes(b"")
    (other / "broken.png").write_bytes(b"no picture either")
    again = split_pictures(other)
    assert again.record == one.record
    known = [picture.tobytes() for picture in one.calibrate]
    assert [picture.tobytes() for picture in again.calibrate] == known
    assert not set(known) & {picture.tobytes() for picture in one.evaluate}


def test_more_pictures_do_not_change_the_split_of_others(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", 40)
    before = {picture.tobytes() for picture in split_pictures(folder).evaluate}
    for number in range(40, 60):
        values = np.random.default_rng(number).integers(0, 256, (20, 30), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), values)
    after = split_pictures(folder)
    assert before <= {picture.tobytes() for picture in after.evaluate}


@pytest.mark.parametrize("count", [0, 15])
def test_too_few_pictures_are_refused_in_one_line(tmp_path: Path, count: int) -> None:
    with pytest.raises(ModelError, match=f"{count} different pictures, expected 16") as caught:
        split_pictures(folder_of(tmp_path / "a", count))
    assert "\n" not in str(caught.value)


def test_the_float_network_does_not_depend_on_the_board(tmp_path: Path) -> None:
    assert float_network(MODEL, "face-detection").info.artifact == "centerface.onnx"
    folder = shutil.copytree(find_model(MODEL), tmp_path / "net")
    data = json.loads((folder / "manifest.json").read_text())
    for file in ("centerface.onnx", "centerface.tflite"):
        data["parity"][file]["passed"] = False
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(ModelError, match="no float artifact that passed parity"):
        float_network(folder, "face-detection")


# -- python -m benchmarks parity -------------------------------------------------------------------


def test_the_benchmark_measures_every_artifact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(pictures(2)):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    out = tmp_path / "out.json"
    command = ["parity", "--model", MODEL, "--images", str(folder), "--json", str(out)]
    assert benchmark(command) == 0
    inputs = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert result["reference"] == "centerface.onnx"
    assert (result["pictures"], result["kept_back_from_calibration"]) == (2, False)
    assert len(result["artifacts"]) == 4
    for file, row in result["artifacts"].items():
        assert row["ms"] > 0
        assert row["metrics"]["iou_mean"] > (0.999 if row["precision"] == "fp32" else 0.9)
        assert row["at_export"]["passed"]
        assert result["models"][MODEL][file] == row["sha256"]
        assert file.removeprefix("centerface.")[:4] in inputs
    for field in ("board", "cores", "governor", "throttled", "versions", "commit", "date"):
        assert field in result


@pytest.mark.nir
def test_calibration_pictures_are_not_used_for_evaluation(
    tmp_path: Path, nir_faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "benchmarks.evaluation.pictures._EVALUATE_MAX", 6
    )  # all of them take two minutes
    out, images = tmp_path / "out.json", str(nir_faces / "images")
    assert benchmark(["parity", "--model", MODEL, "--images", images, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["pictures"], result["kept_back_from_calibration"]) == (6, True)
    for row in result["artifacts"].values():
        assert row["metrics"]["iou_mean"] > (0.999 if row["precision"] == "fp32" else 0.95)
        assert row["metrics"]["recall_25px"] > 0.9


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--images", "/nowhere"], "--images /nowhere: No such file or directory"),
        (["--images", "EMPTY"], "0 pictures in it; expected 1 or more"),
        (["--images", "BLACK"], "no face in 1 pictures"),
        (["--model", "zoo"], "no bundled model of that name"),
        (["--threads", "0"], "--threads 0: expected 1 to 16"),
        (["--images"], "expected one argument"),
    ],
)
def test_unusable_input_is_refused_in_one_line(
    change: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BLACK").mkdir()
    cv2.imwrite(str(tmp_path / "BLACK" / "a.png"), np.zeros((60, 80), np.uint8))
    words = [str(tmp_path / word) if word in ("EMPTY", "BLACK") else word for word in change]
    command = ["parity", "--model", MODEL, "--images", str(tmp_path / "BLACK"), *words]
    assert complaint in refusal(benchmark, command, capsys)
