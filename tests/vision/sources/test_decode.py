"""OpenCV reads its environment once in a process: every capture is opened by one function."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edge.vision.sources.decode
from edge.vision.sources.video import DEMO_CLIP

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("edge", "benchmarks", "exporters", "scripts", "tests")

OPENED_FIRST = """
import sys
import cv2
from edge.vision.sources.decode import open_capture
assert open_capture(sys.argv[1], cv2.CAP_FFMPEG).grab()
assert not open_capture(sys.argv[2], cv2.CAP_FFMPEG).isOpened()
"""


def calls(path: Path) -> set[str]:
    """Return the functions that a file calls, as it writes them."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}


def test_one_function_opens_captures() -> None:
    called = {path: calls(path) for each in PACKAGES for path in (ROOT / each).rglob("*.py")}
    assert len(called) > 500
    openers = [path for path, names in called.items() if "cv2.VideoCapture" in names]
    assert openers == [Path(edge.vision.sources.decode.__file__)]
    writers = [names for names in called.values() if "cv2.VideoWriter" in names]
    assert all("silence_opencv" in names for names in writers)  # FFmpeg's level is read there too


@pytest.mark.parametrize("level", [None, "16"])  # AV_LOG_ERROR
def test_a_capture_writes_nothing_unless_the_user_asked(tmp_path: Path, level: str | None) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(DEMO_CLIP.read_bytes()[:2000])
    environment = {name: text for name, text in os.environ.items() if "OPENCV" not in name}
    if level is not None:
        environment["OPENCV_FFMPEG_LOGLEVEL"] = level
    done = subprocess.run(
        [sys.executable, "-c", OPENED_FIRST, str(DEMO_CLIP), str(cut)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=60,
    )
    assert bool(done.stdout + done.stderr) == (level is not None), (done.stdout, done.stderr)
