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

import imageio_ffmpeg
import numpy as np
import pytest

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
