"""The daemon in an environment of tflite-runtime, NumPy 1 and the last OpenCV for it."""

import json
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import EXIT_CONFIG
from edge.vision.golden import golden_picture, network_findings
from edge.vision.inference import bundled_models, load_manifest, open_network
from edge.vision.inference.manifest import Task
from edge.vision.resize import resize_linear
from edge.vision.sources.video import DEMO_CLIP, Video
from edge.vision.values import Box
from tests.support.command_errors import the_error
from tests.support.daemons import PURPOSE, ROOT, RunningDaemon, affect_edge
from tests.support.source_media import encode

pytestmark = pytest.mark.tflite

GOLDEN = ROOT / "tests" / "system" / "golden-demo.jsonl"
LITE = [
    (folder.name, artifact.file)
    for folder in bundled_models()
    for artifact in load_manifest(folder).artifacts
    if artifact.runtime == "litert"
]


def task_of(model: str) -> Task:
    return load_manifest(next(each for each in bundled_models() if each.name == model)).task


def test_pip_resolved_what_tflite_runtime_needs() -> None:
    assert metadata.version("tflite-runtime") == "2.14.0"
    assert find_spec("ai_edge_litert") is None
    assert np.__version__.startswith("1.26.")
    assert cv2.__version__.startswith("4.11.")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("model", "artifact"), LITE)
def test_each_artifact_gives_its_golden_answer(model: str, artifact: str) -> None:
    assert network_findings(open_network(model, task=task_of(model), artifact=artifact)) == []


@pytest.mark.parametrize("model", ["centerface-320x192", "centerface-640x384", "expression-nir"])
def test_float_artifacts_agree_with_onnxruntime(model: str) -> None:
    task = task_of(model)
    files = [each for name, each in LITE if name == model and "int8" not in each]
    (lite,) = (open_network(model, task=task, artifact=file) for file in files)
    onnx = open_network(model, task=task, artifact=files[0].replace(".tflite", ".onnx"))
    picture = resize_linear(golden_picture()[0], (onnx.info.width, onnx.info.height))
    for role, values in onnx.run(picture[None]).items():
        np.testing.assert_allclose(lite.run(picture[None])[role], values, rtol=1e-3, atol=1e-3)


def test_check_finds_nothing_wrong() -> None:
    done = affect_edge("check")
    assert done.returncode == 0, done.stdout
    assert "WRONG" not in done.stdout


@pytest.mark.parametrize("precision", ["", ".int8"])
def test_the_daemon_gives_the_golden_results_of_the_demo(tmp_path: Path, precision: str) -> None:
    """Float within the tolerances of another processor; int8 finds the same faces."""
    artifacts = [
        *("--set", f"detector.artifact='centerface{precision}.tflite'"),
        *("--set", f"expression.artifact='expression{precision}.tflite'"),
    ]
    with RunningDaemon(
        tmp_path, "--source", "demo", "--no-pace", "--wait-for-subscriber", *artifacts
    ) as daemon:
        assert daemon.run_to_end(110) == 0, daemon.stderr
        assert not daemon.events("worker_lost"), daemon.stderr
        frames = daemon.frames
    golden: list[list[Any]] = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    assert len(frames) == len(golden)
    labels = faces = 0
    for message, expected in zip(frames, golden, strict=True):
        assert abs(len(message["faces"]) - len(expected)) <= (1 if precision else 0)
        for face, (_, box, _, label, *_) in zip(message["faces"], expected, strict=False):
            if precision:
                assert Box(*face["box"]).iou(Box(*box)) > 0.85
            else:
                np.testing.assert_allclose(face["box"], box, atol=1.5)
            faces += 1
            labels += (face["expression"] or {}).get("label") == label
    assert faces > 200
    assert labels >= (0.9 if precision else 0.99) * faces


# -- what its OpenCV cannot do ---------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_network_camera_is_refused_in_one_line(command: str) -> None:
    source = ("--set", "source.kind=stream", "--set", "source.url=http://127.0.0.1:9/a.ts")
    done = affect_edge(command, *source, *PURPOSE, "--set", 'metrics.address=""')
    assert done.returncode == EXIT_CONFIG
    text = done.stdout if command == "check" else the_error(done.stderr)
    assert "source.kind stream: OpenCV 4.11.0 garbles" in text
    assert "expected OpenCV 4.13 or newer, which needs NumPy 2" in text


def test_a_video_that_changes_its_size_is_refused_in_one_line(tmp_path: Path) -> None:
    parts = [
        encode(tmp_path / f"{side}.ts", "-s", side, "-c:v", "libx264", frames=9)
        for side in ("320x180", "160x90")
    ]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    done = affect_edge("run", "--source", str(both), *PURPOSE, "--set", 'metrics.address=""')
    assert done.returncode == EXIT_CONFIG
    assert "its pictures change their size" in the_error(done.stderr)


def test_another_codec_is_refused_in_one_line(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", "-c:v", "mjpeg")
    done = affect_edge("run", "--source", str(path), *PURPOSE, "--set", 'metrics.address=""')
    assert done.returncode == EXIT_CONFIG
    assert "expected H.264 (convert: ffmpeg" in the_error(done.stderr)


def test_a_video_of_one_size_is_read_to_its_end(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "-c:v", "libx264", frames=100, seconds=0.0)
    with Video(str(path)) as source, Video(str(DEMO_CLIP)) as demo:
        small = [source.read() for _ in range(100)]
        demo.read()
    assert {frame.luma.shape for frame in small} == {(180, 320)}
