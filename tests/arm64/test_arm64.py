"""Emulated arm64 wheels give the same pixels, golden answers and faces as on x86.

``make test-arm64`` makes the environments. Emulation covers the processor's arithmetic, not its
speed, the camera or the board.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from edge.vision.sources.decode import open_capture
from edge.vision.sources.video import DEMO_CLIP
from tests.support.daemons import PURPOSE, Message, RunningDaemon

ROOT = Path(__file__).parents[2]
PROBES = str(Path(__file__).with_name("probes.py"))
EMULATOR = str(ROOT / "scripts" / "arm64-python")
CPUS = ("cortex-a72", "cortex-a76")  # of a Raspberry Pi 4, and of a Raspberry Pi 5
OLDER, NEWER = (ROOT / ".arm64" / version for version in ("3.11", "3.13"))
TIMEOUT_S = 900  # of one probe; the slowest takes a hundred seconds on an idle core

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(2 * TIMEOUT_S)]

VIDEOS = {
    "h264.mp4": ("-c:v", "libx264"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none"),
    "vp9.webm": ("-c:v", "libvpx-vp9"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", "4"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "4"),
}
"""Name of a clip -> FFmpeg options for its codec."""

INEXACT = ("INTER_LINEAR", "INTER_AREA", "float32 exp", "float32 log")
"""Calls whose results may differ: the daemon does not use them for pixels, or rounds the result."""


def native(*arguments: str) -> str:
    """Run the probes on this machine; return the output."""
    return _run([sys.executable, PROBES, *arguments], {"PYTHONPATH": str(ROOT)})


def emulated(folder: Path, cpu: str, *arguments: str) -> str:
    """Run an emulated Python; return the output."""
    if not (folder / "version").is_file():
        pytest.fail(f"{folder}: no environment; run: make test-arm64")
    return _run([EMULATOR, "run", str(folder), *arguments], {"CPU": cpu})


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        env={**os.environ, "OPENCV_LOG_LEVEL": "SILENT", **environment},
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def golden_answers() -> dict[str, Future[str]]:
    """Output of the slowest probe, run for both processors in parallel."""
    pool = ThreadPoolExecutor(len(CPUS))
    answers = {cpu: pool.submit(emulated, OLDER, cpu, PROBES, "golden") for cpu in CPUS}
    pool.shutdown(wait=True)
    return answers


@pytest.mark.parametrize("cpu", CPUS)
def test_every_bundled_artifact_gives_the_golden_answer(
    golden_answers: dict[str, Future[str]], cpu: str
) -> None:
    findings = json.loads(golden_answers[cpu].result())
    files = {
        f"{path.parent.name}/{path.name}"
        for suffix in ("onnx", "tflite")
        for path in (ROOT / "models").glob(f"*/*.{suffix}")
        if (path.parent / "manifest.json").exists()
    }
    assert set(findings) == files
    assert len(files) >= 16
    assert {name: found for name, found in findings.items() if found} == {}


def assert_near(one: Any, other: Any, where: str = "") -> None:
    """Compare JSON values: numbers within 0.001, all others exactly."""
    if isinstance(one, dict):
        assert set(one) == set(other), where
        for key in one:
            assert_near(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_near(left, right, f"{where}[{place}]")
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-3), where
    else:
        assert one == other, where


@pytest.mark.parametrize(
    ("folder", "cpu"), [(OLDER, CPUS[0]), (OLDER, CPUS[1]), (NEWER, CPUS[1])], ids=str
)
def test_a_frame_of_the_demo_gives_the_same_face(folder: Path, cpu: str) -> None:
    expected = json.loads(native("pipeline"))
    assert set(expected) == {"onnx", "tflite", "onnx.int8", "tflite.int8"}
    for faces in expected.values():
        assert len(faces) == 1
        assert faces[0]["probabilities"] is not None
    assert_near(expected, json.loads(emulated(folder, cpu, PROBES, "pipeline")))


@pytest.mark.parametrize("folder", [OLDER, NEWER], ids=["3.11", "3.13"])
def test_check_finds_nothing_wrong(folder: Path) -> None:
    output = emulated(folder, CPUS[0], "-m", "edge", "check")
    assert "WRONG" not in output
    assert output.count("golden face") == 3


@pytest.mark.parametrize("folder", [OLDER, NEWER], ids=["3.11", "3.13"])
def test_every_module_can_be_imported(folder: Path) -> None:
    expected = json.loads(native("imports"))
    assert len(expected) > 100
    assert json.loads(emulated(folder, CPUS[0], PROBES, "imports")) == expected


def first_read_face(folder: Path, python: tuple[str, ...]) -> Message:
    """Run the daemon on the demo clip; return the first message with an expression."""
    folder.mkdir()
    arguments = ["--source", "demo", "--no-pace", "--wait-for-subscriber", *PURPOSE]
    for setting in (
        'detector.artifact="centerface.int8.tflite"',
        'expression.artifact="expression.int8.tflite"',
        "tracking.appear_s=0.0",
        f"limits.start_s={TIMEOUT_S - 10}",  # emulation is some hundred times slower
        "limits.inference_s=60",
        "limits.stall_s=60",
    ):
        arguments += ["--set", setting]
    with RunningDaemon(folder, *arguments, python=python) as daemon:
        message = daemon.wait_for(
            lambda found: any(face["expression"] for face in found.get("faces", ())), TIMEOUT_S
        )
        code, _ = daemon.stop()
        assert code == 0, daemon.stderr
        assert "WARNING" not in daemon.stderr
    return message


@pytest.mark.parametrize("folder", [OLDER, NEWER], ids=["3.11", "3.13"])
def test_a_message_goes_through_the_whole_daemon(folder: Path, tmp_path: Path) -> None:
    """Hub, worker, both networks, journal and ZeroMQ are those of arm64; the reader is not."""
    emulated_python = (EMULATOR, "run", str(folder))
    message = first_read_face(tmp_path / "arm64", emulated_python)
    expected = first_read_face(tmp_path / "x86", (sys.executable,))
    assert message["frame"] == expected["frame"]
    assert_near(expected["faces"], message["faces"])


@pytest.fixture(scope="module")
def made_for_arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector's folder whose int8 ONNX artifact has signed activations."""
    folder = tmp_path_factory.mktemp("arm")
    pictures = folder / "pictures"
    pictures.mkdir()
    capture = open_capture(str(DEMO_CLIP), cv2.CAP_FFMPEG)
    for number in range(300):
        picture = capture.read()[1]
        if number % 8 == 0:
            cv2.imwrite(str(pictures / f"{number}.png"), picture)
    published = ROOT / "models/centerface-published/centerface.onnx"
    _run(
        [sys.executable, "-m", "exporters", "centerface", "--weights", str(published),
         "--out", str(folder / "model"), "--size", "320x192", "--mono", "--formats", "onnx",
         "--precisions", "fp32,int8", "--board", "arm", "--calibration", str(pictures)],
        {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return folder / "model"


def differences(one: Message, other: Message) -> tuple[float, float]:
    """Return by how much the one face in each frame differs at most: pixels of the box, score."""
    boxes, scores = [0.0], [0.0]
    assert len(one["faces"]) == len(other["faces"]) >= 3
    for (face,), (other_face,) in zip(one["faces"], other["faces"], strict=True):
        boxes += [abs(face[0][side] - other_face[0][side]) for side in face[0]]
        scores.append(abs(face[1] - other_face[1]))
    return max(boxes), max(scores)


def test_an_artifact_for_arm_loads_there_and_agrees(made_for_arm: Path) -> None:
    """With the float one, and with itself on x86; the face is 190 pixels wide and 240 high."""
    manifest = json.loads((made_for_arm / "manifest.json").read_text())
    assert manifest["parity"]["centerface.int8.onnx"]["passed"]
    expected = json.loads(native("detector", str(made_for_arm)))
    found = json.loads(emulated(OLDER, CPUS[1], PROBES, "detector", str(made_for_arm)))
    assert set(found) == {"centerface.onnx", "centerface.int8.onnx"}
    assert {name: answer["findings"] for name, answer in found.items() if answer["findings"]} == {}
    px, score = differences(found["centerface.onnx"], expected["centerface.onnx"])
    assert px < 1e-3
    assert score < 1e-5
    # the bundled int8 artifacts, whose activations are unsigned, are equal there
    px, score = differences(found["centerface.int8.onnx"], expected["centerface.int8.onnx"])
    print(f"int8, arm64 against x86: {px:.2f} pixels, score {score:.4f}")
    assert px < 6.0
    assert score < 0.02
    px, score = differences(found["centerface.int8.onnx"], found["centerface.onnx"])
    print(f"arm64, int8 against float: {px:.2f} pixels, score {score:.4f}")
    assert px < 16.0
    assert score < 0.05


def test_pixels_and_float_sums_are_bit_identical(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also print the differences of all calls, including those that may differ."""
    videos = []
    for name, options in VIDEOS.items():
        videos.append(str(tmp_path / name))
        _run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi",
             "-i", "testsrc2=s=642x362:r=25:d=0.4", *options, videos[-1]],
            {},
        )  # fmt: skip
    native("arithmetic", str(tmp_path / "x86.npz"), *videos)
    emulated(OLDER, CPUS[0], PROBES, "arithmetic", str(tmp_path / "arm64.npz"), *videos)
    x86, arm64 = (np.load(tmp_path / f"{name}.npz") for name in ("x86", "arm64"))
    assert set(x86) == set(arm64)
    unequal = []
    with capsys.disabled():
        print(f"\n{'arm64 against x86-64':36} {'differ':>8} {'by at most':>10}")
        for name in x86:
            difference = np.abs(x86[name].astype(float) - arm64[name].astype(float))
            shown, unit = difference, ""
            if name.startswith("float32"):  # as a relative difference
                shown = np.divide(
                    difference, np.abs(x86[name]), where=difference > 0, out=difference.copy()
                )
                unit = " of the value"
            print(f"{name:36} {(difference > 0).mean():8.2%} {shown.max():10.2g}{unit}")
            if name.endswith("colour to grey"):
                assert difference.max() <= 3, name  # FFmpeg converts colours with other code there
            elif name in ("mjpeg.avi, luma", "mpeg4.avi, luma"):
                assert difference.max() <= 1, name  # and decodes these with other code
            elif not name.startswith(INEXACT) and difference.any():
                unequal.append(name)
    assert unequal == []
