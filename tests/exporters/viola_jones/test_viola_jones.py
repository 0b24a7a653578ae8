"""Viola-Jones: with OpenCV 4 as OpenCV itself finds faces; with OpenCV 5 one clear line.

``make test-opencv4`` runs those that need OpenCV 4, in an environment of its own.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.clock import Stopwatch
from edge.config import DetectorConfig
from edge.errors import EXIT_CONFIG, ModelError
from edge.vision.detect import open_detector
from edge.vision.detect.viola_jones import scores_of
from edge.vision.golden import GOLDEN_FACE, golden_frame, golden_picture
from edge.vision.inference import load_manifest, verify
from edge.vision.inference.cascade import CascadeSession
from edge.vision.resize import resize_linear
from exporters.cli import main
from tests.support.command_errors import refusal
from tests.support.daemons import PURPOSE, RunningDaemon, affect_edge
from tests.support.detector_weights import cascade, cascade_folder
from tests.support.frames import frame_of
from tests.support.model_folders import changed_copy

needs_opencv_4 = pytest.mark.opencv4
has_cascades = hasattr(cv2, "CascadeClassifier")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cascade_folder(tmp_path_factory.mktemp("cascade"))


def test_scores_grow_with_the_squares_that_agree() -> None:
    scores = scores_of(np.array([0, 2, 3, 12], np.float32))
    assert scores.tolist() == pytest.approx([0, 0.4, 0.5, 0.8])


@pytest.mark.skipif(has_cascades, reason="this OpenCV has cascade classifiers")
def test_without_cascade_classifiers_one_line_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cascade.xml").write_text("<opencv_storage/>")
    command = ["viola-jones", "--weights", str(tmp_path / "cascade.xml"), "--out"]
    text = refusal(main, [*command, str(tmp_path / "net")], capsys)
    assert f"OpenCV {cv2.__version__} has no CascadeClassifier" in text
    assert "pip install 'opencv-python-headless<5'" in text
    assert not (tmp_path / "net").exists()


@needs_opencv_4
def test_faces_are_those_of_opencv_with_the_file(folder: Path) -> None:
    assert verify(folder) == []
    detector = open_detector(DetectorConfig(model=str(folder), threshold=0.1))
    classifier: Any = cv2.CascadeClassifier(str(cascade()))  # type: ignore[attr-defined,unused-ignore]
    luma, _ = golden_picture()
    known, squares = classifier.detectMultiScale2(
        resize_linear(luma, (320, 192)), scaleFactor=1.1, minNeighbors=2
    )
    (face,) = detector.detect(golden_frame(luma), Stopwatch())
    x, y, width, height = known[0] * np.array([400 / 320, 240 / 192] * 2)
    assert (face.box.x, face.box.y, face.box.width, face.box.height) == (x, y, width, height)
    assert face.score == pytest.approx(squares[0] / (squares[0] + 3))
    assert face.landmarks is None


@needs_opencv_4
def test_a_daemon_runs_it_by_configuration_alone(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "face.png").write_bytes(GOLDEN_FACE.read_bytes())
    options = ["--set", f'detector.model="{folder}"', "--set", f'journal.path="{tmp_path}/state"']
    arguments = ("--source", str(pictures), "--no-pace", "--wait-for-subscriber")
    with RunningDaemon(tmp_path, *arguments, *PURPOSE, *options) as daemon:
        assert daemon.run_to_end() == 0, daemon.stderr
        (face,) = daemon.frames[0]["faces"]
    assert face["landmarks"] is None
    assert face["quality"]["yaw"] is None
    assert face["quality"]["usable"]
    assert face["expression"]["label"] == "happy"


@needs_opencv_4
def test_a_cascade_of_other_bytes_is_not_run(folder: Path, tmp_path: Path) -> None:
    copy = changed_copy(folder, tmp_path / "net", lambda data: None)
    content = (copy / "cascade.xml").read_bytes()
    (copy / "cascade.xml").write_bytes(content.replace(b"1.1", b"1.2", 1)[: len(content)])
    with pytest.raises(ModelError, match="sha256"):
        open_detector(DetectorConfig(model=str(copy)))


@needs_opencv_4
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"<?xml version='1.0'?><opencv_storage><a>1</a></opencv_storage>",
                b"<html></html>"]
)  # fmt: skip
def test_what_is_no_cascade_is_refused_in_one_line(content: bytes) -> None:
    cascade()  # skips without OpenCV 4
    with pytest.raises(ModelError, match="not a cascade file of OpenCV") as caught:
        CascadeSession(content)
    assert "\n" not in str(caught.value)


@needs_opencv_4
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--formats", "tflite"], "a cascade is one file of OpenCV; leave both out"),
        (["--size", "16x16"], "expected 32 to 4096"),
    ],
)
def test_options_that_do_not_apply_are_refused(
    tmp_path: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["viola-jones", "--weights", str(cascade()), "--out", str(tmp_path / "net")]
    assert complaint in refusal(main, [*command, *words], capsys)


@needs_opencv_4
def test_the_manifest_names_origin_and_licence(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest.artifacts[0].runtime == "opencv"
    assert manifest.source.file == "haarcascade_frontalface_alt2.xml"
    assert "3-clause BSD" in manifest.source.licence


@needs_opencv_4
@pytest.mark.nir
def test_it_finds_the_near_infrared_faces(folder: Path, nir_faces: Path) -> None:
    """Reported in docs/weights.md; here only that it is not blind to them."""
    detector = open_detector(DetectorConfig(model=str(folder), threshold=0.5))
    files = sorted((nir_faces / "images").iterdir())
    pictures = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    found = sum(bool(detector.detect(frame_of(each), Stopwatch())) for each in pictures)
    assert found >= 0.9 * len(files)


@needs_opencv_4
def test_check_names_the_detector(folder: Path, tmp_path: Path) -> None:
    model = f'detector.model="{folder}"'
    done = affect_edge("check", "--set", model, "--set", f'journal.path="{tmp_path}"')
    assert f"ok     detector {folder}: golden face" in done.stdout, done.stdout
    assert done.returncode in (0, EXIT_CONFIG)  # 78 where another daemon has the ports
