"""``benchmarks detectors``: figures of every bundled detector on a folder of pictures."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import detectors
from benchmarks.cli import main
from benchmarks.evaluation.known_faces import Findings, KnownFace, read_boxes
from edge.errors import ConfigError
from edge.vision.golden import golden_picture
from edge.vision.inference import find_model
from edge.vision.resize import resize_linear
from edge.vision.values import Box, Detection
from tests.support.command_errors import refusal

FACE = "200,100,120,120"
MODELS = ("centerface-320x192", "retinaface-320x192", "expression-nir", "centerface-96x96")


def found_at(x: float, y: float, side: float = 10, *, shift: float = 0.0) -> Detection:
    marks = np.full((5, 2), 5 + shift, np.float32)
    return Detection(Box(x, y, side, side), marks, 0.9)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures of the golden face, and only some of the bundled models."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    face, _ = golden_picture()
    for number in range(4):
        bright = (face * (0.8 + 0.1 * number)).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), resize_linear(bright, (640, 384)))
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.setattr(detectors, "bundled_models", lambda: [find_model(name) for name in MODELS])
    monkeypatch.setattr(detectors, "HEIGHTS", (0.25, 0.13))
    monkeypatch.setattr(detectors, "_ROUNDS", 1)
    return folder


def test_every_artifact_of_every_detector_has_a_row(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    assert main(["detectors", "--images", str(pictures), "--json", str(result)]) == 0
    data = json.loads(result.read_text())
    assert (data["pictures"], data["faces"], data["reference"]) == (4, 4, "centerface-640x384")
    assert [*data["rows"]] == [
        *(f"centerface-320x192/centerface{end}" for end in
          (".onnx", ".int8.onnx", ".tflite", ".int8.tflite")),
        "retinaface-320x192/retinaface.onnx", "retinaface-320x192/retinaface.int8.tflite",
    ]  # fmt: skip
    for row in data["rows"].values():
        assert row["recall"] == 1
        assert 0.7 < row["iou_p05"] <= row["iou_mean"] <= 1
        assert 0 <= row["landmark_error"] < 0.1
        assert row["false_positives_per_100"] == 0
        assert row["recall_by_height"]["0.25"] == 1
        assert 0 < row["network_ms"] <= row["ms"]
        assert row["processor_ms"] > 0
    assert set(data["models"]) == {"centerface-320x192", "retinaface-320x192"}
    out = capsys.readouterr().out
    assert "4 pictures, 4 known faces, by centerface-640x384; score above 0.5" in " ".join(
        out.split()
    )


def test_annotated_faces_are_the_reference(tmp_path: Path, pictures: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    golden = json.loads((find_model("centerface-320x192") / "manifest.json").read_text())["golden"]
    x, y, width, height = (1.6 * each for each in golden["box"])  # 400x240 to 640x384
    rows = [f"{number}.png,{x},{y},{width},{height}" for number in range(3)]
    boxes.write_text("\n".join(["file,x,y,width,height", *rows, "3.png,,,,"]))
    data = detectors.run_detectors(pictures, boxes=boxes)
    assert (data["faces"], data["reference"]) == (3, "boxes.csv")
    for row in data["rows"].values():
        assert row["recall"] == 1
        assert row["landmark_error"] is None
        assert row["false_positives_per_100"] == 25  # the picture that is said to have no face


def test_a_known_face_takes_one_found_face_and_the_rest_is_false() -> None:
    findings = Findings()
    known = [
        KnownFace(Box(0, 0, 10, 10), np.full((5, 2), 5, np.float32)),
        KnownFace(Box(100, 0, 10, 10)),
    ]
    findings.add(known, [found_at(0, 1), found_at(0, 0, shift=3), found_at(300, 0)])
    figures = findings.figures()
    assert figures["recall"] == 0.5
    assert figures["iou_mean"] == 1
    assert figures["landmark_error"] == pytest.approx(np.hypot(3, 3) / 10)
    assert figures["false_positives_per_100"] == 200
    findings.add([], [])
    assert findings.figures()["false_positives_per_100"] == 100


def test_one_found_face_serves_one_of_two_known_ones() -> None:
    findings = Findings()
    findings.add([KnownFace(Box(0, 0, 10, 10)), KnownFace(Box(1, 0, 10, 10))], [found_at(0, 0)])
    assert findings.figures()["recall"] == 0.5


def test_no_picture_gives_no_figures() -> None:
    figures = Findings().figures()
    assert all(not figures[name] for name in figures)
    assert figures["recall"] is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column file, height, width, x, y"),
        ("file,x,y,width\na.png,1,2,3\n", "no column height"),
        ("file,x,y,width,height\na.png,1,2,3,\n", "line 2: 1,2,3,; expected x, y, width and"),
        ("file,x,y,width,height\na.png,1,2,0,4\n", "line 2: 1,2,0,4; expected a width and"),
        ("file,x,y,width,height\na.png,nan,2,3,4\n", "expected a width and height above 0"),
        (f"file,x,y,width,height\na.png,{FACE}\n,1,2,3,4\n", "line 3: no file"),
        ("file,x,y,width,height\na.png,,,,\n", "no face in it"),
        ("file,x,y,width,height\na.png,1\n", "line 2: 1,,,; expected x, y"),
        ("\0\0", "no column"),
    ],
)
def test_wrong_annotations_are_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_boxes(path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_folders_and_options_are_one_line(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*options: Any, images: Path = pictures) -> str:
        command = ["detectors", "--images", str(images), *map(str, options)]
        return refusal(main, command, capsys)

    empty = tmp_path / "empty"
    empty.mkdir()
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"file,x,y,width,height\nother.png,{FACE}\n")
    assert "0 pictures in it; expected 1 or more" in refused(images=empty)
    assert "No such file" in refused(images=tmp_path / "none")
    assert "--threads 0: expected 1 to 16" in refused("--threads", 0)
    assert "--threshold 2: expected a score" in refused("--threshold", 2)
    assert "other.png is not in" in refused("--boxes", boxes)
    assert "No such file" in refused("--boxes", tmp_path / "none.csv")
    for model in ("expression-nir", "centerface-96x96"):
        line = refused("--also", find_model(model))
        assert f"{model}: expected a detector of full pictures" in line
    assert "no such folder" in refused("--also", "none")
    assert "made for facial-expression" in refused("--reference", "expression-nir")
    cv2.imwrite(str(empty / "grey.png"), np.full((96, 160), 90, np.uint8))
    assert "the reference finds no face" in refused(images=empty)
    (empty / "broken.png").write_bytes(b"\x89PNG")
    assert "broken.png" in refused(images=empty)


def test_an_interrupt_is_one_line(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise SystemExit(130)

    monkeypatch.setattr(detectors, "_compare", interrupt)
    assert main(["detectors", "--images", str(pictures)]) == 130
    assert capsys.readouterr() == ("", "benchmarks: interrupted\n")
